"""How does the simulated chain make blocks, take them back, and tell the nodes?

Escrow, panel and channels stand on it: a deal's moves and a channel's go to its parties, a dispute's logs also to the seats
that are called to it.

One block a second takes the mempool in order. A reorganisation undoes the last blocks: their transactions wait for a block
again, in another order; one that its sender no longer cares for may be lost. Every node reads the chain through a feed of
its own, as far behind as its endpoint is: first the logs, then the head, each once; a restart reads the last ones again.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from devnet.sim.channels import ChannelMoved
from devnet.sim.escrow import Escrow, Moved, Reverted
from devnet.sim.panel_logs import DISPUTE_LOGS, Log
from protocols import events as ev
from protocols.disputes.file import PanelLog
from protocols.effects import CallPanel, OpenDispute, PostChannelTx, PostTx
from protocols.hashing import sha256
from protocols.units import Address, DealId, Hash32, Millis, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["BLOCK_MS", "Included", "SimChain", "Tx", "purpose_of"]

BLOCK_MS: Final = 1_000
REORG_DEPTH: Final = 2
"""Blocks that can be taken back: more than that never was on a chain that publishes its batches."""
FORGET_PPM: Final = 200_000
"""Share of confirmed transactions that a reorganisation loses for good: their sender has to notice."""
INSIST_MS: Final = 5_000
"""Between tries of a call about a channel that was refused."""


Tx = PostTx | CallPanel | OpenDispute | PostChannelTx
Undoing = Callable[[], None]
Told = ev.DealMovedOnChain | ev.DisputeLogged | ChannelMoved


class Included(msgspec.Struct, frozen=True):
    """A transaction that is in a block. ``told``: what its logs say, and to whom."""

    name: str
    node: "SimNode"
    tx: Tx
    undo: Undoing
    told: tuple[tuple[Told, tuple["SimNode", ...]], ...]


class SimChain:
    """Blocks, a mempool, and who is told what."""

    def __init__(self, world: "World", escrow: Escrow) -> None:
        self.world = world
        self.escrow = escrow
        self.block = 0
        self.reorgs = 0
        self.done: dict[str, int] = {}
        """Calls that succeeded, by purpose."""
        self.refused: dict[str, int] = {}
        """Calls that did not, by purpose and reason."""
        self._logs = 0
        """Of the panel, in the newest block: a log's index in it."""
        self._pool: dict[str, tuple[SimNode, Tx]] = {}
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

    def post(self, node: "SimNode", tx: Tx) -> None:
        """Hand in a transaction; the next block takes it. The same key twice is the same transaction."""
        name = f"{node.me.hex()}:{tx.key}"
        if name in self._confirmed:
            self.world.after(node.feed_ms, lambda: node.confirmed(tx))
        else:
            self._pool.setdefault(name, (node, tx))

    def release(self, node: "SimNode", tx: Tx) -> None:
        """The sender knows that it is confirmed."""
        self._confirmed.pop(f"{node.me.hex()}:{tx.key}", None)

    def _mine(self) -> None:
        self.block, self._logs = self.block + 1, 0
        pool, self._pool = self._pool, {}
        block = [one for name, (node, tx) in pool.items() if (one := self._execute(name, node, tx)) is not None]
        self._recent = [*self._recent, block][-REORG_DEPTH:]
        for node in self.world.nodes.values():
            node.new_head(self.block, self.time)
        self.world.after(BLOCK_MS, self._mine)

    def _execute(self, name: str, node: "SimNode", tx: Tx) -> Included | None:
        try:
            undo, moved, logs = self._call(node, tx)
        except Reverted as error:
            self._refuse(node, tx, str(error))
            return None
        self._confirmed[name] = None
        self.done[purpose_of(tx)] = self.done.get(purpose_of(tx), 0) + 1
        self.world.note("tx", self.block, tx.key, moved.to if moved else "", int(moved.paid) if moved else 0)
        self.world.after(node.feed_ms, lambda: node.confirmed(tx))
        tx_hash = sha256(b"sim-tx", name.encode())
        told: list[tuple[Told, tuple[SimNode, ...]]]
        told = [*self._dispute_told(logs, tx_hash), *self._deal_told(moved, tx_hash), *self._channel_told(tx)]
        if moved and moved.to == "disputed":
            told = [told[-1], *told[:-1]]  # the escrow says so first
        for event, nodes in told:
            for one in nodes:
                one.feed.append((self.block, event))
        return Included(name, node, tx, undo, tuple(told))

    def _refuse(self, node: "SimNode", tx: Tx, reason: str) -> None:
        self.world.note("reverted", self.block, tx.key, reason)
        self.refused[f"{purpose_of(tx)}: {reason}"] = self.refused.get(f"{purpose_of(tx)}: {reason}", 0) + 1
        if isinstance(tx, PostChannelTx) and self.world.channels.worth_it(tx, self.time):
            self.world.after(INSIST_MS, lambda: node.insist(tx))
        else:
            self.world.after(node.feed_ms, lambda: node.tx_failed(tx, reason))

    def _call(self, node: "SimNode", tx: Tx) -> tuple[Undoing, Moved | None, tuple[Log, ...]]:
        """Carry out one call: how to take it back, how a deal moved, what the panel logged. Raises ``Reverted``."""
        escrow, panel, sender = self.escrow, self.world.panel, node.env.signer.address
        if isinstance(tx, PostTx):
            was = escrow.before(tx)
            moved = escrow.call(sender, tx, self.time, self.world.addresses)
            return lambda: escrow.undo(was), moved, ()
        if isinstance(tx, PostChannelTx):
            back = self.world.channels.before(sender, tx)
            self.world.channels.call(sender, tx, self.time)
            return back, None, ()
        if panel is None:
            raise Reverted("NoPanel")
        undo = panel.before(sender, tx.deal_id, tx.deal if isinstance(tx, OpenDispute) else None)
        result = panel.perform(sender, tx, self.time, self.world.addresses)
        return undo, result.moved, result.logs

    def _deal_told(self, moved: Moved | None, tx_hash: Hash32) -> Iterator[tuple[Told, tuple["SimNode", ...]]]:
        if moved is None:
            return
        event = ev.DealMovedOnChain(
            at=Millis(0),
            deal_id=moved.deal_id,
            to=moved.to,
            tx=tx_hash,
            block=self.block,
            timestamp=self.time,
            paid=moved.paid,
            result_hash=moved.result_hash,
            refund=moved.refund,
            returned=moved.returned,
        )
        yield event, self._parties(moved.deal.client, moved.deal.provider)

    def _channel_told(self, tx: Tx) -> Iterator[tuple[Told, tuple["SimNode", ...]]]:
        if isinstance(tx, PostChannelTx):
            channel = tx.channel
            yield ChannelMoved(channel.client, channel.provider), self._parties(channel.client, channel.provider)

    def _parties(self, *who: Address) -> tuple["SimNode", ...]:
        found = (self.world.by_address.get(address) for address in who)
        return tuple(node for node in found if node is not None)

    def _dispute_told(self, logs: tuple[Log, ...], tx_hash: Hash32) -> Iterator[tuple[Told, tuple["SimNode", ...]]]:
        """The panel's logs about a dispute, as the shipped follower reads them."""
        for log in logs:
            self._logs += 1
            if log.by != "panel" or log.name not in DISPUTE_LOGS:
                continue
            deal_id = DealId(log.topics[1])
            kept = PanelLog(self.block, self._logs, tx_hash, log.topics, log.data)
            event = ev.DisputeLogged(at=Millis(0), deal_id=deal_id, log=kept)
            yield event, self.world.listeners(deal_id)

    def reorganise(self) -> None:
        """Take back the newest blocks; the chain goes on at the same height, with what it loses."""
        undone = [one for block in self._recent for one in block]
        self._recent = []
        if not undone:
            return
        self.reorgs += 1
        self.world.note("reorg", self.block, [one.tx.key for one in undone])
        for one in reversed(undone):
            one.undo()
            for event, nodes in reversed(one.told):
                gone = _retraction(event)
                for node in nodes:
                    node.feed.append((self.block, gone))
        rng = self.world.rng
        rng.shuffle(undone)
        for one in undone:
            waiting = self._confirmed.pop(one.name, 0) is None
            if waiting or rng.randrange(1_000_000) >= FORGET_PPM:
                self._pool.setdefault(one.name, (one.node, one.tx))


def purpose_of(tx: Tx) -> str:
    """What a call is for, in few words."""
    return "dispute" if isinstance(tx, OpenDispute) else tx.purpose.partition(":")[0]


def _retraction(event: Told) -> ev.DealRetractedOnChain | ev.DisputeRetracted | ChannelMoved:
    if isinstance(event, ChannelMoved):
        return event  # time to look again
    if isinstance(event, ev.DisputeLogged):
        return ev.DisputeRetracted(at=Millis(0), deal_id=event.deal_id, tx=event.log.tx, index=event.log.index)
    return ev.DealRetractedOnChain(at=Millis(0), deal_id=event.deal_id, was=event.to, tx=event.tx)
