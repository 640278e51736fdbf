"""What does a person at a terminal see: one line that is rewritten, a question before money is spent, no colour?"""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence

import pytest

from mesh.base.clock import ManualClock
from mesh.cli.render import (
    PhaseLine,
    ago,
    amount,
    newest,
    outcome_words,
    pairs,
    phase_line,
    plain,
    share,
    short,
    table,
    when,
)


def at_a_terminal(*arguments: str, dialogue: Sequence[tuple[str, str]] = (), **environment: str) -> tuple[int, str]:
    """Exit code, and all that appeared on a terminal of 80 columns that is stdin, stdout and stderr.

    ``dialogue``: what to type when the given words have appeared.
    """
    master, slave = pty.openpty()
    variables = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm", **environment}
    command = [sys.executable, "-m", "mesh.cli.app", *arguments]
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
    ) as process:
        os.close(slave)
        shown, asked, ahead = b"", 0, list(dialogue)
        while part := _read(master):
            shown += part
            if ahead and ahead[0][0].encode() in shown[asked:]:
                asked = len(shown)
                os.write(master, ahead.pop(0)[1].encode())
        os.close(master)
        assert not ahead, shown
        return process.wait(), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the last one has closed it
        return b""


def test_the_phase_line_is_rewritten(node, run_of, deal_of, searching) -> None:
    running = deal_of(phase="running", final_tx=None, outcome=None, checked="", paid=None, committed_at=1_700_000_000)
    node.story = [searching, searching, run_of(status="dealing", deals=(running,), settled=False), run_of()]
    code, shown = at_a_terminal("wait", "0x1f3a")
    assert code == 0
    frames = [frame for frame in shown.replace("\r\n", "\n").split("\n")[0].split("\r") if frame]
    assert len(frames) >= 3
    assert any("running " in frame and frame.split("running ")[1][-3:-2] == ":" for frame in map(str.rstrip, frames))
    assert all(len(frame) <= 79 for frame in frames[:-1])
    assert frames[-1].endswith("settled 0xfefefefe")
    assert "\x1b" not in shown


def test_a_terminal_that_cannot_go_back_gets_lines(node, searching, run_of) -> None:
    node.story = [searching, run_of()]
    _, shown = at_a_terminal("wait", "0x1f3a", TERM="dumb")
    assert "\r" not in shown.replace("\r\n", "\n")


@pytest.mark.parametrize(("typed", "code", "sent"), [("n\n", 2, 0), ("y\n", 0, 1), ("\n", 0, 1), ("\x04", 2, 0)])
def test_spending_is_asked_about(node, job, typed, code, sent) -> None:
    ended, shown = at_a_terminal(
        "submit", str(job), dialogue=[("Spend up to 2 MESH per attempt, 3 MESH in all? [Y/n]", typed)]
    )
    assert ended == code
    assert sum(name == "submit" for name, _ in node.asked) == sent
    if code:
        assert "nothing was submitted" in shown


def test_spending_is_not_asked_about_twice(node, job) -> None:
    ended, shown = at_a_terminal("submit", str(job), "--yes")
    assert (ended, "[Y/n]" in shown) == (0, False)


def test_passphrases_are_asked_for_unseen(home) -> None:
    code, shown = at_a_terminal(
        "key", "new", "--encrypt", dialogue=[("new passphrase:", "correct horse\n"), ("again:", "correct horse\n")]
    )
    assert (code, "correct" in shown) == (0, False)
    assert (home / "node.key").read_text().startswith("{")
    code, shown = at_a_terminal("key", "show", dialogue=[("passphrase of the node key:", "wrong\n")])
    assert (code, "the passphrase is wrong" in shown) == (3, True)


def test_passphrases_that_differ(home) -> None:
    code, shown = at_a_terminal("key", "new", "--encrypt", dialogue=[("new passphrase:", "one\n"), ("again:", "two\n")])
    assert (code, "differ" in shown) == (3, True)
    assert not (home / "node.key").exists()


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (None, "-"),
        ("0", "0 MESH"),
        ("1", "0.000000000000000001 MESH"),
        (str(10**18), "1 MESH"),
        ("2500000000000000000", "2.5 MESH"),
    ],
)
def test_amounts(wei, text) -> None:
    assert amount(wei) == text


def test_small_things() -> None:
    assert [ago(0, now) for now in (0, 59, 60, 3599, 3600, 90_000)] == [
        "0s",
        "59s",
        "1m00s",
        "59m59s",
        "1h00m",
        "25h00m",
    ]
    assert ago(10, 5) == "0s"
    assert when(0) == "1970-01-01 00:00:00"
    assert (short(None), short("0x1234567890"), short("16Uiu2HAmAbcdefgh")) == ("-", "0x12345678", "..Abcdefgh")
    assert (share(None), share(20_000), share(1_000_000)) == ("-", "2.0 %", "100.0 %")
    assert pairs([("a", "1"), ("long", "2\n3")]) == "a     1\nlong  2\\x0a3"
    assert table(["A", "B"], []) == "A  B"
    assert table(["A", "B"], [["long", ""]]) == "A     B\nlong"
    assert plain("\u202eevil\x9b") == "\\x202eevil\\x9b"
    assert plain("größer “ok” 41 %") == "größer “ok” 41 %"


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        (
            {"phase": "signed", "commit_tx": None, "hint": "pulling 41 %", "outcome": None},
            "deal 0x77aaefef > pulling 41 %",
        ),
        ({"phase": "ready", "commit_tx": None, "outcome": None}, "> ready"),
        ({"phase": "committed", "outcome": None}, "committed 0x9b010101 > running"),
        ({"phase": "resulted"}, "result exited > pulling result"),
        ({"phase": "delivered"}, "result exited > checking"),
        ({"phase": "rejected", "detail": "other bytes\x1b"}, "REJECTED: other bytes\\x1b"),
    ],
)
def test_phases(run_of, deal_of, changes, ends) -> None:
    one = deal_of(**{"checked": "", "final_tx": None, "paid": None} | changes)
    assert phase_line(run_of(status="dealing", deals=(one,))).endswith(ends)


def test_attempts_and_failures_are_in_the_line(run_of, deal_of) -> None:
    line = phase_line(run_of(status="failed", code="provider-lost", deals=(deal_of(), deal_of(final_tx=None))))
    assert "attempt 2" in line
    assert line.endswith("failed provider-lost")


def rows_of(shown: str) -> list[str]:
    """What a terminal that honours the carriage return has on its lines in the end."""
    found = []
    for line in shown.replace("\r\n", "\n").split("\n"):
        row = ""
        for part in line.split("\r"):
            row = part + row[len(part) :]
        found.append(row.rstrip())
    return found


def test_what_a_job_says_stands_on_lines_of_its_own(node, job, run_of, searching, deal_of) -> None:
    running = deal_of(phase="running", final_tx=None, outcome=None, checked="", paid=None)
    node.story = [searching, run_of(status="dealing", deals=(running,), settled=False), run_of()]
    _, shown = at_a_terminal("submit", str(job), "-f", "--yes")
    rows = rows_of(shown)
    said = node.log["stdout"].decode().splitlines()
    assert said
    assert set(said) <= set(rows)


def test_a_line_that_has_not_ended_is_left_alone() -> None:
    code = (
        "import sys; from mesh.cli.render import PhaseLine; from mesh.base.clock import ManualClock\n"
        "line = PhaseLine(ManualClock()); line.make_room(midline=True); print('41 %', end='', flush=True)\n"
        "line.aside('a hint'); line.make_room(midline=True); print('42 %', end='', flush=True); line.aside('another')\n"
    )
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while part := _read(master):
            shown += part
        os.close(master)
        assert process.wait() == 0
    assert rows_of(shown.decode()) == ["41 %", "a hint", "42 %", "another", ""]


def test_the_newest_steps_are_those_that_are_shown(node) -> None:
    whole = "3 quotes > deal 0x59ca3c9c > committed 0x61f66b2c > result exited > checked: bytes > settled 0x9ba221d9"
    assert newest(whole, 200) == whole
    assert newest(whole, 30) == "... > settled 0x9ba221d9"
    assert newest("searching for somebody", 12) == "searching..."
    _, shown = at_a_terminal("ps", "-a")
    assert max(map(len, rows_of(shown))) <= 80
    assert "... > settled 0xfefefefe" in shown


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        ("exited", 0, "exited, exit code 0"),
        ("failed", 2, "failed, exit code 2"),
        ("fuel", -1, "fuel (it used up limits.fuel)"),
        ("cancelled", -1, "cancelled"),
    ],
)
def test_how_a_job_ended_in_words(outcome, code, text) -> None:
    assert outcome_words(outcome, code) == text


def test_away_from_a_terminal_each_state_is_printed_once(capsys, run_of, searching) -> None:
    line = PhaseLine(ManualClock())
    for state in (searching, searching, run_of(), run_of()):
        line.show(state)
    line.end()
    assert len(capsys.readouterr().err.splitlines()) == 2
