"""Does Ctrl-C end a command with 130, leave the run alone, and say how it goes on?"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import IO

import pytest
import trio

from mesh.api.port import NodeApi
from mesh.base.clock import SystemClock
from mesh.base.errors import ConfigError, Defect, Interrupted
from mesh.cli.session import Session, run_async, when_interrupted
from mesh.store import Store

RUN = "0x1f3acdcd"


async def interrupted(node, arguments: list[str], until: str, times: int) -> tuple[int, str]:
    """Exit code and talk of a command that gets SIGINT once the node was asked for ``until`` that many times."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh.cli.app", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        with trio.fail_after(240):
            while [name for name, _ in node.asked].count(until) < times:
                assert process.poll() is None, process.communicate()
                await trio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, talk = await trio.to_thread.run_sync(process.communicate)
    finally:
        process.kill()
        process.wait()
    return process.returncode, talk


@pytest.mark.parametrize(
    ("arguments", "until", "times"),
    [(["wait", "0x1f3a"], "run", 2), (["submit", "job.yaml"], "run", 1), (["events", "0x1f3a", "-f"], "events", 1)],
)
async def test_the_run_goes_on_in_the_running_node(node, job, searching, arguments, until, times) -> None:
    node.story = [searching]
    code, talk = await interrupted(node, arguments, until, times)
    assert code == 130
    assert f"run {RUN} was not cancelled: it goes on in the running node" in talk
    assert talk.splitlines()[-1].startswith(f"  try: mesh wait {RUN}")
    assert "Traceback" not in talk
    assert not {"cancel", "stop"} & {name for name, _ in node.asked}


def test_outside_of_any_task(home) -> None:
    """The command waits for a file that never ends."""
    os.mkfifo("slow")
    command = [sys.executable, "-m", "mesh.cli.app", "deal", "verify", "slow"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with open("slow", "wb"):
            process.send_signal(signal.SIGINT)
        # The file ends after all: a signal that comes between two instructions does not wake the read that follows.
        _, talk = process.communicate()
    assert process.returncode == 130
    assert talk.startswith("mesh: interrupted")
    assert talk.splitlines()[-1].startswith("  try: ")


def press() -> None:
    """In this very thread: one that goes to the process may be taken by a thread of the test runner, and be heard later."""
    signal.raise_signal(signal.SIGINT)


def borrowed(own: bool) -> Session:
    api: NodeApi = None  # type: ignore[assignment]  # only asked whose it is
    return Session(api, own)


def test_without_a_running_node_the_run_waits_for_the_next_one() -> None:
    async def work() -> None:
        when_interrupted(f"{RUN}cd", borrowed(own=True))
        press()
        await trio.sleep_forever()

    with pytest.raises(Interrupted) as caught:
        run_async(work)
    assert "when a node of this home runs again" in caught.value.why
    assert "mesh up --detach" in caught.value.fix


def test_everything_is_closed_first() -> None:
    closed = []

    async def work() -> None:
        try:
            press()
            await trio.sleep_forever()
        finally:
            closed.append(True)

    with pytest.raises(Interrupted, match="interrupted"):
        run_async(work)
    assert closed == [True]


SLOW = """
    import sys
    from pathlib import Path

    import trio

    from mesh.cli.session import run_async, say, {imported}
    from mesh.store import Store
    from mesh.base.clock import SystemClock
    from mesh.exec.wasm.client import Zygote

    async def closes_for_ever(task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                say("closing")
                await trio.to_thread.run_sync(sys.stdin.read)

    async def work():
        async with await Store.open(Path("node.db"), clock=SystemClock()), trio.open_nursery() as nursery:
            zygote = await Zygote.start()
            {first}
            await nursery.start(closes_for_ever)
            say(f"open {{zygote.pid}}")
            {then}

    run_async(work)
"""
"""A command that has a store's lock and a child process, and whose closing does not end: neither on the event loop nor in its
thread."""
PRESSED = {
    "imported": "when_interrupted, Session",
    "first": f"when_interrupted('{RUN}', Session(None, True))",
    "then": "pass",
}
STOPPED = {
    "imported": "stops_in_order",
    "first": "stops_in_order('mesh up')",
    "then": "nursery.cancel_scope.cancel()",
}
"""What the first one means is the daemon's own business; it has had it."""


@contextmanager
def slow(folder: Path, parts: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    """The command, what it hears and what it says."""
    with subprocess.Popen(
        [sys.executable, "-c", dedent(SLOW).format(**parts)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            yield process, process.stdin, process.stderr
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("parts", "says"), [(PRESSED, "mesh wait 0x1f3acdcd"), (STOPPED, "try: mesh up")], ids=["command", "daemon"]
)
async def test_a_second_one_does_not_wait(tmp_path: Path, parts: dict[str, str], says: str) -> None:
    """And leaves neither lock nor child behind."""
    with slow(tmp_path, parts) as (process, _, told):
        first = told.readline()
        assert first.startswith("open "), first + told.read()
        child = int(first.split()[1])
        if parts is PRESSED:
            process.send_signal(signal.SIGINT)
        assert told.readline() == "closing\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        rest = told.read()
    assert says in rest
    assert "Traceback" not in rest
    async with await Store.open(tmp_path / "node.db", clock=SystemClock()):
        pass
    with trio.fail_after(60):
        while Path(f"/proc/{child}").exists():
            await trio.sleep(0.01)


def test_at_a_question_it_is_no_answer(tmp_path: Path) -> None:
    """Neither a yes nor a wait for the line's end."""
    code = """
        from mesh.cli.session import ask, run_async, say

        async def work():
            say("answered " + repr(ask("Go on? [Y/n]\\n")))

        run_async(work)
    """
    with subprocess.Popen(
        [sys.executable, "-c", dedent(code)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == "Go on? [Y/n]\n"
            stat = Path(f"/proc/{process.pid}/stat")
            while stat.read_text().rpartition(")")[2].split()[0] != "S":  # it does not wait for the answer yet
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        finally:
            process.kill()
    assert "Interrupted: interrupted" in rest
    assert "answered" not in rest


def test_a_slow_end_says_how_not_to_wait_for_it(tmp_path: Path) -> None:
    with slow(tmp_path, PRESSED) as (process, hears, told):
        told.readline()
        process.send_signal(signal.SIGINT)
        assert told.readline() == "closing\n"
        assert "Ctrl-C again ends it at once" in told.readline()
        hears.close()  # what it waits for comes after all
        rest = told.read()
        assert process.wait() == 1  # a script that shows no errors as `mesh` does
    assert "was not cancelled" in rest


def test_afterwards_the_handler_is_the_old_one() -> None:
    before = signal.getsignal(signal.SIGINT)

    async def work() -> int:
        return 7

    assert run_async(work) == 7
    assert signal.getsignal(signal.SIGINT) is before


def test_the_real_error_of_a_nursery_is_the_commands() -> None:
    async def fail() -> None:
        raise ConfigError("the key file is gone", fix="mesh key new")

    async def work() -> None:
        when_interrupted(RUN, borrowed(own=False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(ConfigError, match="key file is gone"):
        run_async(work)


def test_a_fault_of_ours_is_a_defect_with_its_cause() -> None:
    async def work() -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(Defect) as caught:
        run_async(work)
    assert "ZeroDivisionError" in caught.value.why
    assert "mesh doctor" in caught.value.fix
    assert isinstance(caught.value.__cause__, ExceptionGroup)
