"""Who deploys the devnet's contracts, and where do its nodes' tokens come from? The chain's first funded account.

As a program (`main`) it is a process of its own that a devnet forks: web3 takes a second to import, which the fork server
has behind it. It is told what to do by the JSON of an `Errand` and writes what came of it into files.
"""

import random
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from devnet.chain import ChainHandle
from devnet.chain.accounts import DevAccount, dev_accounts
from devnet.errand import Errand, Grant, write_whole
from mesh.base.errors import ChainOrFunds, MeshError, as_mesh_error
from mesh.chain.contracts import Contracts
from mesh.chain.deploy import Deployment, DeployPlan, deploy
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact, panel
from protocols.deals.eip712 import DEVNET_BOUNDS
from protocols.disputes.params import DEVNET_PANEL
from protocols.hashing import keccak256
from protocols.units import ZERO_ADDRESS, Address, Tokens

__all__ = ["Purse", "main", "open_purse"]

GAS_MONEY: Final = 10**19
"""Ten coins of the chain for gas: 100,000 transactions."""
_GAS: Final = 200_000
"""Limit of one funding transaction, three times what the dearest of them uses: nothing has to be estimated."""
SEAT_CLASS: Final = 1
"""The class whose seats judge what gives the same bytes on every machine."""
_DEPOSIT_FOR: Final = keccak256(b"depositFor(address,uint256)")[:4]


class Purse:
    """The account that pays for a devnet. One at a time: it owns the nonces of its key."""

    def __init__(
        self,
        rpc: Rpc,
        payer: DevAccount,
        escrow: Address,
        token: Address,
        panel: Address = ZERO_ADDRESS,
        deployment: Deployment | None = None,
    ) -> None:
        """``deployment``: of contracts that it has deployed itself. Without a panel nobody takes a seat."""
        self.deployment = deployment
        self.escrow = escrow
        self.token = token
        self.panel = panel
        self._rpc = rpc
        self._contracts = Contracts(rpc, escrow=escrow, token=token)
        self._payer = payer
        self._submitter = _submitter(rpc, payer)
        self._count = 0
        self._turn = trio.Lock()

    async def give(self, who: Address, tokens: int) -> None:
        """Gas and tokens for an account."""
        async with self._turn:
            await self._send(self._submitter, TxCall(who, b"", GAS_MONEY))
            await self._send(self._submitter, self._contracts.mint(who, Tokens(tokens)))

    async def endow(self, grants: Iterable[Grant]) -> None:
        """Put tokens into the escrow for accounts of the devnet, and stake what each is to stake; then seats, if any."""
        grants = tuple(grants)
        accounts = dev_accounts(max((one.account for one in grants), default=0) + 1)
        total = Tokens(sum(int(one.deposit) for one in grants))
        calls = self._contracts
        async with self._turn:
            await self._all(
                (self._submitter, one) for one in (calls.mint(self._payer.address, total), calls.approve(total))
            )
            await self._all((self._submitter, self._deposit(accounts[one.account], int(one.deposit))) for one in grants)
            await self._all(
                (_submitter(self._rpc, accounts[one.account]), calls.stake(Tokens(int(one.stake))))
                for one in grants
                if int(one.stake)
            )
            await self._seat([(_submitter(self._rpc, accounts[one.account]), one.seats) for one in grants if one.seats])

    async def _seat(self, mediators: Sequence[tuple[Submitter, int]]) -> None:
        """Bonds to the panel, then the seats: each of them finds its bond there."""
        bond = DEVNET_PANEL.seat_bond
        await self._all((who, self._contracts.fund_panel(Tokens(bond * seats))) for who, seats in mediators)
        await self._all(
            (who, TxCall(self.panel, panel.join(SEAT_CLASS))) for who, seats in mediators for _ in range(seats)
        )

    def _deposit(self, account: DevAccount, tokens: int) -> TxCall:
        return TxCall(self.escrow, _DEPOSIT_FOR + bytes(12) + account.address + tokens.to_bytes(32, "big"))

    async def _all(self, sent: Iterable[tuple[Submitter, TxCall]]) -> None:
        """Send all at once, and wait for all."""
        async with trio.open_nursery() as nursery:
            for submitter, call in sent:
                nursery.start_soon(self._send, submitter, msgspec.structs.replace(call, gas=_GAS))

    async def _send(self, submitter: Submitter, call: TxCall) -> None:
        self._count += 1
        key = f"devnet:{self._count}"
        outcome = await submitter.submit(key, call)
        await submitter.release(key)
        if not isinstance(outcome, Confirmed):
            raise ChainOrFunds("the devnet's own transaction failed", why=str(outcome), fix="mesh devnet down")


def _submitter(rpc: Rpc, account: DevAccount) -> Submitter:
    reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken", "MediatorPanel"))
    return Submitter(Eth(rpc), account, MemoryJournal(), reverts)


async def _deployed(rpc: Rpc, payer: DevAccount) -> Deployment:
    plan = DeployPlan(network="devnet", bounds=DEVNET_BOUNDS, panel=DEVNET_PANEL, minter=payer.address)
    return await deploy(Eth(rpc), _submitter(rpc, payer), plan)


@asynccontextmanager
async def open_purse(chain: ChainHandle) -> AsyncIterator[Purse]:
    """Deploy token, escrow and panel with the devnet's bounds; the chain's first account pays, for as long as the block runs."""
    async with open_rpc([chain.rpc_url], chain.chain_id, jitter=random.random) as rpc:
        payer = chain.accounts[0]
        made = await _deployed(rpc, payer)
        yield Purse(rpc, payer, _address(made.escrow), _address(made.token), _address(made.panel), made)


def _address(text: str) -> Address:
    return Address(bytes.fromhex(text[2:])) if text else ZERO_ADDRESS


async def _run(errand: Errand) -> None:
    async with open_rpc([errand.rpc_url], errand.chain_id, jitter=random.random) as rpc:
        (payer,) = dev_accounts(1)
        names = errand.escrow, errand.token, errand.panel
        if not errand.escrow:
            made = await _deployed(rpc, payer)
            names = made.escrow, made.token, made.panel
        escrow, token, judge = map(_address, names)
        await Purse(rpc, payer, escrow, token, judge).endow(errand.grants)
    done = msgspec.structs.replace(errand, escrow=names[0], token=names[1], panel=names[2])
    await trio.to_thread.run_sync(partial(write_whole, Path(errand.done), done))


def main() -> None:
    """Run the errand that the one argument holds, as JSON; what fails is said on stderr."""
    errand = msgspec.json.decode(sys.argv[1].encode(), type=Errand)
    problem = ""
    try:
        trio.run(_run, errand)
    except* MeshError as group:
        problem = f"the devnet's contracts or funds failed: {as_mesh_error(group)}"
    if problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
