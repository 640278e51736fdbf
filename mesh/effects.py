"""How is each effect performed? A table from effect type to method, and no rules.

Every effect runs in a task of its own below the root nursery. A durable one ends in an event that answers it, or in an
acknowledgement; `forget` cancels one that no longer matters. What fails for good becomes an event, what fails for now is
tried again with backoff: a peer's, a disk's or a chain's fault never ends the node. Any other exception is a defect and does.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from mesh.base.clock import Clock
from mesh.base.errors import Defect, MeshError
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.engine import Engine
from mesh.net.link import Link, LinkError
from mesh.ports import Artifacts, ChainPort, FetchGaveUp, Runs, TxRejected, Waits
from mesh.questions import Question, Questions, RoundSource
from protocols import effects as fx
from protocols import events as ev
from protocols.deals.states import LocalResult
from protocols.handlers.seat_work import CASE, OPENED
from protocols.units import DealId, Millis, RunId

__all__ = [
    "AT_ONCE",
    "PERFORMERS",
    "Artifacts",
    "ChainPort",
    "Effector",
    "FetchGaveUp",
    "RoundSource",
    "Runs",
    "TxRejected",
]

CALL_TIMEOUT_S: Final = 5.0
"""One message to a peer: twice the slowest durable answer seen on a loaded two-core node."""
RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
"""Backoff between tries of a durable effect: soon enough for a restart, seldom enough for a dead peer."""

log = get_log("effects")


class Effector:
    """Performs effects. `run` it in the root nursery, then connect it to the engine."""

    def __init__(
        self,
        engine: Engine,
        link: Link,
        artifacts: Artifacts,
        runs: Runs,
        chain: ChainPort,
        rounds: RoundSource,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._link = link
        self._artifacts = artifacts
        self._runs = runs
        self._chain = chain
        self._clock = clock
        self._questions = Questions(engine, chain, rounds, clock)
        self._nursery: trio.Nursery | None = None
        self._ended = False
        self._scopes: dict[str, trio.CancelScope] = {}
        self._stops: dict[str, trio.Event] = {}
        """By the key of the job's effect."""
        self.failures = 0

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the tasks; cancelling ends them all, and durable effects are performed again after a restart."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._ended = True

    def perform(self, effect: fx.Effect) -> None:
        """Start an effect. What cancels or ends something is done on return, so that it can't overtake what it is about.

        A node that is stopping performs none: the engine may have one more batch, whose durable effects are in the outbox.
        """
        if self._nursery is None:
            raise RuntimeError("run() the effector before it performs")
        if self._ended:
            return
        at_once = AT_ONCE.get(type(effect))
        if at_once is not None:
            at_once(self, effect)
        elif isinstance(effect, fx.DurableEffect):
            scope = self._scopes[effect.key] = trio.CancelScope()
            if isinstance(effect, fx.RunJob):
                self._stops[effect.key] = trio.Event()
            self._nursery.start_soon(self._durably, effect, scope, name=effect.key[:40])
        else:
            self._nursery.start_soon(PERFORMERS[type(effect)], self, effect, name=type(effect).__name__)

    def forget(self, key: str) -> None:
        """Stop a durable effect that no longer matters."""
        self._stops.pop(key, None)
        scope = self._scopes.pop(key, None)
        if scope is not None:
            scope.cancel()

    async def _durably(self, effect: fx.DurableEffect, scope: trio.CancelScope) -> None:
        """Until it is done or forgotten; a fault of the machine or of the chain is waited out."""
        pause = RETRY_FIRST_S
        with scope:
            await trio.lowlevel.checkpoint()  # one that was forgotten before it began does not begin
            while True:
                try:
                    await PERFORMERS[type(effect)](self, effect)
                except* Defect:
                    raise
                except* (MeshError, OSError) as group:
                    self.failures += 1
                    log.error("effect.retried", effect=effect.key, reason=str(_first(group)))
                    if isinstance(effect, fx.FetchBlobs) and effect.purpose in _EXPLAINED:
                        await self._waits(effect)(True, str(_first(group)))
                else:
                    break
                await trio.sleep(pause)
                pause = min(pause * 2, RETRY_MOST_S)
        if self._scopes.get(effect.key) is scope:
            del self._scopes[effect.key]
            self._stops.pop(effect.key, None)

    async def _publish(self, effect: fx.Publish) -> None:
        try:
            await self._link.publish(effect.topic, effect.data)
        except LinkError as error:
            self.failures += 1
            log.warning("record.lost", topic=effect.topic, reason=str(error))

    async def _send(self, effect: fx.Send) -> None:
        try:
            await self._link.call(effect.peer, effect.protocol, effect.data, CALL_TIMEOUT_S)
        except LinkError as error:
            self.failures += 1
            log.debug("message.lost", peer=effect.peer.hex()[-8:], protocol=effect.protocol, reason=str(error))

    async def _send_durably(self, effect: fx.SendDurably) -> None:
        pause = RETRY_FIRST_S
        while True:
            try:
                await self._link.call(effect.peer, effect.protocol, effect.data, CALL_TIMEOUT_S)
                break
            except LinkError as error:
                self.failures += 1
                log.debug("message.retried", peer=effect.peer.hex()[-8:], effect=effect.key, reason=str(error))
            await trio.sleep(pause)
            pause = min(pause * 2, RETRY_MOST_S)
        await self._engine.acknowledge(effect.key)

    async def _ask(self, effect: Question) -> None:
        await self._questions.ask(effect)

    def _penalise(self, effect: fx.Penalise) -> None:
        log.info("peer.penalised", peer=effect.peer.hex()[-8:], code=effect.code, penalty=effect.penalty)
        self._link.penalise(effect.peer, effect.penalty)

    async def _fetch(self, effect: fx.FetchBlobs) -> None:
        total = sum(root.size for root in effect.roots)
        before = 0
        told = [self._clock.monotonic_ms()]  # a pull that is over at once is not worth a signed message
        waits = self._waits(effect) if effect.purpose in _EXPLAINED else None
        try:
            for root in effect.roots:
                report = self._reporter(effect.deal_id, before, total, told)
                await self._artifacts.fetch(effect.deal_id, (effect.peer, *effect.others), root, report, waits)
                before += root.size
        except FetchGaveUp as error:
            failed = ev.BlobsFailed(
                at=self._clock.monotonic_ms(),
                deal_id=effect.deal_id,
                purpose=effect.purpose,
                code=error.code,
                detail=str(error),
            )
            await self._engine.post(failed, acks=(effect.key,))
            return
        arrived = ev.BlobsArrived(at=self._clock.monotonic_ms(), deal_id=effect.deal_id, purpose=effect.purpose)
        await self._engine.post(arrived, acks=(effect.key,))

    def _reporter(
        self, deal_id: DealId, before: int, total: int, told: list[Millis]
    ) -> Callable[[int, int | None], None]:
        """``told``: when the last hint of this pull was given, monotonic ms."""

        def report(done: int, _of: int | None) -> None:
            now = self._clock.monotonic_ms()
            if now - told[0] >= PROGRESS_MS and self._nursery is not None:
                told[0] = now
                hint = ev.JobProgressed(at=now, deal_id=deal_id, phase="pulling", done=before + done, total=total)
                self._nursery.start_soon(self._post_hint, hint)

        return report

    def _waits(self, effect: fx.FetchBlobs) -> Waits:
        """Tells the rules why a seat's pull is not complete, whenever who is to blame has changed."""
        told: list[bool] = []

        async def waits(ours: bool, why: str) -> None:
            if told != [ours]:
                told[:] = [ours]
                await self._engine.post(
                    ev.PullWaited(
                        at=self._clock.monotonic_ms(),
                        deal_id=effect.deal_id,
                        purpose=effect.purpose,
                        ours=ours,
                        detail=why,
                    )
                )

        return waits

    async def _post_hint(self, hint: ev.JobProgressed) -> None:
        await self._engine.post(hint)

    def _cancel_fetch(self, effect: fx.CancelFetch) -> None:
        assert self._nursery is not None
        for key in [key for key in self._scopes if key.startswith(f"fetch:{effect.deal_id.hex()}:")]:
            self.forget(key)
            self._nursery.start_soon(
                self._engine.acknowledge, key
            )  # else the next fetch of this name were the same one

    def _serve(self, effect: fx.ServeBlobs) -> None:
        self._artifacts.grant(effect.deal_id, effect.peer, effect.roots)

    def _stop_serving(self, effect: fx.StopServing) -> None:
        assert self._nursery is not None
        self._artifacts.revoke(effect.deal_id)
        if effect.forget:
            self._nursery.start_soon(self._forget_blobs, effect.deal_id)

    async def _forget_blobs(self, deal_id: DealId) -> None:
        try:
            await self._artifacts.forget(deal_id)
        except (MeshError, OSError) as error:
            self.failures += 1
            log.warning("blobs.kept", deal=deal_id.hex()[:12], reason=str(error))

    async def _run_job(self, effect: fx.RunJob) -> None:
        kind = ev.AuditCompleted if effect.audit else ev.JobEnded

        async def report(result: LocalResult) -> None:
            ended = kind(at=self._clock.monotonic_ms(), deal_id=effect.deal_id, result=result)
            await self._engine.post(ended, acks=(effect.key,))

        await self._runs.run(
            effect.deal_id,
            effect.run_id or RunId(effect.deal_id),
            effect.job,
            report,
            audit=effect.audit,
            cancel=self._stops[effect.key],
            seal=effect.seal,
        )

    async def _unseal(self, effect: fx.Unseal) -> None:
        answer: ev.Unsealed | ev.BlobsFailed
        try:
            root, size = await self._runs.unseal(effect.deal_id, effect.root, effect.size, effect.secret)
        except FetchGaveUp as error:
            answer = ev.BlobsFailed(
                at=self._clock.monotonic_ms(),
                deal_id=effect.deal_id,
                purpose="unseal",
                code=error.code,
                detail=str(error),
            )
        else:
            answer = ev.Unsealed(at=self._clock.monotonic_ms(), deal_id=effect.deal_id, root=root, size=size)
        await self._engine.post(answer, acks=(effect.key,))

    async def _compare(self, effect: fx.CompareOutputs) -> None:
        same, detail = await self._runs.compare(effect.deal_id, effect.job, effect.ran, effect.others)
        compared = ev.OutputsCompared(
            at=self._clock.monotonic_ms(), deal_id=effect.deal_id, owner=effect.ran.owner, same=same, detail=detail
        )
        await self._engine.post(compared, acks=(effect.key,))

    async def _mark(self, effect: fx.MarkOutput) -> None:
        marks, detail = await self._runs.mark(effect.deal_id, effect.job, effect.ran, effect.keys)
        marked = ev.OutputMarked(
            at=self._clock.monotonic_ms(),
            deal_id=effect.deal_id,
            ran=effect.ran,
            keys=effect.keys,
            marks=marks,
            detail=detail,
        )
        await self._engine.post(marked, acks=(effect.key,))

    def _cancel_job(self, effect: fx.CancelJob) -> None:
        stop = self._stops.get(f"run:{effect.deal_id.hex()}")
        if stop is not None:
            stop.set()

    async def _post_tx(self, effect: fx.PostTx) -> None:
        await self._transact(
            effect, self._chain.post(effect), ev.TxFailed, deal_id=effect.deal_id, purpose=effect.purpose
        )

    async def _dispute(self, effect: fx.CallPanel | fx.OpenDispute) -> None:
        purpose = effect.purpose if isinstance(effect, fx.CallPanel) else "dispute"
        await self._transact(effect, self._chain.dispute(effect), ev.TxFailed, deal_id=effect.deal_id, purpose=purpose)

    async def _prove_fraud(self, effect: fx.ProveFraud) -> None:
        done = self._chain.prove_fraud(effect)
        await self._transact(effect, done, ev.TxFailed, deal_id=effect.deal_id, purpose="fraud")

    async def _post_channel_tx(self, effect: fx.PostChannelTx) -> None:
        """Its log says what came of it, to both parties alike."""
        done = self._chain.post_channel(effect)
        await self._transact(effect, done, ev.ChannelTxFailed, pair=effect.pair, purpose=effect.purpose)

    async def _transact(
        self, effect: fx.DurableEffect, done: Awaitable[None], failed: Callable[..., ev.Event], **about: object
    ) -> None:
        """The key is released last: a crash before that asks again how it ended, and never posts twice."""
        try:
            await done
        except TxRejected as error:
            event = failed(at=self._clock.monotonic_ms(), reason=str(error), **about)
            await self._engine.post(event, acks=(effect.key,))
        else:
            await self._engine.acknowledge(effect.key)
        await self._chain.release(effect.key)


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    """The first leaf: what to tell people."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


_EXPLAINED: Final = frozenset({CASE, OPENED})
"""Purposes of pulls whose lack a seat puts down to the parties."""
PROGRESS_MS: Final = 500
"""At most two progress hints per second and deal."""

PERFORMERS: Final[dict[type[fx.Effect], Callable[[Effector, Any], Awaitable[None]]]] = {
    fx.Publish: Effector._publish,
    fx.Send: Effector._send,
    fx.SendDurably: Effector._send_durably,
    **dict.fromkeys((fx.ReadAccount, fx.ReadSeats, fx.ReadChannel, fx.FetchRound), Effector._ask),
    fx.FetchBlobs: Effector._fetch,
    fx.RunJob: Effector._run_job,
    fx.CompareOutputs: Effector._compare,
    fx.MarkOutput: Effector._mark,
    fx.Unseal: Effector._unseal,
    fx.PostTx: Effector._post_tx,
    fx.CallPanel: Effector._dispute,
    fx.OpenDispute: Effector._dispute,
    fx.ProveFraud: Effector._prove_fraud,
    fx.PostChannelTx: Effector._post_channel_tx,
}
AT_ONCE: Final[dict[type[fx.Effect], Callable[[Effector, Any], None]]] = {
    fx.Penalise: Effector._penalise,
    fx.CancelFetch: Effector._cancel_fetch,
    fx.ServeBlobs: Effector._serve,
    fx.StopServing: Effector._stop_serving,
    fx.CancelJob: Effector._cancel_job,
}
"""Done without waiting, in the order the rules said so. `Notify` and `DropEffects` are the engine's own."""
