"""Is a member of a devnet told what its plan says, and is it clear why one does not start?"""

from pathlib import Path

import pytest

from devnet.members import Member, MemberPlan, NodeDidNotStart
from mesh.base.config import LoadedConfig, load_config


def member(home: Path, **extra: dict[str, object]) -> Member:
    plan = MemberPlan(
        name="provider-1",
        roles=("provider",),
        rpc=("http://127.0.0.1:1",),
        escrow="0x" + "11" * 20,
        token="0x" + "22" * 20,
        chain_id=31337,
        slots=3,
        extra=extra,
    )
    return Member(home, plan)


def told(one: Member) -> LoadedConfig:
    one.write_config()
    return load_config(env=one.environment, cwd=one.home, file=one.home / "mesh.toml")


def test_the_file_says_what_the_plan_says(tmp_path: Path) -> None:
    config = told(member(tmp_path, log={"level": "debug"}, client={"bid_window_ms": 500})).config
    assert (config.network.name, config.network.mdns, config.network.bootstrap) == ("devnet", False, ())
    assert (config.provider.roles, config.provider.slots) == (("provider",), 3)
    assert config.chain.escrow_address.hex() == "11" * 20
    assert (config.log.level, config.client.bid_window_ms) == ("debug", 500)


def test_a_member_listens_on_loopback_and_keeps_its_port(tmp_path: Path) -> None:
    one = member(tmp_path)
    assert told(one).config.network.listen == ("/ip4/127.0.0.1/tcp/0",)
    one.addresses = ("/ip4/127.0.0.1/tcp/4567/p2p/16Uiu2H",)
    assert told(one).config.network.listen == ("/ip4/127.0.0.1/tcp/4567",)


def test_its_environment_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_CHAIN_RPC", "http://elsewhere")
    monkeypatch.setenv("MESH_HOME", "/elsewhere")
    found = member(tmp_path).environment
    assert found["MESH_HOME"] == str(tmp_path)
    assert "MESH_CHAIN_RPC" not in found


async def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    one = member(tmp_path, log={"level": "loud"})
    with pytest.raises(NodeDidNotStart) as caught:
        await one.start()
    assert "log.level" in caught.value.why
    assert str(one.log) in caught.value.fix
    assert not one.running
    await one.stop()
    ended = await one.command("config", "view")
    assert ended.code == 3
    assert "mesh.toml" in ended.talk
