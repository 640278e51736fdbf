"""Do accounts, seats and a deal's whole life work through our provider, submitter and events, on Sepolia's id?"""

from collections.abc import Callable

import pytest

from devnet.chain import ChainHandle
from mesh.base.errors import ConfigError
from mesh.chain import events
from mesh.chain.contracts import Account
from mesh.chain.errors import ChainUnreachable
from mesh.chain.outcomes import Confirmed, Reverted
from mesh.chain.panel import PanelContract
from mesh.chain.presets import PRESETS, chain_preset, preset_of
from mesh.chain.provider import TrioProvider, open_web3
from mesh.chain.rpc import Rpc, RpcSettings
from mesh.chain.wire import Log, Malformed
from protocols.contracts import artifact
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import OnChainState, Settlement, deal_id, digest
from protocols.disputes.params import DEVNET_PANEL
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, Tokens
from tests.chain.market import FAR, SEPOLIA, Market, market, sepolia

__all__ = ["market", "sepolia"]


async def stand_still(market: Market) -> None:
    """Until the next block no second of the chain passes: a devnet's delays are shorter than a busy machine's pauses."""
    head = await market.eth.head()
    await market.eth.rpc.call("evm_setNextBlockTimestamp", [head.timestamp], lambda value: value)


async def test_money_goes_in_and_out(market: Market) -> None:
    contracts, who = market.contracts, market.client
    assert await contracts.account(who.address) == Account(Tokens(50_000), Tokens(0))
    assert await contracts.account(market.provider.address) == Account(Tokens(30_000), Tokens(20_000))
    assert isinstance(await market.send(who, contracts.approve(Tokens(5))), Confirmed)
    assert await contracts.allowance(who.address) == 5
    assert isinstance(await market.send(who, contracts.deposit(Tokens(5))), Confirmed)
    assert isinstance(await market.send(who, contracts.request_withdraw(Tokens(50_005))), Confirmed)
    await stand_still(market)
    early = await market.send(who, contracts.withdraw())
    assert isinstance(early, Reverted)
    assert early.reason.name == "NotReady"
    await market.eth.rpc.call("evm_mine", [], lambda value: value)
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
    await stand_still(market)
    early = await market.send(who, found.retire(1, 0))
    assert isinstance(early, Reverted)
    assert early.reason.name == "TooEarly"
    await market.eth.rpc.call("evm_mine", [], lambda value: value)
    await market.eth.rpc.call("evm_increaseTime", [DEVNET_PANEL.resign], lambda value: value)
    assert isinstance(await market.send(who, found.retire(1, 0)), Confirmed)
    before = await market.contracts.account(who.address)
    assert isinstance(await market.send(who, found.withdraw(bond)), Confirmed)
    assert (await market.contracts.account(who.address)).free == before.free + bond


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
