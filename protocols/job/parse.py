"""Is this mapping a job, and if not, what is wrong with it?"""

from collections.abc import Collection, Mapping

import msgspec

from protocols.job.checks import check_together
from protocols.job.keys import JOB, Draft
from protocols.job.not_yet import report_not_yet
from protocols.job.problems import BadValue, JobError, Place, Unread
from protocols.job.schema import JobSpec

__all__ = ["parse_job"]


def parse_job(
    mapping: object, lines: Mapping[str, int], env: Mapping[str, str], symbols: Collection[str] | None = None
) -> JobSpec:
    """Read a job out of nested dicts, lists, text, integers, booleans and None.

    ``lines`` maps dotted paths (``inputs[0].path``; the empty path is the file) to line numbers. ``env`` is the
    caller's environment, out of which variables with an empty value are filled. ``symbols`` are the tokens
    that the network knows; None leaves them unchecked. Raises ``JobError`` with every problem, in file order.
    """
    root = Place(lines)
    try:
        draft = JOB.read(mapping, root)
    except BadValue as error:
        root.report(f"a job file is a mapping of keys: {error.message}", "begin with `version: 1`")
        raise JobError(root.found()) from None
    except Unread:
        raise JobError(root.found()) from None
    job = msgspec.structs.replace(draft.job, env=_filled(draft, env, root))
    _check_symbols(job, symbols, root)
    check_together(job, root)
    report_not_yet(job, root)
    if problems := root.found():
        raise JobError(problems)
    return job


def _filled(draft: Draft, env: Mapping[str, str], root: Place) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, value in draft.env:
        given = env.get(name) if value is None else value
        if given is None:
            root.at(f"env.{name}").report(
                "has no value, and your environment has none", f"pass -e {name}=... or export {name}"
            )
        elif value is None and (len(given) > 4096 or "\x00" in given or not _encodable(given)):
            root.at(f"env.{name}").report(
                "the value in your environment is too long or not text", "set it to at most 4096 characters"
            )
        else:
            found.append((name, given))
    return tuple(found)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_symbols(job: JobSpec, symbols: Collection[str] | None, root: Place) -> None:
    for name, amount in (("max_price", job.market.max_price), ("budget", job.market.budget)):
        if amount is not None and symbols is not None and amount.symbol not in symbols:
            known = ", ".join(sorted(symbols))
            root.at(f"market.{name}").report(f"this network has no token {amount.symbol}", f"use {known}")
