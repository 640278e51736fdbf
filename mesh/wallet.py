"""How does the owner's money move between wallet, escrow and stake?"""

from typing import ClassVar, Final

from mesh.api.types import BalanceInfo, TxInfo, WithdrawalInfo
from mesh.base.entropy import Entropy
from mesh.base.errors import ChainOrFunds, UsageError
from mesh.base.observe import get_log
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError
from mesh.chain.eth import Eth, TxCall
from mesh.chain.outcomes import Confirmed, Reverted
from mesh.engine import Engine
from mesh.ledger import Ledger
from protocols.events import AccountRead
from protocols.offers.pricing import tokens_text
from protocols.units import Address, Tokens

__all__ = ["LedgerWallet", "read_balance"]

SHOW: Final = "mesh wallet show"
MOST: Final = (1 << 128) - 1
"""Amounts of the escrow are uint128."""

log = get_log("wallet")


async def read_balance(contracts: Contracts, eth: Eth, operator: Address, symbol: str) -> BalanceInfo:
    """What the owner of an operator holds, asked of the chain. Raises ``ChainError``."""
    owner = await contracts.owner_of(operator)
    account, exits = await contracts.account(owner), await contracts.exits(owner)
    leaving = (
        WithdrawalInfo(verb="withdraw", amount=str(int(exits.withdrawing)), ready_at=int(exits.withdraw_ready_at)),
        WithdrawalInfo(verb="unstake", amount=str(int(exits.unstaking)), ready_at=int(exits.unstake_ready_at)),
    )
    newest = await eth.block("latest")
    return BalanceInfo(
        operator="0x" + operator.hex(),
        owner="0x" + owner.hex(),
        native=str(await eth.balance(operator)),
        token=str(int(await contracts.balance(owner))),
        free=str(int(account.free)),
        stake=str(int(account.stake)),
        symbol=symbol,
        withdrawals=tuple(one for one in leaving if int(one.amount)),
        base_fee=str(int(newest.base_fee) if newest else 0),
    )


class LedgerWallet:
    """The node's own account: its operator is its owner unless ``setOperator`` said otherwise, and then only the owner may."""

    look: ClassVar[str] = SHOW
    """What to type to see why a call was refused that is not about free and staked tokens."""

    def __init__(self, ledger: Ledger, engine: Engine, entropy: Entropy) -> None:
        self._ledger = ledger
        self._engine = engine
        self._entropy = entropy

    @property
    def _me(self) -> Address:
        return self._ledger.submitter.address

    async def balance(self) -> BalanceInfo:
        """Everything this node's owner holds. Raises ``ChainError``."""
        ledger = self._ledger
        return await read_balance(ledger.contracts, ledger.eth, self._me, ledger.params.token_symbol)

    async def deposit(self, amount: int) -> TxInfo:
        """Approve what is missing, then deposit. Raises ChainOrFunds, before anything is signed, when the wallet has less."""
        contracts, tokens = self._ledger.contracts, _positive(amount)
        held = await contracts.balance(self._me)
        if held < tokens:
            raise ChainOrFunds(
                f"the wallet holds {tokens_text(held)}, less than the {tokens_text(tokens)} to deposit",
                why="only tokens that lie at the operator's address outside the escrow can be deposited",
                fix="mesh wallet show   (send tokens to its operator first)",
            )
        if await contracts.allowance(self._me) < tokens:
            await self.send("approve", contracts.approve(tokens), SHOW)
        return await self.send("deposit", contracts.deposit(tokens), SHOW)

    async def stake(self, amount: int) -> TxInfo:
        """From the free balance into the stake."""
        return await self.send("stake", self._ledger.contracts.stake(_positive(amount)), SHOW)

    async def withdraw(self, amount: int) -> TxInfo:
        """Ask for ``amount``; 0 takes out what was asked for and whose delay is over."""
        contracts = self._ledger.contracts
        call = contracts.request_withdraw(_positive(amount)) if amount else contracts.withdraw()
        return await self.send("withdraw", call, _again("withdraw", amount))

    async def unstake(self, amount: int) -> TxInfo:
        """Ask for ``amount``; 0 takes out what was asked for and whose delay is over."""
        contracts = self._ledger.contracts
        call = contracts.request_unstake(_positive(amount)) if amount else contracts.unstake()
        return await self.send("unstake", call, _again("unstake", amount))

    async def send(self, what: str, call: TxCall, fix: str = "") -> TxInfo:
        """One transaction of the owner's. Raises ``ChainOrFunds`` when the contract refuses it; ``fix``: what to type then."""
        key = f"wallet:{what}:{self._entropy.bytes(8).hex()}"
        outcome = await self._ledger.submitter.submit(key, call)
        await self._ledger.submitter.release(key)
        if not isinstance(outcome, Confirmed):
            why = str(outcome.reason) if isinstance(outcome, Reverted) else "another program sends with this node's key"
            raise ChainOrFunds(f"{what} was refused by the contract", why=why, fix=fix or self.look)
        try:
            await self._tell(what)
            block = await self._ledger.eth.block(outcome.block)
        except ChainError as error:  # the money has moved: what fails now is only the telling
            log.warning("wallet.unread", what=what, reason=str(error))
            block = None
        fee = outcome.gas_used * (block.base_fee if block else 0)  # our priority fee is 0: what is burned is all
        return TxInfo(tx="0x" + outcome.tx_hash.hex(), block=outcome.block, gas_used=outcome.gas_used, fee_wei=str(fee))

    async def _tell(self, what: str) -> None:
        """The rules quote from what the escrow holds: let them know at once."""
        if what == "approve":
            return
        free, stake = await self._ledger.account(self._me)
        at = self._ledger.now_ms()
        await self._engine.post(AccountRead(at=at, operator=self._me, free=free, stake=stake, known=True))


def _again(what: str, amount: int) -> str:
    """What to type when the contract refuses: to take out what was never asked for, or is not due, or more than there is."""
    return SHOW if amount else f"{SHOW}   (when something is due; mesh wallet {what} 10 asks for 10)"


def _positive(amount: int) -> Tokens:
    if amount <= 0:
        raise UsageError("the amount must be more than zero", fix="mesh wallet deposit 10")
    if amount > MOST:
        raise UsageError("no account can hold that much", why=f"amounts end at {MOST} wei", fix="mesh wallet show")
    return Tokens(amount)
