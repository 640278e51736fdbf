"""Does the doctor find what keeps a machine from working, say what to type, and repair what it may?"""

import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from devnet.chain import run_chain
from devnet.chain.hostile import hostile_endpoint
from mesh.base.config import load_config
from mesh.base.keys import create_key
from mesh.chain.presets import preset_of
from mesh.cli.diagnosis import Check, Patient, bad, good
from mesh.cli.doctor import _text, check_node, check_pins, check_python, check_signatures
from mesh.cli.doctor_chain import check_chain
from mesh.cli.doctor_home import check_disk, check_home, check_key, check_ports, check_socket
from mesh.cli.session import load


def patient(*, repair: bool = False, node=None, **flags: object) -> Patient:
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return Patient(load_config(flags=named, preset=preset_of), repair, node)


def told(found: list[Check]) -> dict[str, str]:
    """Check name -> state; every line that is not fine says what to do."""
    assert all(one.fix for one in found if one.state != "ok")
    return {one.name: one.state for one in found}


async def test_this_machine_is_fine(home) -> None:
    for check in (check_python, check_signatures, check_pins):
        found = await check(patient())
        assert {one.state for one in found} == {"ok"}


async def test_home(home) -> None:
    assert told(await check_home(patient())) == {"home": "ok"}
    assert not home.exists()
    await check_home(patient(repair=True))
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)
    assert told(await check_home(patient())) == {"home": "warn"}
    assert home.stat().st_mode & 0o777 == 0o755
    assert told(await check_home(patient(repair=True))) == {"home": "ok"}
    assert home.stat().st_mode & 0o777 == 0o700


async def test_key(home) -> None:
    file = home / "node.key"
    assert told(await check_key(patient())) == {"key": "ok"}
    assert not file.exists()
    operator = create_key(file).address.hex()
    assert operator in (await check_key(patient()))[0].seen
    file.chmod(0o640)
    found = await check_key(patient())
    assert (told(found), found[0].fix) == ({"key": "fail"}, f"chmod 600 {file}")
    assert told(await check_key(patient(repair=True))) == {"key": "ok"}
    assert file.stat().st_mode & 0o777 == 0o600


async def test_disk(home) -> None:
    assert told(await check_disk(patient(store__blob_quota_mib=16, provider__roles="client"))) == {"disk": "ok"}
    huge = patient(provider__roles="provider", provider__disk_mib=2**40)
    assert told(await check_disk(huge)) == {"disk": "warn"}


async def test_a_socket_that_a_killed_node_left(home) -> None:
    home.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "api.sock"))
    assert told(await check_node(patient())) == {"node": "ok", "socket": "warn"}
    assert told(await check_socket(patient(repair=True))) == {"socket": "ok"}
    assert not (home / "api.sock").exists()


async def test_ports(node) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = f"/ip4/127.0.0.1/tcp/{held.getsockname()[1]}"
        found = await check_ports(patient(network__listen=taken))
        assert told(found)["port"] == "fail"
        assert "/tcp/0" in found[0].fix
        assert told(await check_ports(patient(network__listen=taken, node=node.about)))["port"] == "ok"
    assert told(await check_ports(patient(network__listen=taken)))["port"] == "ok"
    assert told(await check_ports(patient(network__listen="/ip4/127.0.0.1/tcp/0")))["port"] == "ok"


@pytest.mark.parametrize(
    ("bootstrap", "mdns", "state"),
    [
        ("", "false", "warn"),
        ("", "true", "warn"),
        ("/ip4/127.0.0.1/tcp/9/p2p/16Uiu2HAmACScJLzEQ7m1aWHvCkoW3PbNKv3gXvHrrQfUjD82LZs", "false", "ok"),
    ],
)
async def test_somebody_to_dial(home, bootstrap, mdns, state) -> None:
    asked = patient(network__listen="/ip4/127.0.0.1/tcp/0", network__bootstrap=bootstrap, network__mdns=mdns)
    assert told(await check_ports(asked))["bootstrap"] == state


async def test_a_node_without_peers_or_offer(node) -> None:
    about = node.about
    assert told(await check_node(patient(node=about))) == {"node": "ok"}
    assert told(await check_node(patient(node=msgspec.structs.replace(about, peers=0)))) == {"node": "warn"}
    mine = msgspec.structs.replace(about.provider, offering=False, reason="no Landlock")
    found = await check_node(patient(node=msgspec.structs.replace(about, provider=mine)))
    assert (told(found), "no Landlock" in found[0].seen) == ({"node": "warn"}, True)


async def test_a_network_whose_contracts_nobody_knows(home) -> None:
    found = await check_chain(patient(network__name="devnet"))
    assert told(found) == {"rpc": "fail", "contracts": "fail"}
    assert "not deployed yet" in found[1].seen
    assert "mesh chain deploy --network devnet" in found[1].fix


async def test_an_endpoint_that_is_not_there(home) -> None:
    found = await check_chain(patient(chain__rpc="http://127.0.0.1:9"))
    assert told(found) == {"rpc 127.0.0.1:9": "fail", "contracts": "fail"}


async def test_an_endpoint_of_another_chain(home, nursery) -> None:
    chain = await nursery.start(partial(run_chain, kind="pyevm", chain_id=7))
    found = await check_chain(patient(chain__rpc=chain.rpc_url))
    assert told(found)[f"rpc {chain.rpc_url.removeprefix('http://')}"] == "fail"
    assert "serves chain 7" in found[0].seen


def test_a_hint_stands_below_its_check() -> None:
    rows = _text([good("disk", "71410 MiB free"), bad("rpc", "nobody answers", "add one")]).splitlines()
    assert rows[1:] == ["ok    disk   71410 MiB free", "FAIL  rpc    nobody answers", "        try: add one"]


def test_the_whole_examination_ends_with_8(mesh, home) -> None:
    """devnet without endpoint and contracts."""
    said = mesh("doctor", "-o", "json")
    assert said.code == 8
    rows = {one["name"]: one for one in said.json}
    assert rows["wasm"]["state"] in ("ok", "warn")
    assert rows["rpc"]["state"] == rows["contracts"]["state"] == "fail"
    assert "2 checks failed: rpc, contracts" in said.talk
    assert said.talk.splitlines()[-1] == f"  try: {rows['rpc']['fix']}"


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mesh.cli.app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_deploying_heals_the_patient(mesh, home, nursery, monkeypatch) -> None:
    """On a local chain with the id of Arbitrum Sepolia, by the owner of its first account."""
    monkeypatch.delenv("MESH_NETWORK_NAME")
    chain = await nursery.start(partial(run_chain, kind="pyevm", chain_id=421_614))
    run = partial(trio.to_thread.run_sync, process)
    secret = Path("funded")
    secret.write_text(chain.accounts[0].private_key.hex())
    assert mesh("key", "import", str(secret)).code == 0
    asked = await run("chain", "deploy", "--network", "arbitrum-sepolia", "--rpc", chain.rpc_url)
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    monkeypatch.setenv("MESH_CHAIN_RPC", chain.rpc_url)
    monkeypatch.setenv("MESH_CHAIN_PUBLIC_RPC", chain.rpc_url)
    made = await run("chain", "deploy", "--network", "arbitrum-sepolia", "--yes", "-o", "json")
    assert made.returncode == 0, made.stderr
    record = msgspec.json.decode(made.stdout)
    assert record["chain_id"] == 421_614
    stored = msgspec.json.decode((home / "deployments/arbitrum-sepolia.json").read_bytes())
    assert stored == record
    for line in made.stderr.splitlines():
        if line.startswith("  mesh "):
            assert mesh(*line.split()[1:]).code == 0
    found = await check_chain(Patient(load(), False, None))
    states = told(found)
    assert states["contracts"] == "ok"
    assert (states["gas"], states["free"], states["stake"]) == ("ok", "fail", "ok")
    monkeypatch.setenv("MESH_CHAIN_ESCROW", record["token"])
    assert told(await check_chain(Patient(load(), False, None)))["contracts"] == "fail"


async def test_endpoints_that_tell_different_chains(home) -> None:
    block = {"number": "0x5", "parentHash": "0x" + "22" * 32, "timestamp": hex(1_700_000_000), "baseFeePerGas": "0x1"}
    canned = [
        {"eth_chainId": "0x7a69", "eth_getBlockByNumber": block | {"hash": "0x" + mark * 32}} for mark in ("11", "33")
    ]
    async with hostile_endpoint(canned=canned[0]) as one, hostile_endpoint(canned=canned[1]) as two:
        urls = [one.url, two.url]
        found = {each.name: each for each in await check_chain(patient(network__name="devnet", chain__rpc=urls))}
        assert found["rpc agree"].state == "fail"
        assert "0x111111111111" in found["rpc agree"].seen
        assert "0x333333333333" in found["rpc agree"].seen
        assert found["rpc agree"].fix
        two.canned = canned[0]
        found = {each.name: each for each in await check_chain(patient(network__name="devnet", chain__rpc=urls))}
        assert found["rpc agree"].state == "ok"
