"""What do the tests of the shell share? A node's loop under rules that a test writes down, over a real store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from devnet.sim.memory_link import MemoryHub, open_hub
from devnet.sim.signer import KeyRing, SimSigner
from mesh.base.clock import ManualClock
from mesh.engine import Engine
from mesh.store import Store
from protocols import effects as fx
from protocols import events as ev
from protocols.deals.eip712 import Deal, Domain, Enforcement, Level, Metering, SettlementMode
from protocols.env import Env
from protocols.limits import DEVNET
from protocols.state import NodeState
from protocols.units import ZERO_ADDRESS, ZERO_HASH, Hash32, JobId, Millis, PeerId, RunId, Seconds, Tokens, UnixSeconds

NOBODY = PeerId(bytes(39))


class Script:
    """Rules that answer the n-th event with the n-th list of effects, and remember the events."""

    def __init__(self) -> None:
        self.answers: dict[int, list[fx.Effect]] = {}
        self.events: list[ev.Event] = []
        self.change: Callable[[NodeState], None] = lambda state: None
        """What every event does to the state besides."""

    def __call__(self, state: NodeState, event: ev.Event, env: Env) -> list[fx.Effect]:
        self.events.append(event)
        self.change(state)
        if isinstance(event, ev.Ticked):
            state.timers.pop_due(event.at)
        if isinstance(event, ev.CancelRequested):
            return self.answers.get(event.run_id[0], [])
        return []

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Loop:
    """An engine with its script, over the store at ``path``. ``open`` it again to play a restart."""

    def __init__(self, path: Path, signer: SimSigner, clock: Any) -> None:
        self.script = Script()
        self.clock = clock
        self.env = Env(params=DEVNET, signer=signer, domain=Domain(DEVNET.chain_id, DEVNET.escrow))
        self.performed: list[fx.Effect] = []
        self.forgotten: list[str] = []
        self._path = path
        self._number = 0

    async def open(self, nursery: trio.Nursery, **settings: Any) -> Engine:
        """A running engine; cancel the nursery to kill it, then ``close``."""
        self.store = await Store.open(self._path, **settings)
        self.state = NodeState("devnet")
        self.engine = Engine(self.state, self.env, self.store, self.clock, self.script)
        self.engine.connect(self.performed.append, self.forgotten.append)
        return self.engine

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(partial(self.engine.run))

    def say(self, *effects: fx.Effect) -> ev.Event:
        """An event that the rules answer with ``effects``."""
        self._number += 1
        self.script.answers[self._number] = list(effects)
        return ev.CancelRequested(at=Millis(0), run_id=RunId(bytes([self._number]) * 32))

    async def post(self, *effects: fx.Effect, acks: tuple[str, ...] = ()) -> None:
        await self.engine.post(self.say(*effects), acks=acks)


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing(1)


@pytest.fixture
async def loop(nursery: trio.Nursery, tmp_path: Path, ring: KeyRing) -> AsyncIterator[Loop]:
    """A running loop whose effects are only noted."""
    made = Loop(tmp_path / "node.db", ring.signer(), ManualClock())
    await made.open(nursery)
    await made.start(nursery)
    yield made
    await made.store.aclose()


@pytest.fixture
def make_loop(tmp_path: Path, ring: KeyRing) -> Callable[..., Loop]:
    """A loop that is not running yet, over the same file each time."""
    signer = ring.signer()
    return lambda name="node": Loop(tmp_path / f"{name}.db", signer, ManualClock())


@pytest.fixture
async def hub() -> AsyncIterator[MemoryHub]:
    async with open_hub(latency_s=0.001) as made:
        yield made


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Poll a real condition: ``await eventually(lambda: ...)`` fails after 90 s."""

    async def poll(condition: Callable[[], bool]) -> None:
        with trio.fail_after(90):
            while not condition():
                await trio.sleep(0.005)

    return poll


@pytest.fixture
def message() -> Callable[..., fx.SendDurably]:
    """A durable message: ``message("send:aa:hi")``."""

    def make(key: str, data: bytes = b"x", peer: PeerId = NOBODY) -> fx.SendDurably:
        return fx.SendDurably(key=key, peer=peer, protocol="/mesh/deal/1", data=data)

    return make


def make_deal(**changes: Any) -> Deal:
    """A deal within the devnet's bounds."""
    plain = Deal(
        client=ZERO_ADDRESS,
        provider=ZERO_ADDRESS,
        token=ZERO_ADDRESS,
        run_nonce=7,
        index=0,
        job_id=JobId(b"\x01" * 32),
        image=Hash32(b"\x02" * 32),
        gpus=(),
        price=Tokens(1000),
        metering=Metering.FIXED,
        collateral=Tokens(8000),
        level=Level.EXACT,
        level_params=ZERO_HASH,
        numeric_class=ZERO_HASH,
        enforcement=Enforcement.SELF,
        audit_ppm=0,
        seat_fee=Tokens(0),
        seat_class=0,
        seat_snapshot=0,
        client_secret_hash=Hash32(b"\x03" * 32),
        provider_secret_hash=Hash32(b"\x04" * 32),
        commit_by=UnixSeconds(1 << 32),
        exec_seconds=Seconds(60),
        claim_seconds=Seconds(60),
        window_seconds=Seconds(60),
        settlement=SettlementMode.COMMIT,
    )
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture(name="make_deal")
def _make_deal() -> Callable[..., Deal]:
    """See ``make_deal``; a fixture, because test files are not imported by name."""
    return make_deal
