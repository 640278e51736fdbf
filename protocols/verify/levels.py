"""Which levels of comparison are there, how sure is each, and what may follow from a mismatch?

One row per ``Level``. The planning values d and f come from the literature behind each method (docs/protocol/verification.md
names it); the incentive linter and the defaults of a deal are computed from them.
"""

from enum import Enum
from typing import Final

import msgspec

from protocols.deals.terms import Level, OutcomeCode
from protocols.units import PPM

__all__ = [
    "BY_RULE",
    "LEVELS",
    "NEVER_GROUNDS",
    "Consequence",
    "LevelRule",
    "auditable",
    "depends_on_machine",
    "looked_at_always",
    "panel_problem",
]


class Consequence(Enum):
    """What a panel may do about a result that differs."""

    NOTHING = "nothing"
    """Nobody compares, or the client alone draws the consequence."""
    COLLATERAL = "collateral"
    """One mismatch takes all of the collateral."""
    SEQUENTIAL = "sequential"
    """One mismatch costs the deal; a sequential test over many takes the collateral."""


class LevelRule(msgspec.Struct, frozen=True):
    """What one level promises. Probabilities in ppm."""

    level: Level
    caught_ppm: int
    """d: a wrong result that is checked is found wrong."""
    misjudged_ppm: int
    """f: a right result that is checked is found wrong."""
    consequence: Consequence
    panel_executors: frozenset[str]
    """Executors whose jobs a panel judges at this level."""
    by_image: bool = False
    """The other executors too, for an image on the provider's own vetted list."""
    needs_reproducible: bool = True
    """A job with network or secrets cannot use it: its output depends on more than its input."""

    @property
    def margin_ppm(self) -> int:
        """d - f: how much better a check is than a coin that convicts at random."""
        return self.caught_ppm - self.misjudged_ppm

    @property
    def tolerant(self) -> bool:
        """Results may differ a little, so one mismatch proves little."""
        return self.consequence is Consequence.SEQUENTIAL


_WASM: Final = frozenset({"wasm"})
_ANY: Final = frozenset({"wasm", "oci", "process"})

LEVELS: Final[dict[Level, LevelRule]] = {
    rule.level: rule
    for rule in (
        LevelRule(Level.NONE, 0, 0, Consequence.NOTHING, frozenset(), needs_reproducible=False),
        LevelRule(Level.EXACT, 999_000, 100, Consequence.COLLATERAL, _WASM, by_image=True),
        LevelRule(Level.CANONICAL, 990_000, 1_000, Consequence.COLLATERAL, _WASM, by_image=True),
        LevelRule(Level.NUMERIC, 950_000, 2_000, Consequence.SEQUENTIAL, _ANY),
        LevelRule(Level.PERCEPTUAL, 900_000, 5_000, Consequence.SEQUENTIAL, _ANY),
        LevelRule(Level.REPLICATE, 0, 0, Consequence.NOTHING, frozenset(), needs_reproducible=False),
    )
}
"""Every level, in the order of the Deal's codes."""

NEVER_GROUNDS: Final = frozenset(
    {OutcomeCode.TIMEOUT, OutcomeCode.OOM, OutcomeCode.DISK_LIMIT, OutcomeCode.CANCELLED, OutcomeCode.INFRA_ERROR}
)
"""Outcomes that can be said without having worked, and that depend on the machine in most executors: no panel takes
collateral for one."""
BY_RULE: Final[dict[str, frozenset[OutcomeCode]]] = {"wasm": frozenset({OutcomeCode.OOM, OutcomeCode.DISK_LIMIT})}
"""Those of them that, in an executor, follow from the job and its limits alone: its own accounts refuse a page of memory or a
byte of output, at the same instruction on every machine (docs/adr/0003-wasm-executor.md), so they are compared like any other."""


def depends_on_machine(outcome: OutcomeCode, executor: str) -> bool:
    """Whether two honest machines may end the same job so and otherwise."""
    return outcome in NEVER_GROUNDS and outcome not in BY_RULE.get(executor, ())


def looked_at_always(outcome: OutcomeCode) -> bool:
    """Whether a check that was agreed on waits for no draw: what costs nothing to say and can be compared is always compared.
    It is rare among honest results, and computing it again takes no longer than it did."""
    return any(outcome in of_it for of_it in BY_RULE.values())


def auditable(level: Level, outcome: OutcomeCode, executor: str) -> bool:
    """Whether a re-execution can say anything about a result. Of a time that was up it can say so in wasm, where it costs
    nobody money; that is never a mismatch (`protocols.verify.audits.Timed`)."""
    said = not depends_on_machine(outcome, executor) or (outcome is OutcomeCode.TIMEOUT and executor in BY_RULE)
    return LEVELS[level].consequence is not Consequence.NOTHING and said


def panel_problem(level: Level, executor: str, *, vetted: bool = False, open_ended: bool = False) -> str:
    """Why a panel cannot judge such a job at this level; empty when it can.

    ``vetted``: the image is on the provider's own list of reproducible ones. ``open_ended``: the job has network or
    secrets. A job that reads the date would convict an honest provider, so it is refused before anybody signs.
    """
    rule, name = LEVELS[level], level.name.lower()
    if rule.consequence is Consequence.NOTHING:
        return f"a panel has nothing to compare at level {name}; write another level, or sign with enforcement: self"
    if open_ended:
        return f"a job with network or secrets cannot be run again for level {name}; write level: none or replicate"
    if executor in rule.panel_executors or (rule.by_image and vetted):
        return ""
    return (
        f"level {name} under a panel is for wasm and for images on the provider's vetted list, this is {executor}; "
        "write level: numeric, or add the image's digest to `vetted` in the policy file"
    )


assert all(0 <= rule.misjudged_ppm <= rule.caught_ppm <= PPM for rule in LEVELS.values())
assert list(LEVELS) == list(Level)
