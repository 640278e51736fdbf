"""Does a node's own account of its money come to what the escrow holds for it, whatever has happened?"""

import pytest

from devnet.sim.faults import FAULTS
from devnet.sim.simulate import build, finish
from devnet.sim.workload import FUNDS
from protocols.spending import Sums, spending


@pytest.mark.parametrize("faults", ["none", "all"])
@pytest.mark.parametrize("seed", [3, 4])
def test_every_books_end_where_the_escrow_does(seed: int, faults: str) -> None:
    print(f"seed {seed}, faults {faults}")
    world, _ = build(12, seed, minutes=6, faults=FAULTS[faults], runs_per_client=6)
    assert finish(world, 6) == ()
    looked = 0
    for node in world.nodes.values():
        if node.buried:
            continue  # what it knows ends with its life
        free, stake = world.balance(node)
        books = spending(node.state)
        assert free + stake == 2 * FUNDS + books.total.change, books.total
        assert books.total.locked == 0
        looked += books.total != Sums()
    assert looked >= 2, "hardly anybody had anything to account for"


def test_while_deals_are_under_way_what_is_locked_is_told_apart() -> None:
    world, buyers = build(8, 5, minutes=2, faults=FAULTS["none"], runs_per_client=4)
    seen = 0
    while world.now < 120_000:
        world.run(world.now + 50)
        for node in buyers:
            books = spending(node.state)
            free, stake = world.balance(node)
            seen += bool(books.total.locked) and free + stake == 2 * FUNDS + books.total.change
    assert seen, "no moment was found at which money was locked and the client knew of it"


def test_a_runs_line_holds_the_sums_of_its_deals() -> None:
    world, buyers = build(8, 5, minutes=2, faults=FAULTS["none"], runs_per_client=4)
    finish(world, 2)
    for node in buyers:
        for run in spending(node.state).runs:
            assert run.sums.paid == sum(deal.sums.paid for deal in run.deals) <= run.budget
            assert run.sums.fees == sum(deal.sums.paid // 100 for deal in run.deals)
