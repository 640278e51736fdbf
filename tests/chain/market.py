"""Where do a client and a provider meet on a chain with Sepolia's id? A deployed escrow, money in it, and its events."""

from collections.abc import AsyncIterator, Callable

import pytest

from devnet.chain import ChainHandle, DevAccount
from mesh.chain import events
from mesh.chain.contracts import Contracts
from mesh.chain.deploy import Deployment, DeployPlan, deploy
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.feed import FollowerSettings, HeadMoved, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, Reverted, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact
from protocols.deals.eip712 import DEVNET_BOUNDS, Deal, Enforcement, Level, Metering, SettlementMode
from protocols.disputes.params import DEVNET_PANEL
from protocols.units import ZERO_HASH, Address, Hash32, JobId, Seconds, Tokens, UnixSeconds

__all__ = ["FAR", "REVERTS", "SEPOLIA", "Market", "market", "planned", "sepolia"]

SEPOLIA = 421_614
REVERTS = Reverts([artifact("MeshEscrow").abi, artifact("MeshToken").abi, artifact("MediatorPanel").abi])
FAR = UnixSeconds(2**40)


class Market:
    """A deployed escrow with a funded client and a staked provider."""

    def __init__(self, chain: ChainHandle, eth: Eth, record: Deployment) -> None:
        self.eth = eth
        self.record = record
        self.deployer, self.client, self.provider = chain.accounts[:3]
        self.contracts = Contracts(
            eth.rpc, escrow=Address(bytes.fromhex(record.escrow[2:])), token=Address(bytes.fromhex(record.token[2:]))
        )
        self._senders: dict[Address, Submitter] = {}
        self._count = 0

    async def send(self, who: DevAccount, call: TxCall) -> Confirmed | Reverted:
        sender = self._senders.setdefault(
            who.address, Submitter(self.eth, who, MemoryJournal(), REVERTS, SubmitterSettings(poll_s=0.002))
        )
        self._count += 1
        outcome = await sender.submit(str(self._count), call)
        assert isinstance(outcome, Confirmed | Reverted)
        return outcome

    async def events(self) -> list[events.EscrowEvent]:
        query = LogQuery((self.contracts.escrow,))
        follower = Follower(
            self.eth,
            query,
            jitter=lambda: 0.5,
            start_block=self.record.deploy_block,
            settings=FollowerSettings(poll_s=0.005, use_tags=False),
        )
        head = await self.eth.head()
        found: list[events.EscrowEvent] = []
        async for item in follower:
            if isinstance(item, LogSeen):
                event = events.read_event(item.log)
                assert event is not None
                found.append(event)
            elif isinstance(item, HeadMoved) and item.hash == head.hash:
                break
        return found

    async def deal(self) -> Deal:
        head = await self.eth.head()
        return Deal(
            client=self.client.address,
            provider=self.provider.address,
            token=self.contracts.token,
            run_nonce=7,
            index=0,
            job_id=JobId(b"\x01" * 32),
            image=Hash32(b"\x02" * 32),
            gpus=(),
            price=Tokens(1000),
            metering=Metering.FIXED,
            collateral=Tokens(8000),
            level=Level.EXACT,
            level_params=ZERO_HASH,
            numeric_class=ZERO_HASH,
            enforcement=Enforcement.SELF,
            audit_ppm=0,
            seat_fee=Tokens(0),
            seat_class=0,
            seat_snapshot=0,
            client_secret_hash=Hash32(b"\x03" * 32),
            provider_secret_hash=Hash32(b"\x04" * 32),
            commit_by=UnixSeconds(head.timestamp + 3600),
            exec_seconds=Seconds(60),
            claim_seconds=Seconds(60),
            window_seconds=Seconds(60),
            settlement=SettlementMode.COMMIT,
        )


@pytest.fixture
async def sepolia(shared_sepolia: ChainHandle, open_rpc_to: Callable[..., Rpc]) -> AsyncIterator[ChainHandle]:
    """A chain with Sepolia's id, at genesis when the test starts."""
    rpc = open_rpc_to(shared_sepolia.rpc_url, chain_id=SEPOLIA)
    mark = await rpc.call("evm_snapshot", [], lambda value: value)
    yield shared_sepolia
    assert await rpc.call("evm_revert", [mark], lambda value: value)


@pytest.fixture
async def market(sepolia: ChainHandle, open_rpc_to: Callable[..., Rpc]) -> Market:
    eth = Eth(open_rpc_to(sepolia.rpc_url, chain_id=SEPOLIA))
    deployer = sepolia.accounts[0]
    submitter = Submitter(eth, deployer, MemoryJournal(), REVERTS, SubmitterSettings(poll_s=0.002))
    plan = planned(deployer)
    market = Market(sepolia, eth, await deploy(eth, submitter, plan))
    for who in (market.client, market.provider):
        await market.send(deployer, market.contracts.mint(who.address, Tokens(100_000)))
        call = await market.contracts.deposit_with_permit(who, Tokens(50_000), FAR)
        assert isinstance(await market.send(who, call), Confirmed)
    assert isinstance(await market.send(market.provider, market.contracts.stake(Tokens(20_000))), Confirmed)
    return market


def planned(deployer: DevAccount) -> DeployPlan:
    return DeployPlan(network="arbitrum-sepolia", bounds=DEVNET_BOUNDS, panel=DEVNET_PANEL, minter=deployer.address)
