"""What does a dispute cost in gas, call by call and side by side? Everybody honest but the provider, everybody in time."""

from typing import Final

from devnet.bench.gas_meter import PANEL_BOUNDS, PRICE, Meter, Receipt, mean
from devnet.chain.accounts import DevAccount
from protocols.contracts import calls, panel
from protocols.contracts.lock import Lock
from protocols.deals import eip712
from protocols.disputes.draw import commitment_of
from protocols.disputes.states import Reason, Side
from protocols.hashing import keccak256
from protocols.units import Hash32, Tokens

__all__ = ["measure_dispute"]

SALT: Final = Hash32(keccak256(b"salt"))
ROOT: Final = Hash32(keccak256(b"root"))
SEAT_CLASS: Final = 1


class Court:
    """One dispute; ``costs`` has the gas of every call, by who paid it and what it was."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.costs: list[tuple[str, str, int]] = []
        self.client_secret = Hash32(keccak256(b"the client's secret"))
        self.provider_secret = Hash32(keccak256(b"the provider's secret"))
        self._called: dict[int, tuple[DevAccount, int]] = {}
        self._rounds = -1

    async def _pay(self, role: str, what: str, who: DevAccount, data: bytes) -> Receipt:
        receipt = await self.meter.send(who, self.meter.panel, data)
        self.costs.append((role, what, receipt.gas))
        operators = {one.address: one for one in self.meter.mediators}
        for topics, body in receipt.logs:
            event = panel.event_of(topics, body)
            if event is not None and event.name == "SeatCalled":
                if event.args["round"] > self._rounds:
                    self._rounds, self._called = event.args["round"], {}
                self._called[event.args["position"]] = operators[event.args["operator"]], event.args["seat"]
        return receipt

    async def open(self) -> None:
        """From a fresh deal to its dispute and the draw of the first panel."""
        meter = self.meter
        deal = await meter.deal(
            enforcement=eip712.Enforcement.PANEL,
            seat_fee=Tokens(PRICE * 3 // 2),
            seat_class=SEAT_CLASS,
            seat_snapshot=len(meter.mediators),
            client_secret_hash=Hash32(keccak256(self.client_secret)),
            provider_secret_hash=Hash32(keccak256(self.provider_secret)),
        )
        self.lock, cost = await meter.commit(deal)
        self.costs.append(("provider", "commit_deal", cost))
        self.result = _result(self.lock)
        claimed = eip712.digest(meter.domain, self.result)
        receipt = await meter.send(meter.provider, meter.escrow, calls.claim(self.lock, claimed))
        self.costs.append(("provider", "claim", receipt.gas))
        data = panel.dispute(deal, self.lock, claimed, self.client_secret, Reason.WRONG)
        await self._pay("client", "dispute", meter.client, data)
        shown = panel.show_secret(self.lock.deal_id, self.provider_secret)
        await self._pay("provider", "secret", meter.provider, shown)

    async def sit(self, provider_mask: int = 0) -> None:
        """One panel, from acceptance to its finding: all seats match each other, and the provider matches none."""
        deal_id, meter = self.lock.deal_id, self.meter
        everybody = (1 << len(self._called)) - 1
        for position, (operator, _) in sorted(self._called.items()):
            await self._pay("seat", "accept", operator, panel.accept(deal_id, position))
        for position, (operator, seat) in sorted(self._called.items()):
            made = commitment_of(deal_id, self._rounds, seat, _print(position), SALT)
            await self._pay("seat", "commit", operator, panel.commit(deal_id, position, made))
        await self._pay("provider", "open", meter.provider, panel.open_(self.result, SALT, ROOT))
        for position, (operator, _) in sorted(self._called.items()):
            data = panel.reveal(deal_id, position, _print(position), SALT, served=True)
            await self._pay("seat", "reveal", operator, data)
        await self._pay("provider", "publish_provider", meter.provider, panel.publish_provider(deal_id, provider_mask))
        for position, (operator, _) in sorted(self._called.items()):
            await self._pay("seat", "publish", operator, panel.publish(deal_id, position, everybody))

    async def end(self) -> None:
        """Nobody appeals: anybody's poke divides the money."""
        await self.meter.warp(PANEL_BOUNDS.appeal + 1)
        await self._pay("anyone", "verdict", self.meter.anyone, panel.poke(self.lock.deal_id))

    async def appeal(self) -> None:
        """The provider, convicted, appeals; the client answers, and seven others are drawn."""
        deal_id = self.lock.deal_id
        await self._pay("provider", "appeal", self.meter.provider, panel.deposit(deal_id, Side.PROVIDER))
        await self._pay("client", "answer", self.meter.client, panel.deposit(deal_id, Side.CLIENT))


async def measure_dispute(meter: Meter, *, appeal: bool) -> dict[str, int]:
    """Gas by call (the mean over seats), by role, and in all; the names begin with ``dispute`` or ``appeal``."""
    court = Court(meter)
    await court.open()
    await court.sit()
    seats = 3
    if appeal:
        await court.appeal()
        await court.sit()
        seats += 7
    else:
        await court.end()
    prefix = "appeal" if appeal else "dispute"
    found = {f"{prefix}_total": sum(cost for _, _, cost in court.costs)}
    for role in ("client", "provider", "anyone"):
        paid = sum(cost for who, _, cost in court.costs if who == role)
        if paid:
            found[f"{prefix}_{role}"] = paid
    of_seats = [cost for who, _, cost in court.costs if who == "seat"]
    found[f"{prefix}_per_seat"] = round(sum(of_seats) / seats)
    for what in dict.fromkeys(name for _, name, _ in court.costs):
        found[f"{prefix}_call_{what}"] = mean([cost for _, name, cost in court.costs if name == what])
    return found


def _result(lock: Lock) -> eip712.ResultCommit:
    return eip712.ResultCommit(
        deal_id=lock.deal_id,
        salted_root=Hash32(keccak256(SALT, ROOT)),
        outcome=eip712.OutcomeCode.EXITED,
        exit_code=0,
        fuel=(1 << 64) - 1,
        wall_ms=(1 << 32) - 1,
        log_head=Hash32(keccak256(b"log")),
    )


def _print(position: int) -> Hash32:
    return Hash32(keccak256(b"output", bytes([position])))
