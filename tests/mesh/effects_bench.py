"""What stands in for the node's parts where effects are tested? One object that does what it was given to do."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from devnet.sim.memory_link import MemoryLink
from mesh.chain.errors import ChainUnreachable
from mesh.effects import Effector
from mesh.ports import Report
from protocols import effects as fx
from protocols import events as ev
from protocols.contracts.channels import Channel, ChannelWord
from protocols.deals.states import LocalResult, Ran
from protocols.hashing import keccak256
from protocols.messages.beacon import BeaconRound
from protocols.messages.negotiation import InputRoot
from protocols.units import ZERO_HASH, Address, Cid, DealId, Hash32, PeerId, RunId, Tokens

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

__all__ = ["RESULT", "Bench", "Parts"]

RESULT = LocalResult(outcome=0, exit_code=0, fuel=1, wall_ms=1, root=Cid(b"r"), size=1, log_head=ZERO_HASH, detail="")


class Parts:
    """Artifacts, executor and chain in one: each call takes the next of what it was given to do."""

    def __init__(self) -> None:
        self.given: list[Exception | None] = []
        self.calls: list[str] = []
        self.blamed: list[bool] = []
        self.step: Callable[[], None] = lambda: None
        """Whom a pull blames, one try after the other."""
        self.began = trio.Event()
        self.go = trio.Event()
        self.cancelled = trio.Event()

    async def _next(self, what: str) -> None:
        self.calls.append(what)
        if self.given:
            error = self.given.pop(0)
            if error is not None:
                raise error
        await trio.lowlevel.checkpoint()

    async def _wait(self) -> None:
        self.began.set()
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.cancelled.set()
            raise

    async def fetch(
        self, deal_id: DealId, peers: tuple[PeerId, ...], root: InputRoot, progress: Any, waits: Any = None
    ) -> None:
        await self._next("fetch")
        for ours in self.blamed if waits else ():
            await waits(ours, "why")
        for done in range(100):
            self.step()
            progress(done, None)
        await self._wait()

    def grant(self, deal_id: DealId, peer: PeerId, roots: tuple[Cid, ...]) -> None:
        self.calls.append("grant")

    def revoke(self, deal_id: DealId) -> None:
        self.calls.append("revoke")

    async def forget(self, deal_id: DealId) -> None:
        await self._next("forget")

    async def run(
        self,
        deal_id: DealId,
        run_id: RunId,
        job: bytes,
        report: Report,
        *,
        audit: bool,
        cancel: trio.Event,
        seal: bytes = b"",
    ) -> None:
        await self._next("run")
        self.began.set()
        await cancel.wait()
        await report(RESULT)

    async def unseal(self, deal_id: DealId, root: Cid, size: int, key: Hash32) -> tuple[Cid, int]:
        await self._next("unseal")
        return root, size

    async def compare(
        self, deal_id: DealId, job: bytes, ran: Ran, others: tuple[Ran, ...]
    ) -> tuple[tuple[bool, ...], str]:
        await self._next("compare")
        return tuple(one.root == ran.root for one in others), "looked at"

    async def mark(
        self, deal_id: DealId, job: bytes, ran: Ran, keys: tuple[Hash32, ...]
    ) -> tuple[tuple[Hash32, ...], str]:
        await self._next("mark")
        return tuple(keccak256(key, ran.root) for key in keys), ""

    async def fetch_round(self, number: int) -> BeaconRound | None:
        await self._next("round")
        return BeaconRound(number, bytes(48)) if number % 2 else None

    async def account(self, operator: Address) -> tuple[Tokens, Tokens]:
        await self._next("account")
        return Tokens(3), Tokens(4)

    async def seats(self, asked: fx.ReadSeats) -> tuple[int, int]:
        await self._next("seats")
        return 12, 11

    async def post(self, tx: fx.PostTx) -> None:
        await self._next("post")

    async def post_channel(self, tx: fx.PostChannelTx) -> None:
        await self._next("post_channel")

    async def read_channel(self, client: Address, provider: Address, owner: Address) -> tuple[Channel, ChannelWord]:
        await self._next("read_channel")
        raise ChainUnreachable("no endpoint answers", fix="mesh doctor")

    async def dispute(self, call: fx.CallPanel | fx.OpenDispute) -> None:
        await self._next("dispute")

    async def release(self, key: str) -> None:
        self.calls.append("release")


class Bench:
    """An effector over a hub and ``Parts``."""

    def __init__(self, loop: "Loop", link: MemoryLink, parts: Parts) -> None:
        self.loop, self.link, self.parts = loop, link, parts
        self.effector = Effector(loop.engine, link, parts, parts, parts, parts, loop.clock)

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(partial(self.effector.run))
        self.loop.engine.connect(self.effector.perform, self.effector.forget)

    def deal_events(self, kind: type[ev.Event]) -> list[Any]:
        return self.loop.script.of(kind)
