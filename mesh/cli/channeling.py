"""What does `mesh wallet channels` do? Channels shown, and one funded, closed or redeemed where that can do anything."""

from typing import Final

from mesh.api.port import NodeApi
from mesh.api.types import ChannelInfo
from mesh.base.config import LoadedConfig
from mesh.base.errors import ChainOrFunds, UsageError
from mesh.cli.costs import say_gas
from mesh.cli.options import Form
from mesh.cli.render import amount, emit, pairs, when
from mesh.cli.session import has_history, open_reading, open_session, say

__all__ = ["channels_text", "move_channel"]

SHOW: Final = "mesh wallet channels"
CALLS: Final = {"fund": "fund", "close": "request_close", "redeem": "redeem"}
"""Which transaction a verb signs."""


async def move_channel(loaded: LoadedConfig, verb: str, peer: str, wei: int, output: Form) -> None:
    """Show the channels, after ``verb`` was asked for; "" asks for nothing. Raises ``UsageError`` and ``ChainOrFunds`` where
    nothing would come of it."""
    if verb == "fund" and wei == 0:
        raise UsageError("the amount must be more than zero", fix=f"{SHOW} --fund {peer} --amount 1")
    found: tuple[ChannelInfo, ...] = ()
    if verb:
        async with open_session(loaded, may_start=True) as session:
            await _check(session.api, verb, peer, wei)
            await say_gas(session.api, CALLS[verb])
            await session.api.channel(verb, peer, str(wei))
            say(f"asked for; see it come about: {SHOW}")
            found = await session.api.channels()
    elif has_history(loaded):
        async with open_reading(loaded) as api:
            found = await api.channels()
    emit(found, output, lambda: channels_text(found))
    if not found and output == "table":
        say(f"no channels   ({SHOW} --fund PEER --amount 5; a job opens one by itself with settlement: channel)")


async def _check(api: NodeApi, verb: str, peer: str, wei: int) -> None:
    if verb == "fund":
        account = await api.balance()
        if int(account.free) < wei:
            raise ChainOrFunds(
                "the free balance does not cover it",
                why=f"{amount(str(wei), account.symbol)} are to be locked, {amount(account.free, account.symbol)} are free",
                fix=f"mesh wallet deposit {amount(str(wei - int(account.free))).split()[0]}",
            )
        return
    with_peer = [one for one in await api.channels() if one.peer == peer]
    if not with_peer:
        raise UsageError(f"there is no channel with {peer}", why="neither as client nor as provider", fix=SHOW)
    if verb == "redeem" and all(one.role == "client" for one in with_peer):
        raise UsageError(
            "nothing can be redeemed",
            why="this node pays in that channel, and only who is paid redeems",
            fix=f"{SHOW} --close {peer}   (ends it, and brings the rest back)",
        )
    if verb == "close" and all(one.phase == "closed" and not one.owing for one in with_peer):
        raise UsageError("that channel is closed already", fix=SHOW)


def channels_text(found: tuple[ChannelInfo, ...]) -> str:
    """For people: a block of lines for each channel."""
    return "\n\n".join(
        pairs(
            [
                (f"{one.role} of", one.peer),
                ("state", one.phase if not one.until else f"{one.phase}, until {when(one.until)} UTC"),
                ("holds", amount(one.deposit)),
                ("owed so far", f"{amount(one.paid)} for {_deals(one.deals)}, {amount(one.redeemed)} of it redeemed"),
                *([("unpaid deal", _unpaid(one))] if one.owing else []),
            ]
        )
        for one in found
    )


def _deals(number: int) -> str:
    return "1 deal" if number == 1 else f"{number} deals"


def _unpaid(one: ChannelInfo) -> str:
    """What keeps the client from its next deal here, and who can end that."""
    deal = f"0x{one.owing.removeprefix('0x')[:8]}"
    if one.phase == "closed":
        return f"{deal}; the client gets no deal in a channel until it pays   ({SHOW} --close PEER writes it off)"
    return f"{deal}, under way or owed for; the client's next one waits for it   (mesh deal show {deal})"
