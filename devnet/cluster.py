"""How does a whole network run on one machine? One chain, deployed and funded; N node processes with real libp2p."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from devnet.beacon import BeaconServer
from devnet.chain import ChainHandle, DevAccount, run_chain
from devnet.errand import Errand, Grant, run_errand
from devnet.layout import claim
from devnet.members import Member, MemberPlan
from devnet.spawner import Forked, Spawner, open_spawner
from protocols.disputes.params import DEVNET_PANEL

__all__ = ["ClusterPlan", "ProcessCluster", "open_cluster"]

FUNDS: Final = 1_000 * 10**18
"""Tokens in the escrow each node starts with, wei: a client's are free, half of a provider's is staked and it has no more."""
SEATS_IN_ALL: Final = 12
"""What a devnet's mediators have together: the two panels of a dispute, and two to replace who is silent."""
GUESTS: Final = 24
"""Accounts kept for members that join later."""
_BARE: Final[Mapping[str, str]] = {}
"""The chain needs nothing from the environment."""


class ClusterPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which network to start."""

    providers: int = 3
    clients: int = 1
    mediators: int = 0
    """They share ``SEATS_IN_ALL`` seats of the panel. With none, nobody signs a deal that a panel judges."""
    slots: int = 1
    chain: Literal["auto", "anvil", "pyevm"] = "auto"
    block_time_s: float = 1.0
    epoch_blocks: int = 1
    """Blocks from the head to the tag ``safe``, and on to ``finalized``."""


class ProcessCluster:
    """A running devnet. Members are reached by name: ``client-1``, ``provider-2``."""

    def __init__(self, home: Path, chain: ChainHandle, spawner: Spawner, contracts: Errand) -> None:
        self.home = home
        self.chain = chain
        self.escrow = contracts.escrow
        self.token = contracts.token
        self.panel = contracts.panel
        self.members: dict[str, Member] = {}
        self.beacon = BeaconServer()
        self._spawner = spawner
        self.accounts_used = 1
        """Of the chain's accounts; the first one is the purse's."""

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    @property
    def providers(self) -> list[Member]:
        """The providers, by number."""
        return [one for one in self.members.values() if "provider" in one.plan.roles]

    @property
    def clients(self) -> list[Member]:
        """The clients, by number."""
        return [one for one in self.members.values() if "client" in one.plan.roles]

    @property
    def mediators(self) -> list[Member]:
        """The mediators, by number."""
        return [one for one in self.members.values() if "mediator" in one.plan.roles]

    def plan(self, name: str, roles: tuple[str, ...], slots: int = 1, **extra: dict[str, object]) -> Member:
        """A member that is not started yet, with the key of the devnet's next account.

        A name is given once (ValueError): a second process in the home of the first would be nobody's to end.
        """
        if name in self.members:
            raise ValueError(f"the network already has a member {name}; a scenario names its own members apart")
        bootstrap = tuple(address for one in list(self.members.values())[:3] for address in one.addresses[:1])
        plan = MemberPlan(
            name=name,
            roles=roles,
            rpc=(self.chain.rpc_url,),
            escrow=self.escrow,
            token=self.token,
            panel=self.panel,
            chain_id=self.chain.chain_id,
            bootstrap=bootstrap,
            beacon=(self.beacon.url,),
            slots=slots,
            extra=extra,
        )
        account = self._next_account()
        member = self.members[name] = Member(self.home / name, plan, self._spawner, account)
        return member

    def _next_account(self) -> DevAccount:
        self.accounts_used += 1
        return self.chain.accounts[self.accounts_used - 1]

    async def add(
        self,
        name: str,
        roles: tuple[str, ...],
        slots: int = 1,
        *,
        program: str = "mesh",
        seats: int = 1,
        free: int = 0,
        **extra: dict[str, object],
    ) -> Member:
        """Give a new member money (``free``: wei of it beside what a provider stakes), a mediator its seats, and start it."""
        member = self.plan(name, roles, slots, **extra)
        member.program = program
        await self.endow(member, seats, free)
        await member.start()
        return member

    async def restart(self, name: str) -> None:
        """Start a member again. It keeps its port, and must know somebody to dial, as anybody's node does."""
        member = self.members[name]
        others = [one for one in self.members.values() if one is not member and one.running]
        bootstrap = tuple(address for one in others[:3] for address in one.addresses[:1])
        member.plan = msgspec.structs.replace(member.plan, bootstrap=bootstrap)
        await member.start()

    async def endow(self, member: Member, seats: int = 1, free: int = 0) -> None:
        """Tokens for a member that joins later; gas it has, as every account of the devnet."""
        assert member.account is not None
        grant = _grant(member.account.index, member.plan.roles, seats_each=seats, free=free)
        await run_errand(
            self._spawner, self.chain, self.home, (grant,), escrow=self.escrow, token=self.token, panel=self.panel
        )

    async def meet(self, least_offers: int) -> None:
        """Wait until every client knows that many offers."""
        with trio.fail_after(60):
            for member in self.clients:
                async with member.api() as api:
                    while (await api.status()).offers < least_offers:
                        await trio.sleep(0.05)


def _grant(account: int, roles: tuple[str, ...], seats_each: int, free: int = 0) -> Grant:
    seats = seats_each if "mediator" in roles else 0
    bonds = seats * DEVNET_PANEL.seat_bond
    if "provider" in roles:
        return Grant(account, str(FUNDS // 2 + bonds + free), str(FUNDS // 2), seats)
    return Grant(account, str(FUNDS + bonds + free), seats=seats)


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
    names = _names(plan)
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        spawner = await stack.enter_async_context(open_spawner(home / "spawner.log"))

        async def fork(arguments: list[str], log: Path) -> Forked:
            process = await spawner.fork("chain", arguments, cwd=home, environment=_BARE, log=log)
            nursery.start_soon(spawner.load, "purse")
            return process

        starter = partial(
            run_chain,
            kind=plan.chain,
            accounts=1 + len(names) + GUESTS,
            block_time_s=plan.block_time_s,
            epoch_blocks=plan.epoch_blocks,
            log=home / "chain.log",
            fork=fork,
        )
        chain: ChainHandle = await nursery.start(starter)
        each = -(-SEATS_IN_ALL // plan.mediators) if plan.mediators else 0
        grants = tuple(_grant(1 + number, roles, each) for number, (_, roles) in enumerate(names))
        contracts = await _prepare(spawner, chain, home, grants)
        cluster = ProcessCluster(home, chain, spawner, contracts)
        try:
            await nursery.start(partial(cluster.beacon.run))
            await _populate(cluster, plan, names)
            yield cluster
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as ending:
                    for member in cluster.members.values():
                        ending.start_soon(member.stop)


async def _prepare(spawner: Spawner, chain: ChainHandle, home: Path, grants: tuple[Grant, ...]) -> Errand:
    """Deploy and fund; as soon as the purse is on its way, the fork server loads what a node needs."""
    async with trio.open_nursery() as nursery:
        return await run_errand(
            spawner, chain, home, grants, meanwhile=lambda: nursery.start_soon(spawner.load, "mesh")
        )


def _names(plan: ClusterPlan) -> list[tuple[str, tuple[str, ...]]]:
    names: list[tuple[str, tuple[str, ...]]] = [(f"provider-{n + 1}", ("provider",)) for n in range(plan.providers)]
    names += [(f"client-{n + 1}", ("client",)) for n in range(plan.clients)]
    return [*names, *((f"mediator-{n + 1}", ("mediator",)) for n in range(plan.mediators))]


async def _populate(cluster: ProcessCluster, plan: ClusterPlan, names: list[tuple[str, tuple[str, ...]]]) -> None:
    """The first provider first, so that the others have somebody to dial; then all at once."""
    await cluster.plan(*names[0], slots=plan.slots).start()
    async with trio.open_nursery() as nursery:
        for name, roles in names[1:]:
            nursery.start_soon(cluster.plan(name, roles, plan.slots).start)
    await cluster.meet(plan.providers)
