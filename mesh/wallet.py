"""How does the owner's money move between wallet, escrow and stake?"""

from typing import Final

from mesh.api.types import BalanceInfo, TxInfo
from mesh.base.errors import ChainOrFunds, UsageError
from mesh.chain.eth import TxCall
from mesh.chain.outcomes import Confirmed
from mesh.engine import Engine
from mesh.ledger import Ledger
from protocols.events import AccountRead
from protocols.hashing import keccak256
from protocols.units import Address, Tokens

__all__ = ["LedgerWallet"]

_BALANCE_OF: Final = keccak256(b"balanceOf(address)")[:4]
_ALLOWANCE: Final = keccak256(b"allowance(address,address)")[:4]
_APPROVE: Final = keccak256(b"approve(address,uint256)")[:4]
_DEPOSIT: Final = keccak256(b"deposit(uint256)")[:4]
_STAKE: Final = keccak256(b"stake(uint120)")[:4]
_REQUEST_WITHDRAW: Final = keccak256(b"requestWithdraw(uint128)")[:4]
_WITHDRAW: Final = keccak256(b"withdraw()")[:4]
_REQUEST_UNSTAKE: Final = keccak256(b"requestUnstake(uint120)")[:4]
_UNSTAKE: Final = keccak256(b"unstake()")[:4]
_EXITS_OF: Final = keccak256(b"exitsOf(address)")[:4]


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


class LedgerWallet:
    """The node's own account: its operator is its owner unless ``setOperator`` said otherwise, and then only the owner may."""

    def __init__(self, ledger: Ledger, engine: Engine) -> None:
        self._ledger = ledger
        self._engine = engine
        self._count = 0

    @property
    def _me(self) -> Address:
        return self._ledger.submitter.address

    async def balance(self) -> BalanceInfo:
        """Everything this node's owner holds. Raises ``ChainError``."""
        owner = await self._ledger.owner_of(self._me)
        free, stake = await self._ledger.account(self._me)
        token = await self._call(self._ledger.params.token, _BALANCE_OF + bytes(12) + owner)
        exits = await self._call(self._ledger.params.escrow, _EXITS_OF + bytes(12) + owner)
        words = [int.from_bytes(exits[at : at + 32], "big") for at in range(0, len(exits), 32)]
        return BalanceInfo(
            operator="0x" + self._me.hex(),
            owner="0x" + owner.hex(),
            native=str(await self._ledger.eth.balance(self._me)),
            token=str(int.from_bytes(token[:32], "big")),
            free=str(int(free)),
            stake=str(int(stake)),
            symbol=self._ledger.params.token_symbol,
            withdrawals=tuple(_exits(words)),
        )

    async def deposit(self, amount: int) -> TxInfo:
        """Approve what is missing, then deposit."""
        token, escrow = self._ledger.params.token, self._ledger.params.escrow
        allowed = await self._call(token, _ALLOWANCE + bytes(12) + self._me + bytes(12) + escrow)
        if int.from_bytes(allowed[:32], "big") < amount:
            await self._send("approve", token, _APPROVE + bytes(12) + escrow + _word(amount))
        return await self._send("deposit", escrow, _DEPOSIT + _word(_positive(amount)))

    async def stake(self, amount: int) -> TxInfo:
        """From the free balance into the stake."""
        return await self._send("stake", self._ledger.params.escrow, _STAKE + _word(_positive(amount)))

    async def withdraw(self, amount: int) -> TxInfo:
        """Ask for ``amount``; 0 takes out what was asked for and whose delay is over."""
        data = _WITHDRAW if amount == 0 else _REQUEST_WITHDRAW + _word(amount)
        return await self._send("withdraw", self._ledger.params.escrow, data)

    async def unstake(self, amount: int) -> TxInfo:
        """Ask for ``amount``; 0 takes out what was asked for and whose delay is over."""
        data = _UNSTAKE if amount == 0 else _REQUEST_UNSTAKE + _word(amount)
        return await self._send("unstake", self._ledger.params.escrow, data)

    async def _call(self, to: Address, data: bytes) -> bytes:
        answer = await self._ledger.eth.call(TxCall(to, data), self._me)
        if len(answer) < 32:
            raise ChainOrFunds("a contract does not answer", why=f"nothing at 0x{to.hex()}", fix="mesh doctor")
        return answer

    async def _send(self, what: str, to: Address, data: bytes) -> TxInfo:
        self._count += 1
        key = f"wallet:{what}:{self._engine.env.me.hex()[-8:]}:{self._count}"
        outcome = await self._ledger.submitter.submit(key, TxCall(to, data))
        await self._ledger.submitter.release(key)
        if not isinstance(outcome, Confirmed):
            raise ChainOrFunds(f"{what} was refused by the contract", why=str(outcome), fix="mesh wallet show")
        await self._tell(what)
        return TxInfo(tx="0x" + outcome.tx_hash.hex(), block=outcome.block, gas_used=outcome.gas_used, fee_wei="0")

    async def _tell(self, what: str) -> None:
        """The rules quote from what the escrow holds: let them know at once."""
        if what == "approve":
            return
        free, stake = await self._ledger.account(self._me)
        at = self._ledger.now_ms()
        await self._engine.post(AccountRead(at=at, operator=self._me, free=free, stake=stake, known=True))


def _positive(amount: int) -> int:
    if amount <= 0:
        raise UsageError("the amount must be more than zero", fix="mesh wallet deposit 10")
    return int(Tokens(amount))


def _exits(words: list[int]) -> list[str]:
    """``exitsOf``: withdrawal and unstaking, each an amount and the time from which it may be taken."""
    names = ("withdraw", "unstake")
    return [
        f"{name} {words[2 * n]} from {words[2 * n + 1]}"
        for n, name in enumerate(names)
        if words[2 * n : 2 * n + 1] != [0]
    ]
