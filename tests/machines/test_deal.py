"""Whatever happens to a deal, in whatever order: is it paid once at most, does it end, and does nobody honest lose by it?

A client and two providers run the shipped rules over a network that loses, doubles and reorders, a chain that takes blocks
back, and processes that die before or after any transaction of theirs; somebody replays old messages all the while. In the
end faults stop, and enough time passes.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.perform import result_of
from devnet.sim.simulate import settle
from devnet.sim.workload import FUNDS, offer_of, submit
from devnet.sim.world import Network, World
from protocols import events as ev
from protocols.canonical import decode_strict, encode
from protocols.deals.eip712 import OnChainState
from protocols.deals.in_channel import WRONG
from protocols.deals.states import FINAL_STATES, DealState, Rejected, Settled
from protocols.job.canonical import CanonicalJob
from protocols.runs import Failed, is_final
from protocols.state import CLIENT, Half
from protocols.units import Cid

ROUGH = Network(least_ms=1, most_ms=2_500, loss_ppm=100_000, double_ppm=200_000)
PATIENCE_MS = 20_000
"""Longest outage, partition or death: an honest provider away for longer loses by the rules."""


def root_of(state: DealState) -> Cid | None:
    return getattr(getattr(state, "result", None), "root", None)


class DealUnderFire(RuleBasedStateMachine):
    """One client, two providers."""

    paid_for_nothing: tuple[str, ...] = ("finalized", "cancelled")
    """How a deal may end whose client has paid and has no result."""

    @initialize(seed=st.integers(0, 1 << 32), rough=st.booleans())
    def begin(self, seed: int, rough: bool) -> None:
        self.world = world = World(seed, network=ROUGH if rough else None)
        world.tap = []
        self.client = world.add(free=FUNDS, stake=0)
        self.providers = [world.add(free=0, stake=FUNDS) for _ in range(2)]
        for provider in self.providers:
            provider.offer = offer_of(world, provider)
        self.nodes = [self.client, *self.providers]
        self.cuts = self.runs = 0
        for node in self.nodes:
            node.start()
        self.somebody_submits()
        world.run(8_000)

    # --- what people do -------------------------------------------------------------------------------------------

    @precondition(lambda self: self.runs < 4)
    @rule()
    def somebody_submits(self) -> None:
        self.runs += 1
        submit(self.world, self.client, self.runs)

    @rule()
    def the_owner_cancels(self) -> None:
        for run in list(self.client.state.durable.runs.values()):
            if not is_final(run):
                self.client.post(ev.CancelRequested(at=self.world.now, run_id=run.run_id))
                return

    @rule()
    def the_owner_tries_again(self) -> None:
        for run in list(self.client.state.durable.runs.values()):
            if isinstance(run.status, Failed):
                self.client.post(ev.RetryRequested(at=self.world.now, run_id=run.run_id))

    @rule(ms=st.sampled_from([1, 50, 400, 1_000, 3_000, 12_000, 60_000]))
    def time_passes(self, ms: int) -> None:
        self.world.run(self.world.now + ms)

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def back_later(self, node: SimNode, ms: int) -> None:
        self.world.after(ms, node.revive)

    @rule(who=st.integers(0, 2), ms=st.integers(1, PATIENCE_MS))
    def a_process_dies(self, who: int, ms: int) -> None:
        self.nodes[who].kill()
        self.back_later(self.nodes[who], ms)

    @rule(who=st.integers(0, 2), steps=st.integers(1, 6), when=st.sampled_from(["before", "after"]))
    def a_process_dies_at_a_step(self, who: int, steps: int, when: str) -> None:
        node = self.nodes[who]
        node.die_at = (node.steps + steps, when)
        for second in range(1, 20):
            self.back_later(node, second * 1_000)

    @rule(side=st.integers(0, 2), ms=st.integers(1, PATIENCE_MS))
    def the_network_splits(self, side: int, ms: int) -> None:
        self.cuts += 1
        number = self.cuts
        self.world.sever(number, frozenset([self.nodes[side].me]))
        self.world.after(ms, lambda: self.world.mend(number))

    @rule(who=st.integers(0, 2), ms=st.integers(1, PATIENCE_MS))
    def a_chain_endpoint_is_gone(self, who: int, ms: int) -> None:
        node = self.nodes[who]
        node.rpc_up = False
        self.world.after(ms, lambda: setattr(node, "rpc_up", True))

    @rule()
    def the_chain_takes_blocks_back(self) -> None:
        self.world.chain.reorganise()

    @rule(data=st.data())
    def an_old_message_comes_again(self, data: st.DataObject) -> None:
        if self.world.tap:
            sender, to, envelope = data.draw(st.sampled_from(self.world.tap[-60:]), label="message")
            self.world.nodes[to].post(ev.MessageArrived(at=self.world.now, peer=sender, data=envelope))

    @rule(data=st.data(), who=st.integers(0, 2))
    def a_message_comes_from_somebody_else(self, data: st.DataObject, who: int) -> None:
        if self.world.tap:
            _, to, envelope = data.draw(st.sampled_from(self.world.tap[-60:]), label="message")
            self.world.nodes[to].post(ev.MessageArrived(at=self.world.now, peer=self.nodes[who].me, data=envelope))

    @rule(who=st.integers(1, 2), broken=st.booleans())
    def an_executor_breaks_down_or_is_mended(self, who: int, broken: bool) -> None:
        self.nodes[who].habits.infra_ppm = 1_000_000 if broken else 1

    @rule(who=st.integers(1, 2), withholds=st.booleans())
    def a_provider_keeps_its_results_to_itself(self, who: int, withholds: bool) -> None:
        self.nodes[who].habits.withholds = withholds

    @rule(who=st.integers(1, 2), honest=st.booleans())
    def a_provider_computes_something_else(self, who: int, honest: bool) -> None:
        self.nodes[who].habits.honest = honest

    @rule(ms=st.integers(1, PATIENCE_MS))
    def the_beacon_is_not_heard(self, ms: int) -> None:
        vars(self.client)["hear"] = lambda number: None
        self.world.after(ms, lambda: vars(self.client).pop("hear", None))

    @rule(chance=st.integers(0, 7))
    def the_client_is_never_seen_again(self, chance: int) -> None:
        if chance == 0:
            self.client.bury()

    # --- what always holds ----------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_broken(self) -> None:
        assert violations(self.world, ended=False) == []

    @invariant()
    def every_state_survives_its_row(self) -> None:
        for node in self.nodes:
            for half in node.state.durable.deals.values():
                assert decode_strict(Half, encode(half), max_bytes=1 << 20) == half

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for node in self.nodes:
            node.die_at = None
        settle(self.world)
        assert violations(self.world, ended=True) == []
        self.the_client_pays_for_results_only()
        self.nobody_is_wronged_by_an_audit()
        self.time_changes_nothing_more()

    def the_client_pays_for_results_only(self) -> None:
        """Without a result in its hands a client pays for a claim, or the part of a cancellation that it offered."""
        for half in self.client.state.durable.deals.values():
            state = half.state
            if half.role == CLIENT and isinstance(state, Settled) and state.result is None:
                assert state.how in self.paid_for_nothing

    def nobody_is_wronged_by_an_audit(self) -> None:
        """A confirmed mismatch is a wrong result, and one that passed an audit is right, or a second liar has said so."""
        deals = [half.state for half in self.client.state.durable.deals.values()]
        for state in deals:
            root = root_of(state)
            if root is None or state.terms.checks is not None:
                continue
            job = CanonicalJob.decode(self.client.state.durable.jobs[state.terms.deal.job_id])
            right = root == result_of(job, state.terms.run_id, honest=True).root
            again = [root_of(one) for one in deals if one.terms.checks == state.terms.deal_id]
            if isinstance(state, Rejected) and state.confirmed:
                assert not right
            if getattr(state, "checked", "") == "audited" and getattr(state, "how", "") != WRONG:
                assert right or root in again

    def time_changes_nothing_more(self) -> None:
        before = self.world.escrow.burned, dict(self.world.escrow.free), dict(self.world.escrow.stake)
        self.world.run(self.world.now + 600_000)
        assert before == (self.world.escrow.burned, self.world.escrow.free, self.world.escrow.stake)
        open_states = (OnChainState.COMMITTED, OnChainState.CLAIMED)
        assert not any(entry.state in open_states for entry in self.world.escrow.slots.values())
        for node in self.nodes:
            if node.up:
                assert all(isinstance(half.state, FINAL_STATES) for half in node.state.durable.deals.values())


TestDealUnderFire = DealUnderFire.TestCase
TestDealUnderFire.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
