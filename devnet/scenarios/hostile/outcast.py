"""Does a peer that goes on misbehaving lose its connection, and is it kept out?"""

from typing import Final

import trio

from devnet.scenarios.hostile.peer import CALL_S, GARBAGE, NOTICED_S, POLL_S, Target, hostile_key, open_hostile
from devnet.scenarios.hostile.verdicts import Verdict, held
from mesh.net.link import LinkError
from protocols.limits import NetworkParams
from protocols.messages.registry import DEAL_PROTOCOL

__all__ = ["be_cast_out"]

KIND: Final = "outcasts"
MOST: Final = 40
"""Messages after which even a slow node must have cut us: ten cost the floor, a tenth of a point returns per second."""


async def be_cast_out(target: Target, params: NetworkParams, seed: int) -> list[Verdict]:
    """Send garbage until the connection is cut, then come back: the answer is a closed door."""
    name = target.member.name
    async with open_hostile(target, params, hostile_key(seed, f"outcast {name}")) as hostile:
        sent = 0
        while sent < MOST and await hostile.score() is not None:
            await hostile.call(DEAL_PROTOCOL, GARBAGE)
            sent += 1
        cut = await hostile.score() is None
        verdicts = [held(KIND, f"cut by {name}", cut and sent >= 8, f"after {sent} messages connected is {not cut}")]
        with trio.move_on_after(NOTICED_S):
            while target.peer in hostile.link.peers():
                await trio.sleep(POLL_S)
        back = ""
        try:
            await hostile.link.call(target.peer, DEAL_PROTOCOL, GARBAGE, CALL_S)
        except LinkError as error:
            back = repr(error)
        with trio.move_on_after(NOTICED_S):  # its new connection may be cut a moment after it was made
            while await hostile.score() is not None:
                await trio.sleep(POLL_S)
        kept_out = bool(back) and await hostile.score() is None
        return [*verdicts, held(KIND, f"kept out by {name}", kept_out, f"it came back: {back or 'answered'}")]
