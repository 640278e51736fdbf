"""What does a deal cost in gas, by path and by how many are made? On a real local chain, beside the predecessor's figure.

A path's cost per deal is the mean over N deals made one after the other; a channel's is what opening and redeeming it
cost, divided by the N deals that its voucher pays.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

import httpx
import trio

from devnet.bench.gas_dispute import measure_dispute
from devnet.bench.gas_meter import CROWD_FROM, LILYPAD_V1, PRICE, RESULT, Meter, mean
from devnet.chain.launch import ChainHandle, ChainKind, run_chain
from protocols.contracts import calls, channels
from protocols.contracts.channels import Channel, ChannelWord, Voucher
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Settlement
from protocols.units import Tokens

__all__ = ["run"]

COUNTS: Final = (1, 10, 100, 1_000)
CHANNELS: Final = (1, 10, 100)
"""Channels redeemed in one transaction; 256 are the most."""
DISPUTES: Final = ("dispute", "appeal")
QUICK_MOST: Final = 10
"""The quick form makes no more deals than this; a channel's figures need no deals and are all there."""


async def run(quick: bool, seed: int) -> Mapping[str, Any]:
    """Gas as receipts tell it; ``seed`` changes nothing. Ratios are of the predecessor's four transactions.

    Where anvil is found the quick form is measured on the pip-only chain as well, and the largest difference told:
    a zero byte in a hash or signature saves 12 gas.
    """
    del seed
    kind, found = await _on("auto", quick)
    figures: dict[str, Any] = {name: _figure(cost) for name, cost in found.items()}
    figures["predecessor"] = {"value": LILYPAD_V1, "unit": "gas"}
    figures["chain"] = {"value": kind, "unit": ""}
    if kind != "pyevm":
        _, again = await _on("pyevm", quick=True)
        # Which places a draw looks at hangs on the deal's hash, so no two disputes cost the same.
        apart = [abs(cost - found[name]) / cost for name, cost in again.items() if not name.startswith(DISPUTES)]
        figures["pip_only_chain_differs_by"] = {"value": round(100 * max(apart), 3), "unit": "%"}
    return figures


async def _on(kind: ChainKind | Literal["auto"], quick: bool) -> tuple[ChainKind, dict[str, int]]:
    """Everything, on a chain of this kind."""
    accounts = CROWD_FROM + len(COUNTS) + sum(CHANNELS)
    async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
        chain = partial(run_chain, kind=kind, accounts=accounts, block_time_s=0)
        handle: ChainHandle = await nursery.start(chain)
        found = await _measure(Meter(handle, client), quick)
        nursery.cancel_scope.cancel()
    return handle.kind, found


def _figure(cost: int) -> dict[str, Any]:
    times = LILYPAD_V1 / cost
    return {"value": cost, "unit": "gas", "ratio": round(times, 1), "of": "a deal of the predecessor per one of these"}


async def _measure(meter: Meter, quick: bool) -> dict[str, int]:
    await meter.deploy()
    await _settled(meter, 1)  # the first credit of an account fills its slot, once
    found: dict[str, int] = {}
    for count in COUNTS:
        if quick and count > QUICK_MOST:
            continue
        committed, settled = await _settled(meter, count)
        found |= {f"commit_settle_{count}": committed + settled}
        found |= {f"claim_finalize_{count}": await _finalized(meter, count)}
        if count == 1:
            found |= {"commit": committed, "settle": settled}
    for count in COUNTS:
        opened, redeemed = await _channel(meter, count)
        found[f"channel_{count}"] = (opened + redeemed) // count
        if count == 1:
            found |= {"open_channel": opened, "redeem": redeemed}
    for count in CHANNELS:
        if not quick or count <= QUICK_MOST:
            found[f"redeem_many_{count}_per_channel"] = await _redeem_many(meter, count)
    found |= await measure_dispute(meter, appeal=False)
    return found | await measure_dispute(meter, appeal=True)


async def _settled(meter: Meter, count: int) -> tuple[int, int]:
    """Commit, then the cosigned settlement: mean gas of each over so many deals."""
    committed, settled = [], []
    for _ in range(count):
        lock, cost = await meter.commit(await meter.deal())
        consent = meter.signed(meter.client, Settlement(lock.deal_id, PRICE))
        receipt = await meter.send(meter.provider, meter.escrow, calls.settle(lock, PRICE, consent))
        committed.append(cost)
        settled.append(receipt.gas)
    return mean(committed), mean(settled)


async def _finalized(meter: Meter, count: int) -> int:
    """The client is silent: commit, claim and finalize, per deal."""
    costs: list[int] = []
    locks: list[Lock] = []
    for _ in range(count):
        lock, cost = await meter.commit(await meter.deal())
        claimed = await meter.send(meter.provider, meter.escrow, calls.claim(lock, RESULT))
        locks.append(lock)
        costs += [cost, claimed.gas]
    await meter.warp(locks[0].window_seconds + 1)
    for lock in locks:
        costs.append((await meter.send(meter.anyone, meter.escrow, calls.finalize(lock, RESULT))).gas)
    return sum(costs) // count


async def _opened(meter: Meter) -> tuple[Channel, int]:
    """A channel of a client that has had none with this provider; the client sends from here on."""
    operator = next(meter.crowd)
    await meter.adopt(operator, meter.client_owner)
    receipt = await meter.send(operator, meter.escrow, channels.fund(meter.provider.address, PRICE))
    word = ChannelWord.of(int.from_bytes(receipt.logs[0][1][64:]))
    made = Channel(operator.address, meter.provider.address, meter.client_owner.address, word.generation)
    return made, receipt.gas


def _voucher(meter: Meter, channel: Channel, deals: int) -> channels.Redemption:
    voucher = Voucher(channel.channel_id, Tokens(PRICE * 6 // 10), deals, RESULT)
    operator = next(one for one in meter.chain.accounts if one.address == channel.client)
    return channels.Redemption(channel, voucher, meter.signed(operator, voucher))


async def _channel(meter: Meter, deals: int) -> tuple[int, int]:
    """Open a channel, redeem a voucher for so many deals."""
    channel, opened = await _opened(meter)
    one = _voucher(meter, channel, deals)
    data = channels.redeem(channel, one.voucher, one.client_signature)
    return opened, (await meter.send(meter.provider, meter.escrow, data)).gas


async def _redeem_many(meter: Meter, count: int) -> int:
    """One transaction for so many channels, 100 deals each."""
    many = [_voucher(meter, (await _opened(meter))[0], 100) for _ in range(count)]
    return (await meter.send(meter.provider, meter.escrow, channels.redeem_many(many))).gas // count
