"""To which node does a verb talk? The running one over its socket, or one that is started for this command alone."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

from mesh.api.port import NodeApi
from mesh.base.config import LoadedConfig, Paths, load_config, mesh_home
from mesh.base.errors import ConfigError, Interrupted, NodeUnreachable, UsageError, as_mesh_error

if TYPE_CHECKING:
    import trio

    from mesh.api.reading import ReadApi
    from mesh.store.errors import StoreLocked

__all__ = [
    "Session",
    "ask",
    "at_the_prompt",
    "has_history",
    "load",
    "on_interrupt",
    "open_reading",
    "open_session",
    "run_async",
    "running_node",
    "say",
    "socket_of",
    "stops_in_order",
    "token_symbols",
    "typed_verb",
    "when_interrupted",
]

T = TypeVar("T")
OTHER_S: Final = 15.0
"""A node starts in 3 s and stops in one; on a loaded machine five times that."""
PATIENCE_S: Final = 1.0
"""After a Ctrl-C, until the command says that it is still closing what it opened, and how to be done with it."""


class Session(NamedTuple):
    """A node to talk to. ``own``: it was started for this command and ends with it."""

    api: NodeApi
    own: bool


class _Interruption:
    """What Ctrl-C means at this point of the command."""

    def __init__(self) -> None:
        self.pressed = False
        self.closing = False
        self.asking = False
        self.what = "interrupted"
        self.why = "nothing was cancelled"
        self.fix = "mesh ps   (what was submitted goes on)"

    def error(self) -> Interrupted:
        """How the command ends."""
        return Interrupted(self.what, why=self.why, fix=self.fix)

    def leave(self) -> NoReturn:
        """End this process now. What is in the store stands, and the kernel lets go of its locks; a child process dies with
        its parent, as it would after SIGKILL."""
        line = "\n" if sys.stderr.isatty() else ""
        with suppress(OSError):
            os.write(2, f"{line}mesh: {self.error()}\n".encode())
        os._exit(Interrupted.exit_code)


_INTERRUPTION: ContextVar[_Interruption | None] = ContextVar("interruption", default=None)


def say(text: str) -> None:
    """Talk: to stderr, never mixed with data."""
    print(text, file=sys.stderr, flush=True)


def ask(question: str) -> str:
    """A line from the person at the terminal, "" at the end of the input."""
    with at_the_prompt():
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()


@contextmanager
def at_the_prompt() -> Iterator[None]:
    """While the block waits for what a person types, Ctrl-C ends that wait too."""
    meant = _INTERRUPTION.get() or _Interruption()
    meant.asking = True
    try:
        yield
    finally:
        meant.asking = False


def load(flags: Mapping[str, object] | None = None) -> LoadedConfig:
    """The settings, with the preset of the network they name. Raises ``ConfigError``, for a flag ``UsageError``.

    Where the current folder has no ``mesh.toml``, the one in the node's home is read: who names a home means its node.
    """
    from mesh.chain.presets import PRESETS, preset_of
    from mesh.cli.options import FLAG_NAMES

    try:
        here = Path.cwd() / "mesh.toml"
    except FileNotFoundError as error:
        raise UsageError("this folder no longer exists", why="it was removed under the shell", fix="cd") from error
    own = mesh_home() / "mesh.toml"
    file = own if own.exists() and not here.exists() else None
    help_ = f"{typed_verb()} --help"
    try:
        loaded = load_config(flags=flags, preset=preset_of, file=file, flag_names=FLAG_NAMES)
    except UsageError as error:
        raise UsageError(error.what, why=error.why, fix=error.fix or help_) from error
    network = loaded.config.network.name
    if loaded.origins["network.name"].source == "flag" and network not in PRESETS:
        raise UsageError(f"there is no network {network!r}", why=f"known are {', '.join(PRESETS)}", fix=help_)
    return loaded


def typed_verb() -> str:
    """What was typed, up to its verb: ``mesh chain deploy``."""
    from typer._click.globals import get_current_context

    context = get_current_context(silent=True)
    return context.command_path if context is not None else "mesh"


def token_symbols(loaded: LoadedConfig) -> frozenset[str]:
    """The tokens in which a job may name amounts on the network of this configuration."""
    from mesh.chain.presets import chain_preset

    return frozenset((chain_preset(loaded.config.network.name).params.token_symbol,))


def socket_of(loaded: LoadedConfig) -> Path:
    """Where this home's node listens."""
    named = loaded.config.api.socket
    return Path(named).expanduser() if named else Paths(loaded.home).socket


def when_interrupted(run: str, session: Session | None = None) -> None:
    """From here on Ctrl-C leaves ``run`` to itself, and the command says what becomes of it: with ``session`` if the
    command's own node does what is left to do for it."""
    what, end = f"interrupted: run {run[:10]} was not cancelled", f"   (to end it: mesh cancel {run[:10]})"
    if session is not None and session.own:
        why = "it goes on when a node of this home runs again"
        on_interrupt(what, why, f"mesh wait {run[:10]}, or mesh up --detach{end}")
    else:
        on_interrupt(what, "it goes on in the running node", f"mesh wait {run[:10]}{end}")


def on_interrupt(what: str, why: str, fix: str) -> None:
    """From here on Ctrl-C ends the command with these words."""
    meant = _INTERRUPTION.get()
    if meant is not None:
        meant.what, meant.why, meant.fix = what, why, fix


def stops_in_order(again: str) -> None:
    """The command has heard its Ctrl-C and is closing what it opened: the next one no longer waits for that. ``again``
    starts anew what it kept running."""
    on_interrupt("ended before everything was closed", "what is under way goes on at the next start", again)
    meant = _INTERRUPTION.get()
    if meant is not None:
        meant.closing = True


def run_async(task: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a trio task to its end. Whatever goes wrong becomes the one ``MeshError`` that the command shows.

    Ctrl-C cancels the task, so that everything it opened is closed; a second one ends the process at once, whatever that
    is waiting for.
    """
    import trio

    meant = _Interruption()
    results: list[T] = []

    async def main() -> None:
        _INTERRUPTION.set(meant)
        async with trio.open_nursery() as nursery:
            pressed = trio.Event()
            nursery.start_soon(_say_how_to_leave, pressed)
            with trio.CancelScope() as scope, _interruptible(meant, scope, pressed):
                results.append(await task(*args))
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseException as error:
        shown = meant.error() if meant.pressed else _closed_pipe(error) or as_mesh_error(error)
        if shown is error:
            raise
        raise shown from error
    if not results:
        raise meant.error()
    return results[0]


@contextmanager
def _interruptible(meant: _Interruption, scope: "trio.CancelScope", pressed: "trio.Event") -> Iterator[None]:
    """SIGINT as ``run_async`` says. Heard by the signal's handler itself: no task has to get its turn for the second one."""
    import trio

    token = trio.lowlevel.current_trio_token()

    def first() -> None:
        scope.cancel()
        pressed.set()

    def heard(_signal: int, _frame: FrameType | None) -> None:
        if meant.pressed or meant.closing:
            meant.leave()
        meant.pressed = True
        if meant.asking:  # the thread waits for a line, and would go on waiting
            raise KeyboardInterrupt
        token.run_sync_soon(first)

    before = signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _say_how_to_leave(pressed: "trio.Event") -> None:
    import trio

    await pressed.wait()
    await trio.sleep(PATIENCE_S)
    say("closing what this command opened; Ctrl-C again ends it at once")


def _closed_pipe(error: BaseException) -> BrokenPipeError | None:
    """Nobody reads our output any more: no fault of anybody's, even inside a nursery."""
    if isinstance(error, BrokenPipeError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _closed_pipe(one))), None)
    return None


@asynccontextmanager
async def open_session(
    loaded: LoadedConfig, *, may_start: bool = False, needs_peers: bool = False
) -> AsyncIterator[Session]:
    """The running node; with ``may_start``, else a client node that lives as long as the block.

    Starting one resumes what an earlier command left unfinished in this home. ``needs_peers`` refuses at once when no
    peer could ever be found. Raises ``NodeUnreachable`` when no node runs and none may be started.
    """
    async with AsyncExitStack() as stack:
        yield await _reach(stack, loaded, may_start, needs_peers)


def has_history(loaded: LoadedConfig) -> bool:
    """Whether a node ever ran in this home, so that there may be something to look at."""
    return Paths(loaded.home).store_file.exists() or socket_of(loaded).exists()


@asynccontextmanager
async def running_node(loaded: LoadedConfig) -> AsyncIterator[Session | None]:
    """The node that runs in this home, None when none does. Starts nothing."""
    async with AsyncExitStack() as stack:
        yield await _running(stack, loaded)


@asynccontextmanager
async def open_reading(loaded: LoadedConfig) -> AsyncIterator["ReadApi"]:
    """What a verb that only looks reads from: the running node, else this home's files. Starts nothing.

    Raises ``UsageError`` in a home where no node ever ran.
    """
    async with AsyncExitStack() as stack:
        running = await _running(stack, loaded)
        if running is not None:
            yield running.api
            return
        if not Paths(loaded.home).store_file.exists():
            raise UsageError(
                "there are no runs yet", why=f"no node ever ran in {loaded.home}", fix="mesh submit JOB.yaml"
            )
        from mesh.cli.offline import open_home

        say("no node runs here: this is what its home last knew   (mesh up --detach starts one)")
        yield await stack.enter_async_context(open_home(loaded))


async def _reach(stack: AsyncExitStack, loaded: LoadedConfig, may_start: bool, needs_peers: bool) -> Session:
    running = await _running(stack, loaded)
    if running is not None:
        return running
    if not may_start:
        raise NodeUnreachable(
            "no node runs here", why=f"nothing answers on {socket_of(loaded)}", fix="mesh up --detach"
        )
    if needs_peers and not loaded.config.network.bootstrap and not loaded.config.network.mdns:
        raise ConfigError(
            "no peer is known",
            why="network.bootstrap is empty and network.mdns is off",
            fix="mesh config set network.bootstrap MULTIADDR   (or add --bootstrap MULTIADDR)",
        )
    from mesh.cli.daemon import open_client
    from mesh.store.errors import StoreLocked

    say("no node runs here: starting a client node for this command (mesh up --detach keeps one running)")
    try:
        return Session(await stack.enter_async_context(open_client(loaded)), own=True)
    except StoreLocked as locked:
        return await _await_other(stack, loaded, locked)


async def _await_other(stack: AsyncExitStack, loaded: LoadedConfig, locked: "StoreLocked") -> Session:
    """Somebody else's node holds this home and does not answer yet: it is starting, or ending."""
    import trio

    say("another command's node is just starting or stopping in this home: waiting for it")
    give_up = trio.current_time() + OTHER_S
    while trio.current_time() < give_up:
        running = await _running(stack, loaded)
        if running is not None:
            return running
        await trio.sleep(0.2)
    raise locked


async def _running(stack: AsyncExitStack, loaded: LoadedConfig) -> Session | None:
    """The node that answers on this home's socket; a killed one leaves its socket file behind and does not."""
    from mesh.api.client import open_remote

    socket = socket_of(loaded)
    if not socket.exists():
        return None
    async with AsyncExitStack() as trying:
        remote = await trying.enter_async_context(open_remote(socket))
        try:
            await remote.status()
        except NodeUnreachable:
            return None
        stack.push_async_exit(trying.pop_all())
    return Session(remote, own=False)
