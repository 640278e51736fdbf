"""How does the owner's money become seats in the panel, and come back? For `mesh mediator`."""

from typing import ClassVar, Final

from mesh.api.mediation import CaseInfo, MediatorInfo, SeatInfo, SeatsInfo
from mesh.api.types import TxInfo
from mesh.base.entropy import Entropy
from mesh.base.errors import ChainOrFunds, ConfigError, UsageError
from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth, LogQuery
from mesh.chain.panel import PanelContract
from mesh.chain.rpc import Rpc
from mesh.engine import Engine
from mesh.ledger import Ledger
from mesh.wallet import LedgerWallet
from protocols.contracts.panel import EVENTS
from protocols.deals.panel_terms import PANEL_CLASS
from protocols.mediation.views import MediatorView, mediator_view
from protocols.offers.pricing import tokens_text
from protocols.units import Address, Hash32, Tokens

__all__ = ["MAX_JOIN", "SeatWallet", "mediator_info", "panel_of", "read_seats"]

MAX_JOIN: Final = 100
"""Seats of one command: a transaction each."""
_JOINED: Final = next(Hash32(topic) for topic, (name, _) in EVENTS.items() if name == "SeatJoined")


def mediator_info(found: MediatorView) -> MediatorInfo:
    """As the API says it."""
    cases = tuple(
        CaseInfo(
            deal_id="0x" + one.deal_id.hex(),
            phase=one.phase,
            until=int(one.until),
            round=one.round,
            places=one.places,
            fee=str(int(one.fee)),
            step=one.step,
        )
        for one in found.cases
    )
    return MediatorInfo(
        cases=cases, paid=found.paid, fees=str(int(found.fees)), lost=found.lost, burned=str(int(found.burned))
    )


def panel_of(rpc: Rpc, address: Address) -> PanelContract:
    """The network's. Raises ``ConfigError`` where there is none."""
    if not any(address):
        why = "its address is not in the configuration"
        raise ConfigError("no panel is known here", why=why, fix="mesh config set chain.panel 0x...")
    return PanelContract(rpc, address)


async def read_seats(
    contracts: Contracts,
    eth: Eth,
    panel: PanelContract,
    operator: Address,
    deploy_block: int,
    symbol: str,
    work: MediatorInfo,
) -> SeatsInfo:
    """An operator's seats, asked of the chain; ``work`` is what its node keeps of theirs. Raises ``ChainError``."""
    owner = await contracts.owner_of(operator)
    bounds = await panel.bounds()
    return SeatsInfo(
        seats=tuple([await _seat(panel, *one) for one in await _numbers(eth, panel, operator, deploy_block)]),
        account=str(int(await panel.account(owner))),
        free=str(int((await contracts.sure_account(operator)).free)),
        seat_bond=str(int(bounds.seat_bond)),
        seat_age_s=bounds.seat_age,
        resign_s=bounds.resign,
        work=work,
        symbol=symbol,
    )


async def _numbers(eth: Eth, panel: PanelContract, operator: Address, deploy_block: int) -> list[tuple[int, int]]:
    """(class, number) of every seat that ever named this operator: the panel's logs, in the order of joining."""
    me = Hash32(bytes(12) + operator)
    head = await eth.head()
    query = LogQuery((Address(panel.address),), ((_JOINED,), None, None, (me,)))
    found = await eth.logs(query, deploy_block, head.number)
    return [(int.from_bytes(log.topics[1]), int.from_bytes(log.topics[2])) for log in found]


async def _seat(panel: PanelContract, seat_class: int, number: int) -> SeatInfo:
    seat = await panel.seat(seat_class, number)
    return SeatInfo(
        seat_class=seat_class,
        number=number,
        bond=str(int(seat.bond)),
        locked=str(int(seat.locked)),
        joined_at=int(seat.joined_at),
        out_at=int(seat.out_at),
    )


class SeatWallet(LedgerWallet):
    """The owner's money with its seats."""

    look: ClassVar[str] = "mesh mediator seats"

    def __init__(self, ledger: Ledger, engine: Engine, entropy: Entropy, deploy_block: int) -> None:
        super().__init__(ledger, engine, entropy)
        self._deploy_block = deploy_block

    def _panel(self) -> PanelContract:
        return panel_of(self._ledger.rpc, self._ledger.params.panel)

    async def seats(self) -> SeatsInfo:
        """This operator's seats, as the chain has them now. Raises ``ChainError``."""
        ledger, machine = self._ledger, self._engine.env.machine
        work = mediator_info(self._engine.view(lambda state: mediator_view(state, self._me, machine)))
        return await read_seats(
            ledger.contracts, ledger.eth, self._panel(), self._me, self._deploy_block, ledger.params.token_symbol, work
        )

    async def _numbers(self, panel: PanelContract) -> list[tuple[int, int]]:
        return await _numbers(self._ledger.eth, panel, self._me, self._deploy_block)

    async def join_seats(self, count: int, seat_class: int) -> tuple[TxInfo, ...]:
        """Bonds from the free balance, then the seats. What was done before something failed stays done."""
        if not 1 <= count <= MAX_JOIN or seat_class != PANEL_CLASS:
            why = f"one command takes 1 to {MAX_JOIN}"
            if seat_class != PANEL_CLASS:
                why = f"this node judges jobs in wasm, whose deals call seats of class {PANEL_CLASS}: its bond would be idle"
            raise UsageError(
                f"{count} seats of class {seat_class} cannot be taken", why=why, fix="mesh mediator join --seats 1"
            )
        panel, ledger = self._panel(), self._ledger
        bonds = count * (await panel.bounds()).seat_bond
        has = await panel.account(await ledger.contracts.owner_of(self._me))
        sent = []
        if has < bonds:
            free, _ = await ledger.account(self._me)
            if free < bonds - has:
                missing = tokens_text(bonds - has - free)
                raise ChainOrFunds(
                    "the free balance does not cover the bonds",
                    why=f"they take {tokens_text(bonds - has)} more at the panel, and {tokens_text(free)} are free",
                    fix=f"mesh wallet deposit {missing.split()[0]}",
                )
            sent.append(await self.send("fund the panel", ledger.contracts.fund_panel(Tokens(bonds - has))))
        joined = [await self.send("join", panel.join(seat_class)) for _ in range(count)]
        return (*sent, *joined)

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]:
        """Seats that stay ask to leave; those whose time is over are taken out, and the account goes to the free balance."""
        panel = self._panel()
        now = (await self._ledger.eth.head()).timestamp
        sent = []
        mine = [number for of_class, number in await self._numbers(panel) if of_class == seat_class]
        strange = [number for number in numbers if number not in mine]
        if strange or not mine:
            why = f"seat {strange[0]} of class {seat_class}" if strange else f"it has none in class {seat_class}"
            raise UsageError("that is no seat of this node", why=why, fix="mesh mediator seats")
        for number in numbers or mine:
            seat = await panel.seat(seat_class, number)
            if not seat.out_at:
                sent.append(await self.send("leave", panel.resign(seat_class, number)))
            elif seat.bond and not seat.locked and seat.out_at <= now:
                sent.append(await self.send("retire", panel.retire(seat_class, number)))
        account = await panel.account(await self._ledger.contracts.owner_of(self._me))
        if account:
            sent.append(await self.send("withdraw from the panel", panel.withdraw(account)))
        return tuple(sent)
