"""What keeps this machine from working? One line per check: what was found, and what to type against it."""

import sys
import tempfile
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from mesh.api.types import NodeStatus
from mesh.base.config import LoadedConfig
from mesh.base.errors import DoctorFailed, MeshError, NodeUnreachable
from mesh.cli.diagnosis import Check, Patient, bad, good, weak
from mesh.cli.doctor_beacon import check_beacon
from mesh.cli.doctor_chain import check_chain
from mesh.cli.doctor_home import check_disk, check_home, check_key, check_ports, check_socket
from mesh.cli.fitting import columns, folded
from mesh.cli.options import Form
from mesh.cli.render import emit, plain
from mesh.cli.session import open_session, socket_of

__all__ = ["run_doctor"]

OLDEST_PYTHON: Final = (3, 11)


async def run_doctor(loaded: LoadedConfig, fix: bool, output: Form) -> None:
    """`mesh doctor`. Raises ``DoctorFailed`` when a check failed; what is merely weaker than it could be is no failure."""
    patient = Patient(loaded, fix, await _running(loaded))
    found: list[Check] = []
    for name, check in CHECKS:
        try:
            found += await check(patient)
        except MeshError as error:
            found.append(bad(name, f"{error.what}: {error.why}" if error.why else error.what, error.fix))
    emit(found, output, lambda: _text(found))
    failed = [one.name for one in found if one.state == "fail"]
    if failed:
        plural = "check failed" if len(failed) == 1 else "checks failed"
        hint = next(one.fix for one in found if one.state == "fail")
        raise DoctorFailed(
            f"{len(failed)} {plural}", why=", ".join(dict.fromkeys(failed)), fix=hint or "mesh doctor --fix"
        )


def _text(found: list[Check]) -> str:
    width = max(len("CHECK"), *(len(one.name) for one in found))
    lines = [f"      {'CHECK':<{width}}  FOUND"]
    for one in found:
        state = {"ok": "ok", "warn": "weak", "fail": "FAIL"}[one.state]
        first, *more = folded(plain(one.seen), columns() - width - 8)
        lines += [f"{state:<4}  {one.name:<{width}}  {first}", *[f"{'':<{width + 8}}{line}" for line in more]]
        lines += [f"        try: {plain(one.fix)}"] if one.fix else []
    return "\n".join(lines)


async def _running(loaded: LoadedConfig) -> NodeStatus | None:
    if not loaded.home.is_dir() or not socket_of(loaded).exists():
        return None
    try:
        async with open_session(loaded) as session:
            return await session.api.status()
    except NodeUnreachable:
        return None


async def check_node(patient: Patient) -> list[Check]:
    """Whether a node of this home runs. None is no fault."""
    node = patient.node
    if node is None:
        return [good("node", "none runs here   (mesh up --detach)"), *await check_socket(patient)]
    if node.trouble:
        what, _, fix = node.trouble.partition("\n  try: ")
        return [bad("node", f"process {node.pid} takes no work: {what}", fix)]
    offers = "" if node.provider is None or node.provider.offering else f"; offers nothing: {node.provider.reason}"
    seen = f"process {node.pid}, {node.peers} peers, {node.offers} offers{offers}"
    if not node.peers:
        return [weak("node", seen, "mesh up --bootstrap MULTIADDR")]
    return [weak("node", seen, "mesh status") if offers else good("node", seen)]


async def check_python(patient: Patient) -> list[Check]:
    """The interpreter."""
    seen = sys.version.split()[0]
    if sys.version_info < OLDEST_PYTHON:
        return [bad("python", seen, "install Python 3.11 or newer, then: make setup")]
    return [good("python", seen)]


async def check_signatures(patient: Patient) -> list[Check]:
    """libsecp256k1: without it a hostile message costs 20 ms instead of 0.2."""
    try:
        import coincurve

        key = coincurve.PrivateKey(b"\x01" * 32)
        digest = b"\x02" * 32
        recovered = coincurve.PublicKey.from_signature_and_message(
            key.sign_recoverable(digest, hasher=None), digest, hasher=None
        )
    except (ImportError, OSError, ValueError) as error:
        return [bad("coincurve", f"cannot be used: {error}", "make setup")]
    if recovered != key.public_key:
        return [bad("coincurve", "does not recover its own signature", "make setup")]
    return [good("coincurve", version("coincurve"))]


async def check_pins(patient: Patient) -> list[Check]:
    """Versions on which the network fixes and the determinism class depend."""
    from mesh.exec.wasm.pin import PINNED_VERSION
    from mesh.net.libp2p_fixes import LIBP2P_VERSION

    return [_pinned("libp2p", LIBP2P_VERSION), _pinned("wasmtime", PINNED_VERSION)]


def _pinned(name: str, wanted: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "not installed"
    return good(name, found) if found == wanted else bad(name, f"{found}, wanted {wanted}", "make setup")


async def check_executor(patient: Patient) -> list[Check]:
    """Run the sandbox's self-test: every limit is tried, Landlock and seccomp are looked for in the kernel."""
    from mesh.exec.wasm.executor import open_wasm_executor

    with tempfile.TemporaryDirectory(prefix="mesh-doctor-") as folder:
        async with open_wasm_executor(Path(folder)) as executor:
            found = await executor.probe()
    level = f"{found.isolation_level.name}, {found.determinism}"
    if not found.available:
        return [
            bad("wasm", found.reason, "run the node where it can hold its limits: as a user, on Linux 5.19 or newer")
        ]
    if found.reason:
        return [weak("wasm", f"{level}: {found.reason}", "jobs run, less isolated than they could be")]
    sandbox = next((one.seen for one in found.self_test if one.name == "sandbox"), "")
    return [good("wasm", f"{level}, {sandbox}".rstrip(", "))]


CHECKS: Final[tuple[tuple[str, Callable[[Patient], Awaitable[list[Check]]]], ...]] = (
    ("python", check_python),
    ("coincurve", check_signatures),
    ("libraries", check_pins),
    ("home", check_home),
    ("key", check_key),
    ("disk", check_disk),
    ("node", check_node),
    ("port", check_ports),
    ("wasm", check_executor),
    ("chain", check_chain),
    ("beacon", check_beacon),
)
