"""What can be asked of a node? Implemented in process by ``service.LocalApi`` and over the socket by ``client.RemoteApi``."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from mesh.api.mediation import SeatsInfo
from mesh.api.types import (
    Added,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    DealInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    RunInfo,
    Submission,
    TraceInfo,
    TxInfo,
)

__all__ = ["NodeApi"]


class NodeApi(Protocol):
    """Every method raises ``MeshError`` with what happened, why and what to type next.

    A run or deal is named by its id or an unambiguous prefix of at least four hexadecimal digits, with or without 0x.
    """

    async def status(self) -> NodeStatus: ...

    async def add(self, path: Path) -> Added:
        """Import a file or folder of this machine (streaming, pinned until its runs are over)."""
        ...

    async def export(self, cid: str, destination: Path) -> None:
        """Write a tree the node holds to a path that does not exist yet."""
        ...

    async def submit(self, submission: Submission) -> str:
        """Start a run; its id. The same job with the same ``run_nonce`` again is the same run."""
        ...

    async def quote(self, submission: Submission) -> tuple[CandidateInfo, ...]:
        """Ask what a job would cost: every offer seen, with the provider's answer. Nothing is signed."""
        ...

    async def runs(self) -> tuple[RunInfo, ...]: ...

    async def run(self, run: str) -> RunInfo: ...

    def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        """The trace of one run, oldest first; ``follow`` goes on until cancelled. An empty ``run`` means all."""
        ...

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo:
        """A job's stdout or stderr from ``offset``: from the result once it is here, from the provider while it runs."""
        ...

    async def cancel(self, run: str) -> RunInfo: ...

    async def retry(self, run: str) -> RunInfo: ...

    async def deals(self) -> tuple[DealInfo, ...]: ...

    async def deal(self, deal: str) -> DealInfo: ...

    async def evidence(self, deal: str) -> bytes:
        """Everything signed about a deal, as one canonical file: deal, commits, receipts, log head."""
        ...

    async def offers(self, expression: str = "") -> tuple[OfferInfo, ...]:
        """Live offers that satisfy a constraint expression."""
        ...

    async def peers(self) -> tuple[PeerInfo, ...]: ...

    async def balance(self) -> BalanceInfo: ...

    async def deposit(self, amount: str) -> TxInfo:
        """From the wallet to the free balance in escrow; wei."""
        ...

    async def withdraw(self, amount: str) -> TxInfo:
        """Ask for (first call) or take out (after the delay) free balance."""
        ...

    async def stake(self, amount: str) -> TxInfo: ...

    async def unstake(self, amount: str) -> TxInfo: ...

    async def channels(self) -> tuple[ChannelInfo, ...]:
        """Every payment channel this node is party of."""
        ...

    async def channel(self, verb: str, peer: str, amount: str) -> None:
        """``fund`` (wei), ``close`` or ``redeem`` the channel with a peer; what comes of it is seen in `channels`."""
        ...

    async def seats(self) -> SeatsInfo:
        """This node's seats in the panel, asked of the chain, and their work."""
        ...

    async def join_seats(self, count: int, seat_class: int) -> tuple[TxInfo, ...]:
        """Put up bonds for more seats, from the free balance; one transaction each, and one for the money."""
        ...

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]:
        """Be called no more, or take out what has left; without numbers, all of the class."""
        ...

    async def block(self, peer: str, blocked: bool) -> None:
        """Refuse every connection with a peer, or take it back."""
        ...

    async def drain(self, draining: bool) -> None:
        """Stop, or resume, taking new deals."""
        ...

    async def stop(self) -> None:
        """End the node in an orderly way."""
        ...
