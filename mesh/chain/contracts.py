"""How does a node call MeshToken and MeshEscrow, and what do they answer?

Views run through web3's contract objects. Calls about one's own account are encoded by them too; calls about a deal are
packed by ``protocols.contracts.calls``. Every call becomes a ``TxCall``, which the submitter posts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from mesh.chain import wire
from mesh.chain.errors import ChainError, RpcError
from mesh.chain.eth import TxCall, surely
from mesh.chain.rpc import Rpc
from mesh.chain.transactions import TxSigner
from protocols.contracts import artifact, calls
from protocols.contracts.channels import Channel, ChannelWord
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, Domain, EscrowBounds, OnChainState, OperatorConsent, digest
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, Hash32, Seconds, Signature, Tokens, UnixSeconds

__all__ = ["Account", "Contracts", "DealSlot", "Exits", "address_text", "read_view"]

_Answer = TypeVar("_Answer")
_PERMIT_TYPEHASH: Final = keccak256(
    b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
"""EIP-2612."""


class Account(msgspec.Struct, frozen=True):
    """An owner's money in the escrow: what deals are paid from, and what collateral is locked from."""

    free: Tokens
    stake: Tokens


class Exits(msgspec.Struct, frozen=True):
    """An owner's money on its way out of the escrow; zero times mean that nothing was requested."""

    withdrawing: Tokens
    withdraw_ready_at: UnixSeconds
    unstaking: Tokens
    unstake_ready_at: UnixSeconds


class DealSlot(msgspec.Struct, frozen=True):
    """What the escrow holds of (client, run nonce, index). ``identity``: 26 bytes, see ``Lock.identity``."""

    state: OnChainState
    since: UnixSeconds
    identity: bytes


class Contracts:
    """One escrow and its token. Building it imports web3; views raise ``ChainError``."""

    def __init__(self, rpc: Rpc, *, escrow: Address, token: Address) -> None:
        from mesh.chain.provider import open_web3

        eth: Any = open_web3(rpc).eth
        self._rpc = rpc
        self.domain = Domain(rpc.chain_id, escrow)
        self.escrow = escrow
        self.token = token
        self._escrow = eth.contract(address=address_text(escrow), abi=list(artifact("MeshEscrow").abi))
        self._token = eth.contract(address=address_text(token), abi=list(artifact("MeshToken").abi))

    # what the escrow holds

    async def account(self, owner: Address) -> Account:
        """Free balance and unlocked stake of an owner."""
        read = lambda v: Account(Tokens(v[0]), Tokens(v[1]))  # noqa: E731
        return await self._view(self._escrow, "accountOf", (address_text(owner),), read)

    async def sure_account(self, operator: Address) -> Account:
        """What an operator trades with, as a second endpoint confirms it: deals are signed on the strength of it. Raises
        ``ChainUnreachable`` when they do not agree."""
        owner = await self.owner_of(operator)
        read = lambda v: Account(Tokens(v[0]), Tokens(v[1]))  # noqa: E731
        return await read_view(self._rpc, self._escrow, "accountOf", (address_text(owner),), read, sure=True)

    async def exits(self, owner: Address) -> Exits:
        """Money of an owner on its way out."""
        return await self._view(
            self._escrow,
            "exitsOf",
            (address_text(owner),),
            lambda v: Exits(Tokens(v[0]), UnixSeconds(v[1]), Tokens(v[2]), UnixSeconds(v[3])),
        )

    async def owner_of(self, operator: Address) -> Address:
        """Whose money an operator trades with: its owner's, or its own. Like ``deal`` and ``channel_of`` as a second endpoint
        confirms it: on who owns a node, on what a deal has come to and on what a channel holds, money is signed away. Raises
        ``ChainUnreachable`` when they do not agree."""
        return await self._view(self._escrow, "ownerOf", (address_text(operator),), _address, sure=True)

    async def deal(self, client: Address, run_nonce: int, index: int) -> DealSlot:
        """The slot that a deal consumes."""
        return await self._view(
            self._escrow,
            "slotOf",
            (address_text(client), run_nonce, index),
            lambda v: DealSlot(OnChainState(v[0]), UnixSeconds(v[1]), bytes(v[2])),
            sure=True,
        )

    async def channel_of(self, client: Address, provider: Address, owner: Address) -> tuple[Channel, ChannelWord]:
        """The channel of these three, as it is now; ``until`` is zero when it is not open."""
        names = (address_text(client), address_text(provider), address_text(owner))
        word = await self._view(
            self._escrow,
            "channelOf",
            names,
            lambda v: ChannelWord(UnixSeconds(v[0]), int(v[1]), Tokens(v[2]), Tokens(v[3])),
            sure=True,
        )
        return Channel(client, provider, owner, word.generation), word

    async def bounds(self) -> EscrowBounds:
        """What this escrow accepts, for good."""
        return await self._view(self._escrow, "bounds", (), _bounds)

    async def burnable(self) -> Tokens:
        """Fees and penalties that ``burnFees`` would burn."""
        return await self._view(self._escrow, "burnable", (), Tokens)

    async def escrow_token(self) -> Address:
        """The only token of this escrow."""
        return await self._view(self._escrow, "TOKEN", (), _address)

    async def panel(self) -> Address:
        """The panel that judges this escrow's disputes; zero when there is none."""
        return await self._view(self._escrow, "PANEL", (), _address)

    async def separator(self) -> Hash32:
        """The escrow's EIP-712 domain separator; equal to ``domain.separator`` when chain and address are right."""
        return await self._view(self._escrow, "domainSeparator", (), lambda v: Hash32(bytes(v)))

    # what the token holds

    async def balance(self, owner: Address) -> Tokens:
        """Tokens in a wallet, outside the escrow."""
        return await self._view(self._token, "balanceOf", (address_text(owner),), Tokens)

    async def allowance(self, owner: Address) -> Tokens:
        """What the escrow may take from a wallet."""
        return await self._view(self._token, "allowance", (address_text(owner), address_text(self.escrow)), Tokens)

    async def symbol(self) -> str:
        """The token's ticker."""
        return await self._view(self._token, "symbol", (), str)

    async def supply(self) -> Tokens:
        """All tokens that exist."""
        return await self._view(self._token, "totalSupply", (), Tokens)

    # calls about one's own account

    def approve(self, amount: Tokens) -> TxCall:
        """Let the escrow take ``amount`` from the sender's wallet."""
        return self._call(self._token, "approve", address_text(self.escrow), amount)

    def transfer(self, to: Address, amount: Tokens) -> TxCall:
        """Send tokens from wallet to wallet."""
        return self._call(self._token, "transfer", address_text(to), amount)

    def mint(self, to: Address, amount: Tokens) -> TxCall:
        """Create tokens; only the token's minter may."""
        return self._call(self._token, "mint", address_text(to), amount)

    def deposit(self, amount: Tokens) -> TxCall:
        """Add to the free balance of the sender's account, from an approved wallet."""
        return self._call(self._escrow, "deposit", amount)

    async def deposit_with_permit(self, signer: TxSigner, amount: Tokens, deadline: UnixSeconds) -> TxCall:
        """The same in one transaction: the wallet's owner, who also sends it, signs an EIP-2612 permit."""
        owner = signer.address
        nonce = await self._view(self._token, "nonces", (address_text(owner),), int)
        separator = await self._view(self._token, "DOMAIN_SEPARATOR", (), bytes)
        words = (
            bytes(12) + owner,
            bytes(12) + self.escrow,
            amount.to_bytes(32),
            nonce.to_bytes(32),
            deadline.to_bytes(32),
        )
        signature = signer.sign(keccak256(b"\x19\x01", separator, keccak256(_PERMIT_TYPEHASH, *words)))
        return self._call(
            self._escrow, "depositWithPermit", amount, deadline, signature[64], signature[:32], signature[32:64]
        )

    def stake(self, amount: Tokens) -> TxCall:
        """Move from the sender's free balance to its stake."""
        return self._call(self._escrow, "stake", amount)

    def request_unstake(self, amount: Tokens) -> TxCall:
        """Start the delay after which ``unstake`` pays out."""
        return self._call(self._escrow, "requestUnstake", amount)

    def unstake(self) -> TxCall:
        """Pay out the stake whose delay is over."""
        return self._call(self._escrow, "unstake")

    def request_withdraw(self, amount: Tokens) -> TxCall:
        """Start the delay after which ``withdraw`` pays out."""
        return self._call(self._escrow, "requestWithdraw", amount)

    def withdraw(self) -> TxCall:
        """Pay out the free balance whose delay is over."""
        return self._call(self._escrow, "withdraw")

    def fund_panel(self, amount: Tokens) -> TxCall:
        """Move from the free balance of the sender's owner to its account at the panel: for bonds, seats and deposits."""
        return self._call(self._escrow, "fundPanel", amount)

    async def consent(self, operator: TxSigner, owner: Address) -> Signature:
        """The operator's signed consent to trade on ``owner``'s account; good until its next change of owner."""
        nonce = await self._view(self._escrow, "consentNonce", (address_text(operator.address),), int)
        return operator.sign(digest(self.domain, OperatorConsent(owner, operator.address, nonce)))

    def set_operator(self, operator: Address, consent: Signature) -> TxCall:
        """Let ``operator`` trade on the sender's account."""
        return self._deal(calls.set_operator(operator, consent))

    def remove_operator(self, operator: Address) -> TxCall:
        """Let ``operator`` stand for itself again."""
        return self._call(self._escrow, "removeOperator", address_text(operator))

    def burn_fees(self) -> TxCall:
        """Burn what has accumulated. Anyone may."""
        return self._call(self._escrow, "burnFees")

    # calls about a deal

    def commit(self, deal: Deal, client_signature: Signature) -> TxCall:
        """See ``protocols.contracts.calls``, as all below."""
        return self._deal(calls.commit(deal, client_signature))

    def settle(self, lock: Lock, paid: Tokens, client_signature: Signature, result_hash: Hash32 = ZERO_HASH) -> TxCall:
        """End with the client's consent."""
        return self._deal(calls.settle(lock, paid, client_signature, result_hash=result_hash))

    def cancel(self, lock: Lock, paid: Tokens, other_signature: Signature) -> TxCall:
        """End with both sides' consent."""
        return self._deal(calls.cancel(lock, paid, other_signature))

    def claim(self, lock: Lock, result_hash: Hash32) -> TxCall:
        """Record a result when the client is silent."""
        return self._deal(calls.claim(lock, result_hash))

    def finalize(self, lock: Lock, result_hash: Hash32) -> TxCall:
        """Pay after the window."""
        return self._deal(calls.finalize(lock, result_hash))

    def expire(self, lock: Lock) -> TxCall:
        """Refund after the claim deadline."""
        return self._deal(calls.expire(lock))

    def poke(self, lock: Lock, result_hash: Hash32) -> TxCall:
        """End whatever is overdue."""
        return self._deal(calls.poke(lock, result_hash))

    def burn_run(self, run_nonce: int, index: int) -> TxCall:
        """Consume a run's index for good."""
        return self._deal(calls.burn_run(run_nonce, index))

    def about_channel(self, data: bytes) -> TxCall:
        """A call packed by ``protocols.contracts.channels``."""
        return TxCall(to=self.escrow, data=data)

    # inside

    def _deal(self, data: bytes) -> TxCall:
        return TxCall(to=self.escrow, data=data)

    def _call(self, contract: Any, name: str, *args: object) -> TxCall:
        to = self.token if contract is self._token else self.escrow
        return TxCall(to=to, data=bytes.fromhex(contract.encode_abi(name, args)[2:]))

    async def _view(
        self, contract: Any, name: str, args: tuple[object, ...], read: Callable[[Any], _Answer], *, sure: bool = False
    ) -> _Answer:
        return await read_view(self._rpc, contract, name, args, read, sure=sure)


async def read_view(
    rpc: Rpc, contract: Any, name: str, args: tuple[object, ...], read: Callable[[Any], _Answer], *, sure: bool = False
) -> _Answer:
    """What a view of a web3 contract answers, as ``read`` sees it; ``sure``: as two endpoints do. Raises ``ChainError``."""
    call = {"to": contract.address, "data": contract.encode_abi(name, args)}
    answered = _reader(contract.get_function_by_name(name).abi["outputs"], read)
    try:
        if sure:
            about = f"{name} of {', '.join(map(str, args))}"
            return await surely(rpc, about, "eth_call", [call, "latest"], answered)
        return await rpc.call("eth_call", [call, "latest"], answered)
    except (RpcError, _NoContract) as error:
        raise ChainError(
            f"the contract at {contract.address} does not answer {name}",
            why=(error.why or str(error))[:200],
            fix="mesh doctor   (is this the address of an escrow on this chain?)",
        ) from error


class _NoContract(ChainError):
    """The call ran and gave nothing back: at that address there is no such contract."""


def _reader(outputs: Sequence[Mapping[str, Any]], read: Callable[[Any], _Answer]) -> Callable[[object], _Answer]:
    """Reads the result of a call. What does not decode costs the endpoint that sent it, and the next one is asked."""
    kinds = [_kind(output) for output in outputs]

    def answered(value: object) -> _Answer:
        raw = wire.data(value)
        if not raw:
            raise _NoContract("it answered nothing")
        try:
            values = decode(kinds, raw)
            return read(values[0] if len(values) == 1 else values)
        except (DecodingError, OverflowError, ValueError) as error:
            raise wire.Malformed(f"result is not ({', '.join(kinds)}): {error}") from error

    return answered


def _kind(output: Mapping[str, Any]) -> str:
    """The ABI type of an output, structs written out."""
    kind = str(output["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(_kind, output['components']))}){kind.removeprefix('tuple')}"


def address_text(address: Address) -> str:
    """EIP-55 text, which web3 wants."""
    from web3 import Web3

    return Web3.to_checksum_address("0x" + address.hex())


def _address(value: object) -> Address:
    return Address(bytes.fromhex(str(value)[2:]))


def _bounds(values: Any) -> EscrowBounds:
    numbers = [int(value) for value in values]
    seconds = [Seconds(number) for number in numbers]
    return EscrowBounds(
        max_price=Tokens(numbers[0]),
        max_commit_lead=seconds[1],
        max_exec=seconds[2],
        min_claim=seconds[3],
        max_claim=seconds[4],
        window_base=seconds[5],
        window_exec_factor=numbers[6],
        max_window=seconds[7],
        withdraw_delay=seconds[8],
        unstake_delay=seconds[9],
    )
