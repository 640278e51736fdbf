"""Whatever anybody does in whatever order: does the contract keep the books that a page of Python keeps?

The model is that page (books.py). After every step each balance, each deal's state and the sum of everything are compared
(parties.py); a call that the model refuses must revert with the error it names. In the end a stranger and time alone end
every deal, and every owner gets all its money out.
"""

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from protocols.contracts import calls, channels
from protocols.contracts.channels import Channel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Cancellation, Deal, OnChainState, OutcomeCode, ResultCommit, Settlement, deal_id
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, Hash32, Tokens
from tests.contracts.books import OPEN, Held, Pair
from tests.contracts.parties import YEAR, Parties, some, who

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Key, World

ENDS = (OnChainState.SETTLED, OnChainState.SLASHED, OnChainState.VOID, OnChainState.EXPIRED)
DELAY = 2
RESULTS = (keccak256(b"one"), keccak256(b"other"))


class Machine(Parties):
    """What they do with deals and channels besides."""

    # --- deals -------------------------------------------------------------------------------------------------------

    @rule(i=who, j=who, nonce=st.integers(0, 12), price=st.integers(1, 3_000), collateral=some, forged=st.booleans())
    def commit(self, i: int, j: int, nonce: int, price: int, collateral: int, forged: bool) -> None:
        client, provider, books = self.keys[i], self.keys[j], self.books
        deal = self.world.deal(
            client=client.address,
            provider=provider.address,
            run_nonce=nonce,
            price=Tokens(price),
            collateral=Tokens(collateral),
        )
        signer = self.world.stranger if forged else client
        data = calls.commit(deal, signer.sign(deal_id(self.world.domain, deal)))
        if self.attempt(self._commit_error(deal, forged), lambda: self.world.send(provider, data)):
            owners = books.owner(client.address), books.owner(provider.address)
            lock = Lock.of(self.world.domain, deal, client_owner=owners[0], provider_owner=owners[1])
            books.free[owners[0]] -= price
            books.stake[owners[1]] -= collateral
            books.deals[client.address, nonce] = Held(lock, OnChainState.COMMITTED, self.world.now)

    def _commit_error(self, deal: Deal, forged: bool) -> str | None:
        client, provider = self.books.owner(deal.client), self.books.owner(deal.provider)
        checks = {
            "BadTerm": deal.client == deal.provider or deal.collateral > 100 * deal.price,
            "BadSignature": forged,
            "SelfDeal": client == provider,
            "AlreadyConsumed": (deal.client, deal.run_nonce) in self.books.deals,
            "InsufficientFree": self.books.free[client] < deal.price,
            "InsufficientStake": self.books.stake[provider] < deal.collateral,
        }
        return next((name for name, fails in checks.items() if fails), None)

    @rule(i=who, nonce=st.integers(0, 12))
    def burn_run(self, i: int, nonce: int) -> None:
        key = self.keys[i]
        expected = "AlreadyConsumed" if (key.address, nonce) in self.books.deals else None
        if self.attempt(expected, lambda: self.world.send(key, calls.burn_run(nonce, 0))):
            lock = self.world.lock_of(self.world.deal(client=key.address, run_nonce=nonce))
            self.books.deals[key.address, nonce] = Held(lock, OnChainState.BURNED, self.world.now)

    def pick(self, data: st.DataObject) -> tuple[Held, str | None]:
        """A deal, and the error that any call about it gets for its state alone."""
        held = self.books.deals[data.draw(st.sampled_from(sorted(self.books.deals)), label="deal")]
        if held.state is OnChainState.BURNED:
            return held, "UnknownDeal"
        return held, None if held.state in OPEN else "WrongState"

    def key_of(self, address: Address) -> "Key":
        return next(key for key in self.keys if key.address == address)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), paid=some, forged=st.booleans())
    def settle(self, data: st.DataObject, paid: int, forged: bool) -> None:
        held, expected = self.pick(data)
        lock = held.lock
        signer = self.key_of(lock.provider if forged else lock.client)
        consent = self.world.signed(signer, Settlement(lock.deal_id, Tokens(paid)))
        call = calls.settle(lock, Tokens(paid), consent, result_hash=held.result)
        if held.state is OnChainState.DISPUTED:
            expected = "WrongState"
        expected = expected or ("BadSignature" if forged else "Overpaid" if paid > lock.price else None)
        if self.attempt(expected, lambda: self.world.send(self.key_of(lock.provider), call)):
            self.books.pay(held, paid, OnChainState.SETTLED)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), paid=some, by_client=st.booleans())
    def cancel(self, data: st.DataObject, paid: int, by_client: bool) -> None:
        held, expected = self.pick(data)
        lock = held.lock
        sender, other = (lock.client, lock.provider) if by_client else (lock.provider, lock.client)
        consent = self.world.signed(self.key_of(other), Cancellation(lock.deal_id, Tokens(paid)))
        if held.result != ZERO_HASH:
            expected = "UnknownDeal"
        expected = expected or ("Overpaid" if paid > lock.price else None)
        call = calls.cancel(lock, Tokens(paid), consent)
        if self.attempt(expected, lambda: self.world.send(self.key_of(sender), call)):
            self.books.pay(held, paid, OnChainState.CANCELLED)

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), result=st.sampled_from(RESULTS))
    def claim(self, data: st.DataObject, result: Hash32) -> None:
        held, expected = self.pick(data)
        if held.result != ZERO_HASH:
            expected = "UnknownDeal"
        late = self.world.now > held.since + held.lock.claim_within
        call = calls.claim(held.lock, result)
        sender = self.key_of(held.lock.provider)
        if self.attempt(expected or ("ClaimTooLate" if late else None), lambda: self.world.send(sender, call)):
            held.state, held.since, held.result = OnChainState.CLAIMED, self.world.now, result

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data())
    def poke(self, data: st.DataObject) -> None:
        held, expected = self.pick(data)
        waits = {OnChainState.CLAIMED: held.lock.window_seconds, OnChainState.DISPUTED: YEAR}
        wait = waits.get(held.state, held.lock.claim_within)
        expected = expected or ("TooEarly" if self.world.now <= held.since + wait else None)
        call = calls.poke(held.lock, held.result)
        if self.attempt(expected, lambda: self.world.send(self.world.stranger, call)):
            self.poked(held)

    def poked(self, held: Held) -> None:
        lock = held.lock
        if held.state is OnChainState.CLAIMED:
            self.books.pay(held, lock.price, OnChainState.SETTLED)
        elif held.state is OnChainState.DISPUTED:
            self.books.divide(held, OnChainState.VOID, (lock.price, 0, lock.collateral, 0, 0))
        else:
            self.books.expire(held)

    # --- disputes ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), result=st.sampled_from(RESULTS), forged=st.integers(0, 4))
    def dispute(self, data: st.DataObject, result: Hash32, forged: int) -> None:
        held, expected = self.pick(data)
        if held.state is OnChainState.DISPUTED:
            expected = "WrongState"
        if held.result not in (ZERO_HASH, result):
            expected = "UnknownDeal"
        late = held.state is OnChainState.CLAIMED and self.world.now > held.since + held.lock.window_seconds
        expected = expected or ("TooLate" if late else None)
        sender = self.world.stranger if not forged else self.world.panel
        act = lambda: self.world.dispute(held.lock, result, sender=sender)  # noqa: E731
        if self.attempt(expected if forged else "NotPanel", act):
            held.state, held.since, held.result = OnChainState.DISPUTED, self.world.now, result

    @precondition(lambda self: self.books.deals)
    @rule(
        data=st.data(),
        cuts=st.lists(st.integers(0, 1_000), min_size=4, max_size=4),
        end=st.sampled_from(ENDS),
        off=st.sampled_from([0, 0, 0, 1, -1]),
    )
    def verdict(self, data: st.DataObject, cuts: list[int], end: OnChainState, off: int) -> None:
        held, expected = self.pick(data)
        left = held.lock.price + held.lock.collateral
        payout = []
        for cut in cuts:
            payout.append(left * cut // 1_000)
            left -= payout[-1]
        payout.append(max(0, left + off))
        if held.state in OPEN and held.state is not OnChainState.DISPUTED:
            expected = "WrongState"
        expected = "WrongState" if end is OnChainState.EXPIRED else expected
        expected = expected or ("Unbalanced" if left + off != payout[-1] or off else None)
        if self.attempt(expected, lambda: self.world.close_dispute(held.lock, held.result, end, payout)):
            self.books.divide(held, end, tuple(payout))

    @precondition(lambda self: self.books.deals)
    @rule(data=st.data(), texts=st.permutations([b"one", b"two", b"two"]))
    def prove(self, data: st.DataObject, texts: list[bytes]) -> None:
        """Two signed results of any two texts; a claim of this machine is another result than either."""
        held, expected = self.pick(data)
        lock = held.lock
        if held.state is OnChainState.DISPUTED:
            expected = "WrongState"
        made = []
        for text in texts[:2]:
            result = ResultCommit(lock.deal_id, keccak256(text), OutcomeCode.EXITED, 0, 0, 0, ZERO_HASH)
            made.append((result, self.world.signed(self.key_of(lock.provider), result)))
        same = texts[0] == texts[1] and held.result == ZERO_HASH
        call = calls.prove_equivocation(lock, made[0], made[1], result_hash=held.result)
        if self.attempt(
            expected or ("NoEquivocation" if same else None), lambda: self.world.send(self.world.stranger, call)
        ):
            self.books.slash(held)

    # --- channels ----------------------------------------------------------------------------------------------------

    @rule(i=who, j=who, amount=some)
    def fund(self, i: int, j: int, amount: int) -> None:
        client, provider, books = self.keys[i].address, self.keys[j].address, self.books
        owner = books.owner(client)
        expected = "InsufficientFree" if books.free[owner] < amount else None
        data = channels.fund(provider, Tokens(amount))
        if self.attempt(expected, lambda: self.world.send(self.keys[i], data)):
            books.free[owner] -= amount
            found = books.pairs.get((client, provider, owner))
            until = self.world.now + YEAR
            if found is None or not found.until:
                generation = 1 if found is None else found.channel.generation + 1
                books.pairs[client, provider, owner] = Pair(Channel(client, provider, owner, generation), until, amount)
            else:
                found.until, found.deposit = until, found.deposit + amount

    def pick_pair(self, data: st.DataObject) -> tuple[Pair, str | None]:
        pair = self.books.pairs[data.draw(st.sampled_from(sorted(self.books.pairs)), label="pair")]
        return pair, None if pair.until else "ChannelNotOpen"

    def earn_error(self, pair: Pair, cumulative: int) -> str | None:
        """Why this amount cannot be earned, whoever has signed."""
        if self.books.owner(pair.channel.provider) == pair.channel.client_owner:
            return "SelfChannel"
        return "Overdrawn" if cumulative > pair.deposit else None

    @precondition(lambda self: self.books.pairs)
    @rule(data=st.data(), cumulative=some, forged=st.integers(0, 5))
    def redeem(self, data: st.DataObject, cumulative: int, forged: int) -> None:
        pair, expected = self.pick_pair(data)
        if not expected and cumulative <= pair.redeemed:
            expected = "StaleVoucher"
        expected = expected or ("BadSignature" if not forged else self.earn_error(pair, cumulative))
        signer = self.world.stranger if not forged else self.key_of(pair.channel.client)
        sender = self.key_of(pair.channel.provider)
        act = lambda: self.world.redeem(pair.channel, cumulative, sender=sender, signer=signer)  # noqa: E731
        if self.attempt(expected, act):
            self.books.redeem(pair, cumulative)

    @precondition(lambda self: self.books.pairs)
    @rule(data=st.data(), cumulative=some, by_client=st.booleans())
    def close_together(self, data: st.DataObject, cumulative: int, by_client: bool) -> None:
        pair, expected = self.pick_pair(data)
        if not expected and cumulative < pair.redeemed:
            expected = "StaleVoucher"
        if cumulative != pair.redeemed:
            expected = expected or self.earn_error(pair, cumulative)
        parties = [self.key_of(pair.channel.client), self.key_of(pair.channel.provider)]
        sender, other = parties if by_client else parties[::-1]
        act = lambda: self.world.close_together(pair.channel, cumulative, sender=sender, other=other)  # noqa: E731
        if self.attempt(expected, act):
            if cumulative != pair.redeemed:
                self.books.redeem(pair, cumulative)
            self.books.close(pair)

    @precondition(lambda self: self.books.pairs)
    @rule(data=st.data(), by=who)
    def request_close(self, data: st.DataObject, by: int) -> None:
        pair, expected = self.pick_pair(data)
        sender, until = self.keys[by], self.world.now + DELAY
        if sender.address not in (pair.channel.client, pair.channel.client_owner):
            expected = "NotChannelClient"
        expected = expected or ("AlreadyClosing" if until >= pair.until else None)
        if self.attempt(expected, lambda: self.world.send(sender, channels.request_close(pair.channel))):
            pair.until = until

    @precondition(lambda self: self.books.pairs)
    @rule(data=st.data(), by=who)
    def close(self, data: st.DataObject, by: int) -> None:
        pair, expected = self.pick_pair(data)
        sender = self.keys[by]
        early = self.world.now <= pair.until and sender.address != pair.channel.provider
        expected = expected or ("ChannelStillOpen" if early else None)
        if self.attempt(expected, lambda: self.world.send(sender, channels.close(pair.channel))):
            self.books.close(pair)


def test_the_contract_keeps_the_same_books_as_the_model(make_world: "Callable[..., World]") -> None:
    machine = type("Bound", (Machine,), {"make_world": staticmethod(make_world)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=settings().max_examples * 2 // 5,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
