"""Do the two halves of a channel agree, whatever the chain's timing and a hostile client? A hypothesis machine.

The chain here is the model of `devnet.sim.channels` cut down to one channel; every signature is a real one. The client's
half is honest, and beside it somebody with the client's key signs whatever a test can think of.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devnet.sim.samples import Samples
from protocols.channels import client, provider
from protocols.channels import inputs as ins
from protocols.channels.merkle import Frontier
from protocols.channels.states import Book, ChannelState, Closed, Closing, Open, book_of
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher, deals_root
from protocols.deals import eip712
from protocols.effects import Effect, PostChannelTx, SendDurably
from protocols.envelope import parse_envelope
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.messages.channel import CloseConsent, VoucherNotice
from protocols.messages.registry import decode_message
from protocols.units import DealId, Hash32, Signature, Tokens, UnixSeconds

YEAR = 365 * 24 * 3600
DELAY = 3 * 24 * 3600
SAMPLES = Samples(10**15)
ME, THEM = SAMPLES.client, SAMPLES.provider
ENV_C, ENV_P = SAMPLES.env(ME), SAMPLES.env(THEM)


def sign(value: eip712.SignedStruct) -> Signature:
    return ME.sign(eip712.digest(SAMPLES.domain, value))


def message_of(effect: Effect) -> Any:
    assert isinstance(effect, SendDurably)
    return decode_message(parse_envelope(effect.data, max_bytes=1 << 16))


class Pair(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = UnixSeconds(1_000_000_000)
        self.word = ChannelWord(until=UnixSeconds(0), generation=0, deposit=Tokens(0), redeemed=Tokens(0))
        self.client: ChannelState | None = None
        self.provider: ChannelState | None = None
        self.wire: list[VoucherNotice] = []
        self.signed: list[VoucherNotice] = []
        self.paid: list[DealId] = []
        self.number = 0
        self.taken: list[tuple[DealId, int]] = []
        """What the provider has signed for: the deal owed for, and the one that is made ready behind it."""
        self.price = Tokens(0)
        self.posted: list[tuple[str, PostChannelTx]] = []

    # --- the world ---------------------------------------------------------------------------------------------

    def channel(self) -> Channel:
        return Channel(ME.address, THEM.address, ME.address, self.word.generation)

    def steps(self, role: str, event: ins.ChannelInput) -> tuple[Effect, ...]:
        machine, env, state = (client, ENV_C, self.client) if role == "client" else (provider, ENV_P, self.provider)
        if state is None:  # of a channel that nobody awaits a node wants to know nothing
            return ()
        step: ins.Step = machine.advance(state, event, ins.Ctx(env, self.now))
        new, effects = step
        if role == "client":
            self.client = new
        else:
            if isinstance(new, Closed) and not isinstance(state, Closed):
                # What waited never begins; what was begun stays owed for, unless the provider itself has ended it.
                del self.taken[1 if isinstance(state, Closing) else 0 :]
            self.provider = new
        self.keep(role, effects)
        return effects

    def keep(self, role: str, effects: tuple[Effect, ...]) -> None:
        self.posted += [(role, one) for one in effects if isinstance(one, PostChannelTx)]

    def read(self) -> None:
        for role in ("client", "provider"):
            state = self.client if role == "client" else self.provider
            if state is not None:
                self.steps(role, ins.Seen(self.channel(), THEM.peer_id if role == "client" else ME.peer_id, self.word))

    @initialize()
    def opens(self) -> None:
        wanted = ins.FundWanted(ME.address, THEM.address, THEM.peer_id, Tokens(1_000))
        self.client, effects = client.fund(wanted, ins.Ctx(ENV_C, self.now))
        self.keep("client", effects)
        self.mines()

    @rule()
    def mines(self) -> None:
        """Every transaction that waits, by the contract's rules."""
        while self.posted:
            role, tx = self.posted.pop(0)
            refused = self.executes(role, tx)
            if refused:
                self.steps(role, ins.TxRefused(tx.purpose, refused))
        self.read()

    def executes(self, role: str, tx: PostChannelTx) -> str:
        word = self.word
        if tx.purpose == "fund":
            fresh = not word.until
            self.word = ChannelWord(
                until=UnixSeconds(self.now + YEAR),
                generation=word.generation + fresh,
                deposit=Tokens(tx.amount if fresh else word.deposit + tx.amount),
                redeemed=Tokens(0 if fresh else word.redeemed),
            )
            return ""
        if not word.until or tx.channel.generation != word.generation:
            return "ChannelNotOpen"
        earned = (tx.channel.channel_id, tx.amount, tx.count, tx.deals_root)
        match tx.purpose:
            case "redeem":
                if tx.amount <= word.redeemed:
                    return "StaleVoucher"
                self.check(Voucher(*earned), tx.signature)
                self.word = msgspec.structs.replace(word, redeemed=tx.amount)
            case "close_together":
                if tx.amount < word.redeemed:
                    return "StaleVoucher"
                self.check(ChannelClose(*earned), tx.signature)
                self.word = msgspec.structs.replace(word, redeemed=tx.amount, until=UnixSeconds(0))
            case "request_close":
                self.word = msgspec.structs.replace(word, until=UnixSeconds(min(word.until, self.now + DELAY)))
            case "close":
                if self.now <= word.until:
                    return "ChannelStillOpen"
                self.word = msgspec.structs.replace(word, until=UnixSeconds(0))
            case unknown:
                raise AssertionError(f"no call is named {unknown}")
        return ""

    def check(self, value: eip712.SignedStruct, signature: Signature) -> None:
        assert THEM.recover(eip712.digest(SAMPLES.domain, value), signature) == ME.peer_id
        assert value.cumulative <= self.word.deposit  # type: ignore[attr-defined]

    @rule(days=st.sampled_from([0, 1, 4, 40]))
    def time_passes(self, days: int) -> None:
        """The provider looks at the chain at least once in an exit delay; that is all it needs."""
        for _ in range(max(days, 1)):
            self.now = UnixSeconds(self.now + (86_400 if days else 60))
            for role, machine, env in (("provider", provider, ENV_P), ("client", client, ENV_C)):
                state = self.client if role == "client" else self.provider
                due = machine.deadline(state, ins.Ctx(env, self.now)) if state else None
                if due is not None and due <= self.now:
                    self.steps(role, ins.TimePassed())
            self.mines()

    # --- honest trade ------------------------------------------------------------------------------------------

    def is_signed(self) -> bool:
        """Whether the client has paid the deal owed for, be its voucher on its way or lost."""
        return self.taken[0][0] in {notice.deal_id for notice in self.signed}

    @rule(price=st.integers(1, 400))
    def deal(self, price: int) -> None:
        """Signed: the one owed for, or one that is made ready behind it; never a third."""
        deal_id = DealId(keccak256(b"deal", self.number.to_bytes(4)))
        event = ins.DealTaken(ME.address, THEM.address, ME.peer_id, deal_id, Tokens(price))
        if isinstance(self.provider, Closing):
            return
        if len(self.taken) >= (2 if isinstance(self.provider, Open) else 1):
            before = self.provider
            with pytest.raises(RemoteProtocolError, match="voucher comes first"):
                self.steps("provider", event)
            assert self.provider is before
            return
        self.number += 1
        self.taken.append((deal_id, price))
        if self.provider is None:
            self.provider, effects = provider.taken(event)
            self.keep("provider", effects)
            self.read()
        else:
            self.steps("provider", event)

    @precondition(lambda self: self.taken and not self.is_signed())
    @rule()
    def pays(self) -> None:
        """The deal owed for is worked for, accepted and paid, if both still may; else its provider lets it go."""
        deal_id, price = self.taken[0]
        mine, theirs = book_of(self.client), book_of(self.provider)
        covered = isinstance(self.provider, Open) and theirs is not None and theirs.room >= price
        if not covered or mine is None or mine.room < price or mine.channel != theirs.channel:  # type: ignore[union-attr]
            self.lets_go(0)
            return
        (sent,) = self.steps("client", ins.DealPaid(deal_id, Tokens(price)))
        notice = message_of(sent)
        self.signed.append(notice)
        self.wire.append(notice)
        self.price = Tokens(price)

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 1))
    def drops(self, which: int) -> None:
        """The provider gives up a deal that its client has not paid: its own failure, or time is up."""
        if which < len(self.taken) and not (which == 0 and self.is_signed()):
            self.lets_go(which)

    def lets_go(self, which: int) -> None:
        deal_id, _ = self.taken.pop(which)
        self.steps("provider", ins.DealDropped(deal_id))

    @precondition(lambda self: self.wire)
    @rule()
    def arrives(self) -> None:
        """The voucher that is on its way; then the same once more, which changes nothing."""
        notice = self.wire.pop()
        before = book_of(self.provider)
        event = ins.VoucherArrived(notice.deal_id, notice.voucher, notice.signature)
        if (
            before is None
            or before.channel.channel_id != notice.voucher.channel_id
            or isinstance(self.provider, Closed)
        ):
            return
        self.steps("provider", event)
        self.paid.append(notice.deal_id)
        assert self.taken.pop(0)[0] == notice.deal_id
        state = self.provider
        self.steps("provider", event)
        assert self.provider is state

    @rule()
    def closes(self) -> None:
        """The client wants out; its consent may never arrive."""
        for effect in self.steps("client", ins.CloseWanted()):
            consent = message_of(effect)
            assert isinstance(consent, CloseConsent)
            if self.number % 2:
                self.consents(consent)

    def consents(self, consent: CloseConsent) -> None:
        before = book_of(self.provider)
        arrived = ins.CloseArrived(consent.last, consent.signature)
        if (
            before is None
            or not isinstance(self.provider, Open | Closing)
            or consent.last.words() == before.voucher.words()
        ):
            self.steps("provider", arrived)
        else:  # a voucher is still on its way
            with pytest.raises(RemoteProtocolError, match="where vouchers say"):
                self.steps("provider", arrived)

    @rule()
    def redeems(self) -> None:
        if self.provider is not None:
            self.steps("provider", ins.RedeemWanted())

    @precondition(lambda self: isinstance(self.client, Closed) and self.word.until == 0)
    @rule()
    def opens_again(self) -> None:
        self.wire.clear()
        self.paid.clear()
        self.signed.clear()
        self.steps("client", ins.FundWanted(ME.address, THEM.address, THEM.peer_id, Tokens(900)))
        self.mines()

    # --- somebody with the client's key -------------------------------------------------------------------------

    @precondition(lambda self: isinstance(self.provider, Open | Closing))
    @rule(
        more=st.sampled_from([0, 0, 0, 1, -1, 300, -300]),
        count=st.sampled_from([1, 1, 1, 0, 2, -1]),
        root=st.sampled_from(["right", "wrong", "of another deal"]),
        other=st.sampled_from([False, False, False, True]),
        ahead=st.booleans(),
    )
    def forges(self, more: int, count: int, root: str, other: bool, ahead: bool) -> None:
        """Any voucher but the one that is due (or the last one, again) is refused, and changes nothing."""
        book = book_of(self.provider)
        assert book is not None
        named = book.ahead if ahead and book.ahead else book.owing
        deal_id = named.deal_id if named else DealId(keccak256(b"no deal"))
        price = named.price if named else Tokens(10)
        frontier: Frontier = book.deals.append(deal_id) if root == "right" else book.deals.append(DealId(bytes(32)))
        voucher = Voucher(
            channel_id=Hash32(keccak256(b"another")) if other else book.channel.channel_id,
            cumulative=Tokens(max(book.paid + price + more, 0)),
            count=max(book.deals.count + count, 0),
            deals_root=Hash32(bytes(32)) if root == "wrong" else frontier.root,
        )
        due = book.plus(book.owing.deal_id, book.owing.price).voucher if book.owing else None
        if voucher in (due, book.voucher):
            return
        before = self.provider
        with pytest.raises(RemoteProtocolError):
            self.steps("provider", ins.VoucherArrived(deal_id, voucher, sign(voucher)))
        assert self.provider is before

    @precondition(lambda self: isinstance(self.provider, Open | Closing) and len(self.signed) > 1)
    @rule(which=st.integers(0, 100))
    def offers_an_old_voucher(self, which: int) -> None:
        old = self.signed[which % (len(self.signed) - 1)]
        book = book_of(self.provider)
        assert book is not None
        if old.voucher.channel_id != book.channel.channel_id or old.voucher.cumulative >= book.paid:
            return
        with pytest.raises(RemoteProtocolError, match="vouchers only rise"):
            self.steps("provider", ins.VoucherArrived(old.deal_id, old.voucher, old.signature))

    @precondition(lambda self: isinstance(self.provider, Open | Closing) and self.paid)
    @rule()
    def offers_a_stale_close(self) -> None:
        book = book_of(self.provider)
        assert book is not None
        last = ChannelClose(book.channel.channel_id, Tokens(0), 0, Hash32(bytes(32)))
        if last.words() == book.voucher.words():
            return
        with pytest.raises(RemoteProtocolError, match="where vouchers say"):
            self.steps("provider", ins.CloseArrived(last, sign(last)))

    # --- always -------------------------------------------------------------------------------------------------

    @invariant()
    def one_is_owed_for_and_one_waits(self) -> None:
        book = book_of(self.provider)
        owing, ahead = (book.owing, book.ahead) if book else (getattr(self.provider, "owing", None), None)
        assert [one.deal_id for one in (owing, ahead) if one] == [deal_id for deal_id, _ in self.taken]
        assert isinstance(self.provider, Open | Closing) or len(self.taken) < 2

    @invariant()
    def the_books_agree(self) -> None:
        mine, theirs = book_of(self.client), book_of(self.provider)
        if mine is None or theirs is None or mine.channel != theirs.channel:
            return
        assert theirs.paid <= mine.paid <= self.word.deposit or self.word.until == 0
        assert mine.paid - theirs.paid in (0, self.price), "never more than one price apart"
        self.root_is_of_what_was_paid(theirs)

    def root_is_of_what_was_paid(self, book: Book) -> None:
        assert (book.deals.count, book.deals.root) == (len(self.paid), deals_root(self.paid))
        if book.signature is not None:
            assert THEM.recover(eip712.digest(SAMPLES.domain, book.voucher), book.signature) == ME.peer_id

    @invariant()
    def nothing_earned_is_lost(self) -> None:
        """When the channel is over, all that vouchers said was paid out."""
        theirs = book_of(self.provider)
        if self.word.until == 0 and theirs is not None and theirs.channel.generation == self.word.generation:
            assert self.word.redeemed == theirs.paid

    def teardown(self) -> None:
        """A client that only waits gets its money back."""
        if self.client is None or self.word.until == 0:
            return
        self.steps("client", ins.CloseWanted())
        for _ in range(40):
            self.time_passes(1)
        assert self.word.until == 0
        self.nothing_earned_is_lost()


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_client_signs_no_more_than_it_has_locked() -> None:
    book = SAMPLES.book()
    state = Open(msgspec.structs.replace(book, paid=Tokens(0), deposit=Tokens(5)))
    with pytest.raises(LocalProtocolError, match="5 wei left"):
        client.advance(state, ins.DealPaid(DealId(bytes(32)), Tokens(6)), ins.Ctx(ENV_C, UnixSeconds(0)))
