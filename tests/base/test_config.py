"""Does each layer win over the next, and does a bad value name its file, its line and the fix?"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from mesh.base.config import Config, LoadedConfig, ensure_home, load_config, mesh_home, settings, user_config_file
from mesh.base.errors import ConfigError, UsageError

ESCROW = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


class Machine:
    """A folder with a home, a project folder and a user's configuration."""

    def __init__(self, root: Path) -> None:
        self.cwd = root / "project"
        self.cwd.mkdir()
        self.env = {"HOME": str(root), "XDG_CONFIG_HOME": str(root / "cfg"), "MESH_HOME": str(root / "home")}
        self.user_file = user_config_file(self.env)
        self.user_file.parent.mkdir(parents=True)

    def load(
        self,
        local: str = "",
        user: str = "",
        env: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
        preset: Mapping[str, object] | None = None,
    ) -> LoadedConfig:
        (self.cwd / "mesh.toml").write_text(local)
        self.user_file.write_text(user)
        return load_config(flags=flags, env={**self.env, **(env or {})}, cwd=self.cwd, preset=preset)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_anything_the_defaults_hold(machine: Machine) -> None:
    loaded = load_config(env=machine.env, cwd=machine.cwd)
    assert loaded.config == Config()
    assert loaded.files == ()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}
    assert loaded.home == Path(machine.env["MESH_HOME"])


def test_every_layer_wins_over_the_weaker_ones(machine: Machine) -> None:
    layers: dict[str, dict[str, object]] = {
        "preset": {"preset": {"log": {"files": 11}}},
        "user": {"user": "[log]\nfiles = 12\n"},
        "local": {"local": "[log]\n# how many\nfiles = 13\n"},
        "env": {"env": {"MESH_LOG_FILES": "14"}},
        "flags": {"flags": {"log.files": 15}},
    }
    given: dict[str, object] = {}
    seen = []
    for layer in layers.values():
        given |= layer
        loaded = machine.load(**given)  # type: ignore[arg-type]
        seen.append((loaded.config.log.files, str(loaded.origins["log.files"]).rpartition("/")[2]))
    assert seen == [
        (11, "preset arbitrum-sepolia"),
        (12, "config.toml:2"),
        (13, "mesh.toml:3"),
        (14, "MESH_LOG_FILES"),
        (15, "--files"),
    ]


def test_text_of_variables_and_flags_becomes_typed(machine: Machine) -> None:
    env = {
        "MESH_PROVIDER_ROLES": "provider, client",
        "MESH_PROVIDER_PRICE_PER_CPU_S": "0.25",
        "MESH_NETWORK_MDNS": "false",
        "MESH_CHAIN_RPC": "",  # empty counts as not set
        "MESH_CHAIN_MAX_FEE_GWEI": "0.1",
    }
    config = machine.load(env=env, flags={"provider.cpus": "4", "log.level": None}).config
    assert config.provider.roles == ("provider", "client")
    assert config.provider.price_per_cpu_s == 25 * 10**16
    assert (config.network.mdns, config.provider.cpus, config.chain.rpc) == (False, 4, ())
    assert config.chain.max_fee_gwei == Decimal("0.1")
    assert config.log.level == "info"


def test_amounts_in_files_are_exact(machine: Machine) -> None:
    config = machine.load(
        "[client]\nmax_price = 0.1\n[provider]\nprice_floor = '79228162514.000000000000000001'\n"
    ).config
    assert config.client.max_price == 10**17
    assert config.provider.price_floor == 79228162514 * 10**18 + 1


def test_the_preset_follows_the_network_of_the_stronger_layers(machine: Machine) -> None:
    asked = []

    def preset(name: str) -> Mapping[str, object]:
        asked.append(name)
        return {"chain": {"escrow": ESCROW}}

    (machine.cwd / "mesh.toml").write_text("[network]\nname = 'lab'\n")
    loaded = load_config(env=machine.env, cwd=machine.cwd, preset=preset)
    load_config(env=machine.env | {"MESH_CHAIN_PRESET": "devnet"}, cwd=machine.cwd, preset=preset)
    assert asked == ["lab", "devnet"]
    assert loaded.config.chain.escrow_address.hex() == ESCROW[2:].lower()
    assert loaded.config.chain.token_address == bytes(20)


BAD = {
    "[chain]\nrcp = []\n": ("mesh.toml:2", "chain.rcp", "chain.rpc"),
    "[network]\nbid_window_ms = 1\n": ("mesh.toml:2", "network.bid_window_ms", "client.bid_window_ms"),
    "\n[chian]\nrpc = []\n": ("mesh.toml:2", "[chian]", "chain"),
    "chain = 3\n": ("mesh.toml:1", "chain is a section", "[chain]"),
    "[provider]\n\nslots = 0\n": ("mesh.toml:3", "`int` >= 1", "Jobs run at the same time"),
    "[provider]\nslots = 2.5\n": ("mesh.toml:2", "provider.slots", "Jobs run"),
    "provider.slots = 'two'\n": ("mesh.toml:1", "provider.slots", "Jobs run"),
    "[provider]\nroles = ['king']\n": ("mesh.toml:2", "'king'", "provider, client"),
    "[provider]\nroles = []\n": ("mesh.toml:2", "empty", "provider.roles"),
    "[provider]\nroles = ['client', 'client']\n": ("mesh.toml:2", "twice", "provider.roles"),
    "[provider]\nprice_floor = 'free'\n": ("mesh.toml:2", "'free'", "tokens"),
    "[provider]\nprice_floor = -1\n": ("mesh.toml:2", "[0, 2**256)", "tokens"),
    "[provider]\nprice_floor = 1e-19\n": ("mesh.toml:2", "18 digits", "tokens"),
    "[provider]\nprice_floor = 1e99999\n": ("mesh.toml:2", "amount of tokens", "tokens"),
    "[provider]\ngpus = '0;1'\n": ("mesh.toml:2", "'0;1'", "indices"),
    "[chain]\nescrow = '0x12'\n": ("mesh.toml:2", "40 hex digits", "escrow"),
    f"[chain]\nescrow = '{ESCROW[:-1]}4'\n": ("mesh.toml:2", "checksum", "escrow"),
    "[chain]\nrpc = ['ws://x']\n": ("mesh.toml:2", "'ws://x'", "JSON-RPC"),
    "[chain]\nmax_fee_gwei = nan\n": ("mesh.toml:2", "NaN", "gwei"),
    "[network]\nbootstrap = ['/ip4/1.2.3.4/tcp/1']\n": ("mesh.toml:2", "/p2p/", "dial first"),
    "[network]\nlisten = ['/ip4/1.2.3.4/tcp/99999']\n": ("mesh.toml:2", "99999", "listen"),
    f"[network]\nlisten = {['/ip4/1.2.3.4/tcp/1'] * 65}\n": ("mesh.toml:2", "at most 64", "listen"),
    "[network]\nname = 'My Net'\n": ("mesh.toml:2", "'My Net'", "network"),
    "[log\n": ("mesh.toml", "line 1", "mesh config view"),
    "[log]\nfiles = 1\nfiles = 2\n": ("mesh.toml", "line 3", "mesh config view"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_names_place_cause_and_fix(machine: Machine, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        machine.load(text)
    assert caught.value.exit_code == 3
    for part in BAD[text]:
        assert part in str(caught.value)


def test_a_value_hidden_by_a_stronger_layer_is_still_checked(machine: Machine) -> None:
    with pytest.raises(ConfigError, match=r"mesh\.toml:2"):
        machine.load("[log]\nfiles = 'many'\n", flags={"log.files": 3})


def test_bad_flags_and_variables(machine: Machine) -> None:
    with pytest.raises(UsageError, match="--slots none") as caught:
        machine.load(flags={"provider.slots": "none"})
    assert "Jobs run at the same time" in str(caught.value)
    with pytest.raises(UsageError, match="--role wizard"):
        load_config(
            flags={"provider.roles": "wizard"},
            env=machine.env,
            cwd=machine.cwd,
            flag_names={"provider.roles": "--role"},
        )
    with pytest.raises(ConfigError, match="unset MESH_PROVIDER_SLOTS"):
        machine.load(env={"MESH_PROVIDER_SLOTS": "none"})
    with pytest.raises(ConfigError, match=r"did you mean chain\.rpc\?"):
        machine.load(flags={"chain.rpcs": "x"})
    with pytest.raises(ConfigError, match="did you mean MESH_CHAIN_RPC"):
        machine.load(env={"MESH_CHIAN_RPC": "http://x"})
    machine.load(env={"MESH_CI": "1", "MESH_TASK_INDEX": "4"})  # somebody else's


def test_a_bad_preset_is_named_as_such(machine: Machine) -> None:
    with pytest.raises(ConfigError, match="preset arbitrum-sepolia: there is no section"):
        machine.load(preset={"chian": {}})


def test_a_named_file_must_exist_be_text_and_be_short(machine: Machine, tmp_path: Path) -> None:
    for content, cause in ((None, "cannot read"), (b"\xff\xfe", "not TOML"), (b"#" * 300_000, "too long")):
        path = tmp_path / "given.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=cause):
            load_config(env=machine.env, cwd=machine.cwd, file=path)


def test_home_follows_mesh_home_then_xdg_then_the_home_folder(tmp_path: Path) -> None:
    assert mesh_home({"MESH_HOME": "/srv/m", "XDG_DATA_HOME": "/x"}) == Path("/srv/m")
    assert mesh_home({"XDG_DATA_HOME": "/x", "HOME": "/h"}) == Path("/x/mesh")
    assert mesh_home({"XDG_DATA_HOME": "relative", "HOME": "/h"}) == Path("/h/.local/share/mesh")
    assert user_config_file({"HOME": "/h"}) == Path("/h/.config/mesh/config.toml")
    paths = ensure_home(tmp_path / "a" / "b")
    assert paths.home.stat().st_mode & 0o777 == 0o700
    assert paths.socket.parent == paths.store_file.parent == paths.home
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="MESH_HOME"):
        ensure_home(tmp_path / "file" / "home")


def test_every_setting_is_described_and_shown(machine: Machine) -> None:
    rows = {name: (text, str(origin)) for name, text, origin in machine.load("[provider]\ncpus = 2\n").rows()}
    assert list(rows) == list(settings())
    assert all(setting.about.endswith(".") and len(setting.about) > 10 for setting in settings().values())
    assert rows["provider.price_floor"] == ("0.001", "default")
    assert rows["provider.memory_mib"] == ("-", "default")
    assert rows["network.mdns"] == ("true", "default")
    assert rows["provider.cpus"][1].endswith("mesh.toml:2")
    assert not any("secret" in name for name in rows)
    with pytest.raises(ConfigError, match="no setting"):
        machine.load().value("chain.nothing")
