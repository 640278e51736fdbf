"""Where on this disk does a node keep its things?"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mesh.base.errors import ConfigError

__all__ = ["Paths", "ensure_home", "mesh_home", "user_config_file"]


class Paths(msgspec.Struct, frozen=True):
    """The files of one node below its home. Two nodes never share a home: the store's lock sees to it."""

    home: Path

    @property
    def key_file(self) -> Path:
        """The node key, mode 0600, unless ``key.file`` says otherwise."""
        return self.home / "node.key"

    @property
    def store_file(self) -> Path:
        """The SQLite file of deals, runs and unsent effects."""
        return self.home / "node.db"

    @property
    def blobs(self) -> Path:
        """The folder of inputs, outputs and modules by content id."""
        return self.home / "blobs"

    @property
    def modules(self) -> Path:
        """The folder of compiled modules; safe to delete."""
        return self.home / "modules"

    @property
    def runs(self) -> Path:
        """The folder in which running jobs have their scratch space; emptied at start."""
        return self.home / "runs"

    @property
    def log_file(self) -> Path:
        """The node's log, one JSON object per line, rotated."""
        return self.home / "node.log"

    @property
    def socket(self) -> Path:
        """The unix socket on which a running node listens for the command line."""
        return self.home / "api.sock"

    @property
    def peers_file(self) -> Path:
        """Addresses of peers met before; safe to delete."""
        return self.home / "peers.json"


def mesh_home(env: Mapping[str, str] | None = None) -> Path:
    """``$MESH_HOME``, or ``$XDG_DATA_HOME/mesh``, or ``~/.local/share/mesh``; absolute. Creates nothing.

    ``env`` defaults to this process's environment.
    """
    env = os.environ if env is None else env
    if named := env.get("MESH_HOME"):
        return Path(named).expanduser().absolute()
    return _xdg(env, "XDG_DATA_HOME", ".local/share") / "mesh"


def user_config_file(env: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CONFIG_HOME/mesh/config.toml``, or ``~/.config/mesh/config.toml``."""
    return _xdg(os.environ if env is None else env, "XDG_CONFIG_HOME", ".config") / "mesh" / "config.toml"


def ensure_home(home: Path) -> Paths:
    """Create ``home`` (mode 0700) where it is missing. Raises ``ConfigError`` where that cannot be done."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot create the node's folder {home}",
            why=error.strerror or str(error),
            fix="export MESH_HOME=DIR   (a folder that you may write to)",
        ) from error
    return Paths(home)


def _xdg(env: Mapping[str, str], name: str, fallback: str) -> Path:
    """A base folder after the XDG specification: a relative value is ignored, as it demands."""
    value = env.get(name, "")
    if value and Path(value).is_absolute():
        return Path(value)
    return Path(env.get("HOME") or Path.home()) / fallback
