"""Does every malformed file get an error that names place, cause and fix, from the reader and from the command line?"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio

from devnet.scenarios.bad_jobs import BAD_JOBS, BadJob
from devnet.scenarios.hostile.settings import BAD_SETTINGS, BadSettings
from devnet.scenarios.hostile.verdicts import Verdict, judged
from mesh.base.config import load_config
from mesh.base.errors import ConfigError
from mesh.cli.jobfile import JobFileError, parse_job_text

__all__ = ["check_job_files", "check_settings", "run_commands"]

AT_ONCE: Final = 2
"""Commands side by side: a small machine has two cores."""
COMMAND_S: Final = 60.0
COMMANDS: Final = 6
"""Files of each kind that also go through a real command; the others differ only in their text."""
BAD_CODE: Final = 3
"""The exit code for a file that cannot be used."""


def check_job_files() -> list[Verdict]:
    """Every bad job file through the reader: one of its problems names the path and says what is wrong."""
    return [_job(bad) for bad in BAD_JOBS]


def _job(bad: BadJob) -> Verdict:
    try:
        parse_job_text(bad.text, "job.yaml", environ={})
    except JobFileError as error:
        for problem in error.problems:
            if bad.path in problem.path and bad.message in problem.message:
                return judged("job files", bad.name, str(error), "job.yaml", problem.message, "try: ")
        return Verdict("job files", bad.name, f"it says: {error}")
    return Verdict("job files", bad.name, "it was taken for a job")


def check_settings(folder: Path) -> list[Verdict]:
    """Every bad configuration file through the loader."""
    return [_setting(folder / str(number), bad) for number, bad in enumerate(BAD_SETTINGS)]


def _setting(folder: Path, bad: BadSettings) -> Verdict:
    folder.mkdir(parents=True)
    (folder / "mesh.toml").write_bytes(bad.text)
    try:
        load_config(env=_environment({}, folder), cwd=folder)
    except ConfigError as error:
        return judged("settings", bad.name, str(error), *bad.says)
    return Verdict("settings", bad.name, "it was taken for a configuration")


def _environment(base: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {**base, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "MESH_HOME": str(folder / "home")}


async def run_commands(folder: Path, environment: Mapping[str, str]) -> list[Verdict]:
    """Some of each through `mesh job validate` and `mesh config view`: exit code 3, place, cause and fix on stderr."""
    verdicts: list[Verdict] = []
    limiter = trio.CapacityLimiter(AT_ONCE)
    named = [bad for bad in BAD_JOBS if bad.path]
    async with trio.open_nursery() as nursery:
        for number, job in enumerate(named[:: len(named) // COMMANDS][:COMMANDS]):
            place = folder / f"job-{number}"
            await trio.to_thread.run_sync(_put, place / "job.yaml", job.text)
            command: tuple[str, ...] = ("job", "validate", "job.yaml")
            wanted = ("job.yaml:", job.path, job.message, "try: ")
            nursery.start_soon(partial(_command, place, environment, job.name, command, wanted, verdicts, limiter))
        for number, bad in enumerate(BAD_SETTINGS[:: len(BAD_SETTINGS) // COMMANDS][:COMMANDS]):
            place = folder / f"settings-{number}"
            await trio.to_thread.run_sync(_put, place / "mesh.toml", bad.text)
            command = ("config", "view")
            nursery.start_soon(partial(_command, place, environment, bad.name, command, bad.says, verdicts, limiter))
    return verdicts


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


async def _command(
    place: Path,
    environment: Mapping[str, str],
    name: str,
    arguments: Sequence[str],
    wanted: Sequence[str],
    verdicts: list[Verdict],
    limiter: trio.CapacityLimiter,
) -> None:
    async with limiter:
        with trio.fail_after(COMMAND_S):
            done = await trio.run_process(
                [sys.executable, "-m", "mesh.cli.app", *arguments],
                cwd=place,
                env=_environment(environment, place),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    said = done.stderr.decode(errors="replace")
    if done.returncode != BAD_CODE or done.stdout or "Traceback" in said:
        problem = f"mesh {' '.join(arguments)} ended with {done.returncode}: {said[-300:]}"
        verdicts.append(Verdict("commands", name, problem))
        return
    verdicts.append(judged("commands", name, said, *wanted))
