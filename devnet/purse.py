"""Who deploys the devnet's contracts, and where do its nodes' tokens and gas come from? The chain's first funded account."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio
from eth_abi.abi import encode

from devnet.chain import ChainHandle
from mesh.base.errors import ChainOrFunds
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import open_rpc
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact
from protocols.deals.eip712 import DEVNET_BOUNDS
from protocols.hashing import keccak256
from protocols.units import Address

__all__ = ["Contracts", "Purse", "open_purse"]

TOKEN_CAP: Final = 10**9 * 10**18
GAS_MONEY: Final = 10**19
"""Ten coins of the chain for gas: 100,000 transactions."""


class Contracts(msgspec.Struct, frozen=True):
    """Where the devnet's contracts are."""

    token: Address
    escrow: Address


class Purse:
    """The account that pays for a devnet. One at a time: it owns the nonces of its key."""

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._count = 0
        self.contracts = Contracts(Address(bytes(20)), Address(bytes(20)))

    async def deploy(self) -> Contracts:
        """Token and escrow with the devnet's bounds."""
        token = artifact("MeshToken")
        minter = "0x" + self._submitter.address.hex()
        names = encode(["string", "string", "uint256", "address"], ["Mesh", "MESH", TOKEN_CAP, minter])
        token_at = (await self._send(TxCall(None, token.bytecode + names))).created
        escrow = artifact("MeshEscrow")
        bounds = tuple(int(one) for one in msgspec.structs.astuple(DEVNET_BOUNDS))
        kinds = _bounds_type(escrow.abi)
        arguments = encode(["address", "bool", kinds], ["0x" + (token_at or b"").hex(), True, bounds])
        escrow_at = (await self._send(TxCall(None, escrow.bytecode + arguments))).created
        if token_at is None or escrow_at is None:
            raise ChainOrFunds("the devnet's contracts were not created", fix="mesh devnet down, then mesh devnet up")
        self.contracts = Contracts(token_at, escrow_at)
        return self.contracts

    async def give(self, who: Address, tokens: int) -> None:
        """Gas and tokens for an account."""
        mint = keccak256(b"mint(address,uint256)")[:4] + bytes(12) + who + tokens.to_bytes(32, "big")
        await self._send(TxCall(who, b"", GAS_MONEY))
        await self._send(TxCall(self.contracts.token, mint))

    async def _send(self, call: TxCall) -> Confirmed:
        self._count += 1
        key = f"devnet:{self._count}"
        outcome = await self._submitter.submit(key, call)
        await self._submitter.release(key)
        if not isinstance(outcome, Confirmed):
            raise ChainOrFunds("the devnet's own transaction failed", why=str(outcome), fix="mesh devnet down")
        return outcome


def _bounds_type(abi: tuple[dict[str, object], ...]) -> str:
    constructor = next(item for item in abi if item["type"] == "constructor")
    inputs: list[dict[str, object]] = constructor["inputs"]  # type: ignore[assignment]
    components: list[dict[str, str]] = inputs[2]["components"]  # type: ignore[assignment]
    return "(" + ",".join(one["type"] for one in components) + ")"


@asynccontextmanager
async def open_purse(chain: ChainHandle) -> AsyncIterator[Purse]:
    """The chain's first account, for as long as the block runs."""
    async with open_rpc([chain.rpc_url], chain.chain_id, jitter=random.random) as rpc:
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken"))
        yield Purse(Submitter(Eth(rpc), chain.accounts[0], MemoryJournal(), reverts))
        await trio.lowlevel.checkpoint()
