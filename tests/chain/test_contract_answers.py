"""Does an endpoint that answers a contract's view with nonsense cost only itself?"""

import pytest

from devnet.chain.hostile import hostile_endpoint
from mesh.chain.contracts import Account, Contracts
from mesh.chain.errors import ChainError, ChainUnreachable
from mesh.chain.rpc import Rpc, RpcSettings
from protocols.units import Address

ESCROW, TOKEN, OWNER = (Address(bytes([n]) * 20) for n in (1, 2, 3))


def contracts(*urls: str, settings: RpcSettings | None = None) -> tuple[Rpc, Contracts]:
    rpc = Rpc(urls, 31337, jitter=lambda: 0.5, settings=settings)
    return rpc, Contracts(rpc, escrow=ESCROW, token=TOKEN)


@pytest.mark.parametrize("nonsense", ["-0x1", "0x" + "f" * 64, "0x12", None, 7, "owner"])
async def test_nonsense_is_asked_for_elsewhere(nonsense: object) -> None:
    word = "0x" + "00" * 12 + OWNER.hex()
    liar = {"eth_chainId": "0x7a69", "eth_call": nonsense}
    async with (
        hostile_endpoint(canned=liar) as bad,
        hostile_endpoint(canned={"eth_chainId": "0x7a69", "eth_call": word}) as good,
    ):
        rpc, found = contracts(bad.url, good.url)
        assert await found.owner_of(OWNER) == OWNER
        shown = rpc.statistics().endpoints
        await rpc.aclose()
    assert [one.failures for one in shown] == [1, 0]
    assert "eth_call" in shown[0].last_error


async def test_two_words_are_an_account() -> None:
    words = "0x" + f"{5:064x}{7:064x}"
    async with hostile_endpoint(canned={"eth_chainId": "0x7a69", "eth_call": words}) as good:
        rpc, found = contracts(good.url)
        assert await found.account(OWNER) == Account(5, 7)  # type: ignore[arg-type]
        await rpc.aclose()


async def test_an_address_without_a_contract_is_named_and_blames_no_endpoint() -> None:
    async with hostile_endpoint(canned={"eth_chainId": "0x7a69", "eth_call": "0x"}) as honest:
        rpc, found = contracts(honest.url)
        with pytest.raises(ChainError, match=r"0x0101.*does not answer ownerOf.*\n  try: mesh doctor"):
            await found.owner_of(OWNER)
        assert rpc.statistics().endpoints[0].failures == 0
        await rpc.aclose()


def owner_is(owner: Address) -> dict[str, object]:
    head = {"number": "0x5", "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "timestamp": hex(1_700_000_000)}
    block = head | {"baseFeePerGas": "0x1"}
    return {"eth_chainId": "0x7a69", "eth_getBlockByNumber": block, "eth_call": "0x" + "00" * 12 + owner.hex()}


async def test_an_owner_that_one_endpoint_makes_up_is_not_believed() -> None:
    """Two nodes of one owner would pass for strangers and check each other's results; a channel would hold another's money."""
    soon = RpcSettings(attempt_s=2.0, give_up_s=10.0, agree_s=0.05)
    async with (
        hostile_endpoint(canned=owner_is(TOKEN)) as liar,
        hostile_endpoint(canned=owner_is(OWNER)) as one,
        hostile_endpoint(canned=owner_is(OWNER)) as two,
    ):
        rpc, found = contracts(liar.url, one.url, settings=soon)
        with pytest.raises(ChainUnreachable):
            await found.owner_of(ESCROW)
        await rpc.aclose()
        rpc, found = contracts(liar.url, one.url, two.url, settings=soon)
        assert await found.owner_of(ESCROW) == OWNER
        await rpc.aclose()


async def test_neither_are_the_state_of_a_deal_nor_what_a_channel_holds() -> None:
    """On a deposit that is not there a provider would work for vouchers that nobody pays."""
    true: dict[str, object] = {"eth_call": "0x" + f"{2:064x}{7:064x}{0:064x}{0:064x}"}
    made_up: dict[str, object] = {"eth_call": "0x" + f"{1:064x}{7:064x}{0:064x}{0:064x}"}
    async with (
        hostile_endpoint(canned=owner_is(OWNER) | made_up) as liar,
        hostile_endpoint(canned=owner_is(OWNER) | true) as honest,
    ):
        rpc, found = contracts(liar.url, honest.url, settings=RpcSettings(attempt_s=2.0, give_up_s=10.0, agree_s=0.05))
        with pytest.raises(ChainUnreachable):
            await found.deal(OWNER, 7, 0)
        with pytest.raises(ChainUnreachable):
            await found.channel_of(OWNER, TOKEN, OWNER)
        await rpc.aclose()
