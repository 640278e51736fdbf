"""How do the shell's tests come to money? A chain for the session, an escrow for each test, and parties with ledgers on it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from devnet.chain import ChainHandle, dev_accounts
from devnet.purse import Purse, open_purse
from mesh.base.clock import SystemClock
from mesh.base.config import Config
from mesh.base.config.schema import Chain, Network
from mesh.base.entropy import SeededEntropy
from mesh.base.keys import NodeKey
from mesh.ledger import Ledger, open_ledger
from mesh.wallet import LedgerWallet
from protocols import effects as fx
from protocols import events as ev
from protocols.deals.eip712 import Deal, Domain, deal_id
from protocols.deals.states import DealTerms, Signed
from protocols.hashing import sha256
from protocols.state import CLIENT, Half
from protocols.units import ZERO_HASH, DealId, Hash32, PeerId, RunId, Signature, Tokens, UnixSeconds

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

__all__ = ["RESULT", "Money", "Party", "chain", "money"]

RESULT = Hash32(b"\x05" * 32)


@contextmanager
def _chain_process() -> Iterator[ChainHandle]:
    command = [sys.executable, "-m", "devnet.chain.server", "--watch-stdin", "--block-time", "0", "--chain-id", "31337"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield ChainHandle(ready["rpc_url"], ready["chain_id"], "pyevm", process.pid, dev_accounts(10))
        process.stdin.close()


@pytest.fixture(scope="session")
def chain() -> Iterator[ChainHandle]:
    """One chain for all tests of the file that imports this: each deploys contracts and uses keys of its own."""
    with _chain_process() as handle:
        yield handle


class Party:
    """A node's money side: a ledger and a loop of its own."""

    def __init__(
        self, key: NodeKey, ledger: Ledger, loop: "Loop", entropy: SeededEntropy, nursery: trio.Nursery
    ) -> None:
        self.key, self.ledger, self.loop, self._nursery = key, ledger, loop, nursery
        self.wallet = LedgerWallet(ledger, loop.engine, entropy)

    def knows(self, deal: Deal) -> DealId:
        """Put a deal in its rows."""
        name = deal_id(Domain(31337, self.ledger.params.escrow), deal)
        terms = DealTerms(
            deal_id=name,
            deal=deal,
            client=PeerId(bytes(39)),
            provider=PeerId(bytes(39)),
            run_id=RunId(bytes(32)),
            rfq_id=ZERO_HASH,
            inputs=(),
            client_signature=Signature(b""),
            provider_signature=None,
        )
        self.loop.engine.view(lambda state: state.durable.put_deal(name, Half(CLIENT, Signed(terms))))
        return name

    async def follow(self) -> None:
        await self._nursery.start(partial(self.ledger.follow, self.loop.engine))

    def moves(self) -> list[str]:
        return [event.to for event in self.loop.script.of(ev.DealMovedOnChain)]


class Money:
    """A deployment, and whoever wants to use it."""

    def __init__(self, chain: ChainHandle, purse: Purse, make_loop: Any, make_deal: Any) -> None:
        self.purse, self._make_loop, self._make_deal = purse, make_loop, make_deal
        self.domain = Domain(31337, purse.escrow)
        self._rpc_url = chain.rpc_url

    def config(self, **changes: Any) -> Config:
        deployed = self.purse.deployment
        chain: dict[str, Any] = {
            "rpc": (self._rpc_url,),
            "chain_id": 31337,
            "escrow": deployed.escrow,
            "token": deployed.token,
        }
        return Config(
            network=Network(name="devnet"), chain=Chain(**(chain | {"deploy_block": deployed.deploy_block} | changes))
        )

    @asynccontextmanager
    async def open(self, key: NodeKey, **chain: Any) -> AsyncIterator[Party]:
        """A ledger over this key's store; the same store when opened again."""
        loop = self._make_loop(key.address.hex())
        async with trio.open_nursery() as nursery:
            await loop.open(nursery)
            entropy = SeededEntropy(loop.store.statistics().reads)
            async with open_ledger(self.config(**chain), key, loop.store, SystemClock(), entropy) as ledger:
                await loop.start(nursery)
                yield Party(key, ledger, loop, entropy, nursery)
                nursery.cancel_scope.cancel()
        await loop.store.aclose()

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Party, Party]]:
        """A client with money in the escrow, and a provider with a stake."""
        client_key, provider_key = (NodeKey(sha256(self.purse.escrow, side)) for side in (b"client", b"provider"))
        async with self.open(client_key) as client, self.open(provider_key) as provider:
            for party in (client, provider):
                await self.purse.give(party.key.address, 100_000)
                await party.wallet.deposit(50_000)
            await provider.wallet.stake(20_000)
            yield client, provider

    async def deal(self, client: Party, provider: Party, nonce: int = 7) -> Deal:
        head = await client.ledger.eth.head()
        deal: Deal = self._make_deal(
            client=client.key.address,
            provider=provider.key.address,
            token=self.purse.token,
            run_nonce=nonce,
            commit_by=UnixSeconds(head.timestamp + 3600),
        )
        for party in (client, provider):
            party.knows(deal)
        return deal

    def tx(self, purpose: str, deal: Deal, signature: bytes = b"", amount: int = 0, attempt: str = "") -> fx.PostTx:
        name = deal_id(self.domain, deal)
        return fx.PostTx(
            key=f"tx:{name.hex()}:{purpose}{attempt}",
            deal_id=name,
            purpose=purpose,
            deal=deal,
            amount=Tokens(amount),
            signature=Signature(signature),
            result_hash=RESULT if purpose in ("claim", "finalize") else ZERO_HASH,
        )

    def commit(self, deal: Deal, client: Party, attempt: str = "") -> fx.PostTx:
        return self.tx("commit", deal, client.key.sign(Hash32(deal_id(self.domain, deal))), attempt=attempt)

    async def control(self, party: Party, method: str, *params: object) -> Any:
        return await party.ledger.rpc.call(method, params, lambda value: value)


@pytest.fixture
async def money(chain: ChainHandle, make_loop: Any, make_deal: Any) -> AsyncIterator[Money]:
    async with open_purse(chain) as purse:
        yield Money(chain, purse, make_loop, make_deal)
