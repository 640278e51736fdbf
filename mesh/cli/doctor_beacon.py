"""Is public randomness heard: by the running node, or else from the relays that it would ask?"""

import random
from typing import Final

import trio

from mesh.api.types import BeaconInfo
from mesh.base.clock import SystemClock
from mesh.beacon.presets import relays_of
from mesh.beacon.relays import RelaySettings, open_relays
from mesh.chain.presets import chain_preset
from mesh.cli.diagnosis import Check, Patient, bad, good, weak
from mesh.cli.render import when
from protocols.beacon.chain import BeaconChain
from protocols.beacon.tracker import SILENT_ROUNDS

__all__ = ["check_beacon"]

PATIENCE: Final = RelaySettings(attempt_s=3.0, tries=16)
GIVE_UP_S: Final = 8.0
"""A person waits for these answers; every relay may be the one that works."""
_RELAYS: Final = "mesh config set beacon.relays URL"


async def check_beacon(patient: Patient) -> list[Check]:
    """What the node of this home hears, or one question to the relays when none runs."""
    node = patient.node
    config = patient.loaded.config
    chain = chain_preset(config.network.name).params.beacon
    if node is not None and node.beacon is not None:
        return [_of_node(node.beacon), *_liars(node.beacon)]
    urls = (*config.beacon.relays, *relays_of(chain))
    if not urls:
        return [weak("beacon", f"no relays of {config.network.name} are known: rounds come from peers", _RELAYS)]
    async with open_relays(urls, chain, jitter=random.random, settings=PATIENCE) as relays:
        one = None
        with trio.move_on_after(GIVE_UP_S):
            one = await relays.newest(0)
        told = relays.statistics()
    if one is None:
        why = "; ".join(f"{relay.name}: {relay.last_error}" for relay in told if relay.last_error)
        return [weak("beacon", f"no relay answers: {why}", f"{_RELAYS}   (peers bring rounds too)")]
    return [_against_the_clock(chain, one.number)]


def _against_the_clock(chain: BeaconChain, newest: int) -> Check:
    """A round that verifies says what time it is at least."""
    behind = chain.round_at(SystemClock().unix_s()) - newest
    seen = f"round {newest} verified, {behind} behind our clock"
    if abs(behind) <= SILENT_ROUNDS:
        return good("beacon", seen)
    fix = "timedatectl set-ntp true   (unless the relays have stopped)"
    return weak("beacon", seen, fix)


def _of_node(heard: BeaconInfo) -> Check:
    if heard.silent_since is not None:
        return weak("beacon", f"silent since {when(heard.silent_since)}, last round {heard.round}", _RELAYS)
    if not heard.round:
        return weak("beacon", "the node has heard no round yet", "mesh status")
    return good("beacon", f"round {heard.round} of {heard.chain[:8]}...")


def _liars(heard: BeaconInfo) -> list[Check]:
    return [
        bad(f"relay {one.url}", f"gave a round that is not genuine: {one.last_error}", "mesh config get beacon.relays")
        for one in heard.relays
        if one.state == "quarantined"
    ]
