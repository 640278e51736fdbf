"""What does a client hear when the provider's log cannot be had?"""

import pytest

from mesh.base.errors import NodeUnreachable
from mesh.logs import LogReader
from mesh.net.link import CallRefused, CallTimeout
from protocols.canonical import encode
from protocols.messages.transfer import LogPart, LogPull
from protocols.units import DealId, PeerId

PEER, DEAL = PeerId(b"\x00\x25" + bytes(37)), DealId(b"\x07" * 32)


class OneAnswer:
    """A link that answers every call with the same bytes, or fails in the same way."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_part() -> None:
    link = OneAnswer(encode(LogPart(data=b"3.14", live=True)))
    part = await LogReader(link).pull(PEER, DEAL, "stdout", 7)
    assert part == LogPart(data=b"3.14", live=True)
    assert link.asked == [encode(LogPull(deal_id=DEAL, stream="stdout", offset=7))]


@pytest.mark.parametrize("answer", [CallTimeout("no answer in 5 s"), CallRefused("not a deal of yours"), b"", b"\xc1"])
async def test_no_part(answer) -> None:
    with pytest.raises(NodeUnreachable) as caught:
        await LogReader(OneAnswer(answer)).pull(PEER, DEAL, "stdout", 0)
    assert caught.value.why
    assert caught.value.fix.startswith("mesh ps")
