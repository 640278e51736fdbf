"""What does each choice cost and earn? Payoffs and tables for the economics pages, computed from the shipped rules.

``python -m devnet.economics docs/protocol/economics.md docs/triangle.md`` rewrites the tables between the markers.
"""

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Final

from protocols.contracts.lock import Lock
from protocols.deals.terms import Level
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS, bond_of, fee_of
from protocols.disputes.payouts import Payout, payout
from protocols.disputes.states import Case, Reason, Row
from protocols.limits import ARBITRUM_ONE
from protocols.units import PPM, WEI_PER_TOKEN, ZERO_ADDRESS, ZERO_HASH, DealId, Seconds, Tokens, UnixSeconds
from protocols.verify.audits import BEACON_LEAD
from protocols.verify.incentives import Stakes, at_stake, audit_ppm_for, collateral_for, seat_fee_for
from protocols.verify.levels import LEVELS

__all__ = [
    "PRICE",
    "TABLES",
    "captured",
    "case_of",
    "cheating",
    "client_net",
    "default_stakes",
    "honest",
    "provider_net",
    "render",
    "row",
    "work_rewards",
]

PRICE: Final = Tokens(WEI_PER_TOKEN)
"""One token; every amount below scales with the price."""
BEACON_PERIOD_S: Final = 3
"""Of drand quicknet."""
WORK_POOL: Final = 0.8
"""Of the fees burned in a day, at most so much is minted for paid work."""
RECORDS: Final = (0, 50, 1_000)
"""Audited and passed deals: a newcomer, a regular, a veteran."""


def default_stakes(level: Level, passed: int, price: Tokens = PRICE) -> Stakes:
    """The terms that a node proposes when nobody says otherwise."""
    fee = seat_fee_for(price)
    rate = audit_ppm_for(level, price, fee, ARBITRUM_ONE.audit_ppm(passed))
    return Stakes(
        level=level, price=price, collateral=collateral_for(level, price, fee, rate), audit_ppm=rate, seat_fee=fee
    )


def case_of(stakes: Stakes) -> Case:
    """A dispute about a deal with these numbers."""
    lock = Lock(
        deal_id=DealId(ZERO_HASH),
        client=ZERO_ADDRESS,
        provider=ZERO_ADDRESS,
        client_owner=ZERO_ADDRESS,
        provider_owner=ZERO_ADDRESS,
        run_nonce=0,
        index=0,
        price=stakes.price,
        collateral=stakes.collateral,
        claim_within=Seconds(1),
        window_seconds=Seconds(1),
    )
    return Case(
        lock=lock,
        result_hash=ZERO_HASH,
        reason=Reason.WRONG,
        funder=ZERO_ADDRESS,
        fee=fee_of(stakes.seat_fee, stakes.price, stakes.collateral),
        level=stakes.level,
        seat_class=1,
        pool=100,
        exec_seconds=Seconds(1),
        client_secret=ZERO_HASH,
        provider_secret_hash=ZERO_HASH,
        opened_at=UnixSeconds(0),
    )


def row(stakes: Stakes, name: Row) -> Payout:
    """The shipped payout of a row, with all three seats in the majority."""
    return payout(name, case_of(stakes), FIRST_SEATS, had_majority=True)


def provider_net(stakes: Stakes, name: Row) -> int:
    """What a provider has after this row beyond what it put in, in wei. The burned fee is left out: it falls on all alike."""
    paid = row(stakes, name)
    return paid.to_provider + paid.to_stake + paid.provider_credit - stakes.collateral


def client_net(stakes: Stakes, name: Row) -> int:
    """The same for a client that funds the dispute itself; what the result is worth to it is left out."""
    paid = row(stakes, name)
    bond = bond_of(case_of(stakes).fee, stakes.price)
    return paid.to_client - stakes.price + paid.funder - bond


def found_wrong(stakes: Stakes) -> Row:
    """The row that follows when a panel finds against a provider for the first time."""
    return Row.LOST if stakes.rule.tolerant else Row.CONVICTED


def honest(stakes: Stakes, cost: Fraction) -> Fraction:
    """Expected profit per deal, in wei, of a provider that works, at ``cost``: paid, unless a check misjudges it."""
    return _expected(stakes, stakes.rule.misjudged_ppm) - cost


def cheating(stakes: Stakes, cost: Fraction) -> Fraction:
    """The same for one that delivers something else, at ``cost``."""
    return _expected(stakes, stakes.rule.caught_ppm) - cost


def _expected(stakes: Stakes, found_wrong_ppm: int) -> Fraction:
    convicted = Fraction(stakes.audit_ppm * found_wrong_ppm, PPM * PPM)
    return (1 - convicted) * stakes.price + convicted * provider_net(stakes, found_wrong(stakes))


def captured(pool: int, theirs: int, seats: int) -> Fraction:
    """Probability that ``seats`` drawn without replacement hold a majority of the ``theirs`` out of ``pool``."""
    least = seats // 2 + 1
    ways = sum(comb(theirs, k) * comb(pool - theirs, seats - k) for k in range(least, seats + 1))
    return Fraction(ways, comb(pool, seats))


def work_rewards(fees: Sequence[int], collateral_time: Sequence[int], *, capped: bool) -> list[float]:
    """What each owner gets of a day's work pool, in units of the fees it burned: 0.8 of all fees, by ``fees^0.7 *
    collateral-time^0.3``. ``capped``: nobody gets more than 0.8 of its own fees; the rest stays unminted."""
    weights = [fee**0.7 * time**0.3 for fee, time in zip(fees, collateral_time, strict=True)]
    pool = WORK_POOL * sum(fees)
    shares = [pool * weight / sum(weights) for weight in weights]
    return [min(share, WORK_POOL * fee) for share, fee in zip(shares, fees, strict=True)] if capped else shares


# --- the tables ---------------------------------------------------------------------------------------------------


def _defaults() -> list[list[str]]:
    rows = [["level", "passed audits", "q", "C", "F", "q (d - f) stake / P", "expected loss of the honest"]]
    for level, rule in LEVELS.items():
        if rule.margin_ppm <= 0:
            continue
        for passed in RECORDS:
            s = default_stakes(level, passed)
            margin = Fraction(s.audit_ppm * rule.margin_ppm * at_stake(s), PPM * PPM * PRICE)
            loss = Fraction(s.audit_ppm * rule.misjudged_ppm * at_stake(s), PPM * PPM * PRICE)
            rows.append([
                level.name.lower(), str(passed), _percent(Fraction(s.audit_ppm, PPM)), _prices(s.collateral),
                _prices(s.seat_fee), f"{float(margin):.3f}", _percent(loss),
            ])  # fmt: skip
    return rows


def _collateral() -> list[list[str]]:
    """rho = kappa / (q (d - f)) - 1, the least that deters."""
    rates = (20_000, 50_000, 100_000, 200_000, 250_000, 500_000)
    rows = [["level, share of the price saved", *(_percent(Fraction(q, PPM)) for q in rates)]]
    for level in (Level.EXACT, Level.CANONICAL):
        for kappa in (Fraction(1), Fraction(7, 10)):
            needed = [kappa / Fraction(q * LEVELS[level].margin_ppm, PPM * PPM) - 1 for q in rates]
            rows.append([f"{level.name.lower()}, {float(kappa):.1f}", *(f"{float(n):.1f} P" for n in needed)])
    return rows


def _rows() -> list[list[str]]:
    s = default_stakes(Level.EXACT, 0)
    rows = [["ends as", "client", "provider", "seats", "burned"]]
    for name in (
        Row.CONVICTED,
        Row.LOST,
        Row.ACQUITTED,
        Row.UNPROVEN,
        Row.FORFEIT,
        Row.UNSERVED,
        Row.BLAMELESS,
        Row.VOID,
    ):
        paid = row(s, name)
        rows.append([
            name.name.lower(), _signed(client_net(s, name)), _signed(provider_net(s, name)), _signed(paid.seats),
            _prices(paid.burned + paid.panel_burned),
        ])  # fmt: skip
    return rows


def _griefing() -> list[list[str]]:
    rows = [["F", "bond", "gain if the panel errs", "loss if it does not", "pays only if it errs in"]]
    for tenths in (12, 15, 30):
        fee = Tokens(tenths * PRICE // 10)
        s = Stakes(level=Level.EXACT, price=PRICE, collateral=Tokens(12 * PRICE), audit_ppm=250_000, seat_fee=fee)
        gain, loss = client_net(s, Row.CONVICTED) + PRICE, client_net(s, Row.ACQUITTED) + PRICE
        least = Fraction(-loss, gain - loss)
        rows.append([_prices(fee), _prices(bond_of(fee, PRICE)), _signed(gain), _signed(loss), _percent(least)])
    return rows


def _capture() -> list[list[str]]:
    rows = [["share of the seats", "3 of 30", "7 of 30", "3 of 300", "7 of 300", "both panels of 300"]]
    for share in (5, 10, 20, 33):
        chances = [captured(pool, pool * share // 100, k) for pool in (30, 300) for k in (FIRST_SEATS, APPEAL_SEATS)]
        rows.append([f"{share} %", *(_small(p) for p in (*chances, chances[2] * chances[3]))])
    return rows


def _triangle() -> list[list[str]]:
    """What a client adds to the price, who sees its data, and how much longer it waits."""
    rows = [["verify", "added cost, newcomer", "added cost, veteran", "who sees the data", "added wait"]]
    wait = f"{BEACON_LEAD * BEACON_PERIOD_S} s, plus a second run in "
    rows.append(["`none`", "0 %", "0 %", "the provider", "none"])
    rows.append(
        [
            "`exact`, wasm, audited here",
            "own machine's time",
            "own machine's time",
            "the provider",
            wait + _both(Level.EXACT),
        ]
    )
    for level in (Level.EXACT, Level.CANONICAL, Level.NUMERIC, Level.PERCEPTUAL):
        costs = [_percent(Fraction(default_stakes(level, passed).audit_ppm, PPM)) for passed in (0, 1_000)]
        sees = f"the provider; one more in {_both(level)}; seats in a dispute"
        rows.append([f"`{level.name.lower()}`, audited elsewhere", *costs, sees, wait + _both(level)])
    for n, agree in ((2, 2), (3, 2), (5, 3)):
        rows.append(
            [
                f"`replicate {{n: {n}, agree: {agree}}}`",
                f"{100 * (n - 1)} %",
                f"{100 * (n - 1)} %",
                f"{n} providers",
                "the slowest of them",
            ]
        )
    return rows


def _both(level: Level) -> str:
    first, last = (default_stakes(level, passed).audit_ppm for passed in (0, 1_000))
    if first == last:
        return f"{_percent(Fraction(first, PPM))} of deals"
    return f"{_percent(Fraction(first, PPM))} falling to {_percent(Fraction(last, PPM))} of deals"


def _locked() -> list[list[str]]:
    """What a provider ties up, and what that costs it at ten percent a year for the usual 30 hours."""
    rows = [["level", "passed audits", "collateral", "cost of capital"]]
    for passed in RECORDS:
        s = default_stakes(Level.EXACT, passed)
        cost = Fraction(s.collateral, PRICE) * Fraction(1, 10) * Fraction(30, 24 * 365)
        rows.append(["exact", str(passed), _prices(s.collateral), _percent(cost) + " of P"])
    return rows


TABLES: Final[dict[str, Callable[[], list[list[str]]]]] = {
    "defaults": _defaults,
    "collateral": _collateral,
    "rows": _rows,
    "griefing": _griefing,
    "capture": _capture,
    "triangle": _triangle,
    "locked": _locked,
}


def _prices(amount: int) -> str:
    return f"{float(Fraction(amount, PRICE)):.2f} P".replace(".00 P", " P")


def _signed(amount: int) -> str:
    return "0" if amount == 0 else f"{'+' if amount > 0 else '-'}{_prices(abs(amount))}"


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.3g} %"


def _small(p: Fraction) -> str:
    return f"{float(p):.2g}"


def render(text: str) -> str:
    """The page with every table between ``<!-- table: NAME -->`` and ``<!-- end -->`` computed anew."""
    for name, make in TABLES.items():
        start = f"<!-- table: {name} -->\n"
        if start not in text:
            continue
        before, rest = text.split(start)
        _, after = rest.split("<!-- end -->", 1)
        head, *body = make()
        lines = [head, ["---"] * len(head), *body]
        shown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        text = f"{before}{start}{shown}\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(render(page.read_text()))
