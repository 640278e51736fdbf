"""Which figure must reach what? The floors of the project, in one place; ratios decide, absolute times are noted."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["FLOORS", "judge"]

FLOORS: Final[dict[str, dict[str, tuple[str, float]]]] = {
    "gossip": {"delivery": (">=", 0.999), "burst_delivery": (">=", 1.0)},
}
"""Per benchmark and figure: the comparison and the number. A figure that is not named here is noted, not judged."""


def judge(name: str, figures: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The figures with their floors, and whether every floor was reached."""
    ok = True
    judged: dict[str, Any] = {}
    for figure, found in figures.items():
        value = found["value"] if isinstance(found, Mapping) and "value" in found else found
        entry: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {"value": found}
        floor = FLOORS.get(name, {}).get(figure)
        if floor is not None and isinstance(value, int | float):
            sign, least = floor
            entry["floor"] = f"{sign} {least:g}"
            entry["reached"] = value >= least if sign == ">=" else value <= least
            ok = ok and entry["reached"]
        judged[figure] = entry
    return judged, ok
