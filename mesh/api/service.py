"""What does a running node answer? The API in process; the socket server only carries it.

It takes ports, never adapters: the engine for state and events, and small protocols for blobs, the wallet and the network.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from mesh.api.channels import channel_command, channel_info
from mesh.api.following import Tail
from mesh.api.lookup import one_run
from mesh.api.mediation import SeatsInfo
from mesh.api.reading import MAX_TRACE_LINES, HomeReader, StoredBlobs, TracePort, trace_info
from mesh.api.submission import market_terms
from mesh.api.text import candidate_info, offer_info
from mesh.api.types import (
    Added,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    RunInfo,
    Submission,
    TraceInfo,
    TxInfo,
)
from mesh.base.clock import Clock
from mesh.base.entropy import Entropy
from mesh.base.errors import MeshError, UsageError
from mesh.engine import Engine
from protocols import events as ev
from protocols import views
from protocols.effects import Notify
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.job.constraints import parse_constraint, why_not
from protocols.job.peers import peer_from_text
from protocols.job.problems import BadValue
from protocols.messages.negotiation import InputRoot
from protocols.messages.transfer import LogPart
from protocols.offers.matching import facts_of
from protocols.reputation import lower_bound
from protocols.transfer.cid import cid_text, parse_cid
from protocols.units import Cid, DealId, Hash32, PeerId, RunId

__all__ = ["LocalApi", "NetworkPort", "Wallet"]

QUOTE_LIMIT_S: Final = 30.0


class Artifacts(StoredBlobs, Protocol):
    """Imports, exports and reads of the blob store."""

    async def add(self, path: Path, owner: bytes, *, hard_links: bool = False) -> tuple[Cid, int]: ...

    async def used_bytes(self) -> int:
        """What is held now."""
        ...


class LogPort(Protocol):
    """Logs of a job that still runs elsewhere."""

    async def pull(self, provider: PeerId, deal_id: DealId, stream: str, offset: int) -> LogPart: ...


class Wallet(Protocol):
    """The owner's money."""

    async def balance(self) -> BalanceInfo: ...

    async def deposit(self, amount: int) -> TxInfo: ...

    async def withdraw(self, amount: int) -> TxInfo: ...

    async def stake(self, amount: int) -> TxInfo: ...

    async def unstake(self, amount: int) -> TxInfo: ...

    async def seats(self) -> SeatsInfo: ...

    async def join_seats(self, count: int, seat_class: int) -> tuple[TxInfo, ...]: ...

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]: ...


class HomePort(TracePort, Protocol):
    """The store of a running node."""

    async def until_trouble(self) -> MeshError:
        """Return when nothing can be made durable, and why."""
        ...


class NetworkPort(Protocol):
    """Peers, as the API shows them."""

    def peer_infos(self) -> tuple[PeerInfo, ...]: ...

    def block(self, peer: PeerId, blocked: bool) -> None: ...


class LocalApi(HomeReader):
    """``NodeApi`` inside the node's own process."""

    def __init__(
        self,
        engine: Engine,
        store: HomePort,
        artifacts: Artifacts,
        logs: LogPort,
        wallet: Wallet,
        network: NetworkPort,
        clock: Clock,
        entropy: Entropy,
        describe: Callable[[], NodeStatus],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(engine, store, artifacts, engine.env.domain)
        self._home = store
        self._engine = engine
        self._artifacts = artifacts
        self._logs = logs
        self._wallet = wallet
        self._network = network
        self._clock = clock
        self._entropy = entropy
        self._describe = describe
        self._stop = stop

    async def status(self) -> NodeStatus:
        """See ``NodeApi``."""
        return msgspec.structs.replace(self._describe(), blobs_bytes=await self._artifacts.used_bytes())

    async def add(self, path: Path) -> Added:
        """See ``NodeApi``."""
        if not path.exists():
            raise UsageError(f"{path} cannot be imported", why="it does not exist", fix=f"ls {path.parent}")
        cid, size = await self._artifacts.add(path, b"user", hard_links=True)
        return Added(cid=cid_text(cid), size=size)

    async def submit(self, submission: Submission) -> str:
        """See ``NodeApi``."""
        job = CanonicalJob.decode(submission.job)
        nonce = submission.run_nonce
        if nonce is None:
            nonce = int.from_bytes(self._entropy.bytes(8), "big") >> 1
        run_id = run_id_of(job_id_of(job), self._engine.env.signer.address, nonce)
        await self._post(
            ev.RunSubmitted(
                at=self._clock.monotonic_ms(),
                job=submission.job,
                inputs=_roots(submission),
                market=market_terms(submission),
                run_nonce=nonce,
                entropy=Hash32(self._entropy.bytes(32)),
                wall=self._clock.unix_s(),
            )
        )
        return "0x" + run_id.hex()

    async def _post(self, event: ev.Event) -> None:
        """Hand in what the owner asks for. Raises ``MeshError`` when the node has no room to make it durable."""
        trouble: list[MeshError] = []

        async def watch() -> None:
            trouble.append(await self._home.until_trouble())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await self._engine.post(event)
            trouble.clear()
            nursery.cancel_scope.cancel()
        if trouble:
            why = f"{trouble[0].what}: {trouble[0].why}"
            raise MeshError("this node takes no work at the moment", why=why, fix=trouble[0].fix)

    async def quote(self, submission: Submission) -> tuple[CandidateInfo, ...]:
        """See ``NodeApi``."""
        quote_id = RunId(self._entropy.bytes(32))
        closed = trio.Event()

        def hear(notice: Notify, _wall: int, _place: int) -> None:
            if notice.subject == quote_id and notice.name == "quote.closed":
                closed.set()

        forget = self._engine.listen(hear)
        try:
            await self._post(
                ev.QuoteRequested(
                    at=self._clock.monotonic_ms(),
                    quote_id=quote_id,
                    job=submission.job,
                    inputs=_roots(submission),
                    market=market_terms(submission),
                    entropy=Hash32(self._entropy.bytes(32)),
                )
            )
            with trio.move_on_after(QUOTE_LIMIT_S):
                await closed.wait()
        finally:
            forget()
        found = self._engine.view(lambda state: views.quote_candidates(state, quote_id)) or ()
        return tuple(candidate_info(one) for one in found)

    async def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        """See ``NodeApi``."""
        subject = one_run(self._engine, run).run_id if run else None
        tail = Tail(subject)
        forget = self._engine.listen(tail.hear)
        try:
            while True:
                records = await self.read_trace(subject, since)
                for record in records:
                    since = record.seq
                    yield trace_info(record)
                if len(records) >= MAX_TRACE_LINES:
                    continue
                if not follow:
                    return
                while (lines := await tail.after(since)) is not None:
                    for line in lines:
                        since = line.seq
                        yield line
        finally:
            forget()

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo:
        """See ``NodeApi``."""
        view = self.viewed(run, stream)
        found = await self.result_log(view, stream, offset)
        if found is not None:
            return found
        live = view.status in ("searching", "dealing")
        deal = view.deals[-1] if view.deals else None
        if deal is None or deal.phase not in ("committed", "running"):
            return LogInfo(data=b"", live=live)
        part = await self._logs.pull(deal.provider, deal.deal_id, stream, offset)
        return LogInfo(data=part.data, live=True)

    async def cancel(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        view = one_run(self._engine, run)
        if view.status in ("done", "failed", "cancelled"):
            raise UsageError(f"run {run} cannot be cancelled", why=f"it is {view.status}", fix=f"mesh describe {run}")
        await self._post(ev.CancelRequested(at=self._clock.monotonic_ms(), run_id=view.run_id))
        after = await self.run(view.run_id.hex())
        if after.status == "dealing":
            why = "the job has ended and its result is on its way; it will be paid for"
            raise UsageError(f"run {run} cannot be cancelled any more", why=why, fix=f"mesh wait {run}")
        return after

    async def retry(self, run: str) -> RunInfo:
        """See ``NodeApi``."""
        view = one_run(self._engine, run)
        if view.status not in ("failed", "cancelled"):
            raise UsageError(f"run {run} cannot be retried", why=f"it is {view.status}", fix=f"mesh describe {run}")
        await self._post(ev.RetryRequested(at=self._clock.monotonic_ms(), run_id=view.run_id))
        return await self.run(view.run_id.hex())

    async def offers(self, expression: str = "") -> tuple[OfferInfo, ...]:
        """See ``NodeApi``."""
        wanted = None
        if expression:
            try:
                wanted = parse_constraint(expression).expression
            except BadValue as error:
                raise UsageError(
                    "the expression cannot be read", why=str(error), fix="mesh offers 'cpus >= 2'"
                ) from error
        now, ttl = self._clock.unix_s(), self._engine.env.params.offer_ttl
        offers = self._engine.view(lambda state: state.market.offers.live(now))
        known = self._engine.view(
            lambda state: {p: b for p, r in state.records.items() if (b := lower_bound(r, state.chain_now)) is not None}
        )
        shown = []
        for offer in offers:
            bound = known.get(offer.provider)
            measured: Mapping[str, int] = {} if bound is None else {"reliability": bound}
            if wanted is None or why_not(wanted, facts_of(offer, measured)) is None:
                shown.append(offer_info(offer, bound, max(now - (offer.expires - ttl), 0)))
        return tuple(shown)

    async def peers(self) -> tuple[PeerInfo, ...]:
        """See ``NodeApi``."""
        return self._network.peer_infos()

    async def balance(self) -> BalanceInfo:
        """See ``NodeApi``."""
        return await self._wallet.balance()

    async def deposit(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._wallet.deposit(int(amount))

    async def withdraw(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._wallet.withdraw(int(amount))

    async def stake(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._wallet.stake(int(amount))

    async def unstake(self, amount: str) -> TxInfo:
        """See ``NodeApi``."""
        return await self._wallet.unstake(int(amount))

    async def channels(self) -> tuple[ChannelInfo, ...]:
        """See ``NodeApi``."""
        return self._engine.view(lambda state: tuple(channel_info(half) for half in state.durable.channels.values()))

    async def channel(self, verb: str, peer: str, amount: str) -> None:
        """See ``NodeApi``."""
        command = channel_command(verb, peer, amount, self._clock.monotonic_ms())
        await self._engine.post(command)

    async def seats(self) -> SeatsInfo:
        """See ``NodeApi``."""
        return await self._wallet.seats()

    async def join_seats(self, count: int, seat_class: int) -> tuple[TxInfo, ...]:
        """See ``NodeApi``."""
        return await self._wallet.join_seats(count, seat_class)

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]:
        """See ``NodeApi``."""
        return await self._wallet.leave_seats(seat_class, numbers)

    async def block(self, peer: str, blocked: bool) -> None:
        """See ``NodeApi``."""
        try:
            self._network.block(peer_from_text(peer), blocked)
        except BadValue as error:
            raise UsageError(f"{peer} is no PeerId", why=str(error), fix="mesh peers") from error

    async def drain(self, draining: bool) -> None:
        """See ``NodeApi``."""
        await self._post(ev.DrainRequested(at=self._clock.monotonic_ms(), draining=draining))

    async def stop(self) -> None:
        """See ``NodeApi``."""
        self._stop()


def _roots(submission: Submission) -> tuple[InputRoot, ...]:
    return tuple(InputRoot(root=parse_cid(one.cid), size=one.size) for one in submission.inputs)
