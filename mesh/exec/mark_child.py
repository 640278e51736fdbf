"""What does the process do that makes fingerprints of an output? Lists it, locks itself in, reads every byte, answers.

``python -m mesh.exec.mark_child PARENT FOLDER``: one `MarkRequest` on standard input, one `MarkAnswer` on standard output.
At level `canonical` a stranger's files are parsed here. Nothing is written and no program is started.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from mesh.exec.compare_child import CPU_S, DATA_BYTES, End
from mesh.exec.decoding import image_in
from mesh.exec.outcome_tree import DECLARED, MAX_FILE_BYTES, OutcomeTree
from mesh.exec.wasm.sandbox import Confinement, confine
from protocols.deals.terms import Level
from protocols.disputes.marks import Entry, ending_at, fingerprints_of, framed
from protocols.errors import RemoteProtocolError
from protocols.job.canonical import CanonicalVerify
from protocols.units import Hash32
from protocols.verify.comparators.canonical import MAX_CANONICAL_BYTES, canonical_form

__all__ = ["CPU_S_PER_MIB", "MarkAnswer", "MarkRequest", "main"]

CPU_S_PER_MIB: Final = 2
"""Beyond CPU_S: three normal forms one after the other take one, eleven fingerprints a thirtieth."""
_MIB: Final = 1 << 20


class MarkRequest(msgspec.Struct, frozen=True):
    """At which level the output is marked, how it ended, and the keys of the seats that are asked about."""

    verify: CanonicalVerify
    end: End
    keys: tuple[Hash32, ...]


class MarkAnswer(msgspec.Struct, frozen=True):
    """A fingerprint for each key, in their order; ``problem``: why there are none."""

    marks: tuple[Hash32, ...]
    problem: str = ""


def entries_of(tree: OutcomeTree, verify: CanonicalVerify) -> Iterator[Entry]:
    """What is hashed of a folder, in order. Folders count where the same bytes are asked for, and no normal form."""
    canonical = verify.level == "canonical"
    for path in sorted((*tree.sizes, *(() if canonical else tree.folders)), key=str.encode):
        size = tree.sizes.get(path, -1)
        pixels = "pixels" in verify.canonicalisers and path.startswith(DECLARED)
        if canonical and 0 <= size <= (MAX_FILE_BYTES if pixels else MAX_CANONICAL_BYTES):
            content = tree.read(path)
            image = image_in(content) if pixels else None
            form = canonical_form(verify.canonicalisers, content if image is None else image)
            yield Entry(path, len(form), (form,))
        else:
            yield Entry(path, size, tree.pieces(path) if size >= 0 else ())


def _answer(request: MarkRequest, tree: OutcomeTree) -> MarkAnswer:
    end, verify = request.end, request.verify
    ending = ending_at(Level[verify.level.upper()], end.outcome, end.exit_code, end.fuel)
    try:
        return MarkAnswer(fingerprints_of(request.keys, ending, framed(entries_of(tree, verify))))
    except RemoteProtocolError as error:
        return MarkAnswer((), str(error))
    except MemoryError:
        return MarkAnswer((), "its normal form takes more memory than there is for it")


def main(arguments: Sequence[str]) -> None:
    """The fingerprints of one output."""
    parent, folder = arguments
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=MarkRequest)
    try:
        tree = OutcomeTree(folder)
    except RemoteProtocolError as error:
        answer = MarkAnswer((), str(error))
    else:
        seconds = CPU_S + CPU_S_PER_MIB * (sum(tree.sizes.values()) // _MIB)
        limits = Confinement(cpu_s=seconds, data_bytes=DATA_BYTES, file_bytes=0, open_files=64, readable_fds=(tree.fd,))
        confine(limits, int(parent))
        answer = _answer(request, tree)
    os.write(sys.stdout.fileno(), msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
