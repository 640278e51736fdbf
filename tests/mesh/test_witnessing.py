"""Does a node hear how deals between two others end: once nothing can take it back, and not before?"""

from typing import Any

from mesh.base.clock import SystemClock
from mesh.base.keys import NodeKey
from mesh.chain.feed import LogRef
from mesh.ledger.witnessing import AT_ONCE, MAX_OPEN, Witnessing
from protocols import events as ev
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Settlement, deal_id, digest
from protocols.hashing import sha256
from protocols.units import ZERO_HASH, Address, DealId, Seconds, Tokens, UnixSeconds
from tests.mesh.money import Money, chain, money

__all__ = ["chain", "money"]

PROVIDER, CLIENT = Address(b"\x01" * 20), Address(b"\x02" * 20)


def lock(number: int) -> Lock:
    return Lock(
        deal_id=DealId(number.to_bytes(32)),
        client=CLIENT,
        provider=PROVIDER,
        client_owner=Address(b"\x03" * 20),
        provider_owner=PROVIDER,
        run_nonce=number,
        index=0,
        price=Tokens(1),
        collateral=Tokens(0),
        claim_within=Seconds(1),
        window_seconds=Seconds(1),
    )


def ref(block: int, index: int = 0) -> LogRef:
    return LogRef(block, ZERO_HASH, ZERO_HASH, index)


def witnessed(party: Any) -> list[tuple[Address, Address, bool]]:
    return [(end.provider, end.counterparty, end.kept) for end in ends(party)]


def ends(party: Any) -> list[ev.DealEnd]:
    return [end for one in party.script.of(ev.DealsWitnessed) for end in one.ends]


async def test_the_ends_of_strangers_deals_are_told_when_they_are_final(money: Money, eventually: Any) -> None:
    async with money.both() as (client, provider), money.open(NodeKey(sha256(money.purse.escrow, b"other"))) as other:
        await other.follow()
        good, bad, mine_too = [await money.deal(client, provider, nonce) for nonce in (7, 8, 9)]
        other.knows(mine_too)
        for deal in (good, mine_too):
            await provider.ledger.post(money.commit(deal, client))
            consent = client.key.sign(digest(money.domain, Settlement(deal_id(money.domain, deal), Tokens(900))))
            await provider.ledger.post(money.tx("settle", deal, consent, 900))
        await provider.ledger.post(money.commit(bad, client))
        await money.control(client, "evm_increaseTime", 1_000)
        await client.ledger.post(money.tx("expire", bad))
        await eventually(lambda: other.moves() == ["committed", "settled"])
        for _ in range(3):
            await money.control(client, "evm_mine")
        both = (provider.key.address, client.key.address)
        await eventually(lambda: witnessed(other.loop) == [(*both, True), (*both, False)])


async def test_what_is_taken_back_is_not_told_and_an_end_counts_once(make_loop: Any, nursery: Any) -> None:
    loop = make_loop("witness")
    await loop.open(nursery)
    await loop.start(nursery)
    heard = Witnessing(SystemClock())
    for number in (1, 2, 3, 4):
        heard.committed(lock(number))
    heard.moved(ref(10), lock(1).deal_id, "settled")
    heard.moved(ref(11), lock(2).deal_id, "expired")
    heard.moved(ref(11, 1), lock(3).deal_id, "cancelled")  # says nothing
    heard.moved(ref(12), lock(5).deal_id, "settled")  # committed before this node was there
    heard.retracted(ref(11))
    await heard.settled(loop.engine, 20)
    assert witnessed(loop) == []  # nobody has said when
    heard.time_moved(UnixSeconds(77))
    await heard.settled(loop.engine, 9)
    assert witnessed(loop) == []
    heard.time_moved(UnixSeconds(78))
    await heard.settled(loop.engine, 20)
    assert witnessed(loop) == [(PROVIDER, Address(b"\x03" * 20), True)]
    assert ends(loop)[0].timestamp == 77
    heard.moved(ref(22), lock(2).deal_id, "slashed")  # it was under way again
    heard.moved(ref(23), lock(1).deal_id, "settled")  # and this one is over
    heard.time_moved(UnixSeconds(79))
    await heard.settled(loop.engine, 30)
    assert [kept for _, _, kept in witnessed(loop)] == [True, False]


async def test_only_so_many_deals_of_others_are_remembered(make_loop: Any, nursery: Any) -> None:
    loop = make_loop("bound")
    await loop.open(nursery)
    await loop.start(nursery)
    heard = Witnessing(SystemClock())
    for number in range(MAX_OPEN + 2):
        heard.committed(lock(number))
    for number in range(AT_ONCE + 3):
        heard.moved(ref(1, number), lock(number).deal_id, "settled")
    heard.time_moved(UnixSeconds(1))
    await heard.settled(loop.engine, 1)
    assert len(witnessed(loop)) == AT_ONCE + 1
    assert [len(one.ends) for one in loop.script.of(ev.DealsWitnessed)] == [AT_ONCE, 1]
