"""What does a person type who judges disputes for a fee? mediator join|leave|seats."""

import sys
from typing import Annotated

import typer

from mesh.api.mediation import MediatorInfo, SeatInfo, SeatsInfo
from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.cli.costs import say_gas
from mesh.cli.options import Form, Network, Output, Rpc, Yes, node_flags
from mesh.cli.render import amount, emit, pairs, table, when
from mesh.cli.session import ask, load, open_session, run_async, running_node, say

__all__ = ["register", "work_text"]

SeatClass = Annotated[
    int, typer.Option("--class", min=1, metavar="C", help="1: jobs that give the same bytes on every machine.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    mediator = typer.Typer(help="Seats in the panel that judges disputes: bonds, work, fees.", no_args_is_help=True)
    for verb in (join, leave, seats):
        mediator.command()(verb)
    app.add_typer(mediator, name="mediator")


def join(
    number: Annotated[int, typer.Option("--seats", min=1, max=100, metavar="N", help="How many more.")] = 1,
    seat_class: SeatClass = 1,
    yes: Yes = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Put up a bond for each of N seats. A node with `--role mediator` then does their work."""
    run_async(_join, load(node_flags(network, rpc, None)), number, seat_class, yes, output)


async def _join(loaded: LoadedConfig, number: int, seat_class: int, yes: bool, output: Form) -> None:
    async with open_session(loaded, may_start=True) as session:
        before = await session.api.seats()
        await say_gas(session.api, "fund_panel", *["join"] * number)
        _confirm(before, number, yes)
        sent = await session.api.join_seats(number, seat_class)
        after = await session.api.seats()
    emit(after, output, lambda: seats_text(after))
    ready = f"called from {after.seat_age_s} s after joining on"
    say(f"{_seats_of(number)} joined in {len(sent)} transactions; {ready}   (mesh up --role mediator)")


def _confirm(found: SeatsInfo, number: int, yes: bool) -> None:
    """What it costs and risks, before anything is signed. Raises ``UsageError`` when the answer is no."""
    bonds, free = amount(str(number * int(found.seat_bond)), found.symbol), amount(found.free, found.symbol)
    locks = "locks" if number == 1 else "lock"
    say(f"{_seats_of(number)} {locks} {bonds} of {free} that are free, until they leave")
    say(
        f"  leaving takes {_span(found.resign_s)}; a seat that is silent, or alone with its result, loses 3 prices of that deal"
    )
    _ask("no seat was taken", f"mesh mediator join --seats {number} --yes", yes)


def _ask(nothing: str, again: str, yes: bool) -> None:
    """Raises ``UsageError`` when the answer is no, or nobody is there to give one."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(nothing, why="there is no terminal to ask on", fix=again)
    if ask("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError(nothing, why="you said no", fix="mesh mediator seats")


def leave(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="SEAT", help="Which; without, all of the class.")
    ] = None,
    seat_class: SeatClass = 1,
    yes: Yes = False,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Be called no more. The same again, when the delay is over, brings bonds and fees to the free balance."""
    run_async(_leave, load(node_flags(network, rpc, None)), tuple(numbers or ()), seat_class, yes, output)


async def _leave(loaded: LoadedConfig, numbers: tuple[int, ...], seat_class: int, yes: bool, output: Form) -> None:
    async with open_session(loaded, may_start=True) as session:
        before = await session.api.seats()
        await say_gas(session.api, *["resign"] * (len(numbers) or len(before.seats) or 1))
        _confirm_leaving(before, numbers, seat_class, yes)
        sent = await session.api.leave_seats(seat_class, numbers)
        found = await session.api.seats()
    emit(found, output, lambda: seats_text(found))
    say(f"{len(sent)} transactions; what is left of a bond can be taken out at its time: mesh mediator leave")


def _confirm_leaving(found: SeatsInfo, numbers: tuple[int, ...], seat_class: int, yes: bool) -> None:
    """What is given up, until when it still binds, and what must still be done. Nothing is asked where no seat is left to give
    up: then bonds that are free come back. Raises ``UsageError`` when the answer is no."""
    mine = [one for one in found.seats if one.seat_class == seat_class and (not numbers or one.number in numbers)]
    given = [one for one in mine if not one.out_at]
    if not given:
        return
    names = ", ".join(str(one.number) for one in given)
    bonds, locked = (sum(int(getattr(one, what)) for one in given) for what in ("bond", "locked"))
    say(f"{_seats_of(len(given))} of class {seat_class} given up for good ({names}): called no more from now on")
    say(
        f"  {amount(str(bonds), found.symbol)} of bonds stay locked for {_span(found.resign_s)}; then again: mesh mediator leave"
    )
    if locked:
        held = amount(str(locked), found.symbol)
        say(
            f"  {held} are locked in disputes under way, and lost where this node does not finish its part: keep it running"
        )
        for one in found.work.cases:
            say(f"  case {one.deal_id[:14]}: {one.places} places, {one.step}, {one.phase} until {when(one.until)} UTC")
    again = " ".join(["mesh mediator leave", *map(str, numbers), f"--class {seat_class}", "--yes"])
    _ask("no seat was given up", again, yes)


def _span(seconds: int) -> str:
    """Days where there are two or more, hours, or seconds."""
    for unit, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.4g} {name}"
    return f"{seconds} s"


def seats(output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """This node's seats. The disputes they sit in, and what they have brought."""
    run_async(_seats, load(node_flags(network, rpc, None)), output)


async def _seats(loaded: LoadedConfig, output: Form) -> None:
    async with running_node(loaded) as session:
        if session is not None:
            found = await session.api.seats()
        else:
            from mesh.cli.offline import chain_seats

            found = await chain_seats(loaded)
    emit(found, output, lambda: seats_text(found))


def seats_text(found: SeatsInfo) -> str:
    """For people."""
    rows = [
        [str(one.number), str(one.seat_class), amount(one.bond, found.symbol), _state(one, found)]
        for one in found.seats
    ]
    head = ["SEAT", "CLASS", "BOND", "STATE"]
    shown = table(head, rows, folds=True) if rows else "no seats   (mesh mediator join --seats 1)"
    about = [("at the panel", amount(found.account, found.symbol)), ("work", work_text(found.work, found.symbol))]
    about += [
        ("case", f"{one.deal_id[:14]} {one.phase} until {when(one.until)}: {one.places} places, {one.step}")
        for one in found.work.cases
    ]
    return f"{shown}\n\n{pairs(about)}"


def _state(one: SeatInfo, found: SeatsInfo) -> str:
    if one.out_at:
        return "has left" if not int(one.bond) else f"leaves, bond free from {when(one.out_at)} UTC"
    sits = f", {amount(one.locked, found.symbol)} locked in disputes" if int(one.locked) else ""
    return f"can be called from {when(one.joined_at + found.seat_age_s)} UTC{sits}"


def work_text(work: MediatorInfo, symbol: str = "MESH") -> str:
    """For people: one line."""
    lost = f", {work.lost} locks lost ({amount(work.burned, symbol)})" if work.lost else ""
    return f"{len(work.cases)} cases open; {work.paid} places paid, {amount(work.fees, symbol)} earned{lost}"


def _seats_of(number: int) -> str:
    return "1 seat" if number == 1 else f"{number} seats"
