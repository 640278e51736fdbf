"""What would a simulated deal event cost if its signatures were real? The floor that no simulator of these rules gets under.

The simulator signs with a keyed hash (`devnet.sim.signer`). Here the signatures that one history's deals ask for are counted,
at the nodes alone (not the chain's own checks, and no gossip), and as many are made and checked with the shipped curve.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from devnet.sim.faults import FAULTS
from devnet.sim.simulate import build, finish
from devnet.sim.world import World
from mesh.base.keys import NodeKey
from protocols.hashing import keccak256
from protocols.signing import Signer
from protocols.units import Address, Hash32, PeerId, Signature

__all__ = ["curve_floor"]

NODES: Final = 40
ROUNDS: Final = 2_000
"""Signatures in one timing: a tenth of a second."""


class _Counts:
    def __init__(self) -> None:
        self.signed = 0
        self.recovered = 0


class _Counted:
    """A signer that counts what is asked of it."""

    def __init__(self, signer: Signer, counts: _Counts) -> None:
        self._signer = signer
        self._counts = counts

    @property
    def address(self) -> Address:
        """See ``Signer``."""
        return self._signer.address

    @property
    def peer_id(self) -> PeerId:
        """See ``Signer``."""
        return self._signer.peer_id

    def sign(self, digest: Hash32) -> Signature:
        """See ``Signer``."""
        self._counts.signed += 1
        return self._signer.sign(digest)

    def recover(self, digest: Hash32, signature: Signature) -> PeerId:
        """See ``Signer``."""
        self._counts.recovered += 1
        return self._signer.recover(digest, signature)

    def derive(self, label: str, *parts: bytes) -> Hash32:
        """See ``Signer``."""
        return self._signer.derive(label, *parts)


def curve_floor(seed: int, minutes: int, runs_per_client: int) -> dict[str, Any]:
    """Signatures made and checked per event that is no gossip, what each takes with the shipped curve, and the rate of events
    at which they alone would fill the processor."""
    world, counts, said = _counted(seed, minutes, runs_per_client)
    events = world.events - world.heard
    sign_us, recover_us = _curve_us()
    signed = (counts.signed - said) / events
    recovered = counts.recovered / events
    floor_us = signed * sign_us + recovered * recover_us
    return {
        "signed_per_deal_event": {"value": round(signed, 3), "unit": ""},
        "checked_per_deal_event": {"value": round(recovered, 3), "unit": ""},
        "curve_sign_us": {"value": round(sign_us, 1), "unit": "us"},
        "curve_recover_us": {"value": round(recover_us, 1), "unit": "us"},
        "floor_curve_us_per_deal_event": {"value": round(floor_us, 1), "unit": "us"},
        "floor_curve_events_per_cpu_s": {"value": round(1e6 / floor_us), "unit": "events/s"},
    }


def _counted(seed: int, minutes: int, runs_per_client: int) -> tuple[World, _Counts, int]:
    """A finished history, what its nodes have signed and checked, and how much of that was gossip."""
    counts, said = _Counts(), [0]
    world, _ = build(NODES, seed, minutes=minutes, faults=FAULTS["none"], runs_per_client=runs_per_client)
    for node in world.nodes.values():
        node.env = msgspec.structs.replace(node.env, signer=_Counted(node.env.signer, counts))
    gossip = world.gossip

    def heard(*args: Any) -> None:
        said[0] += 1
        gossip(*args)

    vars(world)["gossip"] = heard
    finish(world, minutes)
    return world, counts, said[0]


def _curve_us() -> tuple[float, float]:
    """CPU of one signature made, and of one checked, in microseconds."""
    key = NodeKey(keccak256(b"mesh/bench/curve"))
    digests = [keccak256(number.to_bytes(4, "big")) for number in range(ROUNDS)]
    made = [key.sign(digest) for digest in digests]

    def check() -> None:
        for digest, signature in zip(digests, made, strict=True):
            key.recover(digest, signature)

    return _each_us(lambda: [key.sign(digest) for digest in digests]), _each_us(check)


def _each_us(work: Callable[[], object]) -> float:
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took) / ROUNDS * 1e6
