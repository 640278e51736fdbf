"""Where is this node's key, and how is it unlocked?"""

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

from mesh.base.config import LoadedConfig, ensure_home
from mesh.base.errors import ConfigError
from mesh.base.keys import NodeKey, Passphrase, create_key, load_key, passphrase_in
from mesh.cli.session import at_the_prompt, say, typed_verb

__all__ = ["ask_new_passphrase", "key_path", "node_key", "unlock"]


def key_path(loaded: LoadedConfig) -> Path:
    """The file of the node's key, whether it exists or not."""
    named = loaded.config.key.file
    return Path(named).expanduser() if named else ensure_home(loaded.home).key_file


def node_key(loaded: LoadedConfig) -> NodeKey:
    """The node's key; made on first use. Raises ``ConfigError``."""
    path = key_path(loaded)
    if not path.exists():
        key = create_key(path)
        say(f"made a new node key: {path}   (mesh key export FILE keeps a copy)")
        return key
    return load_key(path, unlock(loaded))


def unlock(loaded: LoadedConfig) -> Passphrase | None:
    """How to get the passphrase: from ``key.passphrase_file``, else by asking on a terminal, else not at all."""
    named = loaded.config.key.passphrase_file
    if named:
        return passphrase_in(Path(named).expanduser())
    return passphrase_of("passphrase of the node key: ") if sys.stdin.isatty() else None


def passphrase_of(prompt: str) -> Callable[[], str]:
    """Asks without showing what is typed."""
    return lambda: _typed(prompt)


def _typed(prompt: str) -> str:
    with at_the_prompt():
        return getpass.getpass(prompt)


def ask_new_passphrase(file: Path | None) -> str:
    """A passphrase for a key that is written: from ``file``, else typed twice. Raises ``ConfigError``."""
    if file is not None:
        chosen = passphrase_in(file)()
    elif sys.stdin.isatty():
        chosen = _typed("new passphrase: ")
        if chosen != _typed("again: "):
            raise ConfigError("the two passphrases differ", fix=f"{typed_verb()}   (the same twice)")
    else:
        raise ConfigError(
            "a passphrase is needed",
            why="there is no terminal to ask on",
            fix=f"{typed_verb()} --passphrase-file FILE   (mode 0600)",
        )
    if not chosen:
        raise ConfigError(
            "the passphrase is empty", why="it would protect nothing", fix=f"{typed_verb()}   (with a longer one)"
        )
    return chosen
