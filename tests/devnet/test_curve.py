"""Does the floor under a simulated event count what its deals sign, and nothing else?"""

from devnet.bench.curve import curve_floor


def test_what_deals_sign_is_counted_and_timed() -> None:
    found = {name: figure["value"] for name, figure in curve_floor(7, 1, 1).items()}
    signed, checked = found["signed_per_deal_event"], found["checked_per_deal_event"]
    assert 0.1 < signed < 1
    assert signed <= checked < 1, "each is checked by somebody"
    floor_us = signed * found["curve_sign_us"] + checked * found["curve_recover_us"]
    assert abs(floor_us - found["floor_curve_us_per_deal_event"]) < 0.5
    assert abs(1e6 / floor_us - found["floor_curve_events_per_cpu_s"]) < 0.02 * found["floor_curve_events_per_cpu_s"]
