"""Who deploys the devnet's contracts, and where do its nodes' tokens and gas come from? The chain's first funded account."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from devnet.chain import ChainHandle
from mesh.base.errors import ChainOrFunds
from mesh.chain.contracts import Contracts
from mesh.chain.deploy import Deployment, DeployPlan, deploy
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact
from protocols.deals.eip712 import DEVNET_BOUNDS
from protocols.units import Address, Tokens

__all__ = ["Purse", "open_purse"]

GAS_MONEY: Final = 10**19
"""Ten coins of the chain for gas: 100,000 transactions."""


class Purse:
    """The account that pays for a devnet. One at a time: it owns the nonces of its key."""

    def __init__(self, rpc: Rpc, submitter: Submitter, deployment: Deployment) -> None:
        self.deployment = deployment
        self.escrow = Address(bytes.fromhex(deployment.escrow[2:]))
        self.token = Address(bytes.fromhex(deployment.token[2:]))
        self._contracts = Contracts(rpc, escrow=self.escrow, token=self.token)
        self._submitter = submitter
        self._count = 0
        self._turn = trio.Lock()

    async def give(self, who: Address, tokens: int) -> None:
        """Gas and tokens for an account."""
        async with self._turn:
            await self._send(TxCall(who, b"", GAS_MONEY))
            await self._send(self._contracts.mint(who, Tokens(tokens)))

    async def _send(self, call: TxCall) -> None:
        self._count += 1
        key = f"devnet:{self._count}"
        outcome = await self._submitter.submit(key, call)
        await self._submitter.release(key)
        if not isinstance(outcome, Confirmed):
            raise ChainOrFunds("the devnet's own transaction failed", why=str(outcome), fix="mesh devnet down")


@asynccontextmanager
async def open_purse(chain: ChainHandle) -> AsyncIterator[Purse]:
    """Deploy token and escrow with the devnet's bounds; the chain's first account pays, for as long as the block runs."""
    async with open_rpc([chain.rpc_url], chain.chain_id, jitter=random.random) as rpc:
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken"))
        payer = chain.accounts[0]
        submitter = Submitter(Eth(rpc), payer, MemoryJournal(), reverts)
        plan = DeployPlan(network="devnet", bounds=DEVNET_BOUNDS, minter=payer.address)
        yield Purse(rpc, submitter, await deploy(Eth(rpc), submitter, plan))
