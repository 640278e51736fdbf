"""Does libp2p's use of fastecdsa, for which we override its pin 2.3.2 by 4.0.0, hold?

libp2p imports it for P-256 keys of secio alone, which this project does not offer: what must hold is that the import
works, that nothing else depends on it, and that a P-256 key does not end in a surprise once the fixes are applied.
"""

import importlib.metadata
import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_the_override_is_what_is_installed() -> None:
    assert importlib.metadata.version("fastecdsa") == "4.0.0"
    assert "fastecdsa==2.3.2" in [line.split(";")[0].strip() for line in importlib.metadata.requires("libp2p") or ()]


def test_unguarded_a_p256_key_fails_which_is_why_the_guard_exists() -> None:
    code = """
from libp2p.crypto.ecc import create_new_key_pair
try:
    create_new_key_pair("P-256").public_key.to_bytes()
except TypeError:
    print("fails")
"""
    assert run(code) == "fails"


def test_guarded_public_keys_travel_and_bad_points_are_refused() -> None:
    code = """
from libp2p.crypto import ecc
from mesh.net import libp2p_fixes
libp2p_fixes.apply()
key = ecc.create_new_key_pair("P-256").public_key
data = key.to_bytes()
print(len(data), ecc.ECCPublicKey.from_bytes(data, "P-256").to_bytes() == data)
for bad in (b"", b"\\x04" + bytes(64), data[:-1], b"\\x05" + data[1:]):
    try:
        ecc.ECCPublicKey.from_bytes(bad, "P-256")
        print("accepted", bad)
    except Exception:
        pass
"""
    assert run(code) == "65 True"


@pytest.mark.parametrize("kind", ["secp256k1", "ed25519"])
def test_the_keys_that_matter_do_not_touch_it(kind: str) -> None:
    code = f"""
import sys
from libp2p.crypto.{kind} import create_new_key_pair
pair = create_new_key_pair()
for name in [name for name in sys.modules if name.startswith("fastecdsa")]:
    sys.modules[name] = None
signature = pair.private_key.sign(b"x")
print(pair.public_key.verify(b"x", signature), pair.public_key.verify(b"y", signature))
"""
    assert run(code) == "True False"
