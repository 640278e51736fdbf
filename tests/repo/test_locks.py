"""Do the lock files pin every distribution with its hashes, and do the smaller sets agree with the largest?"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ["build", "runtime", "devnet", "dev", "node", "contracts"]
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))? ?\\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


Pins = dict[str, tuple[str, ...]]


def pins(path: Path) -> Pins:
    """Name -> versions, after checking that every line is a pin, one of its hashes or a comment.

    There is more than one version only where markers tell the interpreters apart.
    """
    found: Pins = {}
    hashes: dict[str, int] = {}
    name = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.lstrip().startswith("#"):
            continue
        where = f"{path.name}:{number}: {line}"
        if pin := PIN.match(line):
            name = canonicalize_name(pin["name"])
            assert name not in found or pin["marker"], where
            assert hashes.get(name) != 0, where
            found[name] = (*found.get(name, ()), pin["version"])
            hashes[name] = 0
        else:
            assert HASH.match(line), where
            hashes[name] += 1
    assert [name for name, count in hashes.items() if count == 0] == []
    return found


def wanted(path: Path) -> dict[str, Requirement]:
    """Direct requirements of an .in file and of those it includes."""
    found: dict[str, Requirement] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found |= wanted(path.parent / line[3:].strip())
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)] = requirement
    return found


@pytest.fixture(scope="module")
def locked(root: Path) -> Mapping[str, Pins]:
    return {name: pins(root / "requirements" / f"{name}.txt") for name in LOCKS}


def test_every_lock_is_read(root: Path) -> None:
    names = {path.stem for path in (root / "requirements").glob("*.txt")} - {"overrides"}
    assert names == set(LOCKS)


@pytest.mark.parametrize("name", LOCKS)
def test_lock_satisfies_its_requirements(root: Path, locked: Mapping[str, Pins], name: str) -> None:
    for distribution, requirement in wanted(root / "requirements" / f"{name}.in").items():
        versions = locked[name].get(distribution, ())
        assert versions, f"{distribution} is not in {name}.txt: run `make lock`"
        for version in versions:
            assert requirement.specifier.contains(version, prereleases=True), f"{distribution}: run `make lock`"


@pytest.mark.parametrize("name", ["build", "runtime", "devnet"])
def test_smaller_sets_take_the_versions_of_the_largest(locked: Mapping[str, Pins], name: str) -> None:
    differing = {key: (version, locked["dev"].get(key)) for key, version in locked[name].items()}
    assert {key: pair for key, pair in differing.items() if pair[0] != pair[1]} == {}


def test_overrides_are_in_force(root: Path, locked: Mapping[str, Pins]) -> None:
    for distribution, requirement in wanted(root / "requirements" / "overrides.txt").items():
        assert all(requirement.specifier.contains(version) for version in locked["runtime"][distribution])


@pytest.mark.parametrize(
    "line",
    ["httpx==0.28.1", "httpx>=0.28 \\", "httpx @ git+ssh://example/httpx \\", "    --hash=md5:abc", "-i elsewhere"],
)
def test_a_loose_line_is_found(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "loose.txt"
    lock.write_text(f"h11==0.16.0 \\\n    --hash=sha256:{'0' * 64}\n{line}\n")
    with pytest.raises(AssertionError):
        pins(lock)


def test_a_pin_without_hash_is_found(tmp_path: Path) -> None:
    lock = tmp_path / "bare.txt"
    lock.write_text(f"h11==0.16.0 \\\nhttpx==0.28.1 \\\n    --hash=sha256:{'0' * 64}\n")
    with pytest.raises(AssertionError):
        pins(lock)
