"""What does a node remember? What must survive a crash, and what may be learned again.

The node's own state is changed in place, by `protocols.node.handle` and nothing else. The machines inside it (a deal, a
run) are frozen values that are replaced whole. Every durable change goes through `Durable`, which notes the row.
"""

import heapq
from typing import Final

import msgspec

from protocols.beacon.tracker import Beacon
from protocols.canonical import decode_strict, encode
from protocols.channels.states import ChannelState, Closed
from protocols.deals.desk import Desk
from protocols.deals.panel_terms import SeatsSeen
from protocols.deals.search import Search
from protocols.deals.states import FINAL_STATES, DealState
from protocols.disputes.file import DisputeFile
from protocols.errors import LocalProtocolError
from protocols.limits import MAX_CHANNELS
from protocols.mediation.book import CaseBook
from protocols.mediation.case import Case
from protocols.mediation.outputs import Look
from protocols.offers.book import JobBook, OfferBook
from protocols.offers.rates import Rates
from protocols.offers.validators import Market
from protocols.reputation import Record, Standings, Witnessed
from protocols.runs import Candidate, Run
from protocols.units import Address, DealId, Hash32, JobId, Millis, PeerId, RunId, Tokens, UnixSeconds

__all__ = ["CLIENT", "PROVIDER", "Account", "ChannelHalf", "Durable", "Half", "Hearsay", "NodeState", "Row", "Timers"]

CLIENT: Final = "client"
PROVIDER: Final = "provider"


class Row(msgspec.Struct, frozen=True):
    """One durable machine as the store keeps it; ``data`` is None when it is gone."""

    kind: str
    id: bytes
    version: int
    data: bytes | None


class Half(msgspec.Struct, frozen=True):
    """One deal with the half this node plays in it: it may be both parties of a market, never of one deal."""

    role: str
    state: DealState


class ChannelHalf(msgspec.Struct, frozen=True):
    """One channel with the half this node plays in it."""

    role: str
    state: ChannelState


class JobBody(msgspec.Struct, frozen=True):
    """A canonical job, kept while a run or a deal needs it."""

    body: bytes


class Hearsay(msgspec.Struct, frozen=True, array_like=True):
    """What the chain has shown of one provider's deals with others: the newest MAX_WITNESSED."""

    seen: tuple[Witnessed, ...]


class Counters(msgspec.Struct, frozen=True):
    """Numbers that must never repeat."""

    sequence: int = 0


ROW_VERSION: Final = 1
MAX_ROW_BYTES: Final = 1 << 24
"""No machine comes near it: a damaged row is refused, not swallowed."""
_KINDS: Final[dict[str, type]] = {
    "deal": Half,
    "run": Run,
    "job": JobBody,
    "counters": Counters,
    "dispute": DisputeFile,
    "case": Case,
    "channel": ChannelHalf,
    "hearsay": Hearsay,
}
MAX_HEARSAY: Final = 4_096
"""Providers of whose deals with others something is kept, 2 KB each: more than twice the largest network planned for."""


class Durable:
    """Rows that survive a crash: deals, runs, job bodies, counters. Reads are plain attributes, writes go through methods."""

    def __init__(self) -> None:
        self.deals: dict[DealId, Half] = {}
        self.runs: dict[RunId, Run] = {}
        self.jobs: dict[JobId, bytes] = {}
        self.channels: dict[bytes, ChannelHalf] = {}
        """By `pair_of` the operators; at most MAX_CHANNELS."""
        self.counters = Counters()
        self.disputes: dict[DealId, DisputeFile] = {}
        self.cases: dict[DealId, Case] = {}
        """Of the disputes in which this node has a seat."""
        self.hearsay: dict[Address, Hearsay] = {}
        """By the provider's operator, last heard of last; at most MAX_HEARSAY."""
        self.live: dict[DealId, None] = {}
        """Deals that are not final, in the order they came: a set's order differs between processes."""
        self._dirty: dict[tuple[str, bytes], None] = {}

    def put_deal(self, deal_id: DealId, half: Half) -> None:
        """Replace a deal."""
        self.deals[deal_id] = half
        if isinstance(half.state, FINAL_STATES):
            self.live.pop(deal_id, None)
        else:
            self.live[deal_id] = None
        self._dirty[("deal", deal_id)] = None

    def put_run(self, run: Run) -> None:
        """Replace a run."""
        self.runs[run.run_id] = run
        self._dirty[("run", run.run_id)] = None

    def put_dispute(self, file: DisputeFile) -> None:
        """Replace a dispute."""
        self.disputes[file.deal_id] = file
        self._dirty[("dispute", file.deal_id)] = None

    def drop_dispute(self, deal_id: DealId) -> None:
        """Forget a dispute in which this node has no part any more."""
        if self.disputes.pop(deal_id, None) is not None:
            self._dirty[("dispute", deal_id)] = None

    def put_case(self, case: Case) -> None:
        """Replace a seat's case."""
        self.cases[case.deal_id] = case
        self._dirty[("case", case.deal_id)] = None

    def drop_case(self, deal_id: DealId) -> None:
        """Forget a seat's case."""
        if self.cases.pop(deal_id, None) is not None:
            self._dirty[("case", deal_id)] = None

    def put_job(self, job_id: JobId, body: bytes) -> None:
        """Keep a job body."""
        if job_id not in self.jobs:
            self.jobs[job_id] = body
            self._dirty[("job", job_id)] = None

    def put_channel(self, pair: bytes, half: ChannelHalf | None) -> None:
        """Replace a channel, or forget it. The oldest closed one goes when there are too many; a debtor's after all others."""
        self.channels.pop(pair, None)
        if half is not None:
            self.channels[pair] = half
        self._dirty[("channel", pair)] = None
        over = self._forgettable() if len(self.channels) > MAX_CHANNELS else None
        if over is not None:
            del self.channels[over]
            self._dirty[("channel", over)] = None

    def _forgettable(self) -> bytes | None:
        closed = [(pair, one.state.book) for pair, one in self.channels.items() if isinstance(one.state, Closed)]
        paid = (pair for pair, book in closed if book.owing is None)
        return next(paid, closed[0][0] if closed else None)

    def put_hearsay(self, provider: Address, hearsay: Hearsay) -> None:
        """Replace what is known of a provider's deals with others. Who was not heard of for longest goes."""
        self.hearsay.pop(provider, None)
        self.hearsay[provider] = hearsay
        self._dirty[("hearsay", provider)] = None
        if len(self.hearsay) > MAX_HEARSAY:
            over = next(iter(self.hearsay))
            del self.hearsay[over]
            self._dirty[("hearsay", over)] = None

    def next_sequence(self) -> int:
        """A sequence number that was never used before."""
        self.counters = Counters(sequence=self.counters.sequence + 1)
        self._dirty[("counters", b"")] = None
        return self.counters.sequence

    def drain_dirty(self) -> list[Row]:
        """The rows changed since the last call, for the store's transaction."""
        if not self._dirty:
            return []
        rows = [Row(kind, key, ROW_VERSION, self._bytes(kind, key)) for kind, key in self._dirty]
        self._dirty.clear()
        return rows

    def _bytes(self, kind: str, key: bytes) -> bytes | None:
        match kind:
            case "deal":
                return encode(self.deals[DealId(key)])
            case "run":
                return encode(self.runs[RunId(key)])
            case "dispute":
                file = self.disputes.get(DealId(key))
                return encode(file) if file else None
            case "case":
                seat = self.cases.get(DealId(key))
                return encode(seat) if seat else None
            case "channel":
                half = self.channels.get(key)
                return encode(half) if half else None
            case "hearsay":
                heard = self.hearsay.get(Address(key))
                return encode(heard) if heard else None
            case "job":
                return encode(JobBody(self.jobs[JobId(key)]))
            case _:
                return encode(self.counters)

    def restore(self, kind: str, key: bytes, data: bytes) -> None:
        """Take a row back in after a restart. Raises ``RemoteProtocolError`` when it does not parse: a damaged store."""
        value: object = decode_strict(_KINDS[kind], data, max_bytes=MAX_ROW_BYTES)
        match value:
            case Half():
                self.put_deal(DealId(key), value)
            case Run():
                self.put_run(value)
            case JobBody():
                self.put_job(JobId(key), value.body)
            case DisputeFile():
                self.put_dispute(value)
            case Case():
                self.put_case(value)
            case ChannelHalf():
                self.put_channel(key, value)
            case Hearsay():
                self.put_hearsay(Address(key), value)
            case Counters():
                self.counters = value
            case _:
                raise LocalProtocolError(f"a row of kind {kind!r} cannot be restored")
        self._dirty.clear()


class Account(msgspec.Struct, frozen=True):
    """What the escrow held for an operator when we last asked."""

    free: Tokens
    stake: Tokens
    at: Millis


class Timers:
    """Wake-ups by name: setting one again replaces it. Due ones come out in order of time, then of setting."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._due: dict[str, tuple[int, int, str]] = {}
        """The entry of the heap that counts for a name; any other is an old one."""
        self.sets = 0
        """How often a wake-up was set: while this stands still, none is due earlier than before."""

    def set(self, name: str, at: int) -> None:
        """Wake under ``name`` at ``at``."""
        self.sets += 1
        self._due[name] = entry = (at, self.sets, name)
        heapq.heappush(self._heap, entry)

    def clear(self, name: str) -> None:
        """Forget a wake-up, if there is one."""
        self._due.pop(name, None)

    def next(self) -> int | None:
        """When the earliest wake-up is due."""
        heap, due = self._heap, self._due
        while heap:
            first = heap[0]
            if due.get(first[2]) is first:
                return first[0]
            heapq.heappop(heap)
        return None

    def pop_due(self, now: int) -> list[str]:
        """The names due at ``now``, removed."""
        names = []
        while (at := self.next()) is not None and at <= now:
            name = heapq.heappop(self._heap)[2]
            del self._due[name]
            names.append(name)
        return names


MAX_OWNERS: Final = 65_536
"""Operators that trade for another owner, 40 B each: forty for each of 1,600 owners."""


class NodeState:
    """Everything one node knows. ``durable`` survives a crash; the rest is learned again within seconds."""

    def __init__(self, network: str) -> None:
        self.durable = Durable()
        self.market = Market(network, OfferBook(), JobBook(), Rates())
        self.desk = Desk()
        self.beacon = Beacon()
        self.searches: dict[RunId, Search] = {}
        self.short_of_replicas: dict[RunId, int] = {}
        """Runs for whose attempt, by its first index, no further provider was found; gone when the run is over."""
        self.quotes: dict[RunId, tuple[Candidate, ...]] = {}
        """Finished quote requests, the newest MAX_QUOTES."""
        self.peers: set[PeerId] = set()
        self.accounts: dict[Address, Account] = {}
        self.owners: dict[Address, Address] = {}
        """Operators that trade for somebody else, and for whom; at most MAX_OWNERS. Who is known to trade for itself too, once
        some were forgotten."""
        self.owners_forgotten = False
        self.seats: dict[tuple[Address, Address], SeatsSeen] = {}
        """What the panel answered, by the (client, provider) it was asked about; the newest MAX_SEATS_SEEN."""
        self.records: dict[PeerId, Record] = {}
        self.standings = Standings()
        self.hints: dict[DealId, tuple[str, int, int]] = {}
        """What the provider last said about a deal: phase, done, total."""
        self.timers = Timers()
        """By the monotonic clock, in milliseconds."""
        self.cases = CaseBook()
        self.looks: dict[DealId, Look] = {}
        """What was found out about outputs in open disputes."""
        self.addresses: tuple[bytes, ...] = ()
        """Where others may dial this node, as binary multiaddrs."""
        self.open_disputes: dict[DealId, UnixSeconds] = {}
        """Disputes of this node that are not over, and until when the call that each waits for succeeds."""
        self.deadlines = Timers()
        """By the chain's clock, in seconds; the name is a deal id in hexadecimal."""
        self.channel_deadlines = Timers()
        """By the chain's clock, in seconds; the name is a pair in hexadecimal."""
        self.wall = UnixSeconds(0)
        self.chain_now = UnixSeconds(0)
        self.chain_block = 0
        self.incarnation = Hash32(bytes(32))

    def owner_of(self, operator: Address) -> Address:
        """Whose an operator is, as far as the chain has said."""
        return self.owners.get(operator, operator)
