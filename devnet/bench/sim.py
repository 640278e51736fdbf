"""How fast does the simulator run the shipped rules, and how many rounds of quotes does a deal take under load?"""

import time
from collections.abc import Mapping
from typing import Any

import trio

from devnet.sim.simulate import offer_of, simulate
from devnet.sim.world import World
from protocols.canonical import encode
from protocols.envelope import Envelope, open_, seal
from protocols.offers.book import JobBook, OfferBook
from protocols.offers.rates import Rates
from protocols.offers.records import OFFER_TAG
from protocols.offers.topics import offers_topic
from protocols.offers.validators import Market, admit, check_record
from protocols.units import Millis, PeerId, UnixSeconds

__all__ = ["run"]


async def run(quick: bool, seed: int) -> Mapping[str, Any]:
    """All computation, so in a thread; CPU seconds, which other processes do not stretch."""
    return await trio.to_thread.run_sync(_measure, quick, seed)


def _measure(quick: bool, seed: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for nodes in (200,) if quick else (200, 800):
        began = time.process_time()
        told = simulate(nodes, seed, minutes=3, faults="none", runs_per_client=8, clients=nodes // 5)
        cpu_s = time.process_time() - began
        figures[f"events_per_cpu_s_{nodes}"] = {"value": round(told.events / cpu_s), "unit": "events/s"}
        figures[f"rounds_per_deal_{nodes}"] = {"value": told.rounds_per_deal, "unit": "rounds"}
        figures[f"violations_{nodes}"] = {"value": len(told.violations), "unit": ""}
    figures["gossip_deliveries_per_cpu_s"] = {"value": round(_gossip(seed)), "unit": "records/s"}
    return figures


def _gossip(seed: int, nodes: int = 50, rounds: int = 100) -> float:
    """Records per CPU second through the shipped validator into the shipped book, signatures of the simulator."""
    world = World(seed)
    members = [world.add(free=0, stake=0) for _ in range(nodes)]
    network = world.params.name
    market = Market(network, OfferBook(), JobBook(), Rates())
    topic = offers_topic(network, "cpu")
    verifier = members[0].env.signer

    def verify(envelope: Envelope) -> PeerId:
        return open_(verifier, network, envelope)

    wall = world.start
    records = []
    for number in range(1, rounds + 1):
        for member in members:
            offer = offer_of(world, member)
            fields = {name: getattr(offer, name) for name in offer.__struct_fields__}
            fields |= {"sequence": number, "expires": UnixSeconds(wall + 60)}
            records.append((number, seal(member.env.signer, network, OFFER_TAG, encode(type(offer)(**fields)))))
    began = time.process_time()
    for number, data in records:
        at = Millis(number * 1_000)
        admit(market, check_record(market, topic, data, wall, at, verify), data, wall, at)
    return len(records) / (time.process_time() - began)
