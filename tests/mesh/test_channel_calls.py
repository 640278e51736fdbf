"""Does a channel's money move although an endpoint refuses the call at first? On a real escrow."""

from typing import Any

import pytest
import trio

from mesh.effects import TxRejected
from protocols import effects as fx
from protocols.channels.states import pair_of
from protocols.contracts.channels import Channel, Voucher
from protocols.deals.eip712 import digest
from protocols.units import ZERO_HASH, Signature, Tokens
from tests.mesh.money import Money, Party, chain, money

__all__ = ["chain", "money"]

EARNED = Tokens(700)


def call(purpose: str, channel: Channel, amount: int = 0, signature: bytes = b"", tag: str = "") -> fx.PostChannelTx:
    pair = pair_of(channel.client, channel.provider)
    return fx.PostChannelTx(
        key=f"channel:{pair.hex()}:{purpose}:{channel.generation}:{tag}",
        pair=pair,
        purpose=purpose,
        channel=channel,
        amount=Tokens(amount),
        count=1 if signature else 0,
        deals_root=ZERO_HASH,
        signature=Signature(signature),
    )


def redemption(money: Money, client: Party, channel: Channel, tag: str = "") -> fx.PostChannelTx:
    voucher = Voucher(channel.channel_id, EARNED, 1, ZERO_HASH)
    return call("redeem", channel, EARNED, client.key.sign(digest(money.domain, voucher)), tag)


def between(client: Party, provider: Party) -> Channel:
    return Channel(client.key.address, provider.key.address, client.key.address, 1)


async def test_a_redemption_that_an_endpoint_behind_refuses_is_made_again(money: Money, eventually: Any) -> None:
    """It had not seen the deposit. A provider that gave up then was paid nothing for all its deals when the channel closed."""
    async with money.both() as (client, provider):
        channel = between(client, provider)
        before, _ = await provider.ledger.account(provider.key.address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.ledger.post_channel, redemption(money, client, channel))
            await eventually(lambda: provider.ledger.posting.calls_retried > 0)
            await client.ledger.post_channel(call("fund", channel, 1_000))
        free, _ = await provider.ledger.account(provider.key.address)
        assert free == before + EARNED - EARNED // 100
        with pytest.raises(TxRejected):  # there is nothing left to redeem
            await provider.ledger.post_channel(redemption(money, client, channel, "again"))


async def test_a_close_that_comes_too_early_for_an_endpoint_is_made_again(money: Money, eventually: Any) -> None:
    """A client that gave up then had its deposit back after a restart, or never."""
    async with money.both() as (client, provider):
        channel = between(client, provider)
        await client.ledger.post_channel(call("fund", channel, 1_000))
        await client.ledger.post_channel(call("request_close", channel))
        with pytest.raises(TxRejected):  # it is closing already
            await client.ledger.post_channel(call("request_close", channel, tag="again"))
        before, _ = await client.ledger.account(client.key.address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ledger.post_channel, call("close", channel))
            await eventually(lambda: client.ledger.posting.calls_retried > 0)
            await money.control(client, "evm_increaseTime", 10_000)
            await money.control(client, "evm_mine")
        free, _ = await client.ledger.account(client.key.address)
        assert free == before + 1_000
        for purpose in ("close", "request_close"):
            with pytest.raises(TxRejected):  # it is closed
                await client.ledger.post_channel(call(purpose, channel, tag="too late"))
        with pytest.raises(TxRejected):
            await provider.ledger.post_channel(redemption(money, client, channel))
