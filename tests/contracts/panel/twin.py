"""Do contract and Python machine agree after a call? A panel on the in-process EVM, with its model beside it.

Every call goes to the contract and to ``protocols.disputes.panel.Panel``, and must have the same result in both: the same
refusal, or the same phase, seats, accounts and money. So each test of a rule tests it twice.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from eth_abi.abi import decode, encode

from protocols.contracts import artifact, calls, panel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, Domain
from protocols.disputes import states as st
from protocols.disputes.machine import deadline
from protocols.disputes.panel import Panel
from protocols.disputes.params import DEVNET_PANEL, PanelBounds
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Tokens, UnixSeconds

if TYPE_CHECKING:
    from tests.contracts.conftest import Key, World

__all__ = ["CLASS", "PanelTwin", "Refused"]

BOUNDS: Final = msgspec.structs.replace(DEVNET_PANEL, seat_bond=Tokens(10_000))
BOUNDS_ABI: Final = "(uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint128)"
SEATS: Final = 14
CLASS: Final = 1
FULL_COMPARISON: Final = 8
"""Every so many calls all seats, accounts and disputes are compared; else the money, and the dispute that was called."""
_OUTPUT: Final = re.compile(r"output: 0x([0-9a-f]*)")


def abi_type(entry: dict[str, Any]) -> str:
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    return f"({','.join(abi_type(member) for member in entry['components'])}){entry['type'].removeprefix('tuple')}"


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(abi_type(member) for member in entry['inputs'])})"


ABI: Final = [entry for name in ("MediatorPanel", "PanelScores", "MeshEscrow") for entry in artifact(name).abi]
ERRORS: Final = {keccak256(signature(e).encode())[:4]: e["name"] for e in ABI if e["type"] == "error"}
VIEWS: Final = {
    e["name"]: e for e in artifact("PanelScores").abi + artifact("MediatorPanel").abi if e["type"] == "function"
}


def code_of(error: str) -> str:
    """``wrong_phase`` for ``WrongPhase``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error).lower()


class Refused(Exception):
    """A call was refused by contract and model alike, with this code."""


class PanelTwin:
    """An escrow with its panel, client, provider, and ``SEATS`` mediators with a seat each; and the model."""

    def __init__(self, world: "World", *, bounds: PanelBounds = BOUNDS, seats: int = SEATS) -> None:
        self.world, self.bounds, self._calls = world, bounds, 0
        self.client, self.provider, self.stranger = world.client, world.provider, world.stranger
        self._deploy()
        self.model = Panel(bounds, self.domain)
        kind = type(world.client)
        self.mediators = [kind(f"mediator {number}") for number in range(seats)]
        for key in (self.client, self.provider, self.stranger, *self.mediators):
            world.evm.set_balance(key.hex, 10**30)
            world.call(world.minter, "mint", key.hex, 10**9, to=world.token)
            world.call(key, "approve", "0x" + self.escrow.hex(), 2**256 - 1, to=world.token)
            world.call(key, "deposit", 10**8)
            self.fund(key, 10**6)
        world.call(self.provider, "stake", 10**7)
        for key in self.mediators:
            self.join(key)
        self.world.warp(bounds.seat_age + 1)
        self.deals: dict[bytes, tuple[Deal, Lock]] = {}
        self._supply = self._tokens_outside()

    def _deploy(self) -> None:
        world = self.world
        nonce = world.evm.basic(world.minter.hex).nonce
        expected = keccak256(b"\xd6\x94" + world.minter.address + bytes([nonce + 1]))[12:]
        assert 0 < nonce + 1 < 0x80
        self.escrow = world.escrow = world.deploy_escrow(panel=Address(expected))
        numbers = tuple(int(item) for item in msgspec.structs.astuple(self.bounds))
        kinds = ["address", "address", "bool", BOUNDS_ABI]
        arguments = encode(kinds, ["0x" + self.escrow.hex(), "0x" + world.token.hex(), True, numbers])
        self.panel = world.deploy_code(artifact("MediatorPanel").bytecode + arguments)
        assert self.panel == expected
        self.domain = world.domain = Domain(world.domain.chain_id, self.escrow)
        self.scores = Address(bytes.fromhex(self.view("SCORES")[2:]))

    # --- both at once ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> UnixSeconds:
        return self.world.now

    def both(self, on_chain: Callable[[], object], in_model: Callable[[], object]) -> None:
        """The call in both worlds: the same refusal, or success and the same books. Raises Refused(code)."""
        refused = self._refusal(in_model)
        said = self._revert(on_chain)
        assert said == refused, f"the contract says {said}, the model {refused}"
        self._calls += 1
        if self._calls % FULL_COMPARISON == 0:
            self.compare()
        else:
            self._compare_money()
        if refused:
            raise Refused(refused)

    def refused(self, code: str, act: Callable[[], object]) -> None:
        """``act`` must be refused by both, with this code."""
        with pytest.raises(Refused) as caught:
            act()
        assert str(caught.value) == code

    def _refusal(self, act: Callable[[], object]) -> str:
        try:
            act()
        except RemoteProtocolError as error:
            return error.code
        return ""

    def _revert(self, act: Callable[[], object]) -> str:
        try:
            act()
        except self.world.reverted as error:
            found = _OUTPUT.search(str(error))
            output = bytes.fromhex(found[1]) if found else b""
            return code_of(error.name or ERRORS.get(output[:4], f"no known error: {error}"))
        return ""

    def send(self, who: "Key", data: bytes, *, to: Address | None = None) -> None:
        self.world.send(who, data, to=to or self.panel)

    def view(self, name: str, *args: Any, to: Address | None = None) -> Any:
        entry = VIEWS[name]
        data = keccak256(signature(entry).encode())[:4] + encode([abi_type(one) for one in entry["inputs"]], args)
        output = self.world.send(self.stranger, data, to=to or self.panel)
        values = decode([abi_type(one) for one in entry["outputs"]], output)
        return values[0] if len(values) == 1 else values

    @property
    def events(self) -> list[panel.PanelEvent]:
        """What the panel has told in the last call that changed something."""
        found = (panel.event_of([bytes(t) for t in log.data[0]], bytes(log.data[1])) for log in self.world._logs)
        return [event for event in found if event is not None]

    # --- comparing ---------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Contract and model hold the same."""
        model = self.model
        for owner, amount in model.accounts.items():
            assert self.view("accountOf", "0x" + owner.hex()) == amount
        for seat_class, seats in model.classes.items():
            assert self.view("seatCount", seat_class) == len(seats)
            for number, seat in enumerate(seats):
                owner, joined, out_at, operator, bond, locked = self.view("seatOf", seat_class, number)
                assert (bytes.fromhex(owner[2:]), bytes.fromhex(operator[2:])) == (seat.owner, seat.operator)
                assert (joined, out_at, bond, locked) == (seat.joined_at, seat.out_at, seat.bond, seat.locked), number
        self._compare_money()
        for state in model.disputes.values():
            self.compare_dispute(state)
        for (owner, level), (score, failed_at) in model.scores.items():
            assert tuple(self.view("scoreOf", "0x" + owner.hex(), level, to=self.scores)) == (score, failed_at)

    def _compare_money(self) -> None:
        assert self.view("burnable") == self.model.burnable
        assert self.world.tokens(self.panel) == self.model.held()

    def compare_dispute(self, state: st.DisputeState) -> None:
        deal_id = state.case.lock.deal_id
        phase, until, number, fee, finding, row = self.view("statusOf", deal_id)
        assert st.Phase(phase) is st.PHASE[type(state)]
        assert fee == state.case.fee
        if isinstance(state, (st.Settled, st.Slashed, st.Voided)):
            assert st.Row(row) is state.row
            return
        assert until == deadline(state)
        if isinstance(state, st.Disputed):
            return
        if isinstance(state, (st.Verdict, st.Appealed)):
            assert finding == (state.finding.outcome, state.finding.clique, state.finding.firsts)
        assert number == len(state.rounds) - 1
        for at, round_ in enumerate(state.rounds):
            seed, salts, cursor, size, waves = self.view("panelOf", deal_id, at)
            assert (seed, salts, cursor, waves) == (round_.seed, round_.salts, round_.cursor, round_.waves)
            assert size == len(round_.turns)
            for position, turn in enumerate(round_.turns):
                seat, stage, served, mask, commitment = self.view("turnOf", deal_id, at, position)
                assert st.Stage(stage) is turn.stage
                if turn.stage is not st.Stage.VACANT:
                    assert (seat, served, mask, commitment) == (turn.seat, turn.served, turn.mask, turn.commitment)

    def _tokens_outside(self) -> int:
        return self.world.tokens(self.escrow) + self.world.tokens(self.panel)

    # --- accounts and seats ------------------------------------------------------------------------------------------

    def fund(self, key: "Key", amount: int) -> None:
        self.world.send(key, calls.fund_panel(Tokens(amount)))
        self.model.fund(self._owner(key), amount)

    def withdraw(self, key: "Key", amount: int) -> None:
        data = panel.withdraw(Tokens(amount))
        self.both(lambda: self.send(key, data), lambda: self.model.withdraw(self._owner(key), amount))

    def _owner(self, key: "Key") -> Address:
        return Address(self.world.read("ownerOf", key.hex))

    def join(self, key: "Key", seat_class: int = CLASS) -> None:
        data, owner = panel.join(seat_class), self._owner(key)
        self.both(lambda: self.send(key, data), lambda: self.model.join(owner, key.address, seat_class, self.now))

    def resign(self, key: "Key", seat: int, seat_class: int = CLASS) -> None:
        data = panel.resign(seat_class, seat)
        self.both(lambda: self.send(key, data), lambda: self.model.resign(key.address, seat_class, seat, self.now))

    def retire(self, seat: int, seat_class: int = CLASS) -> None:
        data = panel.retire(seat_class, seat)
        self.both(lambda: self.send(self.stranger, data), lambda: self.model.retire(seat_class, seat, self.now))
