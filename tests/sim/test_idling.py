"""How many deals does a provider get that begins no job, whatever it says? The seeds are in the parameters."""

import pytest

from devnet.sim.idling import idling
from protocols.deals.terms import OutcomeCode

SLOW_MS = 20_000
"""What a job takes, of the 30 s that it may: it ends in time, but not by far."""
MOST = 3


@pytest.mark.parametrize(
    ("seed", "channel", "takes_ms"), [(7, False, 1), (8, True, 1), (8, False, SLOW_MS), (7, True, SLOW_MS)]
)
def test_three_deals_of_one_owner_at_most_for_who_says_that_the_time_was_up(
    seed: int, channel: bool, takes_ms: int
) -> None:
    """Four of twelve, at half the price, would get them all: 67 of 72, and up to 13 of one owner, before anybody looked."""
    told = idling(seed, OutcomeCode.TIMEOUT, channel=channel, takes_ms=takes_ms)
    assert told.problems == ()
    assert 0 < told.most <= MOST, told
    assert told.with_idlers <= told.deals // 2


@pytest.mark.parametrize(("seed", "excuse"), [(7, OutcomeCode.OOM), (8, OutcomeCode.DISK_LIMIT)])
def test_who_says_that_memory_or_disk_ran_out_is_found_out_at_once(seed: int, excuse: OutcomeCode) -> None:
    told = idling(seed, excuse)
    assert told.problems == ()
    assert told.most <= 2
    assert set(told.checked) <= {"refused", "rejected"}, told


def test_an_owner_with_the_slowest_machine_of_all_who_checks_everything_is_no_easy_prey() -> None:
    """Found once: it found each time that the time was up here too, took that for an excuse, and paid for ever."""
    told = idling(7, OutcomeCode.TIMEOUT, here_ms=40_000, audit_ppm=1_000_000)
    assert told.problems == ()
    assert set(told.checked) == {"too-long"}
    assert told.most <= MOST


def test_where_everybody_is_too_slow_nobody_is_worse_off() -> None:
    """A job that runs out of time everywhere: the fault is the job's, and all providers get their price."""
    told = idling(7, OutcomeCode.TIMEOUT, takes_ms=40_000)
    assert told.problems == ()
    assert told.deals == 72


def test_under_a_panel_a_limit_that_was_not_met_costs_more_than_it_brings() -> None:
    told = idling(7, OutcomeCode.OOM, panel=True)
    assert told.problems == ()
    assert told.most <= 2
    assert told.checked["voided"] > 0, "nobody is convicted for it"
    assert told.earned < 0
