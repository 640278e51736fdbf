"""A node's API that answers from a table and remembers what it was asked, served on a real unix socket."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from mesh.api.client import RemoteApi, open_remote
from mesh.api.mediation import CaseInfo, MediatorInfo, SeatInfo, SeatsInfo
from mesh.api.server import serve_api
from mesh.api.types import (
    Added,
    BalanceInfo,
    CandidateInfo,
    ChannelInfo,
    DealInfo,
    EndpointInfo,
    LogInfo,
    NodeStatus,
    OfferInfo,
    PeerInfo,
    ProviderInfo,
    RunInfo,
    Submission,
    TraceInfo,
    TxInfo,
)

WEI = str(2**200 + 1)
ID = "0x" + "ab" * 32
PROVIDER = ProviderInfo(
    offering=True,
    draining=False,
    slots=2,
    busy=1,
    holds=0,
    capability="c",
    executors=("wasm",),
    isolation="L2",
    reason="",
)
STATUS = NodeStatus(
    version="0.1",
    network="devnet",
    chain_id=31337,
    peer_id="16Uiu2H",
    operator="0x" + "00" * 20,
    roles=("client", "provider"),
    addresses=("/ip4/127.0.0.1/tcp/1",),
    peers=3,
    offers=2,
    uptime_s=9,
    pid=4,
    home="/h",
    chain_block=7,
    chain_time=8,
    endpoints=(EndpointInfo(url="h", serving=True, state="ready", calls=1, failures=0, head_block=7),),
    provider=PROVIDER,
    deals=1,
    live_deals=1,
    runs=1,
    events=5,
    outbox=0,
    blobs_bytes=10,
)
CANDIDATE = CandidateInfo(provider="p", round=1, verdict="refused", price=None, code="busy", detail="no “slot”\x1b[2J")
DEAL = DealInfo(
    deal_id=ID,
    role="client",
    phase="settled",
    run_id=ID,
    job_id=ID,
    client="c",
    provider="p",
    client_operator="0x1",
    provider_operator="0x2",
    price=WEI,
    collateral="0",
    paid=WEI,
    audit_ppm=20_000,
    enforcement="self",
    seat_fee="0",
    commit_by=1,
    commit_tx=ID,
    committed_at=2,
    final_tx=ID,
    final_how="settled",
    checked="bytes",
    outcome="exited",
    exit_code=0,
    fuel=2**63 - 1,
    wall_ms=12,
    root="bafy",
    size=3,
    detail="",
    hint="",
)
RUN = RunInfo(
    run_id=ID,
    job_id=ID,
    name="pi",
    status="done",
    code="",
    detail="",
    submitted=1,
    root="bafy",
    outcome="exited",
    exit_code=0,
    checked="bytes",
    settled=True,
    spent=WEI,
    max_price=WEI,
    budget=WEI,
    deals=(DEAL,),
    candidates=(CANDIDATE,),
)
OFFER = OfferInfo(
    provider="p",
    slot=0,
    sequence=4,
    expires=9,
    capability="c",
    cpus_milli=1500,
    memory_mib=64,
    disk_mib=64,
    gpus=("H200 141000 MiB",),
    executors=("wasm D3",),
    cpu_second="1",
    gib_second="1",
    gpu_second="1",
    minimum=WEI,
    token="0x3",
    region="eu",
    labels={"a": "b"},
    max_wall_s=60,
    free_slots=1,
    reliability_ppm=None,
)
SUBMISSION = Submission(
    job=bytes(range(256)),
    inputs=(Added(cid="bafy", size=2**40),),
    max_price=WEI,
    budget=WEI,
    target="p",
    run_nonce=2**63,
)
SEATS = SeatsInfo(
    seats=(SeatInfo(seat_class=1, number=7, bond=WEI, locked="3", joined_at=5, out_at=0),),
    account="9",
    free=WEI,
    seat_bond=WEI,
    seat_age_s=86_400,
    resign_s=1,
    work=MediatorInfo(
        cases=(CaseInfo(deal_id=ID, phase="drawn", until=9, round=1, places=2, fee=WEI, step="executes"),),
        paid=3,
        fees=WEI,
        lost=1,
        burned="3",
    ),
    symbol="MESH",
)
SAMPLES: dict[str, tuple[dict[str, Any], Any]] = {
    "status": ({}, STATUS),
    "add": ({"path": Path("/a b/ü")}, Added(cid="bafy", size=0)),
    "export": ({"cid": "bafy", "destination": Path("/x/y")}, None),
    "submit": ({"submission": SUBMISSION}, ID),
    "quote": ({"submission": SUBMISSION}, (CANDIDATE,)),
    "runs": ({}, (RUN, RUN)),
    "run": ({"run": "abab"}, RUN),
    "logs": ({"run": "abab", "stream": "stdout", "offset": 2**40}, LogInfo(data=b"\x00\xff\n", live=True)),
    "cancel": ({"run": "abab"}, RUN),
    "retry": ({"run": "abab"}, RUN),
    "deals": ({}, (DEAL,)),
    "deal": ({"deal": "abab"}, DEAL),
    "evidence": ({"deal": "abab"}, bytes(range(256))),
    "offers": ({"expression": "cpus >= 2"}, (OFFER,)),
    "peers": (
        {},
        (PeerInfo(peer="p", address="/ip4/1.2.3.4/tcp/1", connected_s=3, dialled=True, score=-2, round_trip_ms=None),),
    ),
    "balance": (
        {},
        BalanceInfo(operator="0x1", owner="0x2", native="0", token=WEI, free="1", stake="2", symbol="MESH"),
    ),
    "deposit": ({"amount": WEI}, TxInfo(tx=ID, block=3, gas_used=50_000, fee_wei="7")),
    "withdraw": ({"amount": "0"}, TxInfo(tx=ID, block=3, gas_used=50_000, fee_wei="7")),
    "stake": ({"amount": "1"}, TxInfo(tx=ID, block=3, gas_used=50_000, fee_wei="7")),
    "channels": (
        {},
        (
            ChannelInfo(
                role="client",
                phase="open",
                peer=ID,
                deposit=WEI,
                paid="7",
                redeemed="0",
                deals=3,
                deals_root=ID,
                until=1,
                owing="",
            ),
        ),
    ),
    "channel": ({"verb": "fund", "peer": ID, "amount": WEI}, None),
    "unstake": ({"amount": "1"}, TxInfo(tx=ID, block=3, gas_used=50_000, fee_wei="7")),
    "seats": ({}, SEATS),
    "join_seats": ({"count": 2, "seat_class": 1}, (TxInfo(tx=ID, block=3, gas_used=90_000, fee_wei="7"),)),
    "leave_seats": ({"seat_class": 1, "numbers": (0, 7)}, ()),
    "block": ({"peer": "16Uiu2HAm", "blocked": True}, None),
    "drain": ({"draining": True}, None),
    "stop": ({}, None),
}
"""Call -> (arguments, answer), one for every call that the socket carries."""


class TableApi:
    """Answers each call with what ``answers`` holds for it: a value, or an exception to raise."""

    def __init__(self) -> None:
        self.answers = {name: answer for name, (_, answer) in SAMPLES.items()}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.followers = 0
        self.follower_came = trio.Event()
        self.follower_left = trio.Event()
        self.happened, self.to_tell = trio.open_memory_channel[TraceInfo](16)
        self.past: list[TraceInfo | Exception] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name not in SAMPLES:
            raise AttributeError(name)
        return partial(self._answer, name)

    async def _answer(self, name: str, **arguments: Any) -> Any:
        self.asked.append((name, arguments))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def events(self, run: str, *, since: int = 0, follow: bool = False) -> AsyncIterator[TraceInfo]:
        """What is in ``past``, then with ``follow`` what comes through ``happened``."""
        self.asked.append(("events", {"run": run, "since": since, "follow": follow}))
        for one in self.past:
            if isinstance(one, Exception):
                raise one
            yield one
        if not follow:
            return
        self.followers += 1
        self.follower_came.set()
        try:
            async for one in self.to_tell:
                yield one
        finally:
            self.followers -= 1
            self.follower_left.set()


@pytest.fixture
def samples() -> dict[str, tuple[dict[str, Any], Any]]:
    return SAMPLES


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a unix socket's has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="mesh"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def socket(folder: Path) -> Path:
    return folder / "api.sock"


@pytest.fixture
async def table() -> TableApi:
    return TableApi()


@pytest.fixture
async def remote(nursery: trio.Nursery, table: TableApi, socket: Path) -> AsyncIterator[RemoteApi]:
    """The client of a server that answers from ``table``."""
    await nursery.start(partial(serve_api, table, socket))  # type: ignore[arg-type]
    async with open_remote(socket) as api:
        yield api
