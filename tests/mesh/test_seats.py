"""Does money become seats of the real panel, and come back? And is a stranger's seat nobody's to leave?"""

import pytest

from mesh.base.entropy import SeededEntropy
from mesh.base.errors import ChainOrFunds, ConfigError, UsageError
from mesh.base.keys import NodeKey
from mesh.seats import MAX_JOIN, SeatWallet
from protocols.disputes.params import DEVNET_PANEL
from protocols.hashing import sha256
from tests.mesh.money import Money, Party, chain, money

__all__ = ["chain", "money"]

BOND = DEVNET_PANEL.seat_bond


def wallet(party: Party) -> SeatWallet:
    return SeatWallet(party.ledger, party.loop.engine, SeededEntropy(3), 0)


async def test_bonds_go_to_the_panel_and_return(money: Money) -> None:
    assert money.purse.deployment is not None
    key = NodeKey(sha256(money.purse.escrow, b"mediator"))
    async with money.open(key, panel=money.purse.deployment.panel) as party:
        await money.purse.give(key.address, 3 * BOND)
        desk = wallet(party)
        await desk.deposit(3 * BOND)
        assert len(await desk.join_seats(2, 1)) == 3
        found = await desk.seats()
        assert [(one.seat_class, one.number, one.bond) for one in found.seats] == [(1, 0, str(BOND)), (1, 1, str(BOND))]
        assert (found.free, found.account, found.seat_bond) == (str(BOND), "0", str(BOND))
        with pytest.raises(ChainOrFunds, match="does not cover") as short:
            await desk.join_seats(2, 1)
        assert short.value.fix == "mesh wallet deposit 1000"  # of two bonds of 1000 one is free
        with pytest.raises(ChainOrFunds, match="does not cover") as shorter:
            await desk.join_seats(3, 1)
        assert shorter.value.fix == "mesh wallet deposit 2000"
        with pytest.raises(UsageError, match="no seat of this node"):
            await desk.leave_seats(1, (7,))
        with pytest.raises(ChainOrFunds, match="retire was refused") as refused:
            await desk.send("retire", desk._panel().retire(1, 0))
        assert refused.value.fix == "mesh mediator seats"
        assert len(await desk.leave_seats(1, (1,))) == 1
        assert await desk.leave_seats(1, (1,)) == ()  # its time is not over
        await money.control(party, "evm_increaseTime", DEVNET_PANEL.resign + 1)
        await money.control(party, "evm_mine")
        assert len(await desk.leave_seats(1, ())) == 3  # one asks to leave, one is taken out, and the money comes home
        found = await desk.seats()
        assert [one.bond for one in found.seats] == [str(BOND), "0"]
        assert (found.free, found.account) == (str(2 * BOND), "0")
        assert found.seats[0].out_at > 0


async def test_what_cannot_be_had_says_what_to_type(money: Money) -> None:
    key = NodeKey(sha256(money.purse.escrow, b"nobody"))
    async with money.open(key) as party:
        with pytest.raises(ConfigError, match=r"mesh config set chain\.panel"):
            await wallet(party).seats()
        for count, seat_class, why in (
            (0, 1, "takes 1 to"),
            (MAX_JOIN + 1, 1, "takes 1 to"),
            (1, 0, "class 1"),
            (1, 2, "class 1"),
        ):
            with pytest.raises(UsageError, match="mesh mediator join") as refused:
                await wallet(party).join_seats(count, seat_class)
            assert why in (refused.value.why or "")
