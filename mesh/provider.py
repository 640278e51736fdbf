"""What does this node offer? Its probes and its owner's configuration, as one offer that the rules advertise.

The executor is probed at the start and every few seconds afterwards: an offer whose executor no longer passes is withdrawn
within ten seconds and returns by itself.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from multiaddr import Multiaddr

from mesh.base.clock import Clock
from mesh.base.config import Config
from mesh.base.config.policy import PolicyFile, read_policy
from mesh.base.observe import get_log
from mesh.base.tasks import Started
from mesh.engine import Engine
from mesh.exec.executor import Capability, ExecError, Executor, IsolationLevel
from protocols.events import ProviderChanged
from protocols.limits import NetworkParams
from protocols.mediation.machine import Machine
from protocols.offers.policy import Conditions
from protocols.offers.records import Ask, ExecutorOffer, ResourceOffer
from protocols.units import PeerId, UnixSeconds

__all__ = ["Advertiser", "addresses_of", "conditions_now", "machine_for", "machine_memory_mib", "offer_for", "offer_of"]

PROBE_EVERY_S: Final = 8.0
"""A probe takes a fraction of a second; with it a broken executor is noticed within ten."""
PROBE_MOST_S: Final = 60.0
"""Ten times a probe's longest on a loaded two-core node."""
MAX_ADDRESSES: Final = 4
MAX_ADDRESS_BYTES: Final = 96
"""Of an offer: `protocols.offers.records.Addresses`."""
QUEUE: Final = 1
"""One job may wait behind the running ones (PROTOCOL.md 3)."""
WASM_DETERMINISM: Final = 3
"""D3: bit-equal anywhere within the class (research: exec.md 8)."""

log = get_log("provider")


def machine_memory_mib() -> int:
    """Physical memory of this machine, MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def machine_for(config: Config) -> Machine:
    """What runs of cases may take of this machine: as much as jobs of deals may, by the owner's word."""
    mine = config.provider
    return Machine(
        memory_mib=mine.memory_mib or machine_memory_mib() * 3 // 4,
        disk_mib=mine.disk_mib,
        blobs_mib=config.store.blob_quota_mib,
    )


def offer_of(config: Config, engine: Engine, addresses: tuple[bytes, ...] = ()) -> ResourceOffer:
    """This node's offer, as its configuration describes it."""
    return offer_for(config, engine.env.me, engine.env.params, addresses)


def offer_for(
    config: Config, provider: PeerId, params: NetworkParams, addresses: tuple[bytes, ...] = ()
) -> ResourceOffer:
    """The offer that a configuration describes; one job may use the machine's share of one slot."""
    mine = config.provider
    cores = mine.cpus or os.cpu_count() or 1
    memory = mine.memory_mib or machine_memory_mib() * 3 // 4
    return ResourceOffer(
        provider=provider,
        sequence=0,
        expires=UnixSeconds(0),
        cpus_milli=max(cores * 1000 // mine.slots, 1),
        memory_mib=max(memory // mine.slots, 1),
        disk_mib=max(mine.disk_mib // mine.slots, 1),
        executors=(ExecutorOffer("wasm", WASM_DETERMINISM),),
        ask=Ask(mine.price_per_cpu_s, mine.price_per_gib_s, mine.price_per_gpu_s, mine.price_floor),
        token=params.token,
        escrow=params.escrow,
        addresses=addresses,
        max_wall_s=mine.max_job_s,
        free_slots=mine.slots,
    )


def conditions_now(programs: Sequence[str]) -> Conditions:
    """What can be measured of this machine now; ``programs`` are those by which its owner is known to be at work.

    Blocking: reads the names of all processes, about 20 microseconds each. No GPU is measured in this version.
    """
    wanted = set(programs)
    if not wanted:
        return Conditions()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            name = (folder / "comm").read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError):  # it has ended meanwhile, or calls itself something else
            continue
        if name in wanted:
            return Conditions(own_use=f"{name} runs")
    return Conditions()


class Advertiser:
    """Keeps the offer true to what the probes find, and the owner's policy to what the machine does."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        executor: Executor,
        clock: Clock,
        listening: Callable[[], tuple[str, ...]],
    ) -> None:
        """Raises ``ConfigError`` when the policy file cannot be used."""
        self._config = config
        self._engine = engine
        self._executor = executor
        self._clock = clock
        self._listening = listening
        self.capability: Capability | None = None
        named = config.provider.policy_file
        self._policy = read_policy(Path(named).expanduser()) if named else PolicyFile()

    async def run(self, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Probe, advertise, and watch until cancelled; started when the first probe is done."""
        known: tuple[bool, Conditions] | None = None
        while True:
            self.capability = await self._probe()
            conditions = await trio.to_thread.run_sync(conditions_now, self._policy.programs)
            if known != (self.capability.available, conditions):
                known = self.capability.available, conditions
                await self._change(*known)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(PROBE_EVERY_S)

    async def _probe(self) -> Capability:
        """What the executor finds; one that cannot even be asked, or does not answer, is broken."""
        reason = f"its probe did not end within {PROBE_MOST_S:g} s"
        with trio.move_on_after(PROBE_MOST_S):
            try:
                return await self._executor.probe()
            except* (ExecError, OSError) as group:
                reason = f"its probe failed: {group.exceptions[0]}"
        return Capability(
            kind=self._executor.kind,
            available=False,
            isolation_level=IsolationLevel.L0,
            determinism="",
            reason=reason,
            self_test=(),
        )

    def _addresses(self) -> tuple[bytes, ...]:
        """Where clients may dial: what the owner announces, else where this node listens."""
        return addresses_of(self._config.network.announce or self._listening())

    async def _change(self, available: bool, conditions: Conditions) -> None:
        reason = self.capability.reason if self.capability else ""
        own_use = conditions.own_use
        log.info("provider.offers" if available else "provider.withdraws", reason=reason, own_use=own_use)
        offer = offer_of(self._config, self._engine, self._addresses()) if available else None
        slots = self._config.provider.slots
        changed = ProviderChanged(
            at=self._clock.monotonic_ms(),
            offer=offer,
            slots=slots,
            queue=QUEUE,
            policy=self._policy.policy,
            conditions=conditions,
        )
        await self._engine.post(changed)


def addresses_of(texts: Sequence[str]) -> tuple[bytes, ...]:
    """Binary multiaddrs for an offer, at most four, shortest first; one that is too long for a record is left out."""
    packed = sorted({Multiaddr(text).to_bytes() for text in texts}, key=lambda one: (len(one), one))
    return tuple(one for one in packed if len(one) <= MAX_ADDRESS_BYTES)[:MAX_ADDRESSES]
