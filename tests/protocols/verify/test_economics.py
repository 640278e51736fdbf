"""Does honesty win where the linter says so and lose just outside, and does every other way to cheat cost more than it brings?

Payoffs are those of the shipped rows (``protocols.disputes.payouts``), draws those of the shipped rules. Seeds are printed.
"""

import random
from fractions import Fraction
from math import sqrt
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.bench.triangle import CHOICES
from devnet.economics import (
    PRICE,
    TABLES,
    captured,
    case_of,
    cheating,
    client_net,
    default_stakes,
    honest,
    provider_net,
    render,
    row,
    work_rewards,
)
from protocols.deals.terms import Level
from protocols.disputes.draw import fill, first_seed, new_round
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS, LOCK_PRICES
from protocols.disputes.payouts import payout
from protocols.disputes.states import Row
from protocols.hashing import sha256
from protocols.units import PPM, DealId, Hash32, Tokens
from protocols.verify.audits import drawn
from protocols.verify.incentives import Stakes, lint, seat_fee_for
from protocols.verify.levels import LEVELS

STRICT = [level for level, rule in LEVELS.items() if rule.margin_ppm > 0 and not rule.tolerant]
TOLERANT = [level for level, rule in LEVELS.items() if rule.tolerant]
KAPPAS = (Fraction(1, 4), Fraction(1, 2), Fraction(9, 10), Fraction(1))
"""What cheating saves, in prices: never more than the whole price, or nobody would work for it."""
RATES = (20_000, 40_000, 80_000, 150_000, 250_000, 400_000)
PAGES = ("docs/protocol/economics.md", "docs/triangle.md")


def stakes(level: Level, rate: int, rho: Fraction | int) -> Stakes:
    collateral = Tokens(int(rho * PRICE))
    return Stakes(level=level, price=PRICE, collateral=collateral, audit_ppm=rate, seat_fee=seat_fee_for(PRICE))


def safe(s: Stakes) -> bool:
    return all(fault.rule != "deterrence" for fault in lint(s))


def advantage(s: Stakes, kappa: Fraction) -> Fraction:
    """What working brings more than cheating, in wei per deal."""
    return honest(s, kappa * PRICE) - cheating(s, Fraction(0))


# --- the provider's best response ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.parametrize("rate", RATES)
def test_inside_the_safe_region_honesty_is_the_best_response(level: Level, rate: int) -> None:
    for rho in range(101):
        s = stakes(level, rate, rho)
        gains = [advantage(s, kappa) > 0 for kappa in KAPPAS]
        assert all(gains) == safe(s), (rate, rho)
        assert gains == sorted(gains, reverse=True), "the more cheating saves, the sooner it pays"


@pytest.mark.parametrize("level", STRICT)
@pytest.mark.parametrize("rate", RATES)
def test_one_wei_outside_it_is_not(level: Level, rate: int) -> None:
    bare = stakes(level, rate, 0)
    (fault,) = [one for one in lint(bare) if one.rule == "deterrence"]
    assert (fault.field, fault.needed is not None) == ("collateral", True)
    edge = msgspec.structs.replace(bare, collateral=Tokens(fault.needed or 0))
    assert advantage(edge, Fraction(1)) > 0
    outside = msgspec.structs.replace(edge, collateral=Tokens(edge.collateral - 1))
    assert advantage(outside, Fraction(1)) <= 0


@pytest.mark.parametrize("level", TOLERANT)
def test_a_tolerance_level_deters_by_its_rate(level: Level) -> None:
    for rate in range(10_000, 400_000, 10_000):
        s = stakes(level, rate, 8)
        assert (advantage(s, Fraction(1)) > 0) == safe(s), rate
    assert advantage(stakes(level, 100_000, 100), Fraction(1)) <= 0, "no collateral helps there"


def test_the_honest_take_part() -> None:
    """(2) of the derivation: wrong convictions cost the honest less than a tenth of the price, at every default."""
    for level in (*STRICT, *TOLERANT):
        for passed in (0, 10, 50, 115, 1_000):
            s = default_stakes(level, passed)
            assert honest(s, Fraction(PRICE * 9, 10)) > 0, (level, passed)


def generation(s: Stakes, kappa: Fraction, share: float, dice: random.Random, deals: int) -> float:
    """The cheaters' share after one generation of imitation: each kind grows with what it earned beyond the average."""
    value = Hash32(sha256(dice.randbytes(32)))
    lost = provider_net(s, Row.CONVICTED)
    earned: dict[bool, list[float]] = {True: [], False: []}
    for number in range(deals):
        cheats = dice.random() < share
        cost = 0 if cheats else kappa * PRICE
        wrong_ppm = s.rule.caught_ppm if cheats else s.rule.misjudged_ppm
        audited = drawn(value, DealId(sha256(number.to_bytes(8))), s.audit_ppm)
        convicted = audited and dice.randrange(PPM) < wrong_ppm
        earned[cheats].append(float(Fraction((lost if convicted else PRICE) - cost, PRICE)))
    means = {kind: sum(paid) / len(paid) if paid else 0.0 for kind, paid in earned.items()}
    pull = 0.25 * (means[True] - means[False])
    return min(max(share * (1 + pull * (1 - share)), 0.001), 0.999)


@pytest.mark.parametrize(("times", "survive"), [(Fraction(3, 2), False), (Fraction(1, 2), True)])
def test_a_population_learns_it(times: Fraction, survive: bool) -> None:
    """Half cheat at first. With one and a half times the least collateral cheating dies out, with half of it honesty does."""
    seed = 7
    print(f"seed {seed}")
    dice, share = random.Random(seed), 0.5
    (fault,) = [one for one in lint(stakes(Level.EXACT, 100_000, 0)) if one.rule == "deterrence"]
    s = stakes(Level.EXACT, 100_000, times * Fraction(fault.needed or 0, PRICE))
    for _ in range(120):
        share = generation(s, Fraction(9, 10), share, dice, deals=400)
    assert share > 0.9 if survive else share < 0.1, share


# --- the griefing client ------------------------------------------------------------------------------------------


def test_a_client_that_disputes_right_results_loses() -> None:
    """Even if a third of all seats are in wrong hands, and honest seats err as often as the level plans."""
    for level in (*STRICT, *TOLERANT):
        for passed in (0, 1_000):
            s = default_stakes(level, passed)
            wrong = captured(300, 99, FIRST_SEATS) + Fraction(s.rule.misjudged_ppm, PPM)
            won = client_net(s, Row.LOST if s.rule.tolerant else Row.CONVICTED)
            gain = wrong * won + (1 - wrong) * client_net(s, Row.ACQUITTED)
            assert gain < -PRICE, "worse than paying for the result"


def test_its_wealth_only_falls() -> None:
    seed = 11
    print(f"seed {seed}")
    dice, s = random.Random(seed), default_stakes(Level.EXACT, 0)
    wrong = float(captured(300, 60, FIRST_SEATS))
    wealth = [0]
    for _ in range(1_000):
        ends = Row.CONVICTED if dice.random() < wrong else Row.ACQUITTED
        wealth.append(wealth[-1] + client_net(s, ends) + PRICE)  # against having paid and said nothing
    assert all(wealth[at + 100] < wealth[at] for at in range(0, 900, 100))


# --- the draw -----------------------------------------------------------------------------------------------------

POOL, THEIRS = 300, 60
"""Seats numbered below THEIRS are the adversary's: a fifth."""


def panel(seed: Hash32, size: int) -> tuple[int, ...]:
    """The seats called, by the shipped shuffle."""
    return tuple(turn.seat for turn in fill(new_round(seed, size), POOL, lambda seat: True).turns)


def bought(seats: tuple[int, ...]) -> bool:
    return 2 * sum(seat < THEIRS for seat in seats) > len(seats)


@pytest.mark.parametrize(("size", "draws"), [(FIRST_SEATS, 6_000), (APPEAL_SEATS, 4_000)])
def test_capture_is_as_rare_as_theory_says(size: int, draws: int) -> None:
    """Within 3 standard deviations of the hypergeometric distribution."""
    print("seed: the number of the draw, hashed")
    hits = sum(bought(panel(Hash32(sha256(size.to_bytes(1), n.to_bytes(4))), size)) for n in range(draws))
    p = float(captured(POOL, THEIRS, size))
    assert abs(hits - draws * p) <= 3 * sqrt(draws * p * (1 - p)), (hits, draws * p)


def test_this_test_of_capture_can_fail() -> None:
    p, draws = float(captured(POOL, 2 * THEIRS, FIRST_SEATS)), 6_000
    hits = sum(bought(panel(Hash32(sha256(b"\x03", n.to_bytes(4))), FIRST_SEATS)) for n in range(draws))
    assert abs(hits - draws * p) > 3 * sqrt(draws * p * (1 - p))


def test_choosing_ones_secret_chooses_no_seats() -> None:
    """The best of 40 secrets against 50 secrets of the provider is no better against 600 others: it was luck."""
    deal_id = DealId(bytes(32))
    mine = [Hash32(sha256(b"mine", n.to_bytes(4))) for n in range(40)]

    def captures(secret: Hash32, salt: bytes, count: int) -> int:
        theirs = (Hash32(sha256(salt, n.to_bytes(4))) for n in range(count))
        return sum(bought(panel(first_seed(secret, one, deal_id), FIRST_SEATS)) for one in theirs)

    best = max(mine, key=lambda secret: captures(secret, b"seen", 50))
    p = float(captured(POOL, THEIRS, FIRST_SEATS))
    assert captures(best, b"seen", 50) > 50 * p, "in hindsight there is always a best one"
    assert abs(captures(best, b"unseen", 600) - 600 * p) <= 3 * sqrt(600 * p * (1 - p))


def test_a_provider_that_dislikes_its_panel_gains_nothing_by_silence() -> None:
    """It knows the client's secret when it is asked for its own, so it could refuse: that costs what a conviction costs."""
    for level in STRICT:
        s = default_stakes(level, 0)
        assert provider_net(s, Row.FORFEIT) == provider_net(s, Row.CONVICTED) == -s.collateral
    for level in TOLERANT:
        s = default_stakes(level, 0)
        assert provider_net(s, Row.FORFEIT) < provider_net(s, Row.LOST), "there it costs more"


def test_what_a_seat_loses_nobody_gains() -> None:
    """A rigged draw that makes honest seats lose has nothing to win: their fees and locks are burned."""
    for level in (*STRICT, *TOLERANT):
        s = default_stakes(level, 0)
        for name in Row:
            full, one = (payout(name, case_of(s), seats, had_majority=True) for seats in (FIRST_SEATS, 1))
            for field in ("to_client", "to_provider", "to_stake", "funder", "provider_credit"):
                assert getattr(full, field) == getattr(one, field), (name, field)
            assert one.burned + one.panel_burned - full.burned - full.panel_burned == full.seats - one.seats


@pytest.mark.parametrize("share", [5, 10, 20, 33])
def test_a_bought_first_panel_loses_on_appeal(share: int) -> None:
    """The adversary is the client, funds the dispute, and owns all three seats: the best case there is. The provider
    appeals; unless the second panel is captured too, three locks and the bond are gone."""
    s = default_stakes(Level.EXACT, 0)
    won = client_net(s, Row.CONVICTED) + row(s, Row.CONVICTED).seats
    lost = client_net(s, Row.ACQUITTED) - LOCK_PRICES * FIRST_SEATS * PRICE
    both = captured(300, 3 * share, APPEAL_SEATS)
    assert both * won + (1 - both) * lost < -PRICE, "worse than paying for the result"


# --- trade with oneself -------------------------------------------------------------------------------------------


wash = st.tuples(st.integers(1, 10**6), st.integers(1, 10**9))


@given(st.lists(wash, min_size=1, max_size=6), wash)
def test_wash_trading_costs(others: list[tuple[int, int]], mine: tuple[int, int]) -> None:
    """Client and provider of one hand: it burns its fees, and gets less back, whatever it locks and whoever else trades."""
    fees, times = zip(*others, mine, strict=True)
    assert work_rewards(fees, times, capped=True)[-1] < mine[0]


def test_without_a_cap_per_owner_wash_trading_pays() -> None:
    """Why the cap is per owner: a pool of 0.8 of *all* fees, shared by fees and collateral, lets idle collateral take the
    fees that others burned."""
    fees, times = (100, 1), (100, 1_000)
    assert work_rewards(fees, times, capped=False)[-1] > 5
    assert work_rewards(fees, times, capped=True)[-1] <= 0.8


def test_no_dispute_with_oneself_brings_anything() -> None:
    """One hand is client, provider, funder and all three seats: every row gives back at most what was put in."""
    for level in (*STRICT, *TOLERANT):
        s = default_stakes(level, 0)
        for name in Row:
            paid = row(s, name)
            net = client_net(s, name) + provider_net(s, name) + paid.seats
            assert net == -(paid.burned + paid.panel_burned), (level, name)
            assert net <= 0


def test_a_slash_cannot_be_laundered() -> None:
    """A provider that convicts itself through a client of its own loses what is burned, and the fees of strangers' seats."""
    for level in STRICT:
        for passed in (0, 50, 1_000):
            s = default_stakes(level, passed)
            net = client_net(s, Row.CONVICTED) + provider_net(s, Row.CONVICTED)
            assert -net >= s.collateral - 2 * PRICE, (level, passed)


# --- the pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_show_what_the_code_computes(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text()
    assert "<!-- table:" in text
    assert render(text) == text, f"python -m devnet.economics {page}"


def test_every_choice_that_is_measured_is_on_the_page() -> None:
    text = (Path(__file__).parents[3] / "docs/triangle.md").read_text()
    assert [name for name in (*CHOICES, "channel_sealed") if f"| `{name}` |" not in text] == []


def test_every_table_is_on_a_page() -> None:
    root = Path(__file__).parents[3]
    shown = "".join((root / page).read_text() for page in PAGES)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in shown] == []
