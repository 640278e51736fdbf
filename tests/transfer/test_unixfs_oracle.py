"""Does IPFS's own importer still give files and directories the names that ours does?"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import devnet
from devnet.sim.trees import pattern
from protocols.transfer.unixfs import Importer, Root, cid_text, directory

ORACLE = Path(devnet.__file__).parent / "interop" / "unixfs"
FILES = [
    *((size, 262144, 174) for size in (0, 1, 262143, 262144, 262145, 5_000_000)),
    *((leaves * 4 + more, 4, 174) for leaves in (1, 173, 174, 175, 348, 174 * 174) for more in (-1, 0, 1)),
    *((size, 1, 3) for size in range(1, 90)),
]
TREE = {"d/a.txt": 5, "d/Z": 300_000, "d/sub/é": 0, "d/sub/b": 262_144, "d/sub/中": 7, "d/empty": None}


def file(size: int, chunk: int = 262144, width: int = 174) -> Root:
    importer = Importer(chunk_bytes=chunk, width=width)
    importer.feed(pattern(size))
    importer.finish()
    return importer.root


def tree(sizes: dict[str, int | None], at: str) -> Root:
    entries: dict[str, Root] = {}
    for path, size in sizes.items():
        rest = path.removeprefix(f"{at}/")
        if rest == path:
            continue
        name, _, below = rest.partition("/")
        if below or size is None:
            entries[name] = tree(sizes, f"{at}/{name}")
        else:
            entries[name] = file(size)
    return directory(entries)[0]


@pytest.mark.interop
@pytest.mark.timeout(300)
def test_our_names_are_those_of_the_npm_importer(tmp_path: Path) -> None:
    work = tmp_path / "oracle"
    shutil.copytree(ORACLE, work, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=work, check=True, capture_output=True, timeout=240)
    cases: list[dict[str, object]] = [{"file": size, "chunk": chunk, "width": width} for size, chunk, width in FILES]
    cases.append({"tree": list(TREE.items())})
    ours = [cid_text(file(*shape).cid) for shape in FILES] + [cid_text(tree(TREE, "d").cid)]
    asked = "".join(json.dumps(case) + "\n" for case in cases)
    answer = subprocess.run(
        ["node", "oracle.mjs"], cwd=work, input=asked, check=True, capture_output=True, text=True, timeout=120
    )
    assert answer.stdout.split() == ours
