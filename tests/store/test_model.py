"""Does the store hold what a dictionary would, whatever is committed, by however many, with restarts between?"""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.store import Batch, OutboxEntry, Row, Store, TraceEntry

KINDS = st.sampled_from(["deal", "run"])
IDS = st.binary(max_size=2)
KEYS = st.sampled_from(["a:1", "a:2", "b:1"])
ROWS = st.builds(Row, KINDS, IDS, st.integers(0, 2**31), st.binary(max_size=50))
ENTRIES = st.builds(OutboxEntry, KEYS, st.text("xyz", max_size=3), st.binary(max_size=20))
TRACES = st.builds(TraceEntry, st.integers(0, 2**40), KINDS, IDS, st.binary(max_size=9))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    puts = draw(st.lists(ROWS, max_size=4))
    taken = {(row.kind, row.id) for row in puts}
    return Batch(
        puts=puts,
        deletes=[key for key in draw(st.lists(st.tuples(KINDS, IDS), max_size=3)) if key not in taken],
        outbox=draw(st.lists(ENTRIES, max_size=3)),
        acks=draw(st.lists(KEYS, max_size=2)),
        trace=draw(st.lists(TRACES, max_size=3)),
        cursors=draw(st.dictionaries(KINDS, IDS, max_size=1)),
    )


STEPS = st.one_of(
    st.lists(batches(), min_size=1, max_size=4),  # committed at the same time
    st.sampled_from(["restart", "check"]),
)
TRACE_KEPT = 5


class Model:
    """What the store should hold."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], Row] = {}
        self.outbox: dict[str, OutboxEntry] = {}
        self.trace: list[TraceEntry] = []
        self.cursors: dict[str, bytes] = {}

    def apply(self, batch: Batch) -> None:
        for key in batch.deletes:
            self.rows.pop(key, None)
        self.rows |= {(row.kind, row.id): row for row in batch.puts}
        for name in batch.acks:
            self.outbox.pop(name, None)
        for entry in batch.outbox:
            self.outbox.pop(entry.key, None)
            self.outbox[entry.key] = entry
        self.trace = [*self.trace, *batch.trace][-TRACE_KEPT:]
        self.cursors |= batch.cursors

    async def compare(self, store: Store) -> None:
        snapshot = await store.load()
        assert snapshot.rows == tuple(self.rows[key] for key in sorted(self.rows))
        assert snapshot.outbox == tuple(self.outbox.values())
        assert snapshot.cursors == self.cursors
        records = await store.tail()
        assert [(r.at, r.kind, r.subject, r.data) for r in records] == [
            (t.at, t.kind, t.subject, t.data) for t in self.trace
        ]
        for subject in {record.subject for record in records}:
            assert await store.trace(subject) == tuple(r for r in records if r.subject == subject)


@settings(max_examples=settings().max_examples // 3)
@given(steps=st.lists(STEPS, max_size=12))
async def test_the_store_is_a_dictionary_that_lasts(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[Batch] | str]
) -> None:
    path = tmp_path_factory.mktemp("model") / "node.db"
    model = Model()
    store = await Store.open(path, trace_kept=TRACE_KEPT)
    try:
        for step in [*steps, "check", "restart", "check"]:
            if step == "restart":
                await store.aclose()
                store = await Store.open(path, trace_kept=TRACE_KEPT)
            elif isinstance(step, list):
                await commit_together(store, step, model)
            else:
                await model.compare(store)
    finally:
        await store.aclose()


async def commit_together(store: Store, group: list[Batch], model: Model) -> None:
    """Hand in all at once; they land in the order in which they were handed in."""

    async def one(batch: Batch, turn: trio.Event, following: trio.Event) -> None:
        await turn.wait()
        model.apply(batch)
        following.set()
        await store.commit(batch)

    turns = [trio.Event() for _ in range(len(group) + 1)]
    turns[0].set()
    async with trio.open_nursery() as nursery:
        for place, batch in enumerate(group):
            nursery.start_soon(one, batch, turns[place], turns[place + 1])
