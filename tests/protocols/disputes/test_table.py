"""Does the dispute machine make exactly the moves that the one table lists? And does the documentation?"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.deals.eip712 import Level, OutcomeCode
from protocols.disputes import inputs as ins
from protocols.disputes import machine
from protocols.disputes import states as st
from protocols.disputes.table import EDGES, ROWS, STATES, markdown
from protocols.errors import RemoteProtocolError

if TYPE_CHECKING:
    from tests.protocols.disputes.conftest import Bench

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol" / "disputes.md"
WALKS = 3_000
SEED = 20_261_122


def walk(bench: "Bench", rng: random.Random, seen: set[tuple[str, str, str]], rows: set[str]) -> None:
    """One dispute by chance to its end: mostly what is awaited, sometimes silence, sometimes fraud."""
    bench.reason = rng.choice(list(st.Reason))
    bench.outcome = rng.choice([OutcomeCode.EXITED, OutcomeCode.EXITED, OutcomeCode.TIMEOUT])
    bench.masks = rng.choice([bench.masks, [0x77F], [0x7FF], [0x7FF], [0x7FF], [0]])
    bench.fed = (rng.choice([9, 9, 9, 0]), rng.choice([9, 9, 1, 0]))
    bench.served = rng.choice([0.95, 0.95, 0.2])
    appeals = rng.random() < 0.5
    bench.open()
    diligent = rng.choice([0.5, 0.85, 0.9, 0.95, 0.99])
    while machine.deadline(bench.state) is not None:
        patience = min(diligent, 0.9) if isinstance(bench.state, st.Matching) else diligent
        before = type(bench.state).__name__
        input_: ins.DisputeInput = ins.Poked()
        if rng.random() < 0.01:
            input_ = rng.choice([ins.Equivocated(), ins.Delivered()])
        elif rng.random() < patience:
            input_ = rng.choice(bench.natural(rng))
        if appeals and isinstance(bench.state, (st.Verdict, st.Appealed)):
            input_ = rng.choice(bench.natural(rng)[:2])
        if isinstance(input_, ins.Poked):
            bench.pass_deadline()
        try:
            bench.act(input_)
        except RemoteProtocolError:
            continue
        after = type(bench.state).__name__
        if after != before:
            seen.add((before, type(input_).__name__, after))
    rows.add(bench.state.row.name)  # type: ignore[union-attr]


def starved(bench: "Bench", seen: set[tuple[str, str, str]]) -> None:
    """Rarer than chance finds it: six seats of the second panel miss the inputs, the seventh and its substitute vanish."""
    rng = random.Random(SEED)
    bench.masks = [0x77F]
    bench.served = 1.0
    bench.open()
    while not (isinstance(bench.state, st.Committing) and len(bench.state.rounds) == 2):
        bench.act(bench.natural(rng)[1 if isinstance(bench.state, st.Verdict) else 0])
    for _ in range(6):
        bench.act(next(one for one in bench.natural(rng) if isinstance(one, ins.InputsMissing)))
    for _ in range(2):
        before = type(bench.state).__name__
        bench.pass_deadline()
        bench.act(ins.Poked())
    seen.add((before, "Poked", type(bench.state).__name__))


def test_the_machine_makes_the_moves_of_the_table_and_no_other(make_bench: "Callable[..., Bench]") -> None:
    rng, seen, rows = random.Random(SEED), set[tuple[str, str, str]](), set[str]()
    print("seed", SEED)
    for number in range(WALKS):
        level = rng.choice([Level.EXACT, Level.NUMERIC])
        walk(
            make_bench(seats=rng.choice([0, 2, 4, 10]) if number % 8 == 0 else rng.choice([11, 14]), level=level),
            rng,
            seen,
            rows,
        )
    starved(make_bench(seats=11), seen)
    listed = {(edge.before, edge.on, edge.after) for edge in EDGES}
    assert seen - listed == set()
    print(sorted(listed - seen))
    assert listed - seen == set()
    assert rows == {row.name for row in st.Row}


def test_every_state_and_row_has_its_line() -> None:
    assert [row.name for row in STATES] == [kind.__name__ for kind in st.PHASE]
    assert [row.row for row in ROWS] == [row.name for row in st.Row]
    assert set(machine.TABLE) == set(st.PHASE)


def test_the_document_has_the_table() -> None:
    assert markdown() in DOCUMENT.read_text()
