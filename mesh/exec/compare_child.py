"""What does the process do that looks into two strangers' outputs? Lists them, locks itself in, decodes, compares, answers.

``python -m mesh.exec.compare_child PARENT ONE OTHER``: the process that waits for it and the two outcome folders; one
`CompareRequest` on standard input, one `CompareAnswer` on standard output. Nothing is written and no program is started.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from mesh.exec.decoding import array_in, image_in, numbers_in
from mesh.exec.outcome_tree import DECLARED, MAX_FILE_BYTES, OutcomeTree
from mesh.exec.wasm.sandbox import Confinement, confine
from protocols.errors import RemoteProtocolError
from protocols.job.canonical import CanonicalVerify
from protocols.units import Cid
from protocols.verify.comparators import Content, Output, compare

__all__ = ["CPU_S", "CompareAnswer", "CompareRequest", "End", "main"]

CPU_S: Final = 300
"""The slowest case within all bounds, a PNG of 2^26 bytes, takes half of it on one core of 2024."""
DATA_BYTES: Final = 4 << 30
"""Two arrays of MAX_ELEMENTS as float64, the files that they came from, and the temporaries."""


class End(msgspec.Struct, frozen=True):
    """How one of the two ended: `protocols.verify.comparators.Output` without its files."""

    outcome: int
    exit_code: int
    fuel: int
    root: Cid


class CompareRequest(msgspec.Struct, frozen=True):
    """What is compared, and how."""

    verify: CanonicalVerify
    one: End
    other: End
    whole: bool = False
    """Read every file, also those that need not be read because both have the same bytes."""


class CompareAnswer(msgspec.Struct, frozen=True):
    """``problem``: why no verdict may rest on these outputs; then ``same`` says nothing."""

    same: bool
    detail: str
    problem: str = ""


class _Files(Mapping[str, Content]):
    """What a comparator sees of a folder. One file is in memory at a time; a text's numbers stand beside its text."""

    def __init__(self, tree: OutcomeTree, verify: CanonicalVerify, alike: frozenset[str]) -> None:
        """``alike``: large files that are the same in both, which need not be read."""
        self._tree = tree
        self._verify = verify
        self._alike = alike
        self._places: dict[str, tuple[str, bool]] = {}
        """Name -> the file it is of, and whether it is what a text says beside its numbers."""
        for path in tree.sizes:
            self._places[path] = (path, False)
            if self._has_text(path):
                self._places[f"{path} (text)"] = (path, True)

    def _has_text(self, path: str) -> bool:
        if self._verify.level != "numeric" or not path.startswith(DECLARED) or path in self._alike:
            return False
        content = self._tree.read(path)
        found = numbers_in(content) if array_in(content) is None else None
        return found is not None and found[1].size > 0

    def __getitem__(self, name: str) -> Content:
        path, text = self._places[name]
        if path in self._alike:
            return b""
        content = self._tree.read(path)
        if not path.startswith(DECLARED):
            return content
        match self._verify.level:
            case "numeric":
                return self._numeric(content, text)
            case "perceptual":
                image = image_in(content)
            case _:
                image = image_in(content) if "pixels" in self._verify.canonicalisers else None
        return content if image is None else image

    def _numeric(self, content: bytes, text: bool) -> Content:
        array = array_in(content)
        if array is not None:
            return array
        found = numbers_in(content)
        if found is None or not found[1].size:
            return content
        return found[0] if text else found[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _alike(one: OutcomeTree, other: OutcomeTree) -> frozenset[str]:
    """Files too large to be read whole that are the same in both, byte for byte."""
    large = [path for path, size in one.sizes.items() if size > MAX_FILE_BYTES and other.sizes.get(path) == size]
    return frozenset(
        path for path in large if all(a == b for a, b in zip(one.pieces(path), other.pieces(path), strict=True))
    )


def _answer(request: CompareRequest, one: OutcomeTree, other: OutcomeTree) -> CompareAnswer:
    try:
        alike = frozenset[str]() if request.whole else _alike(one, other)
        found = compare(
            request.verify,
            _output(request.one, _Files(one, request.verify, alike)),
            _output(request.other, _Files(other, request.verify, alike)),
        )
    except RemoteProtocolError as error:
        return CompareAnswer(False, "", str(error))
    except MemoryError:
        return CompareAnswer(False, "", "these outputs cannot be compared: it takes more memory than there is for it")
    return CompareAnswer(found.same, found.detail)


def _output(end: End, files: _Files) -> Output:
    return Output(end.outcome, end.exit_code, end.fuel, end.root, files)


def main(arguments: Sequence[str]) -> None:
    """One comparison."""
    parent, first, second = arguments
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=CompareRequest)
    try:
        one, other = OutcomeTree(first), OutcomeTree(second)
    except RemoteProtocolError as error:
        answer = CompareAnswer(False, "", str(error))
    else:
        limits = Confinement(
            cpu_s=CPU_S, data_bytes=DATA_BYTES, file_bytes=0, open_files=64, readable_fds=(one.fd, other.fd)
        )
        confine(limits, int(parent))
        answer = _answer(request, one, other)
    os.write(sys.stdout.fileno(), msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
