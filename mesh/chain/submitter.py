"""How does a transaction get onto the chain exactly once?

One submitter owns the nonces of one key. A transaction is signed and journaled before it leaves, and from then on its
key stands for that nonce: after a crash the same bytes are sent again, and a new nonce is used only once the old one is
provably taken by another transaction. Transactions leave one after the other, because Arbitrum's sequencer keeps none
that comes before its turn. A call that would revert is found out by the gas estimate, at no cost.
"""

from collections.abc import Collection
from typing import Final

import trio

from mesh.chain.agreement import check_agreement
from mesh.chain.endings import ending, gas_or_reason
from mesh.chain.errors import ChainError, ChainUnreachable, FeeAboveCap, InsufficientFunds, RpcError, TxRefused
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import TxJournal
from mesh.chain.needs import GAS_MARGIN, gas_limit, max_fee, told_base_fee
from mesh.chain.nonces import Nonces, is_used, lowest_told
from mesh.chain.outcomes import Dropped, FeeQuote, Outcome, Reverted, SubmitterSettings, SubmitterStatistics
from mesh.chain.refusals import Refusal, classify
from mesh.chain.reverts import Reverts
from mesh.chain.transactions import SignedTx, TxSigner, UnsignedTx, fees_of, sign
from mesh.chain.wire import Receipt
from protocols.units import Address, Hash32

__all__ = ["MAX_IN_FLIGHT", "Submitter"]

MAX_IN_FLIGHT: Final = 1024
"""Keys that are not released: each is one deal's or one user's transaction."""
MAX_VERSIONS: Final = 32
"""Replacements of one transaction: 31 bumps multiply the fee by a thousand, which is beyond any sensible cap."""
_LOOKS: Final = 4
"""Looks for our own receipt before a used nonce is taken for another's: nodes index receipts after they count nonces."""
_BUMP: Final = (5, 4)
"""A replacement pays 25 % more, and twice the base fee at least; nodes ask for 10 %."""


class _Flight:
    """One key's transactions: all of one nonce, the newest last."""

    def __init__(self, key: str, nonce: int, versions: list[SignedTx]) -> None:
        self.key = key
        self.nonce = nonce
        self.versions = versions
        self.sent_at = -1.0
        self.landed = False
        self.refused = False


class _NonceTaken(Exception):
    """The flight's nonce belongs to a transaction that is not ours."""

    def __init__(self, flight: _Flight) -> None:
        super().__init__(flight.key)
        self.flight = flight


class Submitter:
    """Sends for one key. Create it once per process and key: two would fight over nonces."""

    def __init__(
        self,
        eth: Eth,
        signer: TxSigner,
        journal: TxJournal,
        reverts: Reverts,
        settings: SubmitterSettings | None = None,
    ) -> None:
        self._eth = eth
        self._signer = signer
        self._journal = journal
        self._reverts = reverts
        self._set = settings or SubmitterSettings()
        self._turn = trio.Lock()
        self._flights: dict[str, _Flight] = {}
        self._loaded = False
        self._nonces = Nonces(eth, signer.address, journal)
        self._counts = dict.fromkeys(("sent", "confirmed", "reverted", "replaced", "resent", "dropped", "gas_used"), 0)

    @property
    def address(self) -> Address:
        """Whose transactions these are."""
        return self._signer.address

    async def quote(self, call: TxCall) -> FeeQuote:
        """What ``call`` would cost. Raises ``RpcError`` when it would revert, ``FeeAboveCap``, ``ChainUnreachable``."""
        gas = await gas_limit(self._eth, call, self.address)
        base_fee = await told_base_fee(self._eth, self._set.fee_cap)
        most = max_fee(base_fee, self._set.fee_cap)
        balance = await self._eth.balance(self.address)
        used = (gas - call.spare) * GAS_MARGIN[1] // GAS_MARGIN[0] if call.gas is None else gas
        return FeeQuote(gas, base_fee, most, used * base_fee + call.value, gas * most + call.value, balance)

    async def submit(self, key: str, call: TxCall) -> Outcome:
        """Get ``call`` onto the chain once, whatever happens, and answer how it ended.

        ``key`` is the idempotency key: the same key is the same transaction, also after a restart, until ``release``.
        Raises ``InsufficientFunds``, ``FeeAboveCap`` or ``TxRefused`` when the chain's node will not have it, and
        ``ChainUnreachable`` when nothing has left yet; calling again goes on from there. Cancelling leaves a journaled
        transaction that may still land: call again with the same key to learn how it ended.
        """
        await self._load()
        tries = 0
        while True:
            try:
                flight = self._flights.get(key)
                if flight is None:
                    gas = await gas_or_reason(self._eth, self._reverts, call, self.address)
                    if isinstance(gas, Reverted):
                        self._counts["reverted"] += 1
                        return gas
                    flight = await self._depart(key, call, gas)
                return await self._land(flight, call)
            except _NonceTaken as taken:
                self._counts["dropped"] += 1
                self._flights.pop(key, None)
                await self._journal.done(key)
                tries += 1
                if tries > self._set.resigns:
                    return Dropped(taken.flight.nonce, taken.flight.versions[-1].hash)

    async def knows(self, key: str) -> bool:
        """Whether something was signed under the key and it was not released since: before a restart, maybe."""
        await self._load()
        return key in self._flights

    async def release(self, key: str) -> None:
        """Forget the key. Call it once the outcome is recorded; a later ``submit`` of it would send again."""
        await self._load()
        self._flights.pop(key, None)
        await self._journal.done(key)

    async def tidy(self, wanted: Collection[str]) -> None:
        """After a restart: release every journaled key that is not ``wanted`` any more and whose nonce is used."""
        await self._load()
        used = await lowest_told(self._eth, self.address)
        for flight in list(self._flights.values()):
            if flight.key not in wanted and flight.nonce < used:
                await self.release(flight.key)

    def statistics(self) -> SubmitterStatistics:
        """Counts since start."""
        return SubmitterStatistics(in_flight=len(self._flights), **self._counts)

    # leaving

    async def _load(self) -> None:
        async with self._turn:
            if self._loaded:
                return
            for entry in await self._journal.pending():
                offered, priority, gas = fees_of(entry.raw)
                version = SignedTx(entry.raw, Hash32(entry.hash), entry.nonce, offered, priority, gas)
                flight = self._flights.get(entry.key)
                if flight is None or flight.nonce != entry.nonce:
                    self._flights[entry.key] = _Flight(entry.key, entry.nonce, [version])
                else:
                    flight.versions.append(version)
            self._loaded = True

    async def _depart(self, key: str, call: TxCall, gas: int) -> _Flight:
        """Sign under the next free nonce, journal, send. It may or may not be known then."""
        if len(self._flights) >= MAX_IN_FLIGHT:
            raise ChainError(f"{MAX_IN_FLIGHT} transactions await their end", why="their keys were never released")
        check_agreement(self._eth.rpc)
        async with self._turn:
            if (other := self._flights.get(key)) is not None:
                return other
            nonce = await self._nonces.next(
                {flight.nonce for flight in self._flights.values() if not flight.landed and not flight.refused}
            )
            # Refused ones may share the nonce; equal calls would then share bytes and hash, and so their fate.
            gas += sum(flight.nonce == nonce for flight in self._flights.values())
            signed = await self._sign(nonce, call, gas, at_least=None)
            await self._journal.put(key, nonce, signed.raw, signed.hash)
            flight = self._flights[key] = _Flight(key, nonce, [signed])
            self._counts["sent"] += 1
            await self._send(flight, call)
            return flight

    async def _sign(self, nonce: int, call: TxCall, gas: int, at_least: SignedTx | None) -> SignedTx:
        most, priority = max_fee(await told_base_fee(self._eth, self._set.fee_cap), self._set.fee_cap), 0
        if at_least is not None:
            # go-ethereum replaces only for a strictly higher tip, so the tip of 0 becomes 1 wei.
            most = min(self._set.fee_cap, max(most, _bumped(at_least.max_fee)))
            priority = _bumped(at_least.priority_fee)
        tx = UnsignedTx(self._eth.rpc.chain_id, nonce, priority, most, gas, call.to, call.value, call.data)
        try:
            return sign(tx, self._signer)
        except ValueError as error:
            raise TxRefused("the transaction cannot be encoded", why=str(error)) from error

    async def _send(self, flight: _Flight, call: TxCall) -> None:
        """Hand in the newest version. Returns when it is, or may be, known to the chain."""
        flight.sent_at = trio.current_time()
        newest = flight.versions[-1]
        try:
            await self._eth.send_raw(newest.raw, newest.hash)
        except ChainUnreachable:
            return  # it may have left before the line broke; ``_land`` sends it again
        except RpcError as error:
            await self._declined(flight, call, error)

    async def _declined(self, flight: _Flight, call: TxCall, error: RpcError) -> None:
        match classify(error.why):
            case Refusal.KNOWN | Refusal.NONCE_HIGH | Refusal.UNDERPRICED:
                return
            case Refusal.NONCE_LOW:
                await self._check_nonce(flight)
            case Refusal.FEE_LOW:
                if await self._replace(flight, call):
                    await self._send(flight, call)
            case Refusal.FUNDS:
                flight.refused = True
                raise InsufficientFunds(
                    "the operator's account cannot pay for the transaction",
                    why=error.why,
                    fix=f"mesh wallet show   (send ether for gas to 0x{self.address.hex()})",
                    endpoint=error.endpoint,
                ) from error
            case Refusal.REVERT | Refusal.OTHER:
                flight.refused = True
                raise TxRefused("the chain refuses the transaction", why=error.why, endpoint=error.endpoint) from error

    # arriving

    async def _land(self, flight: _Flight, call: TxCall) -> Outcome:
        """Wait for the receipt of any version, sending again and replacing as needed. Raises ``_NonceTaken``."""
        pause = self._set.poll_s
        flight.landed = False
        if flight.sent_at < 0 or flight.refused:
            flight.sent_at = trio.current_time() - self._set.stuck_s
        while True:
            stuck = trio.current_time() - flight.sent_at >= self._set.stuck_s
            receipt = await self._receipt_if_reachable(flight, anywhere=stuck)
            if receipt is not None:
                flight.landed = True
                self._nonces.landed(flight.nonce, receipt.tx_hash)
                self._counts["gas_used"] += receipt.gas_used
                self._counts["confirmed" if receipt.status else "reverted"] += 1
                return await ending(self._eth, self._reverts, call, self.address, receipt, flight.versions[-1].gas)
            if stuck:
                async with self._turn:
                    await self._unstick(flight, call)
            await trio.sleep(pause)
            pause = min(pause * 1.5, self._set.poll_max_s)

    async def _receipt(self, flight: _Flight, *, anywhere: bool) -> Receipt | None:
        for version in reversed(flight.versions):
            receipt = await self._eth.agreed_receipt(version.hash, anywhere=anywhere)
            if receipt is not None:
                return receipt
        return None

    async def _receipt_if_reachable(self, flight: _Flight, *, anywhere: bool) -> Receipt | None:
        try:
            return await self._receipt(flight, anywhere=anywhere)
        except (ChainUnreachable, RpcError):
            return None

    async def _unstick(self, flight: _Flight, call: TxCall) -> None:
        """No receipt for long: send what comes before it, then this again, at a better price if it waits for one."""
        flight.sent_at = trio.current_time()
        try:
            used = await lowest_told(self._eth, self.address)
            if await is_used(self._eth, self.address, flight.nonce):
                await self._check_nonce(flight)
                return
            if flight.refused:
                if any(f.nonce == flight.nonce and not f.refused for f in self._flights.values()):
                    return  # another key has the nonce now; once it has landed, this one is signed anew
                flight.refused = False
            earlier = [f for f in self._flights.values() if used <= f.nonce < flight.nonce and not f.landed]
            for other in sorted(earlier, key=lambda f: f.nonce):
                await self._resend(other)
            if await self._eth.transaction(flight.versions[-1].hash) is None or not await self._replace(flight, call):
                self._counts["resent"] += 1
            await self._send(flight, call)
            await self._eth.spread_raw(flight.versions[-1].raw)
        except (ChainUnreachable, FeeAboveCap, RpcError):
            return  # the next round tries again

    async def _resend(self, flight: _Flight) -> None:
        self._counts["resent"] += 1
        newest = flight.versions[-1]
        try:
            await self._eth.send_raw(newest.raw, newest.hash)
        except RpcError:
            return  # its own task will hear the same and deal with it

    async def _replace(self, flight: _Flight, call: TxCall) -> bool:
        """Add a better paying version. False when the cap or the count of versions forbids it."""
        newest = flight.versions[-1]
        if _bumped(newest.max_fee) > self._set.fee_cap or len(flight.versions) >= MAX_VERSIONS:
            return False
        signed = await self._sign(flight.nonce, call, newest.gas, at_least=newest)
        await self._journal.put(flight.key, flight.nonce, signed.raw, signed.hash)
        flight.versions.append(signed)
        self._counts["replaced"] += 1
        return True

    async def _check_nonce(self, flight: _Flight) -> None:
        """The nonce is said to be used. Raises ``_NonceTaken`` only if every look says: not by us."""
        for look in range(_LOOKS):
            if look:
                await trio.sleep(self._set.poll_s)
            try:
                found = await self._receipt(flight, anywhere=True)
                if found is not None or not await is_used(self._eth, self.address, flight.nonce):
                    return
            except (ChainUnreachable, RpcError):
                return  # nobody can tell now, and what was signed may have left
        self._nonces.taken(flight.nonce)
        raise _NonceTaken(flight)


def _bumped(fee: int) -> int:
    return fee * _BUMP[0] // _BUMP[1] + 1
