"""Is the simulated escrow the real one? Both get the same calls in the same order, and must answer alike every time.

The real one is the committed bytecode on an EVM. After each call the outcome (the move, or the name of the error), every
balance and every deal's state are compared. The simulated one is undone and done again besides, as a reorganisation would.
"""

from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from devnet.sim.escrow import Escrow, Reverted
from mesh.base.keys import NodeKey
from protocols.contracts import calls
from protocols.contracts.lock import Lock
from protocols.deals import eip712
from protocols.deals.eip712 import Cancellation, Deal, OnChainState, Settlement
from protocols.effects import PostTx
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Hash32, Signature, Tokens, UnixSeconds

NAMES = ("client", "provider", "stranger")
PURPOSES = ("settle", "cancel", "claim", "finalize", "expire")
RESULTS = (ZERO_HASH, keccak256(b"one"), keccak256(b"other"))
who = st.sampled_from(NAMES)


class Parity(RuleBasedStateMachine):
    """Two escrows side by side."""

    contracts: ModuleType

    @initialize()
    def begin(self) -> None:
        self.real = self.contracts.World()
        self.keys = {name: NodeKey(keccak256(name.encode())) for name in NAMES}
        for name in NAMES:
            assert self.keys[name].address == getattr(self.real, name).address
        domain = eip712.Domain(31_337, self.real.escrow)
        self.model = Escrow(domain, self.real.token, eip712.DEVNET_BOUNDS, self.keys["stranger"])
        self.peers = {key.peer_id: key.address for key in self.keys.values()}
        for name in NAMES:
            key = getattr(self.real, name)
            self.real.call(key, "deposit", 9_000)
            self.real.call(key, "stake", 4_000)
            self.model.fund(key.address, free=5_000, stake=4_000)
        self.deals: list[Deal] = []
        self.time = self.real.now

    # --- one call, twice ------------------------------------------------------------------------------------------

    def both(self, sender: str, tx: PostTx) -> None:
        """Make the call on both sides and compare what they say."""
        said = self._real(sender, tx)
        before = self.model.before(tx)
        modelled = self._model(sender, tx)
        assert modelled == said, f"{tx.purpose} by {sender}"
        if isinstance(modelled, tuple):
            self.model.undo(before)
            assert self._model(sender, tx) == modelled, "undone, it does something else"

    def _model(self, sender: str, tx: PostTx) -> Any:
        try:
            moved = self.model.call(self.keys[sender].address, tx, UnixSeconds(self.time), self.peers)
        except Reverted as error:
            return str(error)
        return moved.to, int(moved.paid), moved.result_hash

    def _real(self, sender: str, tx: PostTx) -> Any:
        try:
            self.real.send(getattr(self.real, sender), self._calldata(tx))
        except self.contracts.Reverted as error:
            return error.name
        if tx.purpose == "burn":
            return "burned", 0, ZERO_HASH
        told = self.real.events[-1]
        assert told.args["dealId"] == tx.deal_id
        return told.name.removeprefix("Deal").lower(), told.args.get("paid", 0), told.args.get("resultHash", ZERO_HASH)

    def _calldata(self, tx: PostTx) -> bytes:
        deal, lock = tx.deal, self._lock(tx.deal)
        match tx.purpose:
            case "commit":
                return calls.commit(deal, tx.signature)
            case "burn":
                return calls.burn_run(deal.run_nonce, deal.index)
            case "settle":
                return calls.settle(lock, tx.amount, tx.signature, result_hash=tx.result_hash)
            case "cancel":
                return calls.cancel(lock, tx.amount, tx.signature)
            case "claim":
                return calls.claim(lock, tx.result_hash)
            case "finalize":
                return calls.finalize(lock, tx.result_hash)
            case _:
                return calls.expire(lock)

    def _lock(self, deal: Deal) -> Lock:
        return Lock.of(self.real.domain, deal, client_owner=deal.client, provider_owner=deal.provider)

    def tx(self, deal: Deal, purpose: str, signature: bytes, amount: int = 0, result: Hash32 = ZERO_HASH) -> PostTx:
        deal_id = eip712.deal_id(self.real.domain, deal)
        return PostTx(
            key="",
            deal_id=deal_id,
            purpose=purpose,
            deal=deal,
            amount=Tokens(amount),
            signature=Signature(signature),
            result_hash=result,
        )

    def signed(self, name: str, value: eip712.SignedStruct) -> Signature:
        return self.keys[name].sign(eip712.digest(self.real.domain, value))

    # --- rules ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0, 1, 30, 69, 70, 71, 200]))
    def time_passes(self, seconds: int) -> None:
        self.time += seconds
        self.real.warp_to(self.time)

    @rule(
        client=who,
        provider=who,
        sender=who,
        signer=st.none() | who,
        nonce=st.integers(0, 4),
        price=st.sampled_from([0, 1, 99, 100, 101, 1_000, 6_000]),
        collateral=st.sampled_from([0, 1, 999, 5_000, 700_000]),
        late=st.booleans(),
    )
    def commit(
        self,
        client: str,
        provider: str,
        sender: str,
        signer: str | None,
        nonce: int,
        price: int,
        collateral: int,
        late: bool,
    ) -> None:
        """Mostly by the provider and signed by the client."""
        deal = self.real.deal(
            client=self.keys[client].address,
            provider=self.keys[provider].address,
            run_nonce=nonce,
            price=Tokens(price),
            collateral=Tokens(collateral),
            commit_by=UnixSeconds(self.time - 1 if late else self.time + 100),
        )
        honest = sender == "stranger"
        signature = self.signed(signer or client, deal)
        self.both(provider if honest else sender, self.tx(deal, "commit", signature))
        self.deals.append(deal)

    @rule(price=st.sampled_from([100, 1_000, 3_000]), collateral=st.sampled_from([0, 1_000, 3_000]))
    def commit_properly(self, price: int, collateral: int) -> None:
        deal = self.real.deal(price=Tokens(price), collateral=Tokens(collateral))
        deal = self.real.deal(
            price=Tokens(price),
            collateral=Tokens(collateral),
            run_nonce=100 + len(self.deals),
            commit_by=deal.commit_by,
        )
        self.both("provider", self.tx(deal, "commit", self.signed("client", deal)))
        self.deals.append(deal)

    @precondition(lambda self: self.deals)
    @rule(data=st.data(), sender=who)
    def burn(self, data: st.DataObject, sender: str) -> None:
        """The contract burns for whoever calls; the simulated one is only ever called by the deal's client."""
        deal = data.draw(st.sampled_from(self.deals), label="deal")
        if self.keys[sender].address == deal.client:
            self.both(sender, self.tx(deal, "burn", b""))

    @precondition(lambda self: self.deals)
    @rule(
        data=st.data(),
        purpose=st.sampled_from(PURPOSES),
        sender=who,
        signer=who,
        paid=st.sampled_from([0, 1, 99, 100, 1_000, 3_000, 7_000]),
        result=st.sampled_from(RESULTS),
        other=st.booleans(),
    )
    def call(
        self, data: st.DataObject, purpose: str, sender: str, signer: str, paid: int, result: Hash32, other: bool
    ) -> None:
        """Anything about any deal, by anybody, with anybody's consent, also in a deal's changed terms."""
        deal = data.draw(st.sampled_from(self.deals[-4:]), label="deal")
        if other:
            deal = self.real.deal(run_nonce=deal.run_nonce, client=deal.client, provider=deal.provider)
        deal_id = eip712.deal_id(self.real.domain, deal)
        kind = Cancellation if purpose == "cancel" else Settlement
        consent = self.signed(signer, kind(deal_id=deal_id, paid=Tokens(paid)))
        self.both(sender, self.tx(deal, purpose, consent, paid, result))

    @precondition(lambda self: self.deals)
    @rule(data=st.data(), purpose=st.sampled_from(PURPOSES), paid=st.sampled_from([0, 99, 100, 3_000]))
    def call_properly(self, data: st.DataObject, purpose: str, paid: int) -> None:
        """By the one who may, with the consent that it takes and the result that was claimed."""
        deal = data.draw(st.sampled_from(self.deals[-4:]), label="deal")
        names = {key.address: name for name, key in self.keys.items()}
        entry = self.model.entry(deal)
        claimed = entry.result_hash if entry else ZERO_HASH
        result = RESULTS[1] if purpose == "claim" else claimed
        deal_id = eip712.deal_id(self.real.domain, deal)
        kind = Cancellation if purpose == "cancel" else Settlement
        consent = self.signed(names[deal.client], kind(deal_id=deal_id, paid=Tokens(paid)))
        self.both(names[deal.provider], self.tx(deal, purpose, consent, paid, result))

    # --- what must be equal ---------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_same(self) -> None:
        if not hasattr(self, "real"):
            return
        for name in NAMES:
            key = getattr(self.real, name)
            assert self.model.free[key.address] == self.real.free(key)
            assert self.model.stake[key.address] == self.real.stake(key)
        assert self.model.burned == self.real.read("burnable")
        assert self.model.total() == self.model.deposited
        for (client, nonce, index), entry in self.model.slots.items():
            state, since, identity = self.real.read("slotOf", "0x" + client.hex(), nonce, index)
            assert (OnChainState(state), since) == (entry.state, entry.since)
            if entry.state is not OnChainState.BURNED:
                assert identity == self._lock(entry.deal).identity(entry.result_hash)


def test_both_escrows_answer_alike(contracts: ModuleType) -> None:
    machine = type("Bound", (Parity,), {"contracts": contracts})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
