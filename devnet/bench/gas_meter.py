"""How is gas measured as a chain bills it? Signed transactions to a development chain, one per block, and their receipts.

With the 21,000 of any transaction, calldata and refunds, every slot cold. Both parties trade for owners of their own, and
their accounts have been used before, as in a market that has run for a day. Amounts and hashes are full of nonzero bytes,
the dearest calldata.
"""

from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec
import trio

from devnet.chain.accounts import DevAccount
from devnet.chain.control import pass_time
from devnet.chain.launch import ChainHandle
from mesh.chain.transactions import UnsignedTx, sign
from protocols.contracts import artifact, calls
from protocols.contracts.lock import Lock
from protocols.deals import eip712
from protocols.disputes.params import DEVNET_PANEL, PanelBounds
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, JobId, Seconds, Signature, Tokens, UnixSeconds

__all__ = ["COLLATERAL", "CROWD_FROM", "LILYPAD_V1", "MEDIATORS", "PRICE", "RESULT", "Meter", "Receipt", "mean"]

LILYPAD_V1: Final = 1_653_734
"""The predecessor's four transactions of one deal, optimizer on, measured in the same way (anvil, prague)."""
PRICE: Final = Tokens(1_234_567_891_234_567_891)
COLLATERAL: Final = Tokens(8 * PRICE)
RESULT: Final = Hash32(keccak256(b"result"))
MEDIATORS: Final = slice(6, 20)
"""Accounts with a seat each: the two panels of a dispute with an appeal, and four to spare."""
CROWD_FROM: Final = 20
"""From this account on: clients of the provider, for many channels."""
FULL_OF_BYTES: Final = 0x0101010101010101
ETHER: Final = 10**18
GAS_LIMIT: Final = 8_000_000
MAX_FEE_WEI: Final = 10**10
RPC_S: Final = 60.0
RECEIPT_POLL_S: Final = 0.01
RECEIPT_S: Final = 30.0
PANEL_BOUNDS: Final = msgspec.structs.replace(
    DEVNET_PANEL,
    **dict.fromkeys(("secret", "accept", "work", "open", "reveal", "match", "appeal"), Seconds(3_600)),
)
"""Long waits, which the chain's clock is moved past: a busy machine must not turn an honest seat into an absent one."""


class Receipt(msgspec.Struct, frozen=True):
    """What a transaction cost and said: logs as (topics, data)."""

    gas: int
    created: Address | None
    logs: tuple[tuple[tuple[bytes, ...], bytes], ...]


class Meter:
    """Token, escrow and panel on a running chain. ``__init__`` does nothing there; ``deploy`` does."""

    token: Address
    escrow: Address
    panel: Address
    domain: eip712.Domain

    def __init__(self, chain: ChainHandle, client: httpx.AsyncClient) -> None:
        self.chain, self._http = chain, client
        self.minter, self.client, self.provider, self.client_owner, self.provider_owner, self.anyone = chain.accounts[
            :6
        ]
        self.mediators = chain.accounts[MEDIATORS]
        self.crowd = iter(chain.accounts[CROWD_FROM:])
        self._nonces: dict[int, int] = {}
        self._runs = 1 << 60

    # --- the chain ---------------------------------------------------------------------------------------------------

    async def rpc(self, method: str, *params: object) -> Any:
        """One call. Raises ``RuntimeError`` with the chain's own words."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self._http.post(self.chain.rpc_url, json=asked, timeout=RPC_S)).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    async def send(self, who: DevAccount, to: Address | None, data: bytes) -> Receipt:
        """One transaction in a block of its own. Raises ``RuntimeError`` when it reverts."""
        nonce = self._nonces.get(who.index, 0)
        signed = sign(UnsignedTx(self.chain.chain_id, nonce, 0, MAX_FEE_WEI, GAS_LIMIT, to, 0, data), who)
        self._nonces[who.index] = nonce + 1
        await self.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex())
        if self.chain.kind == "anvil":  # the other one mines at once
            await self.rpc("evm_mine")
        with trio.fail_after(RECEIPT_S):
            while (found := await self.rpc("eth_getTransactionReceipt", "0x" + signed.hash.hex())) is None:
                await trio.sleep(RECEIPT_POLL_S)
        if int(found["status"], 16) != 1:
            raise RuntimeError(f"a transaction to {found['to']} reverted: {data[:4].hex()}")
        logs = tuple((tuple(map(_bytes, log["topics"])), _bytes(log["data"])) for log in found["logs"])
        created = Address(_bytes(found["contractAddress"])) if found.get("contractAddress") else None
        return Receipt(int(found["gasUsed"], 16), created, logs)

    async def call(self, who: DevAccount, to: Address, signature: str, *words: int | bytes) -> int:
        """Gas of a call by its signature, all of whose arguments are one word."""
        parts = (word.to_bytes(32) if isinstance(word, int) else word.rjust(32, b"\0") for word in words)
        return (await self.send(who, to, calls.selector(signature) + b"".join(parts))).gas

    async def now(self) -> UnixSeconds:
        """Time of the newest block."""
        return UnixSeconds(int((await self.rpc("eth_getBlockByNumber", "latest", False))["timestamp"], 16))

    async def warp(self, seconds: int) -> None:
        """Let the chain's clock pass so many seconds."""
        await pass_time(self.chain, seconds)

    # --- setting up --------------------------------------------------------------------------------------------------

    async def deploy(self) -> None:
        """The three contracts, everybody's money, a seat for each mediator, and one deal of each kind, unmeasured."""
        from eth_abi.abi import encode

        name = ["string", "string", "uint256", "address"]
        arguments = encode(name, ["Mesh", "MESH", 10**9 * ETHER, self.minter.address])
        self.token = await self._create("MeshToken", arguments)
        # The address of the contract after the next: RLP of (deployer, nonce), yellow paper 7.
        made = keccak256(b"\xd6\x94" + self.minter.address + bytes([self._nonces[self.minter.index] + 1]))
        self.panel = Address(made[12:])
        head = bytes(12) + self.token + (1).to_bytes(32) + bytes(12) + self.panel
        self.escrow = await self._create("MeshEscrow", head + _words(eip712.DEVNET_BOUNDS))
        self.domain = eip712.Domain(self.chain.chain_id, self.escrow)
        head = bytes(12) + self.escrow + bytes(12) + self.token + (1).to_bytes(32)
        if await self._create("MediatorPanel", head + _words(PANEL_BOUNDS)) != self.panel:
            raise RuntimeError("the panel is not where the escrow expects it")
        for operator, owner in ((self.client, self.client_owner), (self.provider, self.provider_owner)):
            await self._fund(owner)
            await self.call(owner, self.escrow, "stake(uint120)", 10**5 * ETHER)
            await self.adopt(operator, owner)
            await self.send(operator, self.escrow, calls.fund_panel(Tokens(10**4 * ETHER)))
        for mediator in self.mediators:
            await self._fund(mediator)
            await self.send(mediator, self.escrow, calls.fund_panel(Tokens(10**4 * ETHER)))
            await self.call(mediator, self.panel, "join(uint32)", 1)
        await self.warp(10)

    async def _create(self, name: str, arguments: bytes) -> Address:
        created = (await self.send(self.minter, None, artifact(name).bytecode + arguments)).created
        if created is None:
            raise RuntimeError(f"{name} was not deployed")
        return created

    async def _fund(self, owner: DevAccount) -> None:
        await self.call(self.minter, self.token, "mint(address,uint256)", owner.address, 10**6 * ETHER)
        await self.call(owner, self.token, "approve(address,uint256)", self.escrow, (1 << 256) - 1)
        await self.call(owner, self.escrow, "deposit(uint256)", 5 * 10**5 * ETHER)

    async def adopt(self, operator: DevAccount, owner: DevAccount) -> None:
        """``operator`` trades for ``owner`` from here on."""
        consent = self.signed(operator, eip712.OperatorConsent(owner.address, operator.address, 0))
        await self.send(owner, self.escrow, calls.set_operator(operator.address, consent))

    def signed(self, who: DevAccount, value: eip712.SignedStruct) -> Signature:
        """A party's signature in the escrow's domain."""
        return who.sign(eip712.digest(self.domain, value))

    # --- deals -------------------------------------------------------------------------------------------------------

    async def deal(self, **changes: Any) -> eip712.Deal:
        """A deal of client and provider that nobody has committed."""
        self._runs += FULL_OF_BYTES
        terms = eip712.Deal(
            client=self.client.address,
            provider=self.provider.address,
            token=self.token,
            run_nonce=self._runs % (1 << 64),
            index=0,
            job_id=JobId(keccak256(b"job")),
            image=Hash32(keccak256(b"image")),
            gpus=(Hash32(keccak256(b"gpu")),),
            price=PRICE,
            metering=eip712.Metering.FIXED,
            collateral=COLLATERAL,
            level=eip712.Level.EXACT,
            level_params=Hash32(keccak256(b"parameters")),
            numeric_class=Hash32(keccak256(b"class")),
            enforcement=eip712.Enforcement.SELF,
            audit_ppm=250_000,
            seat_fee=Tokens(0),
            seat_class=0,
            seat_snapshot=0,
            client_secret_hash=Hash32(keccak256(b"a client's hash")),
            provider_secret_hash=Hash32(keccak256(b"a provider's hash")),
            commit_by=UnixSeconds(await self.now() + 3_600),
            exec_seconds=Seconds(60),
            claim_seconds=Seconds(172_800),
            window_seconds=Seconds(115_200),
            settlement=eip712.SettlementMode.COMMIT,
        )
        return msgspec.structs.replace(terms, **changes)

    async def commit(self, deal: eip712.Deal) -> tuple[Lock, int]:
        """The deal's Lock, and the gas of committing it."""
        consent = self.signed(self.client, deal)
        receipt = await self.send(self.provider, self.escrow, calls.commit(deal, consent))
        return Lock.from_log(*receipt.logs[0]), receipt.gas


def _words(bounds: eip712.EscrowBounds | PanelBounds) -> bytes:
    return b"".join(int(item).to_bytes(32) for item in msgspec.structs.astuple(bounds))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def mean(costs: Sequence[int]) -> int:
    """The mean, rounded to a unit of gas."""
    return round(sum(costs) / len(costs))
