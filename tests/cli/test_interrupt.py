"""Does Ctrl-C end a command with 130, leave the run alone, and say how it goes on?"""

import os
import signal
import subprocess
import sys

import pytest
import trio

from mesh.api.port import NodeApi
from mesh.base.errors import ConfigError, Defect, Interrupted
from mesh.cli.session import Session, run_async, when_interrupted

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


def test_a_second_one_does_not_wait() -> None:
    async def work() -> None:
        try:
            press()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                press()
                await trio.sleep_forever()

    with pytest.raises(Interrupted):
        run_async(work)


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
