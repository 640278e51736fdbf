"""Is the key one identity everywhere, does its file stay private, and does the secret never show?"""

import copy
import json
import os
import pickle
import traceback
from pathlib import Path

import pytest
from eth_account import Account
from eth_account._utils.signing import to_standard_v
from eth_keys.datatypes import PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID

from mesh.base.entropy import SeededEntropy
from mesh.base.errors import ConfigError
from mesh.base.keys import NodeKey, create_key, export_key, import_key, load_key, passphrase_in
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.signing import Signer
from protocols.units import Hash32, Signature

SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")  # anvil's account 0
FAST = 1 << 10


def test_one_key_is_address_and_peer_id() -> None:
    key = NodeKey(SECRET)
    assert key.address.hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert key.peer_id == ID.from_pubkey(create_new_key_pair(SECRET).public_key).to_bytes()
    assert len(key.peer_id) == 39
    signer: Signer = key
    assert signer.address == key.address


@given(secret=st.integers(1, 2**255), message=st.binary())
def test_signatures_equal_the_ethereum_libraries(secret: int, message: bytes) -> None:
    raw = secret.to_bytes(32, "big")
    key, digest = NodeKey(raw), keccak256(message)
    signature = key.sign(digest)
    other = PrivateKey(raw).sign_msg_hash(digest)
    assert signature == other.to_bytes()[:64] + bytes([to_standard_v(other.v) + 27])
    assert key.recover(digest, signature) == key.peer_id
    assert Account.from_key(raw).address == PrivateKey(raw).public_key.to_checksum_address()


def test_a_changed_signature_is_somebody_elses() -> None:
    key, digest = NodeKey(SECRET), keccak256(b"x")
    assert key.recover(keccak256(b"y"), key.sign(digest)) != key.peer_id
    with pytest.raises(RemoteProtocolError):
        key.recover(digest, Signature(bytes(65)))
    with pytest.raises(ValueError, match="32 bytes"):
        key.sign(Hash32(b"short"))


def test_derived_secrets_are_stable_and_separate() -> None:
    key = NodeKey(SECRET)
    assert key.derive("deal", b"a", b"b") == NodeKey(SECRET).derive("deal", b"a", b"b")
    assert key.derive("deal", b"a").hex() == "1ee811c1f8afd286a0d49f7ccaae37a8853e7394ac082620e437731ee1c04fa8"
    derived = [
        key.derive("deal"),
        key.derive("deal", b""),
        key.derive("deal", b"ab", b"c"),
        key.derive("deal", b"a", b"bc"),
        key.derive("dealab", b"c"),
        NodeKey(bytes(31) + b"\1").derive("deal"),
    ]
    assert len(set(derived)) == len(derived)


def test_the_secret_never_shows() -> None:
    key = NodeKey(SECRET)
    assert SECRET.hex() not in f"{key!r} {key} {key.__slots__}"
    assert repr(key) == "NodeKey(0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be"):
            leak(key)


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, SECRET[:31]])
def test_bad_secrets_are_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="order of secp256k1"):
        NodeKey(secret)


def test_created_private_whole_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "home" / "node.key"
    key = create_key(path, entropy=SeededEntropy(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).address == key.address
    assert not path.read_bytes().startswith(b"{")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["node.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_others_could_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_key(path)


def test_passphrase_is_asked_only_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key = create_key(path, passphrase="correct horse", scrypt_n=FAST)
    assert path.read_bytes().startswith(b"{")
    assert key.expose_secret().hex() not in path.read_text()
    assert load_key(path, lambda: "correct horse").peer_id == key.peer_id
    with pytest.raises(ConfigError, match="passphrase is wrong"):
        load_key(path, lambda: "battery staple")
    with pytest.raises(ConfigError, match="passphrase_file"):
        load_key(path)
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    with pytest.raises(ConfigError, match=f"chmod 600 {secret}"):
        load_key(path, passphrase_in(secret))
    secret.chmod(0o600)
    assert load_key(path, passphrase_in(secret)).peer_id == key.peer_id
    plain = tmp_path / "plain.key"
    create_key(plain)
    load_key(plain, lambda: pytest.fail("asked for no reason"))


def test_wallets_read_what_is_exported_and_the_other_way(tmp_path: Path) -> None:
    export_key(NodeKey(SECRET), tmp_path / "out.json", passphrase="p", scrypt_n=FAST)
    assert Account.decrypt(json.loads((tmp_path / "out.json").read_text()), "p") == SECRET
    wallet = tmp_path / "wallet.json"
    wallet.write_text(json.dumps(Account.encrypt(SECRET, "w", kdf="pbkdf2", iterations=1000)))
    key = import_key(wallet, tmp_path / "node.key", unlock=lambda: "w")
    assert key.expose_secret() == SECRET
    assert load_key(tmp_path / "node.key").address == key.address
    (tmp_path / "hex").write_text("0x" + SECRET.hex() + "\n")
    assert import_key(tmp_path / "hex", tmp_path / "b.key").address == key.address


DAMAGED = {
    "not hex": b"zz" * 32,
    "short": b"ab" * 31,
    "zero": b"00" * 32,
    "binary": bytes(range(128, 160)),
    "empty": b"",
    "large": b"a" * 20_000,
    "no v3": b"{}",
    "not json": b"{",
    "list": b'{"crypto": [], "version": 3}',
    "deep": b'{"a":' * 4_000,
    "greedy": b'{"version":3,"crypto":{"kdf":"scrypt","kdfparams":{"n":1073741824,"r":8,"p":1}}}',
    "slow": b'{"version":3,"crypto":{"kdf":"pbkdf2","kdfparams":{"c":99999999999}}}',
    "unknown": b'{"version":3,"crypto":{"kdf":"md5","kdfparams":{}}}',
    "hollow": b'{"version":3,"crypto":{"kdf":"scrypt","kdfparams":{"n":2,"r":8,"p":1}}}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_say_so_without_showing_their_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / "node.key"
    path.touch(0o600)
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ConfigError) as caught:
        load_key(path, lambda: "p")
    assert str(path) in str(caught.value)
    assert caught.value.fix
    shown = "".join(traceback.format_exception(caught.value))
    assert len(DAMAGED[name]) < 40 or DAMAGED[name][:20].decode("latin") not in shown


def test_missing_files_and_folders_name_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mesh key new"):
        load_key(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        create_key(tmp_path / "file" / "node.key")


def test_left_over_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".node.key.{os.getpid()}").write_text("half")
    create_key(tmp_path / "node.key")
    assert [p.name for p in tmp_path.iterdir()] == ["node.key"]
