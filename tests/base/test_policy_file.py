"""Is a policy file read as it was meant, and refused with file, line and key when it was not?"""

from pathlib import Path

import pytest

from mesh.base.config.policy import PolicyFile, read_policy
from mesh.base.errors import ConfigError
from protocols.job.peers import peer_from_text
from protocols.offers.policy import Hours, OwnUse, Policy
from protocols.transfer.cid import parse_cid

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
PEER = "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ"


@pytest.fixture
def read(tmp_path: Path):
    file = tmp_path / "policy.toml"

    def of(text: str) -> PolicyFile:
        file.write_text(text)
        return read_policy(file)

    return of


def test_an_empty_file_allows_everything(read) -> None:
    assert read("") == PolicyFile()


def test_the_page_shows_a_file_that_works(read) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "my-box-my-rules.md"
    found = read(page.read_text().split("```toml\n")[1].split("```")[0])
    assert found.programs == ("blender", "steam")
    assert found.policy == Policy(
        executors=("wasm",),
        refuse_modules=(parse_cid(CID),),
        hours=(Hours((0, 1, 2, 3, 4), 22 * 60, 6 * 60), Hours((5, 6), 0, 24 * 60)),
        utc_offset_min=60,
        max_wall_s=600,
        max_gpu_watts=250,
        max_gpu_celsius=80,
        own_use=OwnUse(stop=True),
    )


def test_clients_days_and_zones(read) -> None:
    found = read(
        f'[clients]\nallow = ["{PEER}"]\n[hours]\nzone = "-05:30"\nlend = ["fri-mon 08:00-09:00", "01:00-02:00"]'
    )
    assert found.policy.clients == (peer_from_text(PEER),)
    assert found.policy.utc_offset_min == -330
    assert [hours.days for hours in found.policy.hours] == [(0, 4, 5, 6), (0, 1, 2, 3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("executers = []", ("policy.toml:1", "executers", "did you mean executors")),
        ('\nexecutors = ["docker"]', ("policy.toml:2", "'docker'", "wasm, oci, process")),
        ("executors = 7", ("no list of texts",)),
        ("[modules]\nallow = ['x']", ("policy.toml:2", "modules.allow")),
        ("[clients]\n\nrefuse = ['x']", ("policy.toml:3", "clients.refuse", "PeerId")),
        ("[hours]\nlend = ['night']", ("hours.lend", "part of the week")),
        ("[hours]\nlend = ['mon 24:00-06:00']", ("no day has",)),
        ("[hours]\nlend = ['mon 20:60-06:00']", ("no day has",)),
        ("[hours]\nlend = ['mon-xyz 20:00-06:00']", ("no week has",)),
        ("[hours]\nzone = 'Berlin'", ("offset from UTC",)),
        ("[gpu]\nmax_watts = 0", ("from 1 to 10000",)),
        ("[gpu]\nmax_celsius = true", ("from 1 to 150",)),
        ("[own_use]\nprograms = ['/usr/bin/x']", ("without its folder",)),
        ("[own_use]\nthen = 'kill'", ("neither refuse nor stop",)),
        ("max_wall = '10'", ("max_wall", "unit")),
        ("clients = ['x']", ("clients", "no such key")),
        ("x = [", ("not TOML",)),
    ],
    ids=str,
)
def test_what_cannot_be_used(read, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    for word in words:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_policy(tmp_path / "none")
