"""What do the effects need of the parts that perform them: blobs, jobs and the escrow?"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from mesh.questions import ChainViews
from protocols import effects as fx
from protocols.deals.states import LocalResult, Ran
from protocols.messages.negotiation import InputRoot
from protocols.units import Cid, DealId, Hash32, PeerId, RunId

__all__ = ["Artifacts", "ChainPort", "FetchGaveUp", "Report", "Runs", "TxRejected", "Waits"]

Waits = Callable[[bool, str], Awaitable[None]]
"""``waits(ours, why)``: a pull is not complete, and whether this machine is to blame for that or the network."""
Report = Callable[[LocalResult], Awaitable[None]]
"""``report(result)``: what came of a job; on return that is durable."""


class FetchGaveUp(Exception):
    """A pull ended for good. ``code`` is ``refused``, ``too_large``, ``malformed`` or ``timeout``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class TxRejected(Exception):
    """A transaction can never succeed: the contract said why."""


class Artifacts(Protocol):
    """Pulls and serves blobs."""

    async def fetch(
        self,
        deal_id: DealId,
        peers: tuple[PeerId, ...],
        root: InputRoot,
        progress: Callable[[int, int | None], None],
        waits: Waits | None = None,
    ) -> None:
        """Everything below the root, verified and durable, from whichever of the peers has it. Raises ``FetchGaveUp``.
        ``waits`` is told after every try that did not bring it."""
        ...

    def grant(self, deal_id: DealId, peer: PeerId, roots: tuple[Cid, ...]) -> None:
        """Serve the roots to a peer from now on."""
        ...

    def revoke(self, deal_id: DealId) -> None:
        """Serve nothing of a deal from now on."""
        ...

    async def forget(self, deal_id: DealId) -> None:
        """Let a deal's blobs go when room is needed."""
        ...


class Runs(Protocol):
    """Executes jobs."""

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
        """Run once; our own failures are an outcome too. Cancelled: everything it started is dead. ``seal``: a key to seal
        the result under as well. ``report`` is told the outcome before what was laid out for the job is removed."""
        ...

    async def unseal(self, deal_id: DealId, root: Cid, size: int, key: Hash32) -> tuple[Cid, int]:
        """Open a sealed result and keep it; (root, content bytes). Raises ``FetchGaveUp`` when it is none."""
        ...

    async def compare(
        self, deal_id: DealId, job: bytes, ran: Ran, others: tuple[Ran, ...]
    ) -> tuple[tuple[bool, ...], str]:
        """Whether ``ran`` is the same result as each of the others, at the job's level, and what was found; no answers
        when ``ran`` cannot be compared even with itself."""
        ...

    async def mark(
        self, deal_id: DealId, job: bytes, ran: Ran, keys: tuple[Hash32, ...]
    ) -> tuple[tuple[Hash32, ...], str]:
        """The fingerprints of an output under these keys, at the job's level; none when it cannot be read, and why."""
        ...


class ChainPort(ChainViews, Protocol):
    """The escrow, as the effects need it."""

    async def post(self, tx: fx.PostTx) -> None:
        """Returns when the transaction is confirmed; the same key never posts twice. Raises ``TxRejected``."""
        ...

    async def dispute(self, call: fx.CallPanel | fx.OpenDispute) -> None:
        """The same for a call of the panel; what it needs at the panel is moved there first."""
        ...

    async def prove_fraud(self, proof: fx.ProveFraud) -> None:
        """The same for a proof that a provider has signed two results."""
        ...

    async def post_channel(self, tx: fx.PostChannelTx) -> None:
        """As ``post``, for a call about a channel."""
        ...

    async def release(self, key: str) -> None:
        """The outcome of a key is durable: forget it. Before that, the same key is the same transaction."""
        ...
