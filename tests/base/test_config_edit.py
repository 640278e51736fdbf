"""Does changing one setting leave the rest of a person's file as it was?"""

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.base.config import load_config, set_value
from mesh.base.errors import ConfigError

FILE = """\
# my node
[network]
name = "lab"   # not the public one

[chain]
rpc = [
    "http://one",  # mine
    "http://two#fragment",
]
max_fee_gwei = 0.5
"""


def load(path: Path) -> dict[str, str]:
    loaded = load_config(env={"HOME": str(path.parent)}, cwd=path.parent, file=path)
    return {name: text for name, text, origin in loaded.rows() if origin.source == "file"}


def test_a_value_is_replaced_in_place_with_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(FILE)
    set_value(path, "network.name", "other")
    assert path.read_text() == FILE.replace('"lab"', '"other"')


def test_a_long_value_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(FILE)
    set_value(path, "chain.rpc", "http://a,http://b#c")
    assert '\nrpc = ["http://a", "http://b#c"]\nmax_fee_gwei = 0.5\n' in path.read_text()
    assert path.read_text().startswith(FILE[: FILE.index("rpc")])


def test_added_to_its_section_or_to_a_new_one_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "mesh.toml"
    set_value(path, "provider.slots", "3")
    set_value(path, "log.level", "debug")
    set_value(path, "provider.price_floor", "0.25")
    assert path.read_text() == '[provider]\nprice_floor = "0.25"\nslots = 3\n\n[log]\nlevel = "debug"\n'
    set_value(path, "provider.slots", None)
    set_value(path, "provider.cpus", None)  # was not there
    assert load(path) == {"provider.price_floor": "0.25", "log.level": "debug"}


def test_forms_it_does_not_know_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    for text in ('log = {level = "debug"}\n', '[log]\n"lev\\u0065l" = "debug"\n'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="by hand"):
            set_value(path, "log.level", "info")
        assert path.read_text() == text


def test_bad_values_and_keys_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text(FILE)
    for key, value in (
        ("chain.max_fee_gwei", "much"),
        ("provider.slots", "0"),
        ("chain.rcp", "http://x"),
        ("provider.cpus", "null"),
        ("key.file", "a\x7fb"),
        ("key.file", "a\udcffb"),
    ):
        with pytest.raises(ConfigError):
            set_value(path, key, value)
    assert path.read_text() == FILE
    path.write_text("[broken")
    with pytest.raises(ConfigError, match="not TOML"):
        set_value(path, "log.level", "info")
    assert [p.name for p in tmp_path.iterdir()] == ["mesh.toml"]


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text(FILE)
    real.chmod(0o600)
    link.symlink_to(real)
    set_value(link, "log.files", "9")
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert load(link)["log.files"] == "9"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.text(max_size=40),
    noise=st.lists(st.sampled_from(["# x = 1", "", "[api]", 'file = "k#1" # c', "level = 'info'"]), max_size=6),
)
def test_what_was_set_is_what_is_read(tmp_path: Path, name: str, noise: list[str]) -> None:
    path = tmp_path / "mesh.toml"
    path.write_text("[log]\nfiles = 2\n[key]\n" + "\n".join(noise))
    before = path.read_bytes()
    try:
        set_value(path, "client.download_dir", name)
    except ConfigError:
        assert path.read_bytes() == before
    else:
        expected = tomllib.loads(before.decode())
        expected["client"] = {"download_dir": name}
        assert tomllib.loads(path.read_text()) == expected
