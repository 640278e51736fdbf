"""Is what cannot be done with money said before a transaction costs anything?"""

import pytest

from mesh.base.errors import ChainOrFunds
from mesh.base.keys import NodeKey
from protocols.hashing import sha256
from tests.mesh.money import Money, chain, money

__all__ = ["chain", "money"]

HELD = 5 * 10**18


async def test_a_deposit_beyond_the_wallet_is_refused_before_anything_is_signed(money: Money) -> None:
    """It paid for an approval first, and was then told ERC20InsufficientBalance."""
    key = NodeKey(sha256(money.purse.escrow, b"poor"))
    async with money.open(key) as party:
        await money.purse.give(key.address, HELD)
        nonce = await party.ledger.eth.nonce(key.address)
        with pytest.raises(ChainOrFunds, match=r"holds 5 MESH, less than the 5\.5 MESH"):
            await party.wallet.deposit(HELD + 5 * 10**17)
        assert await party.ledger.eth.nonce(key.address) == nonce
        await party.wallet.deposit(HELD)
        assert (await party.wallet.balance()).free == str(HELD)
