"""Where did every token go? ``mesh spend``: by run and in all, from this home's store, and what the chain says beside it.

The store is read while a node runs or not. The account is pure (`protocols.spending`); gas is added up from the receipts of the
transactions in the node's own journal, and the owner's balance is asked for so that the sums can be compared with it.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from mesh.base.config import LoadedConfig, Paths
from mesh.base.errors import NodeUnreachable, UsageError
from mesh.cli.options import Form
from mesh.cli.render import amount, emit, pairs, short, table
from protocols.spending import Spending, Sums
from protocols.units import DealId, Hash32, RunId

if TYPE_CHECKING:
    from mesh.chain.eth import Eth

__all__ = ["SpendInfo", "show_spending"]

AT_ONCE: Final = 8
"""Receipts asked for at a time: an endpoint answers that many without calling it a flood."""
FIELDS: Final = Sums.__struct_fields__


_Sent = tuple[RunId | None, Hash32]
"""Which run a transaction was for, and its hash."""


class GasInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What transactions cost, wei of the chain's own coin."""

    wei: str
    transactions: int
    unknown: int
    """Transactions whose receipt no endpoint has: their cost is not in ``wei``."""


class RunSpend(msgspec.Struct, frozen=True, kw_only=True):
    """One run; amounts as in `SpendInfo`."""

    run_id: str
    name: str
    status: str
    budget: str
    deals: int
    sums: dict[str, str]
    gas: GasInfo


class BalanceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's account at the escrow now, and what that means: ``put_in`` is what was deposited, less what was taken out,
    if every line above is right."""

    free: str
    stake: str
    leaving: str
    put_in: str


class SpendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The whole account. Amounts are decimal strings in wei: ``sums`` has the fields of `protocols.spending.Sums`."""

    symbol: str
    runs: tuple[RunSpend, ...]
    provided: dict[str, str]
    channels: dict[str, str]
    total: dict[str, str]
    change: str
    """What all of it did to free balance and stake."""
    gas: GasInfo
    balance: BalanceCheck | None


class _Gas:
    """Costs by the run that they were for: wei, transactions, transactions unknown."""

    def __init__(self) -> None:
        self.by_run: dict[RunId, list[int]] = {}
        self.total = [0, 0, 0]

    def add(self, run_id: RunId | None, wei: int | None) -> None:
        """One transaction; ``wei`` None when nobody has its receipt."""
        entry = [wei or 0, int(wei is not None), int(wei is None)]
        mine = self.by_run.setdefault(run_id, [0, 0, 0]) if run_id is not None else [0, 0, 0]
        for where in (self.total, mine):
            where[:] = [a + b for a, b in zip(where, entry, strict=True)]

    def of(self, run_id: RunId) -> GasInfo:
        """A run's."""
        return _gas_info(self.by_run.get(run_id, [0, 0, 0]))


def _gas_info(entry: Sequence[int]) -> GasInfo:
    return GasInfo(wei=str(entry[0]), transactions=entry[1], unknown=entry[2])


async def show_spending(loaded: LoadedConfig, run: str, no_chain: bool, output: Form) -> None:
    """What ``mesh spend`` does."""
    found = await account(loaded, with_chain=not no_chain)
    if run:
        wanted = run.lower().removeprefix("0x")
        runs = tuple(one for one in found.runs if one.run_id.removeprefix("0x").startswith(wanted))
        if not runs:
            raise UsageError(f"no run of this home begins with {run}", fix="mesh ps -a")
        emit(runs[0] if len(runs) == 1 else runs, output, lambda: _runs_table(runs, found.symbol))
        return
    emit(found, output, lambda: _text(found))


async def account(loaded: LoadedConfig, *, with_chain: bool) -> SpendInfo:
    """Read the store, add up, and ask the chain. Raises ``StoreError``, ``ChainError``."""
    from mesh.chain.presets import chain_preset
    from mesh.store.offline import open_reader
    from protocols.spending import spending
    from protocols.state import NodeState

    state = NodeState(chain_preset(loaded.config.network.name).name)
    async with open_reader(Paths(loaded.home).store_file) as store:
        for row in (await store.load()).rows:
            state.durable.restore(row.kind, row.id, row.data)
        journal = await store.transactions()
    books = spending(state)
    names = {run_id: _job_name(state.durable.jobs.get(run.job_id)) for run_id, run in state.durable.runs.items()}
    runs_of = {deal_id: half.state.terms.run_id for deal_id, half in state.durable.deals.items()}
    asked: dict[int, list[_Sent]] = {}
    for one in journal:
        asked.setdefault(one.nonce, []).append((_run_of(one.key, runs_of), Hash32(one.hash)))
    gas, balance = await _ask_chain(loaded, asked, books) if with_chain else (_Gas(), None)
    return _info(books, names, gas, balance, loaded)


def _job_name(body: bytes | None) -> str:
    from protocols.job.canonical import CanonicalJob

    return CanonicalJob.decode(body).name if body else ""


def _run_of(key: str, runs_of: dict[DealId, RunId]) -> RunId | None:
    """``tx:DEAL:purpose`` and ``panel:DEAL:purpose`` are about a deal; the owner's own and a channel's about none."""
    kind, _, rest = key.partition(":")
    name = rest.partition(":")[0]
    return runs_of.get(DealId(bytes.fromhex(name))) if kind in ("tx", "panel") and len(name) == 64 else None


async def _ask_chain(
    loaded: LoadedConfig, asked: Mapping[int, Sequence[_Sent]], books: Spending
) -> tuple[_Gas, BalanceCheck]:
    from mesh.base.keys import load_key
    from mesh.chain.contracts import Contracts
    from mesh.chain.eth import Eth
    from mesh.chain.rpc import open_rpc
    from mesh.cli.node_key import key_path, unlock
    from mesh.cli.offline import PATIENCE
    from mesh.cli.waiting import slow_chain
    from mesh.ledger import network_params
    from mesh.wallet import read_balance

    chain, params = loaded.config.chain, network_params(loaded.config)
    if not key_path(loaded).exists():
        raise NodeUnreachable(
            "this home has no wallet yet", why=f"there is no key {key_path(loaded)}", fix="mesh key new"
        )
    me = load_key(key_path(loaded), unlock(loaded)).address
    gas = _Gas()
    urls = (*chain.rpc, *chain.public_rpc)
    async with open_rpc(urls, params.chain_id, jitter=random.random, settings=PATIENCE) as rpc, slow_chain(rpc):
        eth = Eth(rpc)
        await _receipts(eth, asked, gas)
        found = await read_balance(
            Contracts(rpc, escrow=chain.escrow_address, token=chain.token_address), eth, me, params.token_symbol
        )
    leaving = sum(int(one.amount) for one in found.withdrawals)
    put_in = int(found.free) + int(found.stake) + leaving - books.total.change
    return gas, BalanceCheck(free=found.free, stake=found.stake, leaving=str(leaving), put_in=str(put_in))


async def _receipts(eth: "Eth", asked: Mapping[int, Sequence[_Sent]], gas: _Gas) -> None:
    """By nonce: of a transaction and its replacements one at most is in a block."""
    turn = trio.CapacityLimiter(AT_ONCE)

    async def one(versions: Sequence[_Sent]) -> None:
        for run_id, tx in versions:
            async with turn:
                receipt = await eth.receipt(tx)
            if receipt is not None:
                gas.add(run_id, receipt.gas_used * receipt.gas_price)
                return
        gas.add(versions[0][0], None)

    async with trio.open_nursery() as nursery:
        for versions in asked.values():
            nursery.start_soon(one, versions)


def _info(
    books: Spending, names: dict[RunId, str], gas: _Gas, balance: BalanceCheck | None, loaded: LoadedConfig
) -> SpendInfo:
    from mesh.chain.presets import chain_preset

    runs = tuple(
        RunSpend(
            run_id="0x" + one.run_id.hex(),
            name=names.get(one.run_id, ""),
            status=one.status,
            budget=str(int(one.budget)),
            deals=len(one.deals),
            sums=_shown(one.sums),
            gas=gas.of(one.run_id),
        )
        for one in books.runs
    )
    return SpendInfo(
        symbol=chain_preset(loaded.config.network.name).params.token_symbol,
        runs=runs,
        provided=_shown(_added(one.sums for one in books.provided)),
        channels=_shown(_added(one.sums for one in books.channels)),
        total=_shown(books.total),
        change=str(books.total.change),
        gas=_gas_info(gas.total),
        balance=balance,
    )


def _added(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for one in parts:
        total = total.plus(one)
    return total


def _shown(sums: Sums) -> dict[str, str]:
    return {name: str(int(getattr(sums, name))) for name in FIELDS}


# --- for people --------------------------------------------------------------------------------------------------


def _text(found: SpendInfo) -> str:
    parts = [_runs_table(found.runs, found.symbol)] if found.runs else []
    words = (
        ("paid for work", found.total["paid"]),
        ("burned as fees, of that and of what was earned", found.total["fees"]),
        ("came back", found.total["refunded"]),
        ("penalties received", found.total["penalties_received"]),
        ("locked now", found.total["locked"]),
        ("signed, not locked yet", found.total["promised"]),
        ("earned", found.total["earned"]),
        ("earned, in vouchers not redeemed", found.total["owed"]),
        ("penalties paid", found.total["penalties_paid"]),
    )
    rows = [(word, amount(wei, found.symbol)) for word, wei in words if wei != "0"]
    rows.append(("change of free balance and stake", _signed(found.change, found.symbol)))
    if found.balance is not None:
        rows.append(("gas", _gas_text(found.gas)))
        rows.append(("free in escrow, staked", f"{amount(found.balance.free)}, {amount(found.balance.stake)}"))
        rows.append(("put in, less what was taken out", _signed(found.balance.put_in, found.symbol)))
    return "\n\n".join([*parts, pairs(rows)])


def _runs_table(runs: Sequence[RunSpend], symbol: str) -> str:
    head = ["RUN", "JOB", "STATUS", "DEALS", "PAID", "FEES IN IT", "CAME BACK", "PENALTIES", "LOCKED", "GAS"]
    rows = [
        [
            short(one.run_id),
            one.name or "-",
            one.status,
            str(one.deals),
            *(amount(one.sums[name], symbol) for name in ("paid", "fees", "refunded", "penalties_received", "locked")),
            _gas_text(one.gas),
        ]
        for one in runs
    ]
    least = ("PENALTIES", "LOCKED", "CAME BACK", "DEALS", "FEES IN IT", "GAS")
    return table(head, rows, least=least)


def _gas_text(gas: GasInfo) -> str:
    text = f"{amount(gas.wei, 'ETH')} in {gas.transactions}"
    return f"{text}, {gas.unknown} unknown" if gas.unknown else text


def _signed(wei: str, symbol: str) -> str:
    value = int(wei)
    return f"-{amount(str(-value), symbol)}" if value < 0 else amount(wei, symbol)
