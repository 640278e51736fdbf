"""Does an endpoint that answers a contract's view with nonsense cost only itself?"""

import pytest

from devnet.chain.hostile import hostile_endpoint
from mesh.chain.contracts import Account, Contracts
from mesh.chain.errors import ChainError
from mesh.chain.rpc import Rpc
from protocols.units import Address

ESCROW, TOKEN, OWNER = (Address(bytes([n]) * 20) for n in (1, 2, 3))


def contracts(*urls: str) -> tuple[Rpc, Contracts]:
    rpc = Rpc(urls, 31337, jitter=lambda: 0.5)
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
