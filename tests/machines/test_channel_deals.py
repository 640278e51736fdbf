"""Whatever happens to deals that channels pay, among others that are committed: does each side risk one price, and does it end?

The machine of `test_deal`, whose owners also close channels and redeem, and whose providers keep keys.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from devnet.sim.channel_books import ChannelBooks, close_all
from devnet.sim.workload import PRICE_LIMIT, submit
from protocols import events as ev
from protocols.deals.in_channel import in_channel
from protocols.deals.sealing import KEYLESS
from protocols.deals.states import Resulted, Running
from protocols.runs import MarketTerms
from protocols.state import PROVIDER
from protocols.units import Address, Tokens
from tests.machines.test_deal import DealUnderFire

BUDGET = Tokens(4 * PRICE_LIMIT)


class ChannelsUnderFire(DealUnderFire):
    """The same client and providers."""

    paid_for_nothing = (*DealUnderFire.paid_for_nothing, KEYLESS)

    def __init__(self) -> None:
        super().__init__()
        self.liars: set[Address] = set()

    @precondition(lambda self: self.runs < 6)
    @rule(settlement=st.sampled_from(["channel", "auto", "commit"]), audit=st.sampled_from([None, 0, 500_000]))
    def somebody_submits(self, settlement: str = "channel", audit: int | None = None) -> None:
        self.runs += 1
        market = MarketTerms(max_price=PRICE_LIMIT, budget=BUDGET, settlement=settlement, audit_ppm=audit)
        submit(self.world, self.client, self.runs, market)

    @rule(who=st.integers(1, 2), verb=st.sampled_from(["close", "redeem"]), by_client=st.booleans())
    def an_owner_commands(self, who: int, verb: str, by_client: bool) -> None:
        one, other = (self.client, self.nodes[who]) if by_client else (self.nodes[who], self.client)
        one.post(ev.ChannelCommanded(at=self.world.now, peer=other.me, verb=verb, amount=Tokens(0)))

    @rule(who=st.integers(1, 2), keeps=st.booleans())
    def a_provider_keeps_its_keys(self, who: int, keeps: bool) -> None:
        self.nodes[who].habits.keeps_keys = keeps

    @rule()
    def two_are_wanted_at_once(self) -> None:
        """Of the same provider, where it will: one is executed while the other is made ready."""
        if self.runs < 6:
            for _ in range(2):
                self.somebody_submits("channel", 0)

    @invariant()
    def nobody_works_for_two_unpaid_deals_at_once(self) -> None:
        for node in self.providers:
            deals = [half.state for half in node.state.durable.deals.values() if half.role == PROVIDER]
            begun = [deal for deal in deals if isinstance(deal, Running | Resulted) and in_channel(deal.terms)]
            assert len(begun) <= 1, begun

    @invariant()
    def liars_are_known(self) -> None:
        self.liars |= {node.env.signer.address for node in self.nodes if not node.habits.upright}

    def time_changes_nothing_more(self) -> None:
        close_all(self.world)
        honest = frozenset(node.env.signer.address for node in self.nodes) - self.liars
        assert list(ChannelBooks(self.world).broken(honest)) == []
        super().time_changes_nothing_more()


TestChannelsUnderFire = ChannelsUnderFire.TestCase
TestChannelsUnderFire.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
