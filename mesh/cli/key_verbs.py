"""What does a person type about the node's key? key new|show|import|export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mesh.base.errors import ConfigError
from mesh.cli.options import Form, Output
from mesh.cli.render import emit, pairs
from mesh.cli.session import load, say

if TYPE_CHECKING:
    from mesh.base.keys import NodeKey

__all__ = ["register"]

Encrypt = Annotated[bool, typer.Option("--encrypt", help="Protect the file with a passphrase (V3 document).")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Read the new passphrase from here (mode 0600)."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    key = typer.Typer(
        help="The one key that a node is. Its peer id and its operator address follow from it.", no_args_is_help=True
    )
    key.command()(new)
    key.command()(show)
    key.command(name="import")(import_)
    key.command()(export)
    app.add_typer(key, name="key")


def new(encrypt: Encrypt = False, passphrase_file: PassphraseFile = None, output: Output = "table") -> None:
    """Make the key of this home. An existing one is never overwritten."""
    from mesh.base.keys import create_key
    from mesh.cli.node_key import ask_new_passphrase, key_path

    path = key_path(load())
    _must_not_exist(path)
    passphrase = ask_new_passphrase(passphrase_file) if encrypt or passphrase_file else ""
    _show(create_key(path, passphrase=passphrase), path, output)


def show(output: Output = "table") -> None:
    """Print the peer id and the operator address; never the key itself."""
    from mesh.base.keys import load_key
    from mesh.cli.node_key import key_path, unlock

    loaded = load()
    path = key_path(loaded)
    _show(load_key(path, unlock(loaded)), path, output)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A wallet's V3 file, or 64 hex digits in a file.")],
    encrypt: Encrypt = False,
    passphrase_file: PassphraseFile = None,
    output: Output = "table",
) -> None:
    """Make a key from elsewhere the key of this home. An existing one is never overwritten."""
    from mesh.base.keys import import_key
    from mesh.cli.node_key import ask_new_passphrase, key_path, passphrase_of

    path = key_path(load())
    _must_not_exist(path)
    passphrase = ask_new_passphrase(passphrase_file) if encrypt or passphrase_file else ""
    unlock = passphrase_of(f"passphrase of {file}: ")
    _show(import_key(file, path, unlock=unlock, passphrase=passphrase), path, output)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; must not exist.")],
    plain_hex: Annotated[bool, typer.Option("--plain", help="As 64 hex digits, protected by nothing.")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write a copy of the key to a new file. Encrypted as wallets know it (V3)."""
    from mesh.base.keys import export_key, load_key
    from mesh.cli.node_key import ask_new_passphrase, key_path, unlock

    loaded = load()
    key = load_key(key_path(loaded), unlock(loaded))
    export_key(key, file, passphrase="" if plain_hex else ask_new_passphrase(passphrase_file))
    say(
        f"{file} holds the key of 0x{key.address.hex()}"
        + (", unprotected: move it off this machine" if plain_hex else "")
    )


def _must_not_exist(path: Path) -> None:
    if path.exists():
        raise ConfigError(
            f"{path} exists already", why="a key is never overwritten", fix=f"mesh key show, or move {path} away"
        )


def _show(key: "NodeKey", path: Path, output: Form) -> None:
    from protocols.job.peers import peer_to_text

    told = {"peer_id": peer_to_text(key.peer_id), "operator": f"0x{key.address.hex()}", "file": str(path)}
    emit(told, output, lambda: pairs([(name.replace("_", " "), value) for name, value in told.items()]))
