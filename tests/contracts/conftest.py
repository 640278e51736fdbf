"""How do the contract tests reach a chain? A world: token and escrow on an in-process EVM, four keys, a clock.

pyrevm executes the committed bytecode, 13,000 calls a second, with pip alone. It does not count gas like a chain does
(slots stay warm between calls); test_gas.py measures on py-evm, with real transactions.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from coincurve import PrivateKey
from eth_abi.abi import decode, encode
from pyrevm import EVM, BlockEnv, CfgEnv, Env

from protocols.contracts import artifact, calls, channels
from protocols.contracts.channels import Channel, ChannelClose, ChannelWord, Voucher
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals.eip712 import (
    DEVNET_BOUNDS,
    Cancellation,
    Deal,
    Domain,
    Enforcement,
    EscrowBounds,
    Level,
    Metering,
    OnChainState,
    OperatorConsent,
    OutcomeCode,
    ResultCommit,
    Settlement,
    SettlementMode,
    SignedStruct,
    deal_id,
    digest,
)
from protocols.hashing import keccak256
from protocols.signing import address_of_key
from protocols.units import ZERO_ADDRESS, Address, Hash32, JobId, Seconds, Signature, Tokens, UnixSeconds

GENESIS: Final = 1_800_000_000
CHAIN_ID: Final = 31_337
BOUNDS_ABI: Final = "(uint128,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint32)"
FUNDS: Final = 10**24
_OUTPUT: Final = re.compile(r"output: 0x([0-9a-f]*)")


class Reverted(Exception):
    """A call reverted with a custom error of ours (or with none: ``name`` is empty)."""

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        super().__init__(f"{name}{args}")
        self.name = name
        self.values = args


class Event(NamedTuple):
    """A decoded log: all arguments by name."""

    name: str
    args: dict[str, Any]


def abi_type(entry: dict[str, Any]) -> str:
    """``(uint256,address)[]`` for what the ABI describes as a tuple, the plain type otherwise."""
    if not entry["type"].startswith("tuple"):
        return str(entry["type"])
    inside = ",".join(abi_type(member) for member in entry["components"])
    return f"({inside}){entry['type'].removeprefix('tuple')}"


def abi_signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(abi_type(member) for member in entry['inputs'])})"


ENTRIES: Final = [entry for name in ("MeshEscrow", "MeshToken") for entry in artifact(name).abi]
FUNCTIONS: Final = {entry["name"]: entry for entry in reversed(ENTRIES) if entry["type"] == "function"}
ERRORS: Final = {keccak256(abi_signature(e).encode())[:4]: e for e in ENTRIES if e["type"] == "error"}
EVENTS: Final = {bytes(keccak256(abi_signature(e).encode())): e for e in ENTRIES if e["type"] == "event"}


def plain(value: Any) -> Any:
    """Addresses as bytes, whatever eth_abi made of them."""
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    return value


def as_abi(lock: Lock) -> tuple[Any, ...]:
    """A Lock as the ABI's tuple."""
    words = lock.words()
    at = [words[start : start + 32] for start in range(0, len(words), 32)]
    addresses = ["0x" + word[12:].hex() for word in (at[1], at[3], at[4])]
    return (at[0], addresses[0], at[2], *addresses[1:], *(int.from_bytes(word) for word in at[5:]))


class Key:
    """A secp256k1 key: an operator, an owner, or nobody in particular."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._secret = PrivateKey(keccak256(name.encode()))
        self.address = address_of_key(self._secret.public_key.format())
        self.hex = "0x" + self.address.hex()

    def sign(self, value: bytes) -> Signature:
        raw = self._secret.sign_recoverable(value, hasher=None)
        return Signature(raw[:64] + bytes([raw[64] + 27]))


class World:
    """A token and an escrow, of which ``panel``, a plain key, is the panel. Every key has tokens and an allowance."""

    reverted = Reverted

    def __init__(
        self,
        *,
        bounds: EscrowBounds = DEVNET_BOUNDS,
        chain_id: int = CHAIN_ID,
        token_burns: bool = True,
        with_panel: bool = True,
    ) -> None:
        self.bounds = bounds
        self.evm = EVM(env=Env(cfg=CfgEnv(chain_id=chain_id)), spec_id="CANCUN")
        self.now = UnixSeconds(0)
        self.warp_to(GENESIS)
        self.client, self.provider, self.stranger = Key("client"), Key("provider"), Key("stranger")
        self.minter, self.owner, self.panel = Key("minter"), Key("owner"), Key("panel")
        self.panel_address = self.panel.address if with_panel else ZERO_ADDRESS
        everyone = (self.client, self.provider, self.stranger, self.minter, self.owner, self.panel)
        for key in everyone:
            self.evm.set_balance(key.hex, 10**30)
        self.token = self.deploy_token(10**27)
        self.escrow = self.deploy_escrow(token_burns=token_burns)
        self.domain = Domain(chain_id, self.escrow)
        self._logs: list[Any] = []
        self._nonce = 0
        for key in everyone:
            self.call(self.minter, "mint", key.hex, FUNDS, to=self.token)
            self.call(key, "approve", "0x" + self.escrow.hex(), 2**256 - 1, to=self.token)

    # --- the chain ---------------------------------------------------------------------------------------------------

    def deploy_token(self, cap: int) -> Address:
        arguments = encode(["string", "string", "uint256", "address"], ["Mesh", "MESH", cap, self.minter.hex])
        return self.deploy_code(artifact("MeshToken").bytecode + arguments)

    def deploy_escrow(
        self, *, token_burns: bool = True, bounds: EscrowBounds | None = None, panel: Address | None = None
    ) -> Address:
        numbers = tuple(int(item) for item in msgspec.structs.astuple(bounds or self.bounds))
        panel = "0x" + (self.panel_address if panel is None else panel).hex()
        kinds = ["address", "bool", "address", BOUNDS_ABI]
        arguments = encode(kinds, ["0x" + self.token.hex(), token_burns, panel, numbers])
        return self.deploy_code(artifact("MeshEscrow").bytecode + arguments)

    def deploy_code(self, code: bytes) -> Address:
        try:
            return Address(bytes.fromhex(self.evm.deploy(self.minter.hex, code)[2:]))
        except RuntimeError as error:
            raise _decoded(error) from error

    def warp_to(self, when: int) -> None:
        self.now = UnixSeconds(when)
        self.evm.set_block_env(BlockEnv(timestamp=when, number=1))

    def warp(self, seconds: int) -> None:
        self.warp_to(self.now + seconds)

    def send(self, who: Key, data: bytes, *, to: Address | None = None) -> bytes:
        """Call with raw calldata; its events are in ``events``. Raises Reverted."""
        try:
            output = bytes(self.evm.message_call(who.hex, "0x" + (to or self.escrow).hex(), data))
        except RuntimeError as error:
            raise _decoded(error) from error
        if self.evm.result is not None and self.evm.result.logs:
            self._logs = self.evm.result.logs
        return output

    @property
    def events(self) -> list[Event]:
        """What the last call that changed something has told."""
        return [_event(log) for log in self._logs if bytes(log.data[0][0]) in EVENTS]

    @property
    def committed_log(self) -> tuple[list[bytes], bytes]:
        """Topics and data of the last call's DealCommitted, raw."""
        raw = next(log.data for log in self._logs if bytes(log.data[0][0]) == COMMITTED_TOPIC)
        return [bytes(topic) for topic in raw[0]], bytes(raw[1])

    def refused(self, name: str, act: Callable[[], object]) -> tuple[Any, ...]:
        """``act`` must revert with the custom error ``name``; returns the error's arguments."""
        with pytest.raises(Reverted) as caught:
            act()
        assert caught.value.name == name, caught.value
        return caught.value.values

    def call(self, who: Key, name: str, *args: Any, to: Address | None = None) -> Any:
        """Call by the ABI. One return value comes as it is, several as a tuple."""
        entry = FUNCTIONS[name]
        types = [abi_type(member) for member in entry["inputs"]]
        data = keccak256(abi_signature(entry).encode())[:4] + encode(types, args)
        values = decode([abi_type(member) for member in entry["outputs"]], self.send(who, data, to=to))
        return plain(values[0]) if len(values) == 1 else tuple(plain(value) for value in values)

    def read(self, name: str, *args: Any) -> Any:
        return self.call(self.stranger, name, *args)

    # --- accounts ----------------------------------------------------------------------------------------------------

    def fund(self, *, free: int, stake: int) -> None:
        """The client can spend ``free``, the provider has ``stake``."""
        if free:
            self.call(self.client, "deposit", free)
        if stake:
            self.call(self.provider, "deposit", stake)
            self.call(self.provider, "stake", stake)

    def free(self, key: Key) -> int:
        return int(self.read("accountOf", key.hex)[0])

    def stake(self, key: Key) -> int:
        return int(self.read("accountOf", key.hex)[1])

    def tokens(self, holder: Address) -> int:
        return int(self.call(self.stranger, "balanceOf", "0x" + holder.hex(), to=self.token))

    def adopt(self, owner: Key, operator: Key) -> None:
        """``operator`` trades on ``owner``'s account from now on."""
        nonce = self.read("consentNonce", operator.hex)
        consent = self.signed(operator, OperatorConsent(owner.address, operator.address, nonce))
        self.send(owner, calls.set_operator(operator.address, consent))

    # --- deals -------------------------------------------------------------------------------------------------------

    def signed(self, key: Key, value: SignedStruct) -> Signature:
        return key.sign(digest(self.domain, value))

    def deal(self, **changes: Any) -> Deal:
        """A deal within the bounds; each one consumes another run nonce."""
        self._nonce += 1
        word = keccak256(b"some digest")
        terms: dict[str, Any] = {
            "client": self.client.address,
            "provider": self.provider.address,
            "token": self.token,
            "run_nonce": self._nonce,
            "index": 0,
            "job_id": JobId(word),
            "image": word,
            "gpus": (word,),
            "price": Tokens(1_000),
            "metering": Metering.FIXED,
            "collateral": Tokens(8_000),
            "level": Level.EXACT,
            "level_params": word,
            "numeric_class": word,
            "enforcement": Enforcement.SELF,
            "audit_ppm": 20_000,
            "seat_fee": Tokens(0),
            "seat_class": 0,
            "seat_snapshot": 0,
            "client_secret_hash": word,
            "provider_secret_hash": word,
            "commit_by": UnixSeconds(self.now + 600),
            "exec_seconds": Seconds(60),
            "claim_seconds": Seconds(self.bounds.min_claim + 9),
            "window_seconds": Seconds(self.bounds.window_base + 60 * self.bounds.window_exec_factor + 9),
            "settlement": SettlementMode.COMMIT,
        }
        return Deal(**(terms | changes))

    def lock_of(self, deal: Deal) -> Lock:
        """The Lock that a commit would fix now."""
        owners = [Address(self.read("ownerOf", "0x" + who.hex())) for who in (deal.client, deal.provider)]
        return Lock.of(self.domain, deal, client_owner=owners[0], provider_owner=owners[1])

    def commit(self, deal: Deal | None = None) -> Lock:
        """Commit a deal that the client has signed."""
        deal = deal or self.deal()
        lock = self.lock_of(deal)
        self.send(self.provider, calls.commit(deal, self.client.sign(deal_id(self.domain, deal))))
        return lock

    def settle(self, lock: Lock, paid: int, *, result_hash: Hash32 | None = None) -> None:
        consent = self.signed(self.client, Settlement(lock.deal_id, Tokens(paid)))
        known = {} if result_hash is None else {"result_hash": result_hash}
        self.send(self.provider, calls.settle(lock, Tokens(paid), consent, **known))

    def cancel(self, lock: Lock, paid: int, *, sender: Key, other: Key) -> None:
        consent = self.signed(other, Cancellation(lock.deal_id, Tokens(paid)))
        self.send(sender, calls.cancel(lock, Tokens(paid), consent))

    # --- disputes ----------------------------------------------------------------------------------------------------

    def result(self, lock: Lock, text: bytes = b"result") -> tuple[ResultCommit, Signature, Hash32]:
        """A ResultCommit that the provider has signed, and its digest."""
        made = ResultCommit(lock.deal_id, keccak256(text), OutcomeCode.FAILED, -1, 2**64 - 1, 3, keccak256(b"log"))
        return made, self.signed(self.provider, made), digest(self.domain, made)

    def dispute(self, lock: Lock, result_hash: Hash32, *, sender: Key | None = None) -> OnChainState:
        """The panel takes the deal; what it was."""
        return OnChainState(self.call(sender or self.panel, "openDispute", as_abi(lock), result_hash))

    def close_dispute(
        self, lock: Lock, result_hash: Hash32, end: OnChainState, payout: Sequence[int], *, sender: Key | None = None
    ) -> None:
        """``payout``: to the client, to the provider, to its stake, to the panel, burned."""
        self.call(sender or self.panel, "closeDispute", as_abi(lock), result_hash, end, tuple(payout))

    # --- channels ----------------------------------------------------------------------------------------------------

    def open_channel(self, amount: int = 5_000) -> Channel:
        """The client opens a channel to the provider, or adds to it."""
        self.send(self.client, channels.fund(self.provider.address, Tokens(amount)))
        parties = (self.client.address, self.provider.address, Address(self.read("ownerOf", self.client.hex)))
        return Channel(*parties, self.channel(Channel(*parties, 0)).generation)

    def channel(self, channel: Channel) -> ChannelWord:
        """What the escrow holds of it."""
        parties = (channel.client, channel.provider, channel.client_owner)
        return ChannelWord(*self.read("channelOf", *("0x" + party.hex() for party in parties)))

    def redeem(
        self, channel: Channel, cumulative: int, *, sender: Key | None = None, signer: Key | None = None
    ) -> None:
        voucher = Voucher(channel.channel_id, Tokens(cumulative), 3, keccak256(b"deals"))
        signature = self.signed(signer or self.client, voucher)
        self.send(sender or self.provider, channels.redeem(channel, voucher, signature))

    def close_together(self, channel: Channel, cumulative: int, *, sender: Key, other: Key) -> None:
        last = ChannelClose(channel.channel_id, Tokens(cumulative), 3, keccak256(b"deals"))
        self.send(sender, channels.close_together(channel, last, self.signed(other, last)))

    def state(self, lock: Lock) -> OnChainState:
        return OnChainState(self.read("slotOf", "0x" + lock.client.hex(), lock.run_nonce, lock.index)[0])


def _decoded(error: RuntimeError) -> Reverted:
    found = _OUTPUT.search(str(error))
    output = bytes.fromhex(found[1]) if found else b""
    entry = ERRORS.get(output[:4])
    if entry is None:
        return Reverted("", (str(error),))
    values = decode([abi_type(member) for member in entry["inputs"]], output[4:])
    return Reverted(entry["name"], tuple(plain(value) for value in values))


def _event(log: Any) -> Event:
    topics, data = log.data
    entry = EVENTS[bytes(topics[0])]
    indexed = [member for member in entry["inputs"] if member["indexed"]]
    others = [member for member in entry["inputs"] if not member["indexed"]]
    values = [decode([m["type"]], bytes(topic))[0] for m, topic in zip(indexed, topics[1:], strict=True)]
    values += decode([abi_type(member) for member in others], bytes(data))
    names = [member["name"] for member in (*indexed, *others)]
    return Event(entry["name"], {name: plain(value) for name, value in zip(names, values, strict=True)})


@pytest.fixture
def world() -> World:
    """Devnet bounds; the client has 10,000 free, the provider 100,000 staked."""
    made = World()
    made.fund(free=10_000, stake=100_000)
    return made


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """For tests that need other bounds, another chain, or many worlds."""
    return World
