"""A node that does as a test says, behind the real socket, and a command line to talk to it with."""

import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial, partialmethod
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from mesh.api.mediation import SeatsInfo
from mesh.api.server import serve_api
from mesh.api.types import (
    Added,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    DealInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    RunInfo,
    Submission,
    TraceInfo,
    TxInfo,
)
from mesh.base.errors import UsageError
from mesh.cli.app import main

TOKEN = 10**18
RUN_ID = "0x1f3a" + "cd" * 30
DEAL_ID = "0x77aa" + "ef" * 30
TX = "0x9b" + "01" * 31
PEER = "16Uiu2HAmPeerOfTheTests"


def parsed(kind: Any, text: str) -> Any:
    """A value of the API as it stands on the wire."""
    return msgspec.json.decode(text, type=kind)


DEAL = parsed(
    DealInfo,
    f"""{{"deal_id": "{DEAL_ID}", "role": "client", "phase": "settled", "run_id": "{RUN_ID}",
    "job_id": "0x{"22" * 32}", "client": "16Uiu2HAmClient", "provider": "{PEER}",
    "client_operator": "0x{"0c" * 20}", "provider_operator": "0x{"0d" * 20}",
    "price": "{TOKEN // 2}", "collateral": "0", "paid": "{TOKEN // 2}", "audit_ppm": 20000,
    "enforcement": "self", "seat_fee": "0",
    "commit_by": 1800000000,
    "commit_tx": "{TX}", "committed_at": 1800000000, "final_tx": "0x{"fe" * 32}", "final_how": "settled",
    "checked": "bytes", "outcome": "exited", "exit_code": 0, "fuel": 1000, "wall_ms": 250, "root": "bafyresult",
    "size": 300, "detail": "", "hint": ""}}""",
)
OFFER = parsed(
    OfferInfo,
    f"""{{"provider": "{PEER}", "slot": 0, "sequence": 1, "expires": 1900000000, "capability": "c",
    "cpus_milli": 1500, "memory_mib": 512, "disk_mib": 512, "gpus": [], "executors": ["wasm D3"],
    "cpu_second": "{10**13}", "gib_second": "{10**12}", "gpu_second": "{10**15}", "minimum": "{10**15}",
    "token": "0x{"0e" * 20}", "region": "eu", "labels": {{}}, "max_wall_s": 3600, "free_slots": 2,
    "reliability_ppm": 987654, "age_s": 65}}""",
)
RUN = parsed(
    RunInfo,
    f"""{{"run_id": "{RUN_ID}", "job_id": "0x{"22" * 32}", "name": "pi", "status": "done", "code": "", "detail": "",
    "submitted": 1800000000, "root": "bafyresult", "outcome": "exited", "exit_code": 0, "checked": "bytes",
    "settled": true, "spent": "{TOKEN // 2}", "max_price": "{TOKEN}", "budget": "{TOKEN}",
    "deals": [], "candidates": []}}""",
)
STATUS = parsed(
    NodeStatus,
    f"""{{"version": "0.1", "network": "devnet", "chain_id": 31337, "peer_id": "{PEER}",
    "operator": "0x{"0c" * 20}", "roles": ["client", "provider"], "addresses": ["/ip4/127.0.0.1/tcp/4021"],
    "peers": 3, "offers": 2, "uptime_s": 3700, "pid": {os.getpid()}, "home": "", "chain_block": 7,
    "chain_time": 1800000000,
    "endpoints": [{{"url": "127.0.0.1", "serving": true, "state": "ready", "calls": 9, "failures": 1}}],
    "provider": {{"offering": true, "draining": false, "slots": 2, "busy": 1, "holds": 0, "capability": "c",
    "executors": ["wasm"], "isolation": "L2", "reason": ""}},
    "deals": 4, "live_deals": 1, "runs": 2, "events": 50, "outbox": 0, "blobs_bytes": 100}}""",
)
BALANCE = parsed(
    BalanceInfo,
    f"""{{"operator": "0x{"0c" * 20}", "owner": "0x{"0c" * 20}", "native": "{TOKEN // 100}", "token": "{3 * TOKEN}",
    "free": "{TOKEN // 2}", "stake": "0", "symbol": "MESH", "withdrawals":
    [{{"verb": "withdraw", "amount": "{TOKEN}", "ready_at": 1800000000}}]}}""",
)


def deal(**changes: Any) -> DealInfo:
    """A deal of the run below; ``changes`` say where it differs from one that ended well."""
    return msgspec.structs.replace(DEAL, **changes)


def run(**changes: Any) -> RunInfo:
    """A run that ended well, but for ``changes``."""
    answers = (candidate("chosen", price=str(TOKEN // 2)), candidate("refused", code="busy", detail="no slot"))
    return msgspec.structs.replace(RUN, **{"deals": (DEAL,), "candidates": answers} | changes)


def candidate(verdict: str, **changes: Any) -> CandidateInfo:
    plain = CandidateInfo(provider=PEER, round=1, verdict=verdict, price=None, code="", detail="")
    return msgspec.structs.replace(plain, **changes)


SEARCHING = {"status": "searching", "deals": (), "settled": False, "root": None, "outcome": None, "exit_code": None}


class FakeNode:
    """Every call answers from an attribute that the test may change; ``asked`` remembers calls and arguments.

    ``story`` is what a run is at each look; its last state stays.
    """

    def __init__(self, home: Path) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.failing: dict[str, Exception] = {}
        self.story: list[RunInfo] = [run()]
        self.log = {"stdout": b"3.14159\n", "stderr": b""}
        self.log_live = False
        self.trace = [
            TraceInfo(seq=1, at=1_800_000_000, name="run.submitted", subject=RUN_ID, fields={"name": "pi"}),
            TraceInfo(seq=2, at=1_800_000_001, name="run.done", subject=RUN_ID, fields={}),
        ]
        self.answered = [candidate("quoted", price=str(TOKEN // 4)), candidate("refused", code="busy", detail="full")]
        self.account = BALANCE
        self.offer_list = [OFFER]
        self.channel_list: list[ChannelInfo] = []
        self.dossier = b"dossier"
        self.found: SeatsInfo | None = None
        self.busy = [0]
        self.stopped = trio.Event()
        self.about = msgspec.structs.replace(STATUS, home=str(home))

    def _note(self, name: str, **arguments: Any) -> None:
        self.asked.append((name, arguments))
        if name in self.failing:
            raise self.failing[name]

    def arguments(self, name: str) -> dict[str, Any]:
        """Of the last call of that name."""
        return next(given for asked, given in reversed(self.asked) if asked == name)

    def _look(self, name: str) -> RunInfo:
        if not RUN_ID.startswith(name):
            raise UsageError(f"{name} names no run", why="no run of this node begins with it", fix="mesh ps -a")
        return self.story.pop(0) if len(self.story) > 1 else self.story[0]

    async def status(self) -> NodeStatus:
        self._note("status")
        busy = self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]
        mine = self.about.provider and msgspec.structs.replace(self.about.provider, busy=busy)
        return msgspec.structs.replace(self.about, provider=mine)

    async def add(self, path: Path) -> Added:
        self._note("add", path=path)
        return Added(cid="bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", size=path.stat().st_size)

    async def export(self, cid: str, destination: Path) -> None:
        self._note("export", cid=cid, destination=destination)
        destination.mkdir()
        (destination / "stdout").write_bytes(self.log["stdout"])

    async def submit(self, submission: Submission) -> str:
        self._note("submit", submission=submission)
        return RUN_ID

    async def quote(self, submission: Submission) -> tuple[CandidateInfo, ...]:
        self._note("quote", submission=submission)
        return tuple(self.answered)

    async def runs(self) -> tuple[RunInfo, ...]:
        self._note("runs")
        return tuple(self.story)

    async def run(self, run: str) -> RunInfo:
        self._note("run", run=run)
        return self._look(run)

    async def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        self._note("events", run=run, since=since, follow=follow)
        for one in self.trace:
            if one.seq > since:
                yield one
        if follow:
            await trio.sleep_forever()

    async def logs(self, run: str, stream: str, offset: int) -> LogInfo:
        self._note("logs", run=run, stream=stream, offset=offset)
        part = self.log[stream][offset : offset + 4] if self.log_live else self.log[stream][offset:]
        return LogInfo(data=part, live=self.log_live)

    async def cancel(self, run: str) -> RunInfo:
        self._note("cancel", run=run)
        self.story = [msgspec.structs.replace(self._look(run), status="cancelled")]
        return self.story[0]

    async def retry(self, run: str) -> RunInfo:
        self._note("retry", run=run)
        return msgspec.structs.replace(self._look(run), status="searching")

    async def deals(self) -> tuple[DealInfo, ...]:
        self._note("deals")
        return self.story[-1].deals

    async def deal(self, deal: str) -> DealInfo:
        self._note("deal", deal=deal)
        if not DEAL_ID.startswith(deal):
            raise UsageError(f"{deal} names no deal", why="no deal of this node begins with it", fix="mesh deals")
        return self.story[-1].deals[0]

    async def evidence(self, deal: str) -> bytes:
        self._note("evidence", deal=deal)
        return self.dossier

    async def offers(self, expression: str = "") -> tuple[OfferInfo, ...]:
        self._note("offers", expression=expression)
        return tuple(self.offer_list)

    async def peers(self) -> tuple[PeerInfo, ...]:
        self._note("peers")
        one = PeerInfo(
            peer=PEER, address="/ip4/1.2.3.4/tcp/1", connected_s=9, dialled=True, score=0, round_trip_ms=1.25
        )
        return (one,)

    async def balance(self) -> BalanceInfo:
        self._note("balance")
        return self.account

    async def _pay(self, what: str, amount: str) -> TxInfo:
        self._note(what, amount=amount)
        return TxInfo(tx=TX, block=8, gas_used=50_000, fee_wei="1")

    deposit = partialmethod(_pay, "deposit")
    withdraw = partialmethod(_pay, "withdraw")
    stake = partialmethod(_pay, "stake")
    unstake = partialmethod(_pay, "unstake")

    async def channels(self) -> tuple[ChannelInfo, ...]:
        self._note("channels")
        return tuple(self.channel_list)

    async def channel(self, verb: str, peer: str, amount: str) -> None:
        self._note("channel", verb=verb, peer=peer, amount=amount)

    async def seats(self) -> SeatsInfo:
        self._note("seats")
        assert self.found is not None
        return self.found

    async def leave_seats(self, seat_class: int, numbers: tuple[int, ...]) -> tuple[TxInfo, ...]:
        self._note("leave_seats", seat_class=seat_class, numbers=numbers)
        return ()

    async def drain(self, draining: bool) -> None:
        self._note("drain", draining=draining)

    async def stop(self) -> None:
        self._note("stop")
        self.stopped.set()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home on a devnet without contracts, which is also the current folder. Short: sockets want that."""
    folder = Path(tempfile.mkdtemp(prefix="mesh"))
    for name in [name for name in os.environ if name.startswith("MESH_") and name not in ("MESH_CI", "MESH_FULL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("MESH_NETWORK_NAME", "devnet")
    monkeypatch.setenv("MESH_NETWORK_MDNS", "false")
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    yield folder / "home"
    shutil.rmtree(folder)


@contextmanager
def serving(api: FakeNode, socket: Path) -> Iterator[None]:
    """The node answers on ``socket`` from a thread of its own until the block ends or it is stopped."""
    listening = threading.Event()
    inside: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def node() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_api, api, socket))
            inside.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            listening.set()
            await api.stopped.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(node,), daemon=True)
    thread.start()
    assert listening.wait(60)
    token, scope = inside[0]
    try:
        yield
    finally:
        with suppress(trio.RunFinishedError):  # `mesh down` was faster
            token.run_sync_soon(scope.cancel)
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def node(home: Path) -> Iterator[FakeNode]:
    """A node that runs in this home."""
    home.mkdir(mode=0o700)
    fake = FakeNode(home)
    with serving(fake, home / "api.sock"):
        yield fake


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    talk: str

    @property
    def json(self) -> Any:
        """stdout as one JSON value."""
        return msgspec.json.decode(self.out)

    @property
    def lines(self) -> list[Any]:
        """stdout as JSON lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    def failed(self, code: int, *words: str) -> None:
        """The command ended with ``code``, printed no data, said ``words``, and what to type next."""
        assert (self.code, self.out) == (code, "")
        assert self.talk.splitlines()[-1].startswith("  try: "), self.talk
        for word in words:
            assert word in self.talk


@pytest.fixture
def mesh(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``mesh("ps", "-a")`` runs the command in this process."""

    def command(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def run_of() -> Callable[..., RunInfo]:
    return run


@pytest.fixture
def deal_of() -> Callable[..., DealInfo]:
    return deal


@pytest.fixture
def searching(run_of: Callable[..., RunInfo]) -> RunInfo:
    """A run that has just begun."""
    return run(**SEARCHING)


@pytest.fixture
def job(home: Path) -> Path:
    """A job file with its module, in the current folder."""
    Path("pi.wasm").write_bytes(b"\0asm\1\0\0\0")
    file = Path("job.yaml")
    file.write_text("version: 1\nname: pi\nmodule: ./pi.wasm\nmarket: {max_price: 2 MESH, budget: 3 MESH}\n")
    return file


@pytest.fixture
def serve() -> Callable[[FakeNode, Path], Any]:
    """``with serve(FakeNode(home), socket)``: a node that comes later."""
    return serving


@pytest.fixture
def new_node(home: Path) -> Callable[[], FakeNode]:
    return partial(FakeNode, home)
