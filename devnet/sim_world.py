"""How does a scenario see the simulator? `World` behind the `Cluster` seam: the same scripts, on virtual time."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeVar

from devnet.process_world import job_file, job_sets
from devnet.scenario import Failed, JobChoice
from devnet.sim.node import SimNode
from devnet.sim.simulate import offer_of
from devnet.sim.world import World
from mesh.api.channels import channel_command, channel_info
from mesh.api.submission import market_terms
from mesh.api.text import deal_info, prefix_of, run_info
from mesh.api.types import Added, BalanceInfo, ChannelInfo, DealInfo, RunInfo, TraceInfo
from mesh.base.config import load_config
from mesh.cli.jobfile import load_job
from mesh.cli.submitting import submission_of
from protocols import events as ev
from protocols import views
from protocols.canonical import tagged_digest
from protocols.hashing import sha256
from protocols.job.canonical import Resolved, canonical_job, job_id_of, run_id_of
from protocols.job.peers import peer_to_text
from protocols.messages.negotiation import InputRoot
from protocols.transfer.cid import cid_text, parse_cid
from protocols.units import Cid, DealId, Millis, PeerId

__all__ = ["SimWorld"]

T = TypeVar("T")
STEP_MS: Final = 50
FUNDS: Final = 1_000 * 10**18
MODULE: Final = Cid(bytes.fromhex("01551220") + sha256(b"pi.wasm"))
WARM_UP_MS: Final = 5_000


class _Withheld(dict[DealId, PeerId]):
    """Grants that are remembered and not honoured."""

    def get(self, key: DealId, default: object = None) -> None:  # type: ignore[override]
        """Nothing is served."""


class SimWorld:
    """A `Cluster` of simulated nodes."""

    world = "sim"

    def __init__(self, seed: int, providers: int, clients: int) -> None:
        self._world = World(seed)
        self._nodes: dict[str, SimNode] = {}
        self._nonce = seed * 1_000
        for number in range(providers):
            node = self._nodes[f"provider-{number + 1}"] = self._world.add(free=0, stake=FUNDS)
            node.offer = offer_of(self._world, node)
        for number in range(clients):
            self._nodes[f"client-{number + 1}"] = self._world.add(free=FUNDS, stake=0)
        for node in self._nodes.values():
            node.start()
        self._pass(WARM_UP_MS)

    def __enter__(self) -> "SimWorld":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close: the world is memory."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers."""
        return tuple(name for name in self._nodes if name.startswith("provider"))

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the clients."""
        return tuple(name for name in self._nodes if name.startswith("client"))

    def _pass(self, milliseconds: int) -> None:
        self._world.run(self._world.now + milliseconds)

    async def submit(self, client: str, job: JobChoice) -> str:
        """See ``Cluster``: the real job file, read and canonicalised like any other."""
        node = self._nodes[client]
        spec = load_job(job_file(job), sets=job_sets(job), env=(), environ={})
        sources = tuple((MODULE, 4_096) for _ in spec.inputs)
        canonical = canonical_job(spec, Resolved(MODULE, 4_096, sources))
        added = (Added(cid=cid_text(MODULE), size=4_096),)
        submission = submission_of(spec, canonical, added, load_config(flags={}, env={}), now=node.wall)
        self._nonce += 1
        node.post(
            ev.RunSubmitted(
                at=self._world.now,
                job=submission.job,
                inputs=tuple(InputRoot(root=parse_cid(one.cid), size=one.size) for one in submission.inputs),
                market=market_terms(submission),
                run_nonce=self._nonce,
                entropy=tagged_digest("sim-scenario", self._nonce.to_bytes(8, "big")),
                wall=node.wall,
            )
        )
        return "0x" + run_id_of(job_id_of(canonical), node.env.signer.address, self._nonce).hex()

    async def run(self, client: str, run_id: str) -> RunInfo:
        """See ``Cluster``."""
        prefix = prefix_of(run_id)
        found = views.find_runs(self._nodes[client].state, *prefix) if prefix else ()
        if len(found) != 1:
            raise Failed(f"{client} knows {len(found)} runs {run_id[:10]}")
        return run_info(found[0])

    async def until(self, client: str, run_id: str, holds: Callable[[RunInfo], bool], limit_s: float) -> RunInfo:
        """See ``Cluster``."""
        end = self._world.now + limit_s * 4_000
        while self._world.now < end:
            found = await self.run(client, run_id)
            if holds(found):
                return found
            self._pass(STEP_MS)
        raise Failed(f"run {run_id[:10]} did not get there within {limit_s:g} s")

    async def until_deal(self, node: str, deal_id: str, holds: Callable[[DealInfo], bool], limit_s: float) -> DealInfo:
        """See ``Cluster``."""
        end = self._world.now + limit_s * 4_000
        prefix = prefix_of(deal_id)
        while self._world.now < end and prefix is not None:
            found = views.find_deals(self._nodes[node].state, *prefix)
            if found and holds(deal_info(found[0])):
                return deal_info(found[0])
            self._pass(STEP_MS)
        raise Failed(f"deal {deal_id[:10]} did not get there within {limit_s:g} s")

    async def trace(self, client: str, run_id: str) -> tuple[TraceInfo, ...]:
        """See ``Cluster``: simulated nodes keep no trace."""
        return ()

    async def balance(self, node: str) -> BalanceInfo:
        """See ``Cluster``: gas costs nothing here."""
        operator = "0x" + self._nodes[node].env.signer.address.hex()
        free, stake = self._world.balance(self._nodes[node])
        return BalanceInfo(
            operator=operator, owner=operator, native="0", token="0", free=str(free), stake=str(stake), symbol="MESH"
        )

    async def until_channel(self, node: str, holds: Callable[[ChannelInfo], bool], limit_s: float) -> ChannelInfo:
        """See ``Cluster``."""
        end = self._world.now + limit_s * 4_000
        while self._world.now < end:
            infos = map(channel_info, self._nodes[node].state.durable.channels.values())
            found = next(filter(holds, infos), None)
            if found is not None:
                return found
            self._pass(STEP_MS)
        raise Failed(f"no channel of {node} got there within {limit_s:g} s")

    async def channel(self, node: str, verb: str, peer: str, wei: int = 0) -> None:
        """See ``Cluster``."""
        self._nodes[node].post(channel_command(verb, await self.peer_id(peer), str(wei), Millis(self._world.now)))
        self._pass(STEP_MS)

    async def peer_id(self, node: str) -> str:
        """See ``Cluster``."""
        return peer_to_text(self._nodes[node].me)

    async def transactions(self) -> int:
        """See ``Cluster``."""
        return sum(self._world.chain.done.values())

    async def stdout(self, client: str, run_id: str) -> bytes:
        """See ``Cluster``: the root stands for the output."""
        found = await self.run(client, run_id)
        return (found.root or "").encode()

    async def kill(self, name: str) -> None:
        """See ``Cluster``."""
        self._nodes[name].kill()

    async def start(self, name: str) -> None:
        """See ``Cluster``."""
        self._nodes[name].start()
        self._pass(1_000)

    async def withhold(self, client: str, withholding: bool) -> None:
        """See ``Cluster``."""
        node = self._nodes[client]
        node.served = _Withheld(node.served) if withholding else dict(node.served)

    async def pass_time(self, seconds: int) -> None:
        """See ``Cluster``: here there is one clock, and all of the world lives through that time."""
        self._pass(seconds * 1_000)

    def now(self) -> float:
        """See ``Cluster``: virtual seconds."""
        return self._world.now / 1000
