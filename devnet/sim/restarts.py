"""Is nothing forgotten and nothing paid twice, whichever durable step a node dies at? With the shipped store on a real disk.

One deal is made once to count the steps of each role. Then the same history is told again for every step and both of its
sides: killed before the transaction (as if it never happened) and killed after it (before any of its effects left). The
node comes back two seconds later from its SQLite file alone.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from devnet.sim.disk import Rows
from devnet.sim.invariants import violations
from devnet.sim.node import SimNode
from devnet.sim.simulate import settle
from devnet.sim.workload import FUNDS, offer_of, submit
from devnet.sim.world import World
from mesh.store.batch import Batch, apply_batch, read_snapshot
from mesh.store.database import Database, open_database
from mesh.store.outbox import OutboxEntry
from mesh.store.rows import Row
from protocols.canonical import decode_strict, encode
from protocols.deals.states import Settled
from protocols.effects import DurableEffect, OutboxItem
from protocols.runs import Done
from protocols.state import Row as StateRow

__all__ = ["StoreDisk", "node_restarts"]

QUOTA: Final = 64 << 20
TRACE_KEPT: Final = 100
BACK_MS: Final = 2_000
LIMIT_MS: Final = 120_000
SUBMITTED_MS: Final = 4_000
ROLES: Final = ("client", "provider")
SIDES: Final = ("before", "after")
QUICK_STEPS: Final = 4
"""Steps per role in the quick form, spread over the whole deal."""


class StoreDisk:
    """A `Disk` that is the shipped store: its file, its schema, its transactions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Database | None = open_database(path, quota_bytes=QUOTA)

    def _open(self) -> Database:
        if self._database is None:
            self._database = open_database(self._path, quota_bytes=QUOTA)
        return self._database

    def load(self) -> tuple[Rows, list[DurableEffect]]:
        """See ``Disk``."""
        found = read_snapshot(self._open().readers[0])
        effects: list[DurableEffect] = [
            decode_strict(OutboxItem, entry.payload, max_bytes=1 << 20).effect for entry in found.outbox
        ]
        return [(row.kind, row.id, row.data) for row in found.rows], effects

    def commit(self, rows: Sequence[StateRow], fresh: Sequence[DurableEffect], gone: Sequence[str]) -> None:
        """See ``Disk``."""
        batch = Batch(
            puts=[Row(row.kind, row.id, row.version, row.data) for row in rows if row.data is not None],
            outbox=[
                OutboxEntry(effect.key, type(effect).__name__, encode(OutboxItem(effect)))  # type: ignore[arg-type]
                for effect in fresh
            ],
            acks=list(gone),
        )
        writer = self._open().writer
        writer.execute("BEGIN IMMEDIATE")
        apply_batch(writer, batch, now_s=0, trace_kept=TRACE_KEPT)
        writer.execute("COMMIT")

    def crash(self) -> None:
        """See ``Disk``: the files are let go as they are."""
        if self._database is not None:
            self._database.close()
            self._database = None


class _History:
    """One deal between one client and one of two providers, with one death at most."""

    def __init__(self, seed: int, folder: Path) -> None:
        folder.mkdir()
        disks = iter(range(1_000))
        self.world = World(seed, disk=lambda: StoreDisk(folder / f"{next(disks)}.db"))
        self.client = self.world.add(free=FUNDS, stake=0)
        self.providers = [self.world.add(free=0, stake=FUNDS) for _ in range(2)]
        for node in self.providers:
            node.offer = offer_of(self.world, node)

    def tell(self, role: str = "", step: int = 0, side: str = "") -> None:
        """Run it to its end; ``role`` dies at ``step``. The provider that dies is the one with the deal."""
        world = self.world
        if role == "client":
            self.client.die_at = (step, side)
        elif role == "provider":
            for node in self.providers:
                node.die_at = (step, side)
        for node in (self.client, *self.providers):
            node.start()
        world.after(SUBMITTED_MS, lambda: submit(world, self.client, 1))
        while world.now < LIMIT_MS and not self._over():
            world.run(world.now + BACK_MS)
            for node in (self.client, *self.providers):
                if not node.up:
                    node.die_at = None
                    node.revive()
            if self.client.up and world.now > SUBMITTED_MS and not self.client.state.durable.runs:
                submit(world, self.client, 1)  # its owner was never told that it was taken
        settle(world)

    def _over(self) -> bool:
        runs = self.client.state.durable.runs.values()
        return self.client.up and any(isinstance(run.status, Done) and run.status.settled for run in runs)

    def steps(self) -> dict[str, int]:
        """Durable steps of each role: of the client, and of the provider that had the most to do."""
        return {"client": self.client.steps, "provider": max(node.steps for node in self.providers)}

    def problems(self) -> list[str]:
        """What is not as it must be at the end."""
        found = list(violations(self.world, ended=True))
        runs = list(self.client.state.durable.runs.values())
        if len(runs) != 1 or not isinstance(runs[0].status, Done) or not runs[0].status.settled:
            found.append(f"the run ended as {[type(run.status).__name__ for run in runs]}")
        deals = [half.state for half in self.client.state.durable.deals.values()]
        paid = [deal for deal in deals if isinstance(deal, Settled) and deal.paid]
        if len(paid) != 1:
            found.append(f"{len(paid)} deals were paid")
        return found

    def close(self) -> None:
        """Let the files go."""
        for node in (self.client, *self.providers):
            _let_go(node)


def _let_go(node: SimNode) -> None:
    node.disk.crash()


def _chosen(count: int, quick: bool) -> list[int]:
    """Every step, or a few spread evenly."""
    if not quick or count <= QUICK_STEPS:
        return list(range(1, count + 1))
    return sorted({1 + number * (count - 1) // (QUICK_STEPS - 1) for number in range(QUICK_STEPS)})


def node_restarts(seed: int, quick: bool) -> dict[str, Any]:
    """Kill each role at its durable steps (``quick``: some of them), before and after the transaction.

    Answers counts, and ``problems``: a sentence for each that went wrong, empty when none did.
    """
    problems: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory(prefix="mesh-restarts-") as made:
        place = Path(made)
        plain = _History(seed, place / "plain")
        plain.tell()
        problems += [f"undisturbed: {one}" for one in plain.problems()]
        steps = plain.steps()
        plain.close()
        for role in ROLES:
            for step in _chosen(steps[role], quick):
                for side in SIDES:
                    told = _History(seed, place / f"{role}-{step}-{side}")
                    told.tell(role, step, side)
                    killed += 1
                    problems += [f"{role} killed {side} step {step}: {one}" for one in told.problems()]
                    told.close()
    return {"steps": steps, "deaths": killed, "problems": problems}
