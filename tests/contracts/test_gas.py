"""What does a deal cost in gas, and is that under the ceilings of the protocol?

Measured as a chain bills it: signed EIP-1559 transactions, mined one per block on py-evm, `gasUsed` of the receipt,
with the 21,000 of any transaction, calldata and refunds in it and every slot cold. Both parties trade for owners of
their own. Accounts have been used before: the first credit of an account fills its slot, once.
`gas.json` is the snapshot; a change of more than half a percent either way fails until it is committed anew, so no
change of cost goes unseen.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_tester import EthereumTester, PyEVMBackend

from protocols.contracts import artifact, calls, channels
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import (
    DEVNET_BOUNDS,
    Cancellation,
    Domain,
    Enforcement,
    OperatorConsent,
    Settlement,
    SignedStruct,
    deal_id,
    digest,
)
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, Signature, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import World

CEILINGS: Final = {
    "commit": 80_000,
    "commit_panel": 80_000,
    "settle": 56_000,
    "settle_part": 56_000,
    "claim": 36_000,
    "finalize": 50_000,
    "open_channel": 54_000,
    "redeem": 50_000,
    "redeem_many_per_channel": 23_000,
    "per_deal_of_a_hundred": 1_000,
}
COMMIT_AND_SETTLE: Final = 136_000
CROWD: Final = tuple(f"client {at}" for at in range(18))
"""Whose vouchers a provider redeems at once, after a day."""
LILYPAD_V1: Final = 1_653_734
"""The predecessor's four transactions of one deal, measured in the same way."""
TOLERANCE_PPM: Final = 5_000
SNAPSHOT: Final = Path(__file__).with_name("gas.json")
MNEMONIC: Final = "test test test test test test test test test test test junk"
RESULT: Final = Hash32(keccak256(b"result"))
ETHER: Final = 10**18
PRICE: Final = Tokens(1_234_567_891_234_567_891)
PANEL_TERMS: Final = {
    "enforcement": Enforcement.PANEL,
    "seat_fee": Tokens(PRICE * 3 // 2),
    "seat_class": 0x01010101,
    "seat_snapshot": 0x01010101,
    "client_secret_hash": RESULT,
    "provider_secret_hash": Hash32(keccak256(b"secret")),
}


class Chain:
    """py-evm behind eth-tester, funded keys: client, provider, their owners, minter, stranger, panel and a crowd of clients."""

    def __init__(self) -> None:
        path = "m/44'/60'/0'/0"
        self.tester = EthereumTester(PyEVMBackend.from_mnemonic(MNEMONIC, num_accounts=30, hd_path=path))
        self.chain_id = int(self.tester.backend.chain.chain_id)
        Account.enable_unaudited_hdwallet_features()
        names = ("client", "provider", "client_owner", "provider_owner", "minter", "stranger", "panel", *CROWD)
        self.keys = {
            name: Account.from_mnemonic(MNEMONIC, account_path=f"{path}/{at}") for at, name in enumerate(names)
        }

    @property
    def now(self) -> int:
        return int(self.tester.get_block_by_number("pending")["timestamp"])

    def address(self, name: str) -> Address:
        return Address(bytes.fromhex(self.keys[name].address[2:]))

    def sign(self, name: str, value: bytes) -> Signature:
        return Signature(bytes(self.keys[name].unsafe_sign_hash(value).signature))

    def send(self, who: str, to: Address | None, data: bytes) -> Any:
        """Mine one transaction; its receipt."""
        key = self.keys[who]
        fields = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.tester.get_nonce(key.address),
            "gas": 8_000_000,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "data": data,
        }
        if to is not None:
            fields["to"] = to
        raw = key.sign_transaction(fields).raw_transaction
        receipt = self.tester.get_transaction_receipt(self.tester.send_raw_transaction("0x" + raw.hex()))
        assert receipt["status"] == 1
        return receipt

    def call(self, who: str, to: Address, signature: str, *args: Any) -> int:
        """Gas of a call by its signature."""
        types = signature[signature.index("(") + 1 : -1]
        data = keccak256(signature.encode())[:4] + encode(types.split(",") if types else [], args)
        return int(self.send(who, to, data)["gas_used"])

    def warp(self, seconds: int) -> None:
        self.tester.time_travel(self.now + seconds)


class Meter:
    """An escrow in use, and what each call about a deal costs on it."""

    def __init__(self, chain: Chain, template: "World") -> None:
        self.chain, self.template = chain, template
        minter = "0x" + chain.address("minter").hex()
        token = encode(["string", "string", "uint256", "address"], ["Mesh", "MESH", 10**9 * ETHER, minter])
        self.token = self._deploy(artifact("MeshToken").bytecode + token)
        bounds = [int(item).to_bytes(32) for item in msgspec.structs.astuple(DEVNET_BOUNDS)]
        panel = bytes(12) + chain.address("panel")  # a plain key
        arguments = bytes(12) + self.token + (1).to_bytes(32) + panel + b"".join(bounds)
        self.escrow = self._deploy(artifact("MeshEscrow").bytecode + arguments)
        self.domain = Domain(chain.chain_id, self.escrow)
        self.nonce = 1 << 60
        for party, owner in (("client", "client_owner"), ("provider", "provider_owner")):
            self._open(party, owner)

    def _deploy(self, code: bytes) -> Address:
        return Address(bytes.fromhex(self.chain.send("minter", None, code)["contract_address"][2:]))

    def _open(self, operator: str, owner: str) -> None:
        chain = self.chain
        holder, operator_at = chain.address(owner), chain.address(operator)
        chain.call("minter", self.token, "mint(address,uint256)", "0x" + holder.hex(), 10**6 * ETHER)
        chain.call(owner, self.token, "approve(address,uint256)", "0x" + self.escrow.hex(), 2**256 - 1)
        chain.call(owner, self.escrow, "deposit(uint256)", 10**5 * ETHER)
        chain.call(owner, self.escrow, "stake(uint120)", 10**4 * ETHER)
        consent = self.signed(operator, OperatorConsent(holder, operator_at, 0))
        chain.send(owner, self.escrow, calls.set_operator(operator_at, consent))

    def signed(self, who: str, value: SignedStruct) -> Signature:
        return self.chain.sign(who, digest(self.domain, value))

    def commit(self, **changes: Any) -> tuple[Lock, int]:
        """A deal in which every hash and amount is full of nonzero bytes, the dearest calldata."""
        self.nonce += 0x0101010101010101
        deal = self.template.deal(
            client=self.chain.address("client"),
            provider=self.chain.address("provider"),
            token=self.token,
            run_nonce=self.nonce,
            price=PRICE,
            collateral=Tokens(8 * PRICE),
            commit_by=self.chain.now + 600,
            claim_seconds=172_800,
            window_seconds=115_200,
            **changes,
        )
        receipt = self.chain.send(
            "provider", self.escrow, calls.commit(deal, self.chain.sign("client", deal_id(self.domain, deal)))
        )
        owners = self.chain.address("client_owner"), self.chain.address("provider_owner")
        lock = Lock.of(self.domain, deal, client_owner=owners[0], provider_owner=owners[1])
        log = receipt["logs"][0]
        assert Lock.from_log([_bytes(topic) for topic in log["topics"]], _bytes(log["data"])) == lock
        return lock, int(receipt["gas_used"])

    def after_commit(self, who: str, packed: "Callable[[Lock], bytes]") -> int:
        """Gas of one call about a fresh deal."""
        lock, _ = self.commit()
        return int(self.chain.send(who, self.escrow, packed(lock))["gas_used"])

    def settle(self, lock: Lock, paid: int) -> bytes:
        return calls.settle(lock, Tokens(paid), self.signed("client", Settlement(lock.deal_id, Tokens(paid))))

    def open_channel(self, client: str = "client") -> tuple[Channel, int]:
        """A fresh channel of a client that trades for ``client_owner``."""
        data = channels.fund(self.chain.address("provider"), PRICE)
        receipt = self.chain.send(client, self.escrow, data)
        word = ChannelWord.of(int.from_bytes(_bytes(receipt["logs"][0]["data"])[64:]))
        addresses = [self.chain.address(name) for name in (client, "provider", "client_owner")]
        return Channel(addresses[0], addresses[1], addresses[2], word.generation), int(receipt["gas_used"])

    def voucher(self, channel: Channel, share: int, client: str = "client") -> channels.Redemption:
        """For ``share`` hundredths of the deposit, and a hundred deals."""
        voucher = Voucher(channel.channel_id, Tokens(PRICE * share // 100), 100, RESULT)
        return channels.Redemption(channel, voucher, self.signed(client, voucher))

    def adopt(self, operator: str) -> None:
        """``operator`` trades for ``client_owner``."""
        at = self.chain.address(operator)
        consent = self.signed(operator, OperatorConsent(self.chain.address("client_owner"), at, 0))
        self.chain.send("client_owner", self.escrow, calls.set_operator(at, consent))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))


def channel_costs(meter: Meter) -> dict[str, int]:
    """Gas of a channel's calls; the first redemption of a fresh channel, as in the common case."""
    send = lambda who, data: int(meter.chain.send(who, meter.escrow, data)["gas_used"])  # noqa: E731
    found: dict[str, int] = {}
    first, found["open_channel"] = meter.open_channel()
    one = meter.voucher(first, 40)
    found["redeem"] = send("provider", channels.redeem(first, one.voucher, one.client_signature))
    _, found["top_up"] = meter.open_channel()
    found["request_close"] = send("client", channels.request_close(first))
    found["close"] = send("provider", channels.close(first))
    second, found["open_channel_again"] = meter.open_channel()
    last = ChannelClose(second.channel_id, Tokens(PRICE // 2), 50, RESULT)
    found["close_together"] = send("client", channels.close_together(second, last, meter.signed("provider", last)))
    many = []
    for client in CROWD:
        meter.adopt(client)
        many.append(meter.voucher(meter.open_channel(client)[0], 60, client))
    found["redeem_many_per_channel"] = send("provider", channels.redeem_many(many)) // len(many)
    found["per_deal_of_a_hundred"] = (found["open_channel"] + found["redeem"]) // 100
    return found


@pytest.fixture(scope="module")
def gas(make_world: "Callable[[], World]") -> dict[str, int]:
    """Every path, measured once."""
    meter = Meter(Chain(), make_world())
    chain, found = meter.chain, {}
    meter.after_commit("provider", lambda lock: meter.settle(lock, lock.price))
    _, found["commit"] = meter.commit()
    _, found["commit_panel"] = meter.commit(**PANEL_TERMS)
    found["settle"] = meter.after_commit("provider", lambda lock: meter.settle(lock, lock.price))
    found["settle_part"] = meter.after_commit("provider", lambda lock: meter.settle(lock, lock.price // 3))
    refund = Tokens(1)
    found["cancel"] = meter.after_commit(
        "client",
        lambda lock: calls.cancel(lock, refund, meter.signed("provider", Cancellation(lock.deal_id, refund))),
    )
    lock, _ = meter.commit()
    found["claim"] = int(chain.send("provider", meter.escrow, calls.claim(lock, RESULT))["gas_used"])
    chain.warp(lock.window_seconds + 1)
    found["finalize"] = int(chain.send("stranger", meter.escrow, calls.finalize(lock, RESULT))["gas_used"])
    lock, _ = meter.commit()
    chain.warp(lock.claim_within + 1)
    found["expire"] = int(chain.send("stranger", meter.escrow, calls.expire(lock))["gas_used"])
    found["burn_run"] = int(chain.send("client", meter.escrow, calls.burn_run(1, 0))["gas_used"])
    found["deposit_again"] = chain.call("client_owner", meter.escrow, "deposit(uint256)", ETHER)
    found["stake"] = chain.call("client_owner", meter.escrow, "stake(uint120)", ETHER)
    found["request_withdraw"] = chain.call("client_owner", meter.escrow, "requestWithdraw(uint128)", ETHER)
    chain.warp(DEVNET_BOUNDS.withdraw_delay + 1)
    found["withdraw"] = chain.call("client_owner", meter.escrow, "withdraw()")
    found["burn_fees"] = chain.call("stranger", meter.escrow, "burnFees()")
    return found | channel_costs(meter)


@pytest.mark.parametrize("path", CEILINGS)
def test_under_the_protocols_ceiling(gas: dict[str, int], path: str) -> None:
    assert gas[path] <= CEILINGS[path]


def test_a_cosigned_deal_costs_a_twelfth_of_the_predecessors(gas: dict[str, int]) -> None:
    for settle in ("settle", "settle_part"):
        assert gas["commit"] + gas[settle] <= COMMIT_AND_SETTLE
        assert 12 * (gas["commit"] + gas[settle]) <= LILYPAD_V1


def test_no_cost_changes_unseen(gas: dict[str, int]) -> None:
    kept = json.loads(SNAPSHOT.read_text())
    moved = {
        path: (kept.get(path), cost)
        for path, cost in gas.items()
        if abs(cost - kept.get(path, 0)) * 1_000_000 > TOLERANCE_PPM * cost
    }
    assert moved == {}, f"commit this as {SNAPSHOT.name} if it is meant: {json.dumps(gas)}"
    assert kept.keys() == gas.keys()
