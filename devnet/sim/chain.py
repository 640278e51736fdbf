"""How does the simulated chain make blocks, take them back, and tell the nodes?

One block a second takes the mempool in order. A reorganisation undoes the last blocks: their transactions wait for a block
again, in another order; one that its sender no longer cares for may be lost. Every node reads the chain through a feed of
its own, as far behind as its endpoint is: first the logs, then the head, each once; a restart reads the last ones again.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from devnet.sim.escrow import Escrow, Moved, Reverted, Undo
from protocols import events as ev
from protocols.effects import PostTx
from protocols.hashing import sha256
from protocols.units import Hash32, Millis, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["BLOCK_MS", "Included", "SimChain"]

BLOCK_MS: Final = 1_000
REORG_DEPTH: Final = 2
"""Blocks that can be taken back: more than that never was on a chain that publishes its batches."""
FORGET_PPM: Final = 200_000
"""Share of confirmed transactions that a reorganisation loses for good: their sender has to notice."""


class Included(msgspec.Struct, frozen=True):
    """A transaction that is in a block."""

    name: str
    node: "SimNode"
    tx: PostTx
    moved: Moved
    undo: Undo
    tx_hash: Hash32


class SimChain:
    """Blocks, a mempool, and who is told what."""

    def __init__(self, world: "World", escrow: Escrow) -> None:
        self.world = world
        self.escrow = escrow
        self.block = 0
        self.reorgs = 0
        self.done: dict[str, int] = {}
        """Calls that succeeded, by purpose."""
        self._pool: dict[str, tuple[SimNode, PostTx]] = {}
        self._recent: list[list[Included]] = []
        self._confirmed: dict[str, None] = {}
        """Names whose sender has not heard of it yet: handed in again, they are not executed again."""
        world.at(BLOCK_MS, self._mine)

    @property
    def time(self) -> UnixSeconds:
        """`block.timestamp` of the newest block."""
        return self.time_of(self.block)

    def time_of(self, block: int) -> UnixSeconds:
        """`block.timestamp` of a block."""
        return UnixSeconds(self.world.start + block * BLOCK_MS // 1000)

    def post(self, node: "SimNode", tx: PostTx) -> None:
        """Hand in a transaction; the next block takes it. The same key twice is the same transaction."""
        name = f"{node.me.hex()}:{tx.key}"
        if name in self._confirmed:
            self.world.after(node.feed_ms, lambda: node.confirmed(tx))
        else:
            self._pool.setdefault(name, (node, tx))

    def release(self, node: "SimNode", tx: PostTx) -> None:
        """The sender knows that it is confirmed."""
        self._confirmed.pop(f"{node.me.hex()}:{tx.key}", None)

    def _mine(self) -> None:
        self.block += 1
        pool, self._pool = self._pool, {}
        block = [one for name, (node, tx) in pool.items() if (one := self._execute(name, node, tx)) is not None]
        self._recent = [*self._recent, block][-REORG_DEPTH:]
        for node in self.world.nodes.values():
            node.new_head(self.block, self.time)
        self.world.after(BLOCK_MS, self._mine)

    def _execute(self, name: str, node: "SimNode", tx: PostTx) -> Included | None:
        undo = self.escrow.before(tx)
        try:
            moved = self.escrow.call(node.env.signer.address, tx, self.time, self.world.addresses)
        except Reverted as error:
            reason = str(error)
            self.world.note("reverted", self.block, tx.key, reason)
            self.world.after(node.feed_ms, lambda: node.tx_failed(tx, reason))
            return None
        tx_hash = sha256(b"sim-tx", name.encode())
        self._confirmed[name] = None
        self.done[tx.purpose] = self.done.get(tx.purpose, 0) + 1
        self.world.note("tx", self.block, tx.key, moved.to, int(moved.paid))
        self.world.after(node.feed_ms, lambda: node.confirmed(tx))
        self._log(tx, moved, tx_hash)
        return Included(name, node, tx, moved, undo, tx_hash)

    def _log(self, tx: PostTx, moved: Moved, tx_hash: Hash32) -> None:
        event = ev.DealMovedOnChain(
            at=Millis(0),
            deal_id=moved.deal_id,
            to=moved.to,
            tx=tx_hash,
            block=self.block,
            timestamp=self.time,
            paid=moved.paid,
            result_hash=moved.result_hash,
        )
        for address in (tx.deal.client, tx.deal.provider):
            party = self.world.by_address.get(address)
            if party is not None:
                party.feed.append((self.block, event))

    def reorganise(self) -> None:
        """Take back the newest blocks; the chain goes on at the same height, with what it loses."""
        undone = [one for block in self._recent for one in block]
        self._recent = []
        if not undone:
            return
        self.reorgs += 1
        self.world.note("reorg", self.block, [one.tx.key for one in undone])
        for one in reversed(undone):
            self.escrow.undo(one.undo)
            event = ev.DealRetractedOnChain(at=Millis(0), deal_id=one.moved.deal_id, was=one.moved.to, tx=one.tx_hash)
            for address in (one.tx.deal.client, one.tx.deal.provider):
                party = self.world.by_address.get(address)
                if party is not None:
                    party.feed.append((self.block, event))
        rng = self.world.rng
        rng.shuffle(undone)
        for one in undone:
            waiting = self._confirmed.pop(one.name, 0) is None
            if waiting or rng.randrange(1_000_000) >= FORGET_PPM:
                self._pool.setdefault(one.name, (one.node, one.tx))
