"""Which figure must reach what? The floors of the project, in one place.

Ratios, shares and counts decide whether a benchmark is ok: they travel between machines. An absolute time or rate is
noted beside its target, with whether this machine reached it, and decides nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["FLOORS", "Floor", "judge"]


class Floor(msgspec.Struct, frozen=True):
    """A figure must be at least (or, with ``most``, at most) ``bound``."""

    bound: float
    most: bool = False
    decides: bool = False
    ratio: bool = False
    """The figure's ``ratio`` is meant, not its value."""

    def reached(self, value: float) -> bool:
        """Whether a value satisfies it."""
        return value <= self.bound if self.most else value >= self.bound


def _least(bound: float, *, decides: bool = False, ratio: bool = False) -> Floor:
    return Floor(bound, decides=decides, ratio=ratio)


def _most(bound: float, *, decides: bool = False) -> Floor:
    return Floor(bound, most=True, decides=decides)


FLOORS: Final[dict[str, dict[str, Floor]]] = {
    "first-job": {
        "to_deal_signed": _most(0.5),
        "to_first_output": _most(1.5),
        "channel_to_first_output": _most(0.5),
        "channel_deals_per_s": _least(20),
    },
    "gossip": {
        "delivery": _least(0.999, decides=True),
        "delivery_60": _least(0.999, decides=True),
        "burst_delivery": _least(1.0, decides=True),
        "latency_p50": _most(60),
        "latency_p99": _most(600),
        "cpu_per_delivery": _most(4.5),
    },
    "wire": {
        "stream": _least(0.12, decides=True, ratio=True),
        "artifact": _least(0.7, ratio=True),
        "rpc_p50": _most(1.0),
        "dial_p50": _most(30),
        "killed_noticed": _most(1.0),
        "frozen_noticed": _most(10.0),
        "dial_past_held_sockets": _most(2.0),
    },
    "exec": {
        "start_p50_ms": _most(5),
        "tiny_jobs_ratio": _least(0.8),
        "tiny_jobs_per_core_s_without_node": _least(200),
        "cancel_p99_ms": _most(1_000),
        "leaked_processes": _most(0, decides=True),
        "left_after_close": _most(0, decides=True),
    },
    "store": {
        "fifty_writers_appends_per_s": _least(8_000),
        "fifty_to_one_ratio": _least(4, decides=True),
        "restart_10k_deals_ms": _most(1_000),
    },
    "transfer": {
        "unixfs_cid_mb_per_s": _least(250),
        "verify_blocks_mb_per_s": _least(800),
        "unixfs_cid_to_sha256_ratio": _least(0.7, decides=True),
        "verify_to_sha256_ratio": _least(0.7, decides=True),
    },
    "beacon": {
        "verify_ms": _most(5),
        "stall_on_the_loop_ms": _most(5),
    },
    "gas": {
        "commit": _most(80_000, decides=True),
        "settle": _most(56_000, decides=True),
        "commit_settle_1": _most(136_000, decides=True),
        "commit_settle_10": _most(136_000, decides=True),
        "commit_settle_100": _most(136_000, decides=True),
        "commit_settle_1000": _most(136_000, decides=True),
        # commit, claim and finalize: 80,000 + 36,000 + 50,000
        "claim_finalize_1": _most(166_000, decides=True),
        "claim_finalize_10": _most(166_000, decides=True),
        "claim_finalize_100": _most(166_000, decides=True),
        "claim_finalize_1000": _most(166_000, decides=True),
        "open_channel": _most(54_000, decides=True),
        "redeem": _most(50_000, decides=True),
        "channel_100": _most(1_000, decides=True),
        "redeem_many_10_per_channel": _most(23_000, decides=True),
        "redeem_many_100_per_channel": _most(23_000, decides=True),
        "pip_only_chain_differs_by": _most(0.5, decides=True),
    },
    "triangle": {
        # What nobody else computes again costs no second price, and a channel no transaction per deal.
        "exact_drawn_prices": _most(1, decides=True),
        "panel_drawn_prices": _most(1, decides=True),
        "channel_transactions": _most(0, decides=True),
        "channel_sealed_transactions": _most(0, decides=True),
    },
    "sim": {
        "events_per_cpu_s_200": _least(50_000),
        "gossip_deliveries_per_cpu_s": _least(15_000),
        "rounds_per_deal_200": _most(2, decides=True),
        "rounds_per_deal_800": _most(2, decides=True),
        "violations_200": _most(0, decides=True),
        "violations_800": _most(0, decides=True),
    },
}
"""By benchmark and figure, from the project's targets. A figure that is not named here is noted without a target."""


def judge(name: str, figures: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The figures with their targets, and whether every floor that decides was reached."""
    ok = True
    judged: dict[str, Any] = {}
    for figure, found in figures.items():
        entry: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {"value": found}
        floor = FLOORS.get(name, {}).get(figure)
        value = entry.get("ratio" if floor is not None and floor.ratio else "value")
        if floor is not None and isinstance(value, int | float):
            entry["target"] = (
                f"{'<=' if floor.most else '>='} {floor.bound:g}{' of ' + str(entry.get('of')) if floor.ratio else ''}"
            )
            entry["reached"] = floor.reached(value)
            ok = ok and (entry["reached"] or not floor.decides)
        judged[figure] = entry
    return judged, ok
