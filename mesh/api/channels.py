"""How does the API show a payment channel, and what may its owner command?"""

from mesh.api.types import ChannelInfo
from mesh.base.errors import UsageError
from protocols.channels.states import Opening, book_of
from protocols.contracts.channels import MAX_CHANNEL_TOKENS
from protocols.events import ChannelCommanded
from protocols.job.peers import peer_from_text, peer_to_text
from protocols.job.problems import BadValue
from protocols.state import CLIENT, ChannelHalf
from protocols.units import Millis, Tokens

__all__ = ["channel_command", "channel_info"]

_VERBS = ("fund", "close", "redeem")


def channel_info(half: ChannelHalf) -> ChannelInfo:
    """One channel in text."""
    state, book = half.state, book_of(half.state)
    owing = state.owing if isinstance(state, Opening) else state.book.owing
    return ChannelInfo(
        role="client" if half.role == CLIENT else "provider",
        phase=type(state).__name__.lower(),
        peer=peer_to_text(state.peer if isinstance(state, Opening) else state.book.peer),
        deposit=str(int(book.deposit if book else 0)),
        paid=str(int(book.paid if book else 0)),
        redeemed=str(int(book.redeemed if book else 0)),
        deals=book.deals.count if book else 0,
        deals_root="0x" + book.deals.root.hex() if book else "",
        until=book.until if book else 0,
        owing=owing.deal_id.hex() if owing else "",
    )


def channel_command(verb: str, peer: str, amount: str, at: Millis) -> ChannelCommanded:
    """The owner's word as an event. Raises ``UsageError``."""
    try:
        if verb not in _VERBS:
            raise BadValue(f"{verb!r} is nothing to do with a channel", f"one of {', '.join(_VERBS)}")
        tokens = Tokens(int(amount or 0))
        if verb == "fund" and not 0 < tokens <= MAX_CHANNEL_TOKENS:
            raise BadValue("the amount lies outside what a channel holds", f"1 to {MAX_CHANNEL_TOKENS} wei")
        return ChannelCommanded(at=at, peer=peer_from_text(peer), verb=verb, amount=tokens)
    except (BadValue, ValueError) as error:
        raise UsageError(
            "the channel cannot be changed so", why=str(error), fix="mesh wallet channels --help"
        ) from error
