"""Who is this node? Its one secp256k1 key: made, kept in a file, used to sign and to derive secrets.

A key file is either 64 hex digits (the form of geth's ``nodekey``) or, under a passphrase, a Web3 Secret Storage V3
document as every Ethereum wallet reads and writes it. Either has mode 0600, and a wider one is refused.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, cast

import coincurve

from mesh.base.entropy import Entropy, SystemEntropy
from mesh.base.errors import ConfigError
from protocols.signing import address_of_key, peer_id_of_key, recover_key
from protocols.units import Address, Hash32, PeerId, Signature

__all__ = [
    "NodeKey",
    "create_key",
    "export_key",
    "import_key",
    "load_key",
    "passphrase_in",
    "read_secret_file",
]

MAX_KEY_FILE_BYTES: Final = 16 * 1024
"""A V3 document has 500 bytes."""
MAX_SCRYPT_BYTES: Final = 1 << 30
"""Memory a V3 document may ask for (128 * n * r); the standard's own parameters take 256 MiB."""
MAX_PBKDF2_ROUNDS: Final = 10_000_000
"""Half a minute of one core; wallets write 262,144."""
SCRYPT_N: Final = 1 << 18
"""Work factor of what we write: the standard's own, 1 s and 256 MiB."""
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Passphrase = Callable[[], str]
"""Asked only when the file turns out to need it."""


class NodeKey:
    """A node's key. Satisfies ``protocols.signing.Signer``.

    Its repr names the address, never the secret; it can't be pickled or copied into a message by mistake.
    """

    __slots__ = ("_address", "_derivation", "_peer_id", "_private")

    def __init__(self, secret: bytes) -> None:
        """``secret``: 32 bytes, 0 < secret < group order. Raises ``ValueError`` otherwise, without showing it."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise ValueError("a node key is 32 bytes and a number between 1 and the order of secp256k1")
        self._private = coincurve.PrivateKey(secret)
        compressed = self._private.public_key.format(compressed=True)
        self._address = address_of_key(compressed)
        self._peer_id = peer_id_of_key(compressed)
        self._derivation = hmac.digest(b"mesh/node-key/derive/1", secret, hashlib.sha256)

    @property
    def address(self) -> Address:
        """Operator address, 20 bytes."""
        return self._address

    @property
    def peer_id(self) -> PeerId:
        """libp2p PeerId, 39 bytes."""
        return self._peer_id

    def sign(self, digest: Hash32) -> Signature:
        """``r || s || v`` over a 32-byte digest; deterministic (RFC 6979), low s, v in {27, 28}."""
        if len(digest) != 32:
            raise ValueError(f"sign a digest of 32 bytes, got {len(digest)}")
        raw = self._private.sign_recoverable(digest, hasher=None)
        return Signature(raw[:64] + bytes([27 + raw[64]]))

    def recover(self, digest: Hash32, signature: Signature) -> PeerId:
        """Whose signature of ``digest`` this is. Raises ``RemoteProtocolError(bad_signature)``."""
        return peer_id_of_key(recover_key(digest, signature))

    def derive(self, label: str, *parts: bytes) -> Hash32:
        """A secret that only this key can compute and that is the same after a restart: deal secrets, salts.

        HMAC-SHA256 under a key derived from the node's, over the label and the parts, each led by its length, so that
        ("ab", "c") and ("a", "bc") differ.
        """
        mac = hmac.new(self._derivation, digestmod=hashlib.sha256)
        for part in (label.encode(), *parts):
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return Hash32(mac.digest())

    def expose_secret(self) -> bytes:
        """The 32 secret bytes: for libp2p's handshake, the transaction signer and export, for nothing else."""
        return self._private.secret

    def __repr__(self) -> str:
        return f"NodeKey(0x{self._address.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a node key is not to be pickled or copied")


def create_key(
    path: Path, *, passphrase: str = "", entropy: Entropy | None = None, scrypt_n: int = SCRYPT_N
) -> NodeKey:
    """Draw a new key and write it to ``path``, which must not exist. A crash leaves either no file or the whole file.

    Raises ``ConfigError`` when the file exists (it is never overwritten) or can't be written.
    """
    source = entropy or SystemEntropy()
    secret = source.bytes(32)
    while not 0 < int.from_bytes(secret, "big") < _ORDER:
        secret = source.bytes(32)
    key = NodeKey(secret)
    export_key(key, path, passphrase=passphrase, scrypt_n=scrypt_n)
    return key


def load_key(path: Path, passphrase: Passphrase | None = None) -> NodeKey:
    """Read a key file; ``passphrase`` is called only if the file is encrypted.

    Raises ``ConfigError``: missing, readable by others, not a key, encrypted and no passphrase given, wrong passphrase.
    """
    return _parse(path, read_secret_file(path, fix=f"mesh key new   (makes {path})"), passphrase)


def import_key(source: Path, path: Path, *, unlock: Passphrase | None = None, passphrase: str = "") -> NodeKey:
    """Copy a key from a wallet's V3 file or a hex file into ``path``, encrypted if ``passphrase`` is not empty.

    Same errors as ``load_key`` and ``create_key``; the source may have any mode, since it is not ours to judge.
    """
    key = _parse(
        source, _read(source, fix=f"ls -l {source}   (give the path of a V3 file or of 64 hex digits)")[0], unlock
    )
    export_key(key, path, passphrase=passphrase)
    return key


def export_key(key: NodeKey, path: Path, *, passphrase: str, scrypt_n: int = SCRYPT_N) -> None:
    """Write ``key`` to a new file, mode 0600; as a V3 document unless ``passphrase`` is empty.

    Same errors as ``create_key``.
    """
    if passphrase:
        from eth_keyfile.keyfile import create_keyfile_json  # brings py_ecc, which takes a second to import

        document = create_keyfile_json(
            key.expose_secret(), passphrase.encode(errors="surrogateescape"), kdf="scrypt", iterations=scrypt_n
        )
        content = json.dumps(document, indent=1)
    else:
        content = key.expose_secret().hex()
    _write_new(path, (content + "\n").encode())


def read_secret_file(path: Path, *, fix: str) -> bytes:
    """Content of a file that only its owner may read. Raises ``ConfigError`` otherwise, with the chmod to type."""
    content, mode = _read(path, fix=fix)
    if mode & 0o077:
        raise ConfigError(
            f"{path} can be read by others", why=f"its mode is {mode & 0o777:04o}", fix=f"chmod 600 {path}"
        )
    return content


def passphrase_in(path: Path) -> Passphrase:
    """Reads the passphrase from a file (``key.passphrase_file``) when asked: its text without the last line break."""
    fix = f"chmod 600 {path}   (after writing the passphrase into it)"
    return lambda: read_secret_file(path, fix=fix).decode(errors="surrogateescape").removesuffix("\n")


def _read(path: Path, *, fix: str) -> tuple[bytes, int]:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_KEY_FILE_BYTES + 1)
            mode = os.fstat(stream.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"cannot read {path}", why=error.strerror or str(error), fix=fix) from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise ConfigError(f"{path} holds no key", why=f"it has more than {MAX_KEY_FILE_BYTES} bytes", fix=fix)
    return content, mode


def _parse(path: Path, content: bytes, passphrase: Passphrase | None) -> NodeKey:
    """No message repeats any part of the content: it may be a secret in a form not recognised."""
    if content.lstrip().startswith(b"{"):
        return _decrypt(path, content, passphrase)
    text = content.strip().removeprefix(b"0x")
    try:
        return NodeKey(bytes.fromhex(text.decode("ascii")))
    except ValueError:
        problem = ConfigError(
            f"{path} holds no key",
            why="it has neither 64 hex digits of a valid key nor a V3 document",
            fix="mesh key new",
        )
    raise problem  # outside the handler, so that no traceback shows the text


def _decrypt(path: Path, content: bytes, passphrase: Passphrase | None) -> NodeKey:
    try:
        document = json.loads(content)
        _check_work(document["crypto"]["kdf"], document["crypto"]["kdfparams"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} holds no key", why=f"it is not a V3 document ({error})", fix="mesh key import FILE"
        ) from None
    if passphrase is None:
        raise ConfigError(
            f"{path} is encrypted",
            why="no passphrase was given",
            fix="mesh config set key.passphrase_file FILE   (or use a terminal, where it is asked for)",
        )
    from eth_keyfile.keyfile import decode_keyfile_json

    given = passphrase().encode(errors="surrogateescape")
    try:
        return NodeKey(decode_keyfile_json(document, given))
    except Exception as error:  # eth_keyfile raises whatever its parts do: KeyError, TypeError, binascii.Error ...
        wrong = "MAC mismatch" in str(error)
        problem = ConfigError(
            f"{path} cannot be opened",
            why="the passphrase is wrong" if wrong else f"the document is damaged ({type(error).__name__})",
            fix="try again" if wrong else "mesh key import FILE   (from a copy)",
        )
    raise problem


def _check_work(kdf: object, params: dict[str, object]) -> None:
    """Refuse a document whose key derivation would take the machine down."""
    if kdf == "scrypt":
        n, r, p = (int(cast(int, params[name])) for name in ("n", "r", "p"))
        if min(n, r, p) < 1 or 128 * n * r > MAX_SCRYPT_BYTES or p > 16:
            raise ValueError(f"scrypt parameters out of range: n={n} r={r} p={p}")
    elif kdf == "pbkdf2":
        rounds = int(cast(int, params["c"]))
        if not 0 < rounds <= MAX_PBKDF2_ROUNDS:
            raise ValueError(f"pbkdf2 rounds out of range: {rounds}")
    else:
        raise ValueError(f"unknown key derivation {kdf!r}")


def _write_new(path: Path, content: bytes) -> None:
    """Create ``path`` whole or not at all: written aside with O_EXCL, linked to its name (which never overwrites)."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)  # of a crashed process that had our pid
        try:
            _write_whole(aside, content)
            path.hardlink_to(aside)
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        if path.exists():
            raise ConfigError(
                f"{path} exists already", why="a key is never overwritten", fix=f"mesh key show, or move {path} away"
            ) from error
        why = error.strerror or str(error)
        raise ConfigError(f"cannot write {path}", why=why, fix=f"ls -ld {path.parent}") from error


def _write_whole(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
