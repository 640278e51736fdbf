"""Does the linter refuse exactly the terms under which cheating pays, and is the number it names the nearest that passes?"""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devnet.sim.samples import Samples
from protocols.deals.terms import Enforcement, Level
from protocols.disputes.params import bond_of, fee_of
from protocols.errors import RemoteProtocolError
from protocols.limits import ARBITRUM_ONE
from protocols.units import PPM, WEI_PER_TOKEN, Tokens
from protocols.verify.incentives import (
    Stakes,
    at_stake,
    audit_ppm_for,
    collateral_for,
    lint,
    require_sound,
    seat_fee_for,
)
from protocols.verify.levels import LEVELS

COMPARED = [level for level, rule in LEVELS.items() if rule.margin_ppm > 0]
prices = st.one_of(st.integers(1, 50), st.integers(1, 2**96)).map(Tokens)
levels = st.sampled_from(COMPARED)


def defaults(level: Level, price: Tokens, passed: int = 0) -> Stakes:
    fee = seat_fee_for(price)
    rate = audit_ppm_for(level, price, fee, ARBITRUM_ONE.audit_ppm(passed))
    collateral = collateral_for(level, price, fee, rate)
    return Stakes(level=level, price=price, collateral=collateral, audit_ppm=rate, seat_fee=fee)


@st.composite
def stakes(draw: st.DrawFn) -> Stakes:
    price = draw(prices)
    return Stakes(
        level=draw(levels),
        price=price,
        collateral=Tokens(draw(st.integers(0, 101 * price))),
        audit_ppm=draw(st.one_of(st.integers(0, PPM), st.integers(0, 60_000))),
        seat_fee=Tokens(draw(st.integers(0, 4 * price))),
    )


def by_the_book(s: Stakes) -> set[str]:
    """The same rules in rational numbers, written out once more."""
    q, d, f = Fraction(s.audit_ppm, PPM), Fraction(s.rule.caught_ppm, PPM), Fraction(s.rule.misjudged_ppm, PPM)
    stake = 2 * s.price + 3 * s.seat_fee if s.level in (Level.NUMERIC, Level.PERCEPTUAL) else s.price + s.collateral
    broken = set()
    if not q * (d - f) * stake > s.price:
        broken.add("deterrence")
    if not q * f * stake < Fraction(s.price, 10):
        broken.add("honest_loss")
    if s.collateral < 2 * s.price + 3 * s.seat_fee:
        broken.add("coverage")
    if not Fraction(12, 10) * s.price <= s.seat_fee <= 3 * s.price:
        broken.add("fee")
    return broken


@given(stakes())
def test_the_linter_is_the_formula(s: Stakes) -> None:
    assert {fault.rule for fault in lint(s)} == by_the_book(s)


@given(stakes())
def test_the_number_it_names_is_the_nearest_that_passes(s: Stakes) -> None:
    for fault in lint(s):
        assert fault.given == getattr(s, fault.field)
        assert fault.field in fault.sentence or fault.needed is None
        if fault.needed is None:
            continue
        changed = msgspec.structs.replace(s, **{fault.field: type(fault.given)(fault.needed)})
        assert fault.rule not in {one.rule for one in lint(changed)}, fault
        step = 1 if fault.given > fault.needed else -1
        nearly = msgspec.structs.replace(s, **{fault.field: type(fault.given)(fault.needed + step)})
        assert fault.rule in {one.rule for one in lint(nearly)}, "one less would have done"


def test_where_no_number_helps_it_says_so() -> None:
    price = Tokens(WEI_PER_TOKEN)
    never = msgspec.structs.replace(defaults(Level.EXACT, price), audit_ppm=0)
    (fault,) = lint(never)
    assert (fault.rule, fault.field) == ("deterrence", "audit_ppm"), "no collateral makes up for never looking"
    assert fault.needed is not None
    (fault,) = lint(msgspec.structs.replace(never, level=Level.NONE))
    assert (fault.rule, fault.needed) == ("comparable", None)


@given(levels, prices, st.integers(0, 10_000))
@example(Level.EXACT, Tokens(1), 10_000)
@example(Level.PERCEPTUAL, Tokens(3), 0)
def test_the_defaults_pass_for_every_record(level: Level, price: Tokens, passed: int) -> None:
    assert lint(defaults(level, price, passed)) == ()


def test_the_defaults_in_prices() -> None:
    """The numbers of the specification, for a price of one token."""
    price = Tokens(WEI_PER_TOKEN)
    newcomer, veteran = defaults(Level.EXACT, price), defaults(Level.EXACT, price, 1_000)
    assert (newcomer.audit_ppm, veteran.audit_ppm) == (250_000, 20_000)
    assert newcomer.collateral == 8 * price
    assert veteran.collateral * 20_000 * (999_000 - 100) == pytest.approx(price * PPM * PPM)
    assert newcomer.seat_fee * 10 == 12 * price
    assert bond_of(newcomer.seat_fee, price) * 10 == 41 * price
    assert fee_of(newcomer.seat_fee, price, newcomer.collateral) == newcomer.seat_fee, (
        "C covers what seats are promised"
    )
    image = defaults(Level.PERCEPTUAL, price, 1_000)
    assert 199_000 < image.audit_ppm < 200_000, "tolerance levels need one check in five"


@given(levels, prices, st.integers(0, PPM), st.integers(0, 3))
def test_collateral_stays_inside_what_the_escrow_accepts(level: Level, price: Tokens, rate: int, fee: int) -> None:
    collateral = collateral_for(level, price, Tokens(fee * price), rate)
    assert 8 * price <= collateral <= 100 * price


def test_what_compares_nothing_is_never_audited() -> None:
    for level in (Level.NONE, Level.REPLICATE):
        assert audit_ppm_for(level, Tokens(10), Tokens(12), 250_000) == 0


@given(stakes())
def test_more_collateral_never_makes_an_exact_deal_less_safe(s: Stakes) -> None:
    more = msgspec.structs.replace(s, collateral=Tokens(s.collateral + 1))
    broken = {fault.rule for fault in lint(more)} - {fault.rule for fault in lint(s)}
    assert broken <= {"honest_loss"}
    assert at_stake(more) - at_stake(s) == (0 if s.rule.tolerant else 1)


def test_a_node_refuses_to_sign_what_does_not_deter() -> None:
    deal = Samples().deal()
    require_sound(deal)  # `self` promises nothing
    panel = msgspec.structs.replace(deal, enforcement=Enforcement.PANEL, collateral=Tokens(deal.price))
    with pytest.raises(RemoteProtocolError, match=r"deterrence: .*change collateral from \d+ to \d+") as caught:
        require_sound(panel)
    assert caught.value.code == "unsound_terms"
    good = defaults(Level.EXACT, deal.price)
    changes = {"collateral": good.collateral, "audit_ppm": good.audit_ppm, "seat_fee": good.seat_fee}
    require_sound(msgspec.structs.replace(panel, **changes))
