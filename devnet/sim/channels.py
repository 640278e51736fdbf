"""What does the simulated chain do with channels? The rules of ``Channels.sol``, in Python, on integers.

A call waits for a block like any other, fails with the contract's errors and can be undone, which is what a reorganisation
does. A log says that it is time to look: both parties then read what the channel is. Owners are operators here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from devnet.sim.escrow import Reverted
from protocols import events as ev
from protocols.channels.states import ENDS_SOON, pair_of
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher, net_of
from protocols.deals import eip712
from protocols.effects import PostChannelTx
from protocols.errors import RemoteProtocolError
from protocols.units import Address, Millis, Seconds, Tokens, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.world import World

__all__ = ["ChannelMoved", "SimChannels"]

LONGEST_S: Final = 365 * 24 * 3_600
EXIT_DELAY: Final = Seconds(10)
"""Longer than the slowest endpoint is behind, twice: for who was away no longer than that."""
FEE_DIVISOR: Final = 100
_CLOSED: Final = ChannelWord(until=UnixSeconds(0), generation=0, deposit=Tokens(0), redeemed=Tokens(0))
_INSISTED: Final = frozenset({"redeem", "request_close", "close"})
"""Calls that the shipped ledger tries again after a refusal: what is given up there is lost, or stays locked for a year."""


class ChannelMoved(msgspec.Struct, frozen=True):
    """A log about a channel of this pair. Who reads it looks what the channel is now."""

    client: Address
    provider: Address


class SimChannels:
    """Every channel of a world, by pair."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.words: dict[bytes, ChannelWord] = {}
        self.redeemed: dict[tuple[bytes, int], int] = {}
        """What each generation of a channel has paid in all, its fee included."""
        self.posted: list[str] = []
        """Purposes of the calls that succeeded, in their order."""
        self.undone: set[bytes] = set()
        """Pairs whose money a reorganisation has taken back, if only for a block."""
        self.exit_delay = EXIT_DELAY

    def held(self) -> int:
        """What all open channels hold, in wei, unburned fees among it."""
        return sum(w.deposit - w.redeemed + w.redeemed // FEE_DIVISOR for w in self.words.values() if w.until)

    def seen(self, client: Address, provider: Address) -> ev.ChannelSeen:
        """The channel as it is."""
        word = self.words.get(pair_of(client, provider), _CLOSED)
        channel = Channel(client, provider, client, word.generation)
        return ev.ChannelSeen(at=Millis(self.world.now), channel=channel, word=word)

    def before(self, sender: Address, tx: PostChannelTx) -> Callable[[], None]:
        """Remember everything that a call could change; call the answer to put it back, in the reverse order of the calls."""
        escrow, channel, pair = self.world.escrow, tx.channel, tx.pair
        was = escrow.remember(None, sender, channel.client, channel.provider)
        word = self.words.get(pair)
        name = (pair, word.generation if word else 0)
        paid = self.redeemed.get(name, 0)

        def undo() -> None:
            escrow.undo(was)
            self.redeemed[name] = paid
            if tx.purpose == "fund":
                self.undone.add(pair)
            if word is None:
                self.words.pop(pair, None)
            else:
                self.words[pair] = word

        return undo

    def worth_it(self, tx: PostChannelTx, now: UnixSeconds) -> bool:
        """Whether a call that was refused may succeed later: as `mesh.ledger.insisting` decides."""
        word, generation = self.words.get(tx.pair, _CLOSED), tx.channel.generation
        if tx.purpose not in _INSISTED or word.generation > generation:
            return False
        if word.generation < generation:
            return True
        if not word.until:
            return False
        if tx.purpose == "request_close":
            return word.until - now >= ENDS_SOON
        return tx.purpose == "close" or word.redeemed < tx.amount

    def call(self, sender: Address, tx: PostChannelTx, now: UnixSeconds) -> None:
        """Carry out one call. Raises ``Reverted``, and then nothing has changed."""
        self._call(sender, tx, now)
        self.posted.append(tx.purpose)

    def _call(self, sender: Address, tx: PostChannelTx, now: UnixSeconds) -> None:
        channel = tx.channel
        word = self.words.get(tx.pair, _CLOSED)
        if tx.purpose == "fund":
            self._fund(sender, tx, word, now)
            return
        if not word.until or word.generation != channel.generation:
            raise Reverted("ChannelNotOpen")
        match tx.purpose:
            case "redeem" if sender != channel.provider:
                raise Reverted("NotChannelProvider")
            case "redeem" if tx.amount <= word.redeemed:
                raise Reverted("StaleVoucher")
            case "redeem":
                self._earn(tx, word, Voucher, channel.client)
            case "request_close" if sender != channel.client:
                raise Reverted("NotChannelClient")
            case "request_close" if now + self.exit_delay >= word.until:
                raise Reverted("AlreadyClosing")
            case "request_close":
                self.words[tx.pair] = msgspec.structs.replace(word, until=UnixSeconds(now + self.exit_delay))
            case "close_together" if sender not in (channel.client, channel.provider):
                raise Reverted("NotChannelParty")
            case "close_together":
                other = channel.provider if sender == channel.client else channel.client
                self._earn(tx, word, ChannelClose, other)
                self._close(tx)
            case "close" if now <= word.until and sender != channel.provider:
                raise Reverted("ChannelStillOpen")
            case "close":
                self._close(tx)
            case _:
                raise Reverted("")

    def _fund(self, sender: Address, tx: PostChannelTx, word: ChannelWord, now: UnixSeconds) -> None:
        if sender != tx.channel.client:
            raise Reverted("NotChannelClient")
        self.world.escrow.take_free(sender, tx.amount)
        until = UnixSeconds(now + LONGEST_S)
        if word.until:
            deposit = Tokens(word.deposit + tx.amount)
            self.words[tx.pair] = msgspec.structs.replace(word, until=until, deposit=deposit)
        else:
            self.words[tx.pair] = ChannelWord(until, word.generation + 1, tx.amount, Tokens(0))

    def _earn(self, tx: PostChannelTx, word: ChannelWord, kind: type[Voucher | ChannelClose], other: Address) -> None:
        signed = kind(tx.channel.channel_id, tx.amount, tx.count, tx.deals_root)
        env = next(iter(self.world.nodes.values())).env
        try:
            signer = env.signer.recover(eip712.digest(env.domain, signed), tx.signature)
        except RemoteProtocolError as error:
            raise Reverted("BadSignature") from error
        if self.world.addresses.get(signer) != other:
            raise Reverted("BadSignature")
        if tx.amount > word.deposit:
            raise Reverted("Overdrawn")
        if tx.amount < word.redeemed:
            raise Reverted("StaleVoucher")
        self.world.escrow.give_free(tx.channel.provider, net_of(tx.amount, word.redeemed))
        self.words[tx.pair] = msgspec.structs.replace(word, redeemed=tx.amount)
        self.redeemed[tx.pair, word.generation] = tx.amount

    def _close(self, tx: PostChannelTx) -> None:
        word, escrow = self.words[tx.pair], self.world.escrow
        escrow.give_free(tx.channel.client_owner, word.deposit - word.redeemed)
        escrow.burned += word.redeemed // FEE_DIVISOR
        self.words[tx.pair] = msgspec.structs.replace(word, until=UnixSeconds(0))
