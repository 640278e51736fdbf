"""Is a dispute's record that of its whole file, however its logs came: one by one, out of order, and taken back again?"""

import msgspec
from hypothesis import find, given
from hypothesis import strategies as st

from protocols.contracts.panel import EVENTS
from protocols.disputes.file import DISPUTER, MAX_FOLDS, DisputeFile, Folds, PanelLog
from protocols.disputes.record import MAX_LOGS, Record, record_of
from protocols.disputes.states import Stage
from protocols.hashing import keccak256
from protocols.units import DealId, Hash32

DEAL = DealId(keccak256(b"deal"))
OTHER = DealId(keccak256(b"other"))
TOPICS = {name: (topic, members) for topic, (name, members) in EVENTS.items()}
USUAL = ("PhaseChanged", "SeatCalled", "SeatAccepted", "SeatCommitted")
MOST = {"round": 1, "position": 3}


def first(reason: int = 1) -> PanelLog:
    """The dispute is opened."""
    topic, members = TOPICS["DisputeOpened"]
    words = {field: reason.to_bytes(32) for field, _, _ in members} | {"dealId": bytes(DEAL)}
    topics = (topic, *(words[field] for field, _, indexed in members if indexed))
    data = b"".join(words[field] for field, _, indexed in members if not indexed)
    return PanelLog(0, 0, Hash32(keccak256(b"first")), topics, data)


def whole(logs: tuple[PanelLog, ...]) -> Record | None:
    return record_of((log.topics, log.data) for log in logs)


@st.composite
def panel_logs(draw: st.DrawFn) -> PanelLog:
    """A log of any event, mostly about one dispute, with words small enough to name phases, places and seats that exist."""
    name = draw(st.one_of(st.sampled_from(USUAL), st.sampled_from(sorted(TOPICS))))
    topic, members = TOPICS[name]
    topics: list[bytes] = [topic]
    data = b""
    for field, _, indexed in members:
        if field == "dealId":
            word: bytes = draw(st.sampled_from((DEAL, DEAL, DEAL, DEAL, OTHER)))
        else:
            word = draw(st.integers(0, MOST.get(field, 9))).to_bytes(32)
        if indexed:
            topics.append(word)
        else:
            data += word
    block, index = draw(st.integers(1, 6)), draw(st.integers(0, 3))
    return PanelLog(block, index, Hash32(keccak256(bytes([draw(st.integers(0, 9))]))), tuple(topics), data)


STEPS = st.lists(st.one_of(panel_logs(), st.integers(0, 20), st.none()), max_size=60)
"""A log that is heard, the number of one that a reorganisation takes, or a restart."""


@given(STEPS)
def test_one_log_more_or_less_is_the_whole_file_folded(steps: list[PanelLog | int | None]) -> None:
    """Found by a profile: the whole file was folded for every log, a third of the time of a history rich in disputes."""
    file, kept = DisputeFile(DEAL, DISPUTER, (first(),)), [first()]
    for step in steps:
        if isinstance(step, PanelLog):
            file = file.heard(step)
            if all((one.tx, one.index) != (step.tx, step.index) for one in kept):
                kept.append(step)
        elif step is None:
            file = msgspec.msgpack.decode(msgspec.msgpack.encode(file), type=DisputeFile)
        elif kept:
            gone = kept.pop(step % len(kept))
            file = file.retracted(gone.tx, gone.index)
        assert file.logs == tuple(sorted(kept, key=lambda log: (log.block, log.index)))
        assert file.record() == whole(file.logs)


@given(st.lists(panel_logs(), max_size=12), st.lists(st.integers(0, 12), max_size=40))
def test_what_was_forgotten_is_folded_anew(logs: list[PanelLog], asked: list[int]) -> None:
    folds = Folds(most=3)
    for count in asked:
        some = (first(), *logs)[:count]
        assert folds.record(some) == whole(some)
        assert len(folds) <= 3


def test_the_logs_of_these_tests_say_something() -> None:
    """A record that is never there would always be the same."""
    found = find(st.lists(panel_logs(), max_size=12), lambda logs: _accepted(whole((first(), *logs))))
    assert len(found) >= 2


def _accepted(record: Record | None) -> bool:
    return record is not None and any(place.stage is Stage.ACCEPTED for place in record.places)


def test_a_file_and_what_is_remembered_of_it_are_bounded() -> None:
    topic, _ = TOPICS["Burned"]
    file, folds = DisputeFile(DEAL, DISPUTER), Folds(most=MAX_FOLDS)
    for number in range(MAX_LOGS + 8):
        file = file.heard(PanelLog(number, 0, Hash32(number.to_bytes(32)), (topic,), bytes(32)))
        assert folds.record(file.logs) is None
    assert len(file.logs) == MAX_LOGS
    assert len(folds) <= MAX_LOGS + 1
