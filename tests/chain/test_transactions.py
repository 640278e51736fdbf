"""Is a signed transaction byte for byte what eth-account would have made?"""

from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from devnet.chain import dev_accounts
from mesh.chain.transactions import UnsignedTx, fees_of, sign
from protocols.units import Address

ACCOUNT = dev_accounts(1)[0]
UINT64 = st.integers(0, 2**64 - 1)
FEE = st.integers(0, 2**96)


@given(
    nonce=UINT64,
    tip=FEE,
    extra=FEE,
    gas=st.integers(21_000, 2**40),
    to=st.none() | st.binary(min_size=20, max_size=20),
    value=st.integers(0, 2**128),
    data=st.binary(max_size=300),
    chain_id=st.integers(1, 2**32),
)
def test_equal_to_eth_account(
    nonce: int, tip: int, extra: int, gas: int, to: bytes | None, value: int, data: bytes, chain_id: int
) -> None:
    target = None if to is None else Address(to)
    ours = sign(UnsignedTx(chain_id, nonce, tip, tip + extra, gas, target, value, data), ACCOUNT)
    theirs = Account.from_key(ACCOUNT.private_key).sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": tip + extra,
            "gas": gas,
            "to": b"" if to is None else to,
            "value": value,
            "data": data,
        }
    )
    assert ours.raw == bytes(theirs.raw_transaction)
    assert ours.hash == bytes(theirs.hash)
    assert fees_of(ours.raw) == (ours.max_fee, ours.priority_fee, gas)


def test_development_accounts_are_those_of_anvil() -> None:
    shown = [account.address.hex() for account in dev_accounts(2)]
    assert shown == ["f39fd6e51aad88f6f4ce6ab8827279cfffb92266", "70997970c51812dc3a010c7d01b50e0d17dc79c8"]
