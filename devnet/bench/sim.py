"""How fast does the simulator run the shipped rules, and how many rounds of quotes does a deal take under load?

CPU seconds, which other processes stretch least; every history runs twice, the better time counts and both must be the same
history. What a deal event cannot do without (envelopes opened and sealed, rows encoded) is timed alone beside it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import trio

from devnet.bench.curve import curve_floor
from devnet.sim.disk import MemoryDisk
from devnet.sim.faults import FAULTS
from devnet.sim.simulate import build, finish, offer_of, simulate
from devnet.sim.world import World
from protocols.canonical import encode
from protocols.effects import DurableEffect
from protocols.envelope import Envelope, open_, parse_envelope, seal
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.registry import decode_message, seal_message
from protocols.offers.book import JobBook, OfferBook
from protocols.offers.rates import Rates
from protocols.offers.records import OFFER_TAG
from protocols.offers.topics import offers_topic
from protocols.offers.validators import Market, admit, check_record
from protocols.state import Durable, Row
from protocols.units import Millis, PeerId, UnixSeconds

__all__ = ["run"]

MINUTES: Final = 3
RUNS_PER_CLIENT: Final = 8


async def run(quick: bool, seed: int) -> Mapping[str, Any]:
    """All computation, so in a thread."""
    return await trio.to_thread.run_sync(_measure, quick, seed)


def _measure(quick: bool, seed: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for nodes in (200,) if quick else (200, 800):
        figures |= _histories(nodes, seed)
    figures |= _parts(seed)
    figures |= curve_floor(seed, MINUTES, RUNS_PER_CLIENT)
    figures["gossip_deliveries_per_cpu_s"] = {"value": round(max(_gossip(seed) for _ in range(3))), "unit": "records/s"}
    return figures


def _histories(nodes: int, seed: int) -> dict[str, Any]:
    """One history, twice."""
    cpu_s: list[float] = []
    told = []
    for _ in range(2):
        began = time.process_time()
        told.append(
            simulate(nodes, seed, minutes=MINUTES, faults="none", runs_per_client=RUNS_PER_CLIENT, clients=nodes // 5)
        )
        cpu_s.append(time.process_time() - began)
    first = told[0]
    return {
        f"events_per_cpu_s_{nodes}": {"value": round(first.events / min(cpu_s)), "unit": "events/s"},
        f"gossip_share_{nodes}": {"value": round(first.gossip / first.events, 3), "unit": ""},
        f"same_history_twice_{nodes}": {"value": int(told[1].hash == first.hash), "unit": ""},
        f"rounds_per_deal_{nodes}": {"value": first.rounds_per_deal, "unit": "rounds"},
        f"violations_{nodes}": {"value": len(first.violations), "unit": ""},
    }


class _Recorded(MemoryDisk):
    """Remembers every row that was ever committed to any of them."""

    rows: list[Row]

    def commit(self, rows: Sequence[Row], fresh: Sequence[DurableEffect], gone: Sequence[str]) -> None:
        """See ``Disk``."""
        self.rows += rows
        super().commit(rows, fresh, gone)


def _parts(seed: int) -> dict[str, Any]:
    """CPU per event that is no gossip, of what no simulator of these rules can leave out: the floor of such an event."""
    rows: list[Row] = []

    def disk() -> _Recorded:
        made = _Recorded()
        made.rows = rows
        return made

    world, _ = build(40, seed, minutes=MINUTES, faults=FAULTS["none"], runs_per_client=RUNS_PER_CLIENT, disk=disk)
    world.tap = []
    finish(world, MINUTES)
    signer, network = next(iter(world.nodes.values())).env.signer, world.params.name
    sealed = [data for _, _, data in world.tap]
    opened = [decode_message(parse_envelope(data, max_bytes=MAX_MESSAGE_BYTES)) for data in sealed]

    def receive() -> None:
        for data in sealed:
            envelope = parse_envelope(data, max_bytes=MAX_MESSAGE_BYTES)
            decode_message(envelope)
            open_(signer, network, envelope)

    def send() -> None:
        for message in opened:
            seal_message(signer, network, message)

    puts = _again(rows)

    def store() -> None:
        for put in puts:
            put()

    events = world.events - world.heard
    found = {"receive": _cpu_s(receive), "send": _cpu_s(send), "rows": _cpu_s(store)}
    figures = {f"floor_{name}_us": {"value": round(s / events * 1e6, 2), "unit": "us"} for name, s in found.items()}
    figures["floor_us_per_deal_event"] = {"value": round(sum(found.values()) / events * 1e6, 2), "unit": "us"}
    return figures


def _again(rows: Sequence[Row]) -> list[Callable[[], object]]:
    """For every row of a deal or a run a function that makes it durable once more."""
    puts: list[Callable[[], object]] = []
    for row in rows:
        if row.data is None or row.kind not in ("deal", "run"):
            continue
        durable = Durable()
        durable.restore(row.kind, row.id, row.data)
        puts += [partial(durable.put_deal, deal_id, half) for deal_id, half in durable.deals.items()]
        puts += [partial(durable.put_run, one) for one in durable.runs.values()]
        puts.append(durable.drain_dirty)
    return puts


def _cpu_s(work: Callable[[], None]) -> float:
    """The better of two runs."""
    took = []
    for _ in range(2):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def _gossip(seed: int, nodes: int = 50, rounds: int = 100) -> float:
    """Records per CPU second through the shipped validator into the shipped book, signatures of the simulator.

    Every record is new: nothing that was decoded or checked before helps.
    """
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
