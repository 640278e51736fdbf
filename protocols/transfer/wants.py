"""Which blocks are still wanted, and from whom?

A want-list session for one root: events in, effects out, no clock and no I/O. It looks for blocks at home first
(that is all that resuming means), surveys the tree before it asks for any leaf, asks each peer for no more bytes than
one window, and takes back what was asked of a peer whose stream broke. Every block has passed ``check_block``.
"""

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Final, assert_never

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import cid_text, is_raw
from protocols.transfer.frames import MAX_WANTS
from protocols.transfer.steps import (
    AskPeer,
    BlockDenied,
    BlockMissing,
    BlockReceived,
    BlocksStored,
    CheckedBlock,
    Done,
    Effect,
    Event,
    Failed,
    LookedUp,
    LookUp,
    PeerLost,
    PeerReady,
    PeerReset,
    StoreBlock,
    Surveyed,
    Want,
)
from protocols.transfer.walk import Limits, Visit, Walk
from protocols.units import Cid, PeerId

__all__ = ["MAX_OPEN_NODES", "MAX_OPEN_VISITS", "PEER_WINDOW_BYTES", "TOTAL_WINDOW_BYTES", "WantSession"]

PEER_WINDOW_BYTES: Final = 4 * 1024 * 1024
"""Asked of one peer and not yet here: 40 MB/s at 100 ms, and less than what made a yamux writer give up."""
TOTAL_WINDOW_BYTES: Final = 16 * 1024 * 1024
"""Asked of all peers or not yet stored: the memory one fetch takes, at most, apart from nodes larger than 16 KiB."""
MAX_OPEN_VISITS: Final = 1024
"""Visits begun and not ended: bounds the maps here, and the times one block may be awaited at once."""
MAX_OPEN_NODES: Final = 64
"""Nodes among them: a file's may bring 1,024 children each, and full directories soon break the bound on entries."""


class _Phase(Enum):
    SURVEY = auto()
    CONTENT = auto()
    ENDED = auto()


class _Open:
    """A block that is being waited for, and the visits that wait.

    It is looked up at home, then wanted, then asked of a peer, then (``checked`` is set) stored.
    """

    __slots__ = ("asked_of", "checked", "not_at", "reserved_bytes", "visits")

    def __init__(self, reserved_bytes: int) -> None:
        self.visits: list[Visit] = []
        self.reserved_bytes = reserved_bytes
        self.asked_of: PeerId | None = None
        self.not_at: set[PeerId] = set()
        self.checked: CheckedBlock | None = None


class _Peer:
    __slots__ = ("asked_bytes", "denied", "lost", "ready")

    def __init__(self) -> None:
        self.ready = False
        self.lost = False
        self.denied = False
        self.asked_bytes = 0


class WantSession:
    """The session. ``start`` once, then ``handle`` each event; both return effects to carry out in order.

    After ``Done`` or ``Failed`` every event is ignored.
    """

    def __init__(self, root: Cid, peers: Sequence[PeerId], limits: Limits) -> None:
        if not peers:
            raise LocalProtocolError("a fetch needs at least one peer")
        self._root = root
        self._limits = limits
        self._peers = {peer: _Peer() for peer in peers}
        self._open: dict[Cid, _Open] = {}
        self._wanted: dict[Cid, _Open] = {}
        self._open_visits = 0
        self._open_nodes = 0
        self._reserved_bytes = 0
        self._window_bytes = min(TOTAL_WINDOW_BYTES, PEER_WINDOW_BYTES * (1 + len(self._peers)))
        self._phase = _Phase.SURVEY
        self._hope_waned = False
        self._walk = Walk(root, limits, survey=True)
        self._effects: list[Effect] = []
        self.total_bytes: int | None = None
        """File bytes of the tree; None until surveyed."""

    @property
    def done_bytes(self) -> int:
        """File bytes that are here, on disk or on their way to it."""
        return 0 if self._phase is _Phase.SURVEY else self._walk.content_bytes

    @property
    def ended(self) -> bool:
        """Whether ``Done`` or ``Failed`` was returned."""
        return self._phase is _Phase.ENDED

    def asked_of(self, peer: PeerId) -> int:
        """Bytes that the peer owes us: while above 0, silence is a stall."""
        return self._peers[peer].asked_bytes

    def expect(self, peer: PeerId, cid: Cid, block_bytes: int) -> None:
        """Whether this peer was asked for such a block; call before hashing it.

        Raises ``RemoteProtocolError`` (``unsolicited``, ``too_large``): the peer's fault.
        """
        entry = self._asked(peer, cid)
        limit = max(visit.max_bytes for visit in entry.visits)
        if block_bytes > limit:
            raise RemoteProtocolError(
                f"{block_bytes} bytes sent as {cid_text(cid)}, at most {limit} expected", code="too_large", penalty=20
            )

    def start(self) -> tuple[Effect, ...]:
        """The first look at home."""
        return self._settle()

    def handle(self, event: Event) -> tuple[Effect, ...]:
        """Applies an event. Raises ``RemoteProtocolError`` if a peer answered what it was not asked."""
        if self._phase is _Phase.ENDED:
            return ()
        try:
            self._apply(event)
        except _TreeRefused as refused:
            self._fail(refused.error.code, str(refused.error))
        return self._settle()

    def _apply(self, event: Event) -> None:
        match event:
            case PeerReady(peer):
                self._peers[peer].ready = True
            case PeerReset(peer):
                self._take_back(peer)
            case PeerLost(peer):
                self._take_back(peer)
                self._peers[peer].lost = self._hope_waned = True
            case LookedUp():
                self._looked_up(event)
            case BlockReceived(peer, checked):
                self._received(peer, checked)
            case BlockMissing(peer, cids):
                self._not_there(peer, cids)
            case BlockDenied(peer, cids):
                self._not_there(peer, cids)
                self._peers[peer].denied = True
            case BlocksStored(cids):
                for cid in cids:
                    self._close(cid)
            case _:
                assert_never(event)

    # what happened to blocks

    def _looked_up(self, event: LookedUp) -> None:
        for cid in event.absent:
            self._wanted[cid] = self._open[cid]
            self._hope_waned = True
        for cid, size in event.leaves:
            for visit in self._take_visits(cid):
                self._arrive(visit, None, size)
            self._close(cid)
        for checked in event.nodes:
            for visit in self._take_visits(checked.cid):
                self._arrive(visit, checked, len(checked.block))
            self._close(checked.cid)

    def _received(self, peer: PeerId, checked: CheckedBlock) -> None:
        entry = self._asked(peer, checked.cid)
        self._unask(entry)
        entry.checked = checked
        self._reserved_bytes += len(checked.block) - entry.reserved_bytes
        entry.reserved_bytes = len(checked.block)
        for visit in self._take_visits(checked.cid):
            self._arrive(visit, checked, len(checked.block))
        self._effects.append(StoreBlock(checked.cid, checked.block))

    def _arrive(self, visit: Visit, checked: CheckedBlock | None, block_bytes: int) -> None:
        try:
            if checked is not None and checked.fault is not None:
                raise checked.fault
            if checked is None or checked.node is None:
                self._walk.leaf(visit, block_bytes)
            else:
                self._walk.node(visit, checked.node, block_bytes)
        except RemoteProtocolError as error:
            raise _TreeRefused(error) from error

    def _not_there(self, peer: PeerId, cids: Iterable[Cid]) -> None:
        for cid in cids:
            entry = self._asked(peer, cid)
            self._unask(entry)
            self._wanted[cid] = entry
            entry.not_at.add(peer)
        self._hope_waned = True

    def _take_back(self, peer: PeerId) -> None:
        self._peers[peer].ready = False
        for cid, entry in self._open.items():
            if entry.asked_of == peer:
                self._unask(entry)
                self._wanted[cid] = entry

    def _asked(self, peer: PeerId, cid: Cid) -> _Open:
        entry = self._open.get(cid)
        if entry is None or entry.asked_of != peer:
            raise RemoteProtocolError(f"an answer about {cid_text(cid)}, which was not asked", code="unsolicited")
        return entry

    def _unask(self, entry: _Open) -> None:
        if entry.asked_of is not None:
            self._peers[entry.asked_of].asked_bytes -= entry.reserved_bytes
            entry.asked_of = None

    def _take_visits(self, cid: Cid) -> list[Visit]:
        entry = self._open[cid]
        visits, entry.visits = entry.visits, []
        self._open_visits -= len(visits)
        return visits

    def _close(self, cid: Cid) -> None:
        entry = self._open.pop(cid)
        self._reserved_bytes -= entry.reserved_bytes
        self._open_nodes -= not is_raw(cid)

    # what to do next

    def _settle(self) -> tuple[Effect, ...]:
        if self._phase is not _Phase.ENDED:
            try:
                self._advance()
            except _TreeRefused as refused:
                self._fail(refused.error.code, str(refused.error))
        effects, self._effects = tuple(self._effects), []
        return effects

    def _advance(self) -> None:
        self._open_more()
        if self._phase is _Phase.SURVEY and self._walk.exhausted and self._open_visits == 0:
            self._end_survey()
            self._open_more()
        # Who owes least is asked first: a slow peer gets no more while a quicker one is idle.
        for peer, state in sorted(self._peers.items(), key=lambda one: one[1].asked_bytes):
            if state.ready and not state.denied:
                self._ask(peer, state)
        self._check_hope()
        if self._phase is _Phase.CONTENT and self._walk.exhausted and not self._open:
            self._phase = _Phase.ENDED
            self._effects.append(Done())

    def _end_survey(self) -> None:
        """A lone leaf is its own survey: its size is bounded by a block's, and its bytes are here."""
        self.total_bytes = self._walk.content_bytes
        self._effects.append(Surveyed(self.total_bytes))
        self._phase = _Phase.CONTENT
        self._walk = Walk(self._root, self._limits, survey=False)

    def _open_more(self) -> None:
        wants: list[Want] = []
        at_once = 0
        while self._open_visits + at_once < MAX_OPEN_VISITS and self._reserved_bytes < self._window_bytes:
            visit = self._walk.peek()
            if visit is None:
                break
            entry = self._open.get(visit.cid)
            if not is_raw(visit.cid) and not self._may_open_node(entry):
                break
            self._pop()
            if entry is not None and entry.checked is not None:
                # Its BlocksStored is still to come, so breaking off after many of these cannot end the session early.
                self._arrive(visit, entry.checked, len(entry.checked.block))
                at_once += 1
                continue
            if entry is None:
                entry = self._open[visit.cid] = _Open(visit.reserve_bytes)
                self._reserved_bytes += entry.reserved_bytes
                self._open_nodes += not is_raw(visit.cid)
                wants.append(Want(visit.cid, visit.content_bytes if is_raw(visit.cid) else -1))
            entry.visits.append(visit)
            self._open_visits += 1
        for at in range(0, len(wants), MAX_WANTS):
            self._effects.append(LookUp(tuple(wants[at : at + MAX_WANTS])))

    def _may_open_node(self, entry: _Open | None) -> bool:
        """A node is awaited by one visit at a time: else its children would be multiplied by those who wait."""
        return self._open_nodes < MAX_OPEN_NODES if entry is None else entry.checked is not None

    def _pop(self) -> None:
        try:
            self._walk.pop()
        except RemoteProtocolError as error:
            raise _TreeRefused(error) from error

    def _ask(self, peer: PeerId, state: _Peer) -> None:
        """Refills a window that is a quarter empty, in tree order, so that wants travel in few frames."""
        room = PEER_WINDOW_BYTES - state.asked_bytes
        if state.asked_bytes and room < PEER_WINDOW_BYTES // 4:
            return
        cids: list[Cid] = []
        for cid, entry in self._wanted.items():
            if len(cids) == MAX_WANTS or room <= 0:
                break
            if peer not in entry.not_at:
                entry.asked_of = peer
                state.asked_bytes += entry.reserved_bytes
                room -= entry.reserved_bytes
                cids.append(cid)
        for cid in cids:
            del self._wanted[cid]
        if cids:
            self._effects.append(AskPeer(peer, tuple(cids)))

    def _check_hope(self) -> None:
        """Fails when a wanted block has nobody left who might give it."""
        if not self._hope_waned:
            return
        self._hope_waned = False
        hopeful = {peer for peer, state in self._peers.items() if not state.lost and not state.denied}
        for cid, entry in self._wanted.items():
            if hopeful <= entry.not_at:
                if any(state.denied for state in self._peers.values()):
                    self._fail("refused", f"no peer lets us have {cid_text(cid)}")
                elif entry.not_at:
                    self._fail("missing", f"no peer holds {cid_text(cid)}")
                else:
                    self._fail("unreachable", "no peer could be reached")
                return

    def _fail(self, code: str, detail: str) -> None:
        self._phase = _Phase.ENDED
        self._effects.append(Failed(code, detail))


class _TreeRefused(Exception):
    """The tree itself is at fault, whoever sent it."""

    def __init__(self, error: RemoteProtocolError) -> None:
        super().__init__(str(error))
        self.error = error
