"""Do deployment, accounts and a deal's whole life work through our provider, submitter and events, on Sepolia's id?"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from devnet.chain import ChainHandle, DevAccount
from mesh.base.errors import ConfigError
from mesh.chain import events
from mesh.chain.contracts import Account, Contracts
from mesh.chain.deploy import (
    Deployment,
    DeployPlan,
    check_deployment,
    check_panel,
    create_address,
    deploy,
    quote_deploy,
    read_record,
    same_code,
    write_record,
)
from mesh.chain.errors import ChainError, ChainUnreachable
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.feed import FollowerSettings, HeadMoved, LogSeen
from mesh.chain.follower import Follower
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, Outcome, Reverted, SubmitterSettings
from mesh.chain.panel import PanelContract
from mesh.chain.presets import PRESETS, chain_preset, preset_of
from mesh.chain.provider import TrioProvider, open_web3
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, RpcSettings
from mesh.chain.submitter import Submitter
from mesh.chain.wire import Log, Malformed
from protocols.contracts import artifact
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import (
    DEVNET_BOUNDS,
    Deal,
    Enforcement,
    Level,
    Metering,
    OnChainState,
    Settlement,
    SettlementMode,
    deal_id,
    digest,
)
from protocols.disputes.params import DEVNET_PANEL, PUBLIC_PANEL
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, JobId, Seconds, Tokens, UnixSeconds

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


async def test_a_deployment_is_what_was_meant_and_its_record_survives(market: Market, tmp_path: Path) -> None:
    contracts = market.contracts
    assert await check_deployment(market.eth, contracts, DEVNET_BOUNDS) == ()
    assert await contracts.bounds() == DEVNET_BOUNDS
    assert await contracts.separator() == contracts.domain.separator
    assert await contracts.symbol() == "MESH"
    assert market.record.chain_id == SEPOLIA
    path = tmp_path / "deployments" / "arbitrum-sepolia.json"
    write_record(path, market.record)
    assert read_record(path) == market.record
    assert market.record.settings()["chain"]["escrow"] == market.record.escrow
    assert market.record.settings()["chain"]["panel"] == market.record.panel
    path.write_text('{"network": 1}')
    with pytest.raises(ConfigError, match="not a deployment record"):
        read_record(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_record(tmp_path / "none.json")


async def test_escrow_and_panel_name_each_other(market: Market) -> None:
    address = Address(bytes.fromhex(market.record.panel[2:]))
    found = PanelContract(market.eth.rpc, address)
    assert await market.contracts.panel() == address
    assert await found.escrow() == market.contracts.escrow
    assert await found.bounds() == DEVNET_PANEL
    assert await check_panel(market.eth, market.contracts, address, DEVNET_PANEL) == ()
    assert "other bounds" in (await check_panel(market.eth, market.contracts, address, PUBLIC_PANEL))[0]
    wrong = await check_panel(market.eth, market.contracts, market.contracts.token)
    assert wrong == (
        f"that escrow's disputes are judged by 0x{address.hex()}, not by 0x{market.contracts.token.hex()}",
    )


async def test_a_mediator_takes_a_seat_and_gives_it_back(market: Market) -> None:
    """Money goes from the escrow to the panel, into the seat's bond, and all the way back."""
    found, who = PanelContract(market.eth.rpc, Address(bytes.fromhex(market.record.panel[2:]))), market.client
    bond = DEVNET_PANEL.seat_bond
    assert isinstance(await market.send(market.deployer, market.contracts.mint(who.address, bond)), Confirmed)
    assert isinstance(await market.send(who, await market.contracts.deposit_with_permit(who, bond, FAR)), Confirmed)
    assert isinstance(await market.send(who, market.contracts.fund_panel(bond)), Confirmed)
    assert await found.account(who.address) == bond
    assert isinstance(await market.send(who, found.join(1)), Confirmed)
    assert (await found.account(who.address), await found.seats(1)) == (0, 1)
    seat = await found.seat(1, 0)
    assert (seat.owner, seat.operator, seat.bond, seat.out_at) == (who.address, who.address, bond, 0)
    assert isinstance(await market.send(who, found.resign(1, 0)), Confirmed)
    early = await market.send(who, found.retire(1, 0))
    assert isinstance(early, Reverted)
    assert early.reason.name == "TooEarly"
    await market.eth.rpc.call("evm_increaseTime", [DEVNET_PANEL.resign], lambda value: value)
    assert isinstance(await market.send(who, found.retire(1, 0)), Confirmed)
    before = await market.contracts.account(who.address)
    assert isinstance(await market.send(who, found.withdraw(bond)), Confirmed)
    assert (await market.contracts.account(who.address)).free == before.free + bond


async def test_a_panel_that_cannot_be_where_the_escrow_expects_it_is_refused(market: Market) -> None:
    """Another program sends with the deployer's key between escrow and panel."""
    deployer = market.deployer
    mint = market.contracts.mint(market.client.address, Tokens(1))

    class Late(Submitter):
        disturbed = False

        async def submit(self, key: str, call: TxCall) -> Outcome:
            if key == "deploy panel" and not self.disturbed:
                self.disturbed = True
                await market.send(deployer, mint)
            return await super().submit(key, call)

    late = Late(market.eth, deployer, MemoryJournal(), REVERTS, SubmitterSettings(poll_s=0.002))
    with pytest.raises(ChainError, match="no panel where it expects one"):
        await deploy(market.eth, late, planned(deployer))
    made = await deploy(market.eth, late, planned(deployer))
    assert made.panel != market.record.panel


def test_the_address_of_a_created_contract() -> None:
    """The first contracts of the well-known first account of development chains."""
    deployer = Address(bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"))
    assert create_address(deployer, 0).hex() == "5fbdb2315678afecb367f032d93f642f64180aa3"
    assert create_address(deployer, 1).hex() == "e7f1725e7734ce288f8367e1bb143e90bb3f0512"


async def test_wrong_addresses_are_described(market: Market) -> None:
    rpc, good = market.eth.rpc, market.contracts
    nothing = Contracts(rpc, escrow=Address(b"\x09" * 20), token=good.token)
    assert "there is no contract" in (await check_deployment(market.eth, nothing))[0]
    with pytest.raises(ChainError, match="does not answer accountOf"):
        await nothing.account(market.client.address)
    swapped = Contracts(rpc, escrow=good.token, token=good.token)
    assert "is not this version's MeshEscrow" in (await check_deployment(market.eth, swapped))[0]
    forged = bytearray(artifact("MeshToken").bytecode)
    forged[-10] ^= 1  # in the metadata, so that the contract still works
    assert not same_code(bytes(forged), artifact("MeshToken").bytecode)
    assert same_code(await market.eth.code(good.escrow), artifact("MeshEscrow").runtime)
    other_token = Contracts(rpc, escrow=good.escrow, token=good.escrow)
    assert "holds token" in (await check_deployment(market.eth, other_token))[0]


class DyingJournal(MemoryJournal):
    """Survives in memory what a disk would keep; the power fails at the second transaction."""

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes, /) -> None:
        await super().put(key, nonce, raw, hash)
        if key == "deploy escrow":
            raise ConnectionAbortedError


async def test_an_interrupted_deployment_goes_on(market: Market) -> None:
    settings = SubmitterSettings(poll_s=0.002)
    plan = planned(market.deployer)
    dying = DyingJournal()
    first = Submitter(market.eth, market.deployer, dying, REVERTS, settings)
    quote = await quote_deploy(first, plan)
    assert 0 < quote.expected_wei < quote.max_wei < quote.balance_wei
    before = await market.eth.nonce(market.deployer.address)
    with pytest.raises(ConnectionAbortedError):
        await deploy(market.eth, first, plan)
    kept = MemoryJournal()
    for entry in await dying.pending():
        await kept.put(entry.key, entry.nonce, entry.raw, entry.hash)
    record = await deploy(market.eth, Submitter(market.eth, market.deployer, kept, REVERTS, settings), plan)
    assert await market.eth.nonce(market.deployer.address) == before + 3
    assert record.token_tx in {"0x" + bytes(entry.hash).hex() for entry in await dying.pending()}
    assert await kept.pending() == ()


async def test_money_goes_in_and_out(market: Market) -> None:
    contracts, who = market.contracts, market.client
    assert await contracts.account(who.address) == Account(Tokens(50_000), Tokens(0))
    assert await contracts.account(market.provider.address) == Account(Tokens(30_000), Tokens(20_000))
    assert isinstance(await market.send(who, contracts.approve(Tokens(5))), Confirmed)
    assert await contracts.allowance(who.address) == 5
    assert isinstance(await market.send(who, contracts.deposit(Tokens(5))), Confirmed)
    assert isinstance(await market.send(who, contracts.request_withdraw(Tokens(50_005))), Confirmed)
    early = await market.send(who, contracts.withdraw())
    assert isinstance(early, Reverted)
    assert early.reason.name == "NotReady"
    exits = await contracts.exits(who.address)
    assert exits.withdrawing == 50_005
    await market.eth.rpc.call("evm_increaseTime", [10], lambda value: value)
    assert isinstance(await market.send(who, contracts.withdraw()), Confirmed)
    assert await contracts.balance(who.address) == 100_000
    told = [event for event in await market.events() if getattr(event, "owner", None) == who.address]
    assert told == [
        events.Deposited(who.address, who.address, Tokens(50_000)),
        events.Deposited(who.address, who.address, Tokens(5)),
        events.WithdrawRequested(who.address, Tokens(50_005), exits.withdraw_ready_at),
        events.Withdrawn(who.address, Tokens(50_005)),
    ]


async def test_an_owner_names_its_operator(market: Market) -> None:
    contracts, owner, operator = market.contracts, market.client, market.provider
    consent = await contracts.consent(operator, owner.address)
    assert isinstance(await market.send(owner, contracts.set_operator(operator.address, consent)), Confirmed)
    assert await contracts.owner_of(operator.address) == owner.address
    assert isinstance(await market.send(owner, contracts.remove_operator(operator.address)), Confirmed)
    assert await contracts.owner_of(operator.address) == operator.address
    told = [event for event in await market.events() if isinstance(event, events.OperatorSet)]
    assert told == [
        events.OperatorSet(operator.address, owner.address),
        events.OperatorSet(operator.address, ZERO_ADDRESS),
    ]


async def test_a_deal_is_committed_and_settled(market: Market) -> None:
    contracts, deal = market.contracts, await market.deal()
    name = deal_id(contracts.domain, deal)
    commit = contracts.commit(deal, market.client.sign(Hash32(name)))
    foreign = await market.send(market.client, commit)
    assert isinstance(foreign, Reverted)
    assert foreign.reason.name == "NotProvider"
    assert isinstance(await market.send(market.provider, commit), Confirmed)
    again = await market.send(market.provider, commit)
    assert isinstance(again, Reverted)
    assert again.reason.name == "AlreadyConsumed"
    lock = Lock.of(contracts.domain, deal, client_owner=market.client.address, provider_owner=market.provider.address)
    slot = await contracts.deal(deal.client, deal.run_nonce, deal.index)
    assert slot.state is OnChainState.COMMITTED
    assert slot.identity == lock.identity()
    paid = Tokens(900)
    consent = market.client.sign(digest(contracts.domain, Settlement(name, paid)))
    assert isinstance(await market.send(market.provider, contracts.settle(lock, paid, consent)), Confirmed)
    assert (await contracts.account(market.client.address)).free == 50_000 - 900
    assert (await contracts.account(market.provider.address)).free == 30_000 + 891
    assert await contracts.burnable() == 9
    committed, settled = (await market.events())[-2:]
    assert committed == events.DealCommitted(lock)
    assert settled == events.DealSettled(name, paid, Tokens(9))


async def test_a_silent_client_and_a_silent_provider(market: Market) -> None:
    contracts, deal = market.contracts, await market.deal()
    owners = {"client_owner": market.client.address, "provider_owner": market.provider.address}
    lock = Lock.of(contracts.domain, deal, **owners)
    await market.send(market.provider, contracts.commit(deal, market.client.sign(Hash32(lock.deal_id))))
    result = Hash32(b"\x05" * 32)
    assert isinstance(await market.send(market.provider, contracts.claim(lock, result)), Confirmed)
    await market.eth.rpc.call("evm_increaseTime", [61], lambda value: value)
    assert isinstance(await market.send(market.client, contracts.finalize(lock, result)), Confirmed)
    burned = await market.send(market.client, contracts.burn_run(8, 0))
    assert isinstance(burned, Confirmed)
    kinds = [type(event) for event in (await market.events())[-4:]]
    assert kinds == [events.DealCommitted, events.DealClaimed, events.DealFinalized, events.RunBurned]


def test_a_log_that_does_not_fit_is_refused() -> None:
    topic = events.topic_of(events.DealSettled)

    def log(*topics: Hash32, data: bytes = bytes(64)) -> Log:
        return Log(ZERO_ADDRESS, topics, data, 1, ZERO_HASH, ZERO_HASH, 0)

    assert isinstance(events.read_event(log(topic, ZERO_HASH)), events.DealSettled)
    assert events.read_event(log()) is None
    assert events.read_event(log(ZERO_HASH)) is None
    with pytest.raises(Malformed, match="indexed"):
        events.read_event(log(topic))
    with pytest.raises(Malformed, match="cannot be read"):
        events.read_event(log(topic, ZERO_HASH, data=bytes(63)))


def test_every_event_of_the_escrow_has_a_type() -> None:
    named = {item["name"] for item in artifact("MeshEscrow").abi if item["type"] == "event"} - {"EIP712DomainChanged"}
    assert named == {kind.__name__ for kind in events.EscrowEvent.__args__}
    assert len({events.topic_of(kind) for kind in events.EscrowEvent.__args__}) == len(named)


async def test_web3_runs_on_our_provider(sepolia: ChainHandle, open_rpc_to: Callable[..., Rpc]) -> None:
    rpc = open_rpc_to(sepolia.rpc_url, chain_id=SEPOLIA)
    web3 = open_web3(rpc)
    assert await web3.eth.chain_id == SEPOLIA
    assert (await web3.eth.get_block("latest"))["number"] == 0
    fees = await web3.eth.fee_history(1, "latest", [50.0])
    assert fees["baseFeePerGas"][0] == 20_000_000
    assert await web3.is_connected()
    soon = RpcSettings(attempt_s=0.2, give_up_s=0.3)
    provider = TrioProvider(open_rpc_to("http://127.0.0.1:1", chain_id=SEPOLIA, settings=soon))
    assert not await provider.is_connected()
    with pytest.raises(ChainUnreachable):
        await provider.is_connected(show_traceback=True)


def test_presets() -> None:
    assert {name: preset.params.chain_id for name, preset in PRESETS.items()} == {
        "devnet": 31337,
        "arbitrum-sepolia": SEPOLIA,
        "arbitrum-one": 42161,
    }
    for name in ("arbitrum-sepolia", "arbitrum-one"):
        brought = preset_of(name)["chain"]
        assert all(str(url).startswith("https://") for url in brought["public_rpc"])  # type: ignore[attr-defined]
        assert "escrow" not in brought
        assert chain_preset(name).bounds.min_claim >= 26 * 3600
    assert preset_of("nowhere") == {}
    with pytest.raises(ConfigError, match="no network 'nowhere'"):
        chain_preset("nowhere")
