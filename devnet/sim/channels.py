"""What does the simulated chain do with channels? The rules of ``Channels.sol``, in Python, on integers.

A call is carried out one block after it was handed in; both parties then read what the channel is now. Owners are operators.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from protocols import events as ev
from protocols.channels.states import pair_of
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher, net_of
from protocols.deals import eip712
from protocols.effects import PostChannelTx
from protocols.units import Address, Millis, Tokens, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.node import SimNode
    from devnet.sim.world import World

__all__ = ["BLOCK_MS", "SimChannels"]

BLOCK_MS: Final = 1_000
LONGEST_S: Final = 365 * 24 * 3_600
EXIT_DELAY_S: Final = 2
_CLOSED: Final = ChannelWord(until=UnixSeconds(0), generation=0, deposit=Tokens(0), redeemed=Tokens(0))


class SimChannels:
    """Every channel of a world, by pair."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.words: dict[bytes, ChannelWord] = {}
        self.posted: list[str] = []
        """Purposes of the calls that succeeded."""
        self.refused: list[str] = []
        self._known: set[tuple[bytes, str]] = set()

    def held(self) -> int:
        """What all open channels hold, in wei, unburned fees among it."""
        return sum(w.deposit - w.redeemed + w.redeemed // 100 for w in self.words.values() if w.until)

    def read(self, node: "SimNode", client: Address, provider: Address) -> None:
        """Answer a node with the channel as it is."""
        word = self.words.get(pair_of(client, provider), _CLOSED)
        channel = Channel(client, provider, client, word.generation)
        node.post(ev.ChannelSeen(at=Millis(self.world.now), channel=channel, word=word))

    def post(self, node: "SimNode", tx: PostChannelTx) -> None:
        """Hand in a call; the same key twice is the same call."""
        if (node.me, tx.key) in self._known:
            node.acknowledge(tx.key)
            return
        self._known.add((node.me, tx.key))
        self.world.after(BLOCK_MS, lambda: self._execute(node, tx))

    def _execute(self, node: "SimNode", tx: PostChannelTx) -> None:
        channel, sender = tx.channel, node.env.signer.address
        reason = self._call(sender, tx)
        if reason:
            self.refused.append(f"{tx.purpose}: {reason}")
            failed = ev.ChannelTxFailed(at=self.world.now, pair=tx.pair, purpose=tx.purpose, reason=reason)
            node.post(failed, (tx.key,))
            return
        self.posted.append(tx.purpose)
        node.acknowledge(tx.key)
        for address in (channel.client, channel.provider):
            party = self.world.by_address.get(address)
            if party is not None and party.up:
                self.read(party, channel.client, channel.provider)

    def _call(self, sender: Address, tx: PostChannelTx) -> str:
        """Empty, or the contract's error."""
        channel, now = tx.channel, self.world.chain.time
        word = self.words.get(tx.pair, _CLOSED)
        if tx.purpose == "fund":
            return self._fund(sender, tx, word, now)
        if not word.until or word.generation != channel.generation:
            return "ChannelNotOpen"
        match tx.purpose:
            case "redeem" if sender != channel.provider:
                return "NotChannelProvider"
            case "redeem" if tx.amount <= word.redeemed:
                return "StaleVoucher"
            case "redeem":
                return self._earn(tx, word, Voucher, channel.client)
            case "request_close" if sender != channel.client:
                return "NotChannelClient"
            case "request_close" if now + EXIT_DELAY_S >= word.until:
                return "AlreadyClosing"
            case "request_close":
                self.words[tx.pair] = msgspec.structs.replace(word, until=UnixSeconds(now + EXIT_DELAY_S))
            case "close_together":
                other = channel.provider if sender == channel.client else channel.client
                return self._earn(tx, word, ChannelClose, other) or self._close(tx)
            case "close" if now <= word.until and sender != channel.provider:
                return "ChannelStillOpen"
            case "close":
                return self._close(tx)
            case _:
                return "unknown"
        return ""

    def _fund(self, sender: Address, tx: PostChannelTx, word: ChannelWord, now: UnixSeconds) -> str:
        free = self.world.escrow.free
        if free.get(sender, 0) < tx.amount:
            return "InsufficientFree"
        free[sender] -= tx.amount
        until = UnixSeconds(now + LONGEST_S)
        if word.until:
            deposit = Tokens(word.deposit + tx.amount)
            self.words[tx.pair] = msgspec.structs.replace(word, until=until, deposit=deposit)
        else:
            self.words[tx.pair] = ChannelWord(until, word.generation + 1, tx.amount, Tokens(0))
        return ""

    def _earn(self, tx: PostChannelTx, word: ChannelWord, kind: type[Voucher | ChannelClose], other: Address) -> str:
        signed = kind(tx.channel.channel_id, tx.amount, tx.count, tx.deals_root)
        env = next(iter(self.world.nodes.values())).env
        signer = self.world.addresses.get(env.signer.recover(eip712.digest(env.domain, signed), tx.signature))
        if signer != other:
            return "BadSignature"
        if tx.amount > word.deposit:
            return "Overdrawn"
        if tx.amount < word.redeemed:
            return "StaleVoucher"
        free, provider = self.world.escrow.free, tx.channel.provider
        free[provider] = free.get(provider, 0) + net_of(tx.amount, word.redeemed)
        self.words[tx.pair] = msgspec.structs.replace(word, redeemed=tx.amount)
        return ""

    def _close(self, tx: PostChannelTx) -> str:
        word, escrow = self.words[tx.pair], self.world.escrow
        escrow.free[tx.channel.client_owner] += word.deposit - word.redeemed
        escrow.burned += word.redeemed // 100
        self.words[tx.pair] = msgspec.structs.replace(word, until=UnixSeconds(0))
        return ""
