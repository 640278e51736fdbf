"""How does a whole network run on one machine? One chain, deployed and funded; N node processes with real libp2p."""

import importlib
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import trio

from devnet.chain import ChainHandle, run_chain
from devnet.layout import claim
from devnet.members import Member, MemberPlan
from devnet.spawner import Spawner, open_spawner
from protocols.units import Address

if TYPE_CHECKING:
    from devnet.purse import Purse

__all__ = ["ClusterPlan", "ProcessCluster", "open_cluster"]

PURSE: Final = "devnet.purse"
"""Loaded while the chain starts: it brings web3, which takes a second."""
FUNDS: Final = 1_000 * 10**18
"""Tokens each node starts with: half deposited, half staked where it provides."""


class ClusterPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which network to start."""

    providers: int = 3
    clients: int = 1
    slots: int = 1
    chain: Literal["auto", "anvil", "pyevm"] = "auto"
    block_time_s: float = 1.0


class ProcessCluster:
    """A running devnet. Members are reached by name: ``client-1``, ``provider-2``."""

    def __init__(self, home: Path, chain: ChainHandle, purse: "Purse", spawner: Spawner) -> None:
        self.home = home
        self._spawner = spawner
        self.chain = chain
        self.purse = purse
        self.members: dict[str, Member] = {}

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def providers(self) -> list[Member]:
        """The providers, by number."""
        return [one for one in self.members.values() if "provider" in one.plan.roles]

    @property
    def clients(self) -> list[Member]:
        """The clients, by number."""
        return [one for one in self.members.values() if "provider" not in one.plan.roles]

    def plan(self, name: str, roles: tuple[str, ...], slots: int = 1, **extra: dict[str, object]) -> Member:
        """A member that is not started yet."""
        bootstrap = tuple(address for one in list(self.members.values())[:3] for address in one.addresses[:1])
        plan = MemberPlan(
            name=name,
            roles=roles,
            rpc=(self.chain.rpc_url,),
            escrow="0x" + self.purse.escrow.hex(),
            token="0x" + self.purse.token.hex(),  # an address
            chain_id=self.chain.chain_id,
            bootstrap=bootstrap,
            slots=slots,
            extra=extra,
        )
        member = self.members[name] = Member(self.home / name, plan, self._spawner)
        return member

    async def add(self, name: str, roles: tuple[str, ...], slots: int = 1, **extra: dict[str, object]) -> Member:
        """Start a member and give it money."""
        member = self.plan(name, roles, slots, **extra)
        await member.start()
        await self.endow(member)
        return member

    async def restart(self, name: str) -> None:
        """Start a member again. It took a free port and gets another: it must know somebody to dial, as anybody's node does."""
        member = self.members[name]
        others = [one for one in self.members.values() if one is not member and one.running]
        bootstrap = tuple(address for one in others[:3] for address in one.addresses[:1])
        member.plan = msgspec.structs.replace(member.plan, bootstrap=bootstrap)
        await member.start()

    async def endow(self, member: Member) -> None:
        """Gas and tokens from the devnet's purse; the node itself deposits and stakes, as its owner would."""
        await self.purse.give(Address(bytes.fromhex(member.operator[2:])), FUNDS)
        half = str(FUNDS // 2)
        async with member.api() as api:
            if "provider" in member.plan.roles:
                await api.deposit(half)
                await api.stake(half)
            else:
                await api.deposit(str(FUNDS))

    async def meet(self, least_offers: int) -> None:
        """Wait until every client knows that many offers."""
        with trio.fail_after(60):
            for member in self.clients:
                async with member.api() as api:
                    while (await api.status()).offers < least_offers:
                        await trio.sleep(0.05)


@asynccontextmanager
async def open_cluster(home: Path, plan: ClusterPlan | None = None) -> AsyncIterator[ProcessCluster]:
    """A devnet below ``home`` (emptied first) that ends with the block: every process it started is gone."""
    plan = plan or ClusterPlan()
    with claim(home):
        async with _fresh_cluster(home, plan) as cluster:
            yield cluster


@asynccontextmanager
async def _fresh_cluster(home: Path, plan: ClusterPlan) -> AsyncIterator[ProcessCluster]:
    await trio.to_thread.run_sync(partial(shutil.rmtree, home, ignore_errors=True))
    home.mkdir(mode=0o700, parents=True)
    count = plan.providers + plan.clients + 12
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        starter = partial(
            run_chain, kind=plan.chain, accounts=count, block_time_s=plan.block_time_s, log=home / "chain.log"
        )
        spawner = await stack.enter_async_context(open_spawner(home / "spawner.log"))
        async with trio.open_nursery() as loading:
            loading.start_soon(trio.to_thread.run_sync, importlib.import_module, PURSE)
            chain: ChainHandle = await nursery.start(starter)
        async with importlib.import_module(PURSE).open_purse(chain) as purse:
            cluster = ProcessCluster(home, chain, purse, spawner)
            try:
                await _populate(cluster, plan)
                yield cluster
            finally:
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as ending:
                        for member in cluster.members.values():
                            ending.start_soon(member.stop)
        nursery.cancel_scope.cancel()


async def _populate(cluster: ProcessCluster, plan: ClusterPlan) -> None:
    """The first provider first, so that the others have somebody to dial; then all at once, and the money meanwhile."""
    names = [(f"provider-{n + 1}", ("provider",)) for n in range(plan.providers)]
    names += [(f"client-{n + 1}", ("client",)) for n in range(plan.clients)]
    first = cluster.plan(*names[0], slots=plan.slots)
    await first.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.endow, first)
        for name, roles in names[1:]:
            nursery.start_soon(_join, cluster, cluster.plan(name, roles, plan.slots))
    await cluster.meet(plan.providers)


async def _join(cluster: ProcessCluster, member: Member) -> None:
    await member.start()
    await cluster.endow(member)
