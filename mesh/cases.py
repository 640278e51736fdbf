"""How do notices of open cases reach the rules, and who may pull blobs because of a dispute? Gossip in, a rule asked.

Every node follows the topic: a mediator may be far from the parties, and notices travel over whoever is between.
"""

from typing import Final

import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.engine import Engine
from mesh.market import texts_of
from mesh.net.link import Link, Verdict
from protocols.envelope import Envelope, open_
from protocols.errors import GossipIgnore, GossipReject
from protocols.events import CaseHeard
from protocols.mediation.access import roots_for
from protocols.mediation.gossip import check_notice
from protocols.messages.dispute import CaseNotice, cases_topic
from protocols.offers.rates import Rates
from protocols.units import Cid, DealId, PeerId

__all__ = ["CaseFeed", "DisputedBlobs"]

log = get_log("cases")


class CaseFeed:
    """Hears who has which case. `run` it in the root nursery."""

    def __init__(self, engine: Engine, link: Link, clock: Clock) -> None:
        self._engine = engine
        self._link = link
        self._clock = clock
        self._rates = Rates()
        self._topic: Final = cases_topic(engine.env.params.name)

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        records = self._link.subscribe(self._topic, lambda _, data: self._verdict(data))
        task_status.started()
        async for _, data in records:
            try:
                author, notice = self._check(data)
            except (GossipIgnore, GossipReject):
                continue  # it has lapsed, or another copy was quicker
            at = self._clock.monotonic_ms()
            self._rates.charge(author, at)
            self._link.learn(author, texts_of(notice.addresses))
            await self._engine.post(CaseHeard(at=at, author=author, notice=notice))

    def _check(self, data: bytes) -> tuple[PeerId, CaseNotice]:
        now, at = self._clock.unix_s(), self._clock.monotonic_ms()
        return self._engine.view(lambda state: check_notice(state.cases, self._rates, data, now, at, self._verify))

    def _verify(self, envelope: Envelope) -> PeerId:
        return open_(self._engine.env.signer, self._engine.env.params.name, envelope)

    def _verdict(self, data: bytes) -> Verdict:
        try:
            self._check(data)
        except GossipIgnore:
            return Verdict.IGNORE
        except GossipReject as error:
            log.info("notice.rejected", reason=str(error))
            return Verdict.REJECT
        return Verdict.ACCEPT


class DisputedBlobs:
    """What the rules let a peer pull beside what was granted to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, peer: PeerId, deal_id: DealId) -> tuple[Cid, ...]:
        """Roots; none for who has nothing to do with the dispute."""
        return self._engine.view(lambda state: roots_for(state, peer, deal_id))
