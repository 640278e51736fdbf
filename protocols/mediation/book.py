"""What does a node remember of the open disputes around it, and learn again after a restart?"""

from typing import Final

from protocols.disputes.record import Record
from protocols.messages.dispute import CaseNotice
from protocols.units import Address, DealId, Millis, PeerId, UnixSeconds

__all__ = ["ANSWER_EVERY_MS", "ASK_EVERY_S", "MAX_NOTICES", "CaseBook", "members"]

MAX_NOTICES: Final = 8_192
"""Notices kept, the newest: two parties and ten seats of 680 disputes, 1 MiB."""
ANSWER_EVERY_MS: Final = 500
"""One peer is told the same case at most this often: it weighs 36 KiB, and asking for it weighs nothing."""
ASK_EVERY_S: Final = 2
"""Between two questions for the same case, by the chain's clock: parties that have not heard of the draw yet say nothing."""


def members(record: Record) -> frozenset[Address]:
    """The operators that have to do with a dispute: both parties, and whoever has, or had, a place in a panel."""
    places = (place.operator for sitting in record.sittings for place in sitting.places)
    return frozenset((record.client, record.provider, *places))


class CaseBook:
    """Volatile. Records are folded from durable logs, notices are repeated by those who have made them."""

    def __init__(self) -> None:
        self.records: dict[DealId, Record] = {}
        """Every open dispute that this node knows of."""
        self.notices: dict[tuple[DealId, PeerId], CaseNotice] = {}
        """By dispute and author; at most MAX_NOTICES."""
        self.answered: dict[tuple[DealId, PeerId], Millis] = {}
        """When a peer was last told a case; at most MAX_NOTICES."""
        self.asked: dict[DealId, UnixSeconds] = {}
        """When this node last asked for a case that it needs."""
        self.refused: dict[tuple[DealId, str], UnixSeconds] = {}
        """Duties whose call the panel did not take, and from when on they are called for again."""
        self.pulls: dict[tuple[DealId, str], bool] = {}
        """Pulls of a seat, by purpose, that are not complete: whether it is this node's own store that fails. One that
        nobody was asked for yet is not among them."""
        self.came: dict[DealId, UnixSeconds] = {}
        """When the inputs of a case came, by the chain's clock; not known after a restart."""
        self.resting: dict[DealId, UnixSeconds] = {}
        """Until when, by the chain's clock, a run that this machine has spoiled is not tried again."""
        self.running: set[DealId] = set()
        """Disputes whose job this node is executing as a seat."""
        self.announcing: set[DealId] = set()
        """Disputes of which this node says that it has the case."""

    def put(self, author: PeerId, notice: CaseNotice) -> None:
        """Keep a notice that was checked; the oldest goes when there are too many."""
        key = (notice.deal_id, author)
        self.notices.pop(key, None)
        self.notices[key] = notice
        while len(self.notices) > MAX_NOTICES:
            del self.notices[next(iter(self.notices))]

    def authors(self, deal_id: DealId, now: UnixSeconds) -> tuple[PeerId, ...]:
        """Who says that it has the case of a dispute, oldest word first. What has lapsed by ``now`` is forgotten."""
        mine = [(key, notice.expires) for key, notice in self.notices.items() if key[0] == deal_id]
        for key, expires in mine:
            if expires <= now:
                del self.notices[key]
        return tuple(author for (_, author), expires in mine if expires > now)

    def may_answer(self, deal_id: DealId, peer: PeerId, at: Millis) -> bool:
        """Whether a peer may be told a case now; if so, it counts as told."""
        key = (deal_id, peer)
        last = self.answered.pop(key, None)
        told = last is None or at - last >= ANSWER_EVERY_MS
        self.answered[key] = at if told or last is None else last
        while len(self.answered) > MAX_NOTICES:
            del self.answered[next(iter(self.answered))]
        return told

    def waits(self, deal_id: DealId, name: str, now: UnixSeconds) -> bool:
        """Whether a duty was refused so recently that it is not called for again yet."""
        return self.refused.get((deal_id, name), now) > now

    def again(self, deal_id: DealId, now: UnixSeconds) -> tuple[UnixSeconds, ...]:
        """When duties of a dispute are called for again; those whose time has come are forgotten."""
        mine = {one: at for one, at in self.refused.items() if one[0] == deal_id}
        for one in [one for one, at in mine.items() if at <= now]:
            del self.refused[one], mine[one]
        return tuple(mine.values())

    def forget(self, deal_id: DealId) -> None:
        """A dispute is over, or a reorganisation took its opening."""
        self.records.pop(deal_id, None)
        self.asked.pop(deal_id, None)
        self.running.discard(deal_id)
        self.announcing.discard(deal_id)
        self.resting.pop(deal_id, None)
        self.came.pop(deal_id, None)
        for pull in [pull for pull in self.pulls if pull[0] == deal_id]:
            del self.pulls[pull]
        for one in [one for one in self.refused if one[0] == deal_id]:
            del self.refused[one]
        for key in [key for key in self.notices if key[0] == deal_id]:
            del self.notices[key]
        for key in [key for key in self.answered if key[0] == deal_id]:
            del self.answered[key]
