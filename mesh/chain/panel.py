"""How does a node call MediatorPanel about its own seats and account, and what does the panel answer?

Calls about a dispute are packed by ``protocols.contracts.panel``.
"""

from typing import Any

import msgspec

from mesh.chain.contracts import address_text, read_view
from mesh.chain.errors import ChainError
from mesh.chain.eth import Eth, TxCall
from mesh.chain.rpc import Rpc
from protocols.contracts import artifact, panel
from protocols.contracts.lock import Lock
from protocols.disputes.params import PanelBounds
from protocols.disputes.seats import Seat
from protocols.disputes.states import Phase
from protocols.units import ZERO_ADDRESS, Address, DealId, Seconds, Tokens, UnixSeconds

__all__ = ["DisputeStatus", "PanelContract", "ScoresContract"]


class DisputeStatus(msgspec.Struct, frozen=True):
    """Where a dispute stands. ``until``: the last moment of the call that is waited for. ``round``: 0, or 1 on appeal."""

    phase: Phase
    until: UnixSeconds
    round: int
    fee: Tokens


class PanelContract:
    """One panel. Building it imports web3; views raise ``ChainError``."""

    def __init__(self, rpc: Rpc, address: Address) -> None:
        from mesh.chain.provider import open_web3

        eth: Any = open_web3(rpc).eth
        self.address = address
        self._rpc = rpc
        self._panel = eth.contract(address=address_text(address), abi=list(artifact("MediatorPanel").abi))

    # views

    async def escrow(self) -> Address:
        """The only escrow of this panel."""
        return await read_view(self._rpc, self._panel, "ESCROW", (), lambda v: Address(bytes.fromhex(str(v)[2:])))

    async def scores(self) -> Address:
        """Where the failures at tolerance levels are counted."""
        return await read_view(self._rpc, self._panel, "SCORES", (), lambda v: Address(bytes.fromhex(str(v)[2:])))

    async def bounds(self) -> PanelBounds:
        """What this panel was deployed with, for good."""
        return await read_view(self._rpc, self._panel, "bounds", (), _bounds)

    async def account(self, owner: Address) -> Tokens:
        """What an owner has here for bonds, seats and deposits."""
        return await read_view(self._rpc, self._panel, "accountOf", (address_text(owner),), Tokens)

    async def seats(self, seat_class: int) -> int:
        """How many seats a class has ever had: the largest snapshot that a deal can name."""
        return await read_view(self._rpc, self._panel, "seatCount", (seat_class,), int)

    async def eligible(self, lock: Lock, seat_class: int, snapshot: int) -> int:
        """How many of the first ``snapshot`` seats a dispute about this deal could call now."""
        call = TxCall(to=self.address, data=panel.eligible_seats(lock, seat_class, snapshot))
        answer = await Eth(self._rpc).call(call, ZERO_ADDRESS)
        if len(answer) != 32:
            raise ChainError("the panel's count of seats cannot be read", fix="mesh doctor")
        return int.from_bytes(answer)

    async def seat(self, seat_class: int, number: int) -> Seat:
        """One seat. Raises ``ChainError`` when there is none of that number."""
        return await read_view(self._rpc, self._panel, "seatOf", (seat_class, number), _seat)

    async def status(self, deal_id: DealId) -> DisputeStatus:
        """Where the dispute about a deal stands; phase NONE when there is none."""
        return await read_view(self._rpc, self._panel, "statusOf", (bytes(deal_id),), _status)

    # calls

    def join(self, seat_class: int) -> TxCall:
        """One more seat for the sender's owner, from its account here."""
        return TxCall(to=self.address, data=panel.join(seat_class))

    def resign(self, seat_class: int, number: int) -> TxCall:
        """Be called no more."""
        return TxCall(to=self.address, data=panel.resign(seat_class, number))

    def retire(self, seat_class: int, number: int) -> TxCall:
        """The bond of a seat that has left goes to its owner's account here."""
        return TxCall(to=self.address, data=panel.retire(seat_class, number))

    def withdraw(self, amount: Tokens) -> TxCall:
        """From the account of the sender's owner to its free balance in the escrow."""
        return TxCall(to=self.address, data=panel.withdraw(amount))


class ScoresContract:
    """The panel's scores."""

    def __init__(self, rpc: Rpc, address: Address) -> None:
        from mesh.chain.provider import open_web3

        eth: Any = open_web3(rpc).eth
        self._rpc = rpc
        self._scores = eth.contract(address=address_text(address), abi=list(artifact("PanelScores").abi))

    async def score_of(self, owner: Address, level: int) -> int:
        """Of a provider's owner at a level; 0 without failures. Raises ``ChainError``."""
        names = (address_text(owner), int(level))
        return await read_view(self._rpc, self._scores, "scoreOf", names, lambda v: int(v[0]))


def _bounds(values: Any) -> PanelBounds:
    seconds = [Seconds(value) for value in values]
    return PanelBounds(
        secret=seconds[0],
        accept=seconds[1],
        work=seconds[2],
        open=seconds[3],
        reveal=seconds[4],
        match=seconds[5],
        appeal=seconds[6],
        seat_age=seconds[7],
        resign=seconds[8],
        seat_bond=Tokens(values[9]),
    )


def _seat(values: Any) -> Seat:
    owner, joined_at, out_at, operator, bond, locked = values
    return Seat(
        owner=Address(bytes.fromhex(str(owner)[2:])),
        operator=Address(bytes.fromhex(str(operator)[2:])),
        joined_at=UnixSeconds(joined_at),
        bond=Tokens(bond),
        locked=Tokens(locked),
        out_at=UnixSeconds(out_at),
    )


def _status(values: Any) -> DisputeStatus:
    phase, until, number, fee = values[:4]
    return DisputeStatus(Phase(phase), UnixSeconds(until), number, Tokens(fee))
