"""To which node does a verb talk? The running one over its socket, or one that is started for this command alone."""

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from mesh.api.port import NodeApi
from mesh.base.config import LoadedConfig, Paths, load_config, mesh_home
from mesh.base.errors import ConfigError, Interrupted, NodeUnreachable, UsageError, as_mesh_error
from mesh.base.tasks import Started

if TYPE_CHECKING:
    import trio

    from mesh.api.reading import ReadApi
    from mesh.store.errors import StoreLocked

__all__ = [
    "Session",
    "has_history",
    "load",
    "open_reading",
    "open_session",
    "run_async",
    "running_node",
    "say",
    "socket_of",
    "token_symbols",
    "typed_verb",
    "when_interrupted",
]

T = TypeVar("T")
OTHER_S: Final = 15.0
"""A node starts in 3 s and stops in one; on a loaded machine five times that."""


class Session(NamedTuple):
    """A node to talk to. ``own``: it was started for this command and ends with it."""

    api: NodeApi
    own: bool


class _Interruption:
    """What Ctrl-C means at this point of the command."""

    def __init__(self) -> None:
        self.pressed = False
        self.what = "interrupted"
        self.why = "nothing was cancelled"
        self.fix = "mesh ps   (what was submitted goes on)"

    def error(self) -> Interrupted:
        """How the command ends."""
        return Interrupted(self.what, why=self.why, fix=self.fix)


_INTERRUPTION: ContextVar[_Interruption | None] = ContextVar("interruption", default=None)


def say(text: str) -> None:
    """Talk: to stderr, never mixed with data."""
    print(text, file=sys.stderr, flush=True)


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
    meant = _INTERRUPTION.get()
    if meant is None:
        return
    meant.what = f"interrupted: run {run[:10]} was not cancelled"
    if session is not None and session.own:
        meant.why = "it goes on when a node of this home runs again"
        meant.fix = f"mesh wait {run[:10]}, or mesh up --detach   (to end it: mesh cancel {run[:10]})"
    else:
        meant.why = "it goes on in the running node"
        meant.fix = f"mesh wait {run[:10]}   (to end it: mesh cancel {run[:10]})"


def run_async(task: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a trio task to its end. Whatever goes wrong becomes the one ``MeshError`` that the command shows.

    Ctrl-C cancels the task, so that everything it opened is closed; a second one no longer waits for that.
    """
    import trio

    meant = _Interruption()
    results: list[T] = []

    async def main() -> None:
        _INTERRUPTION.set(meant)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(_cancel_on_interrupt, nursery.cancel_scope, meant))
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


def _closed_pipe(error: BaseException) -> BrokenPipeError | None:
    """Nobody reads our output any more: no fault of anybody's, even inside a nursery."""
    if isinstance(error, BrokenPipeError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := _closed_pipe(one))), None)
    return None


async def _cancel_on_interrupt(scope: "trio.CancelScope", meant: _Interruption, *, task_status: Started) -> None:
    import trio

    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            meant.pressed = True
            scope.cancel()
            return


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
