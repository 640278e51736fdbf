"""What does the control API say? Text at the edge: hexadecimal ids with 0x, CIDs in base32, amounts as decimal strings in wei.

The same structs are JSON on the socket and ``-o json`` on the command line, so their names are a promise: fields are added,
never renamed.
"""

from typing import Literal

import msgspec

from mesh.api.mediation import MediatorInfo

__all__ = [
    "Added",
    "ApiError",
    "BalanceInfo",
    "BeaconInfo",
    "CandidateInfo",
    "ChannelInfo",
    "DealInfo",
    "EndpointInfo",
    "LogInfo",
    "NodeStatus",
    "OfferInfo",
    "PeerInfo",
    "ProviderInfo",
    "RelayInfo",
    "RunInfo",
    "Submission",
    "TraceInfo",
    "TxInfo",
    "WithdrawalInfo",
]


class _Json(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the API."""


class ApiError(_Json, frozen=True):
    """Why a request failed. ``kind`` names the class in ``mesh.base.errors``; the texts are for people."""

    kind: str
    what: str
    why: str = ""
    fix: str = ""


class EndpointInfo(_Json, frozen=True):
    """One RPC endpoint; its URL without credentials."""

    url: str
    serving: bool
    state: str
    calls: int
    failures: int
    head_block: int | None = None
    trouble: str = ""
    """Why it is refused, or what it and others contradict each other about; "" otherwise."""


class RelayInfo(_Json, frozen=True):
    """One relay of the beacon; ``lies`` counts answers that no honest relay gives."""

    url: str
    state: str
    """untried, ready, behind, cooling or quarantined."""
    calls: int
    failures: int
    lies: int
    latency_ms: float
    last_error: str = ""


class BeaconInfo(_Json, frozen=True):
    """The network's beacon as this node hears it."""

    chain: str
    """The beacon chain's hash."""
    round: int
    """The latest verified round; 0 when none was heard yet."""
    behind: int
    """Rounds that are due by our clock and not here; negative when our clock is behind."""
    silent_since: int | None
    """Unix seconds of the last new round, while there has been none for too long."""
    relays: tuple[RelayInfo, ...]


class ProviderInfo(_Json, frozen=True):
    """What this node offers."""

    offering: bool
    draining: bool
    slots: int
    busy: int
    holds: int
    capability: str
    executors: tuple[str, ...]
    isolation: str
    reason: str


class WithdrawalInfo(_Json, frozen=True):
    """Money that its owner has asked for and that waits out its delay."""

    verb: Literal["withdraw", "unstake"]
    """`mesh wallet VERB` takes it out."""
    amount: str
    ready_at: int
    """Unix seconds by the chain's clock."""


class BalanceInfo(_Json, frozen=True):
    """Money of this node's owner: in the wallet, free in escrow, staked; amounts in wei."""

    operator: str
    owner: str
    native: str
    """For gas, in wei of the chain's own coin."""
    token: str
    """In the owner's wallet, not yet deposited."""
    free: str
    stake: str
    symbol: str
    withdrawals: tuple[WithdrawalInfo, ...] = ()
    base_fee: str = "0"
    """Wei for a unit of gas in the newest block; 0 where no endpoint has said."""


class ChannelInfo(_Json, frozen=True):
    """One payment channel; amounts in wei."""

    role: Literal["client", "provider"]
    phase: str
    """opening, open, toppingup, closing or closed."""
    peer: str
    """The other party's PeerId."""
    deposit: str
    paid: str
    """What the last voucher is worth in all."""
    redeemed: str
    deals: int
    """Deals the voucher pays."""
    deals_root: str
    until: int
    """Unix seconds by the chain's clock after which anybody may close it; 0 when it is not open."""
    owing: str
    """Provider: the deal that is under way or unpaid; else empty."""


class NodeStatus(_Json, frozen=True):
    """``mesh status``."""

    version: str
    network: str
    chain_id: int
    peer_id: str
    operator: str
    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    peers: int
    offers: int
    uptime_s: int
    pid: int
    home: str
    chain_block: int
    chain_time: int
    endpoints: tuple[EndpointInfo, ...]
    provider: ProviderInfo | None
    deals: int
    live_deals: int
    runs: int
    events: int
    outbox: int
    blobs_bytes: int
    """Held now."""
    trouble: str = ""
    """What keeps the node from working although it runs, and what to do; empty when nothing does."""
    beacon: BeaconInfo | None = None
    mediator: MediatorInfo | None = None
    """None without the role."""


class Added(_Json, frozen=True):
    """A file or folder imported into the node's blob store."""

    cid: str
    size: int


class Submission(_Json, frozen=True):
    """A job to run (or to quote): the canonical bytes, what a provider must pull first, and on which terms."""

    job: bytes
    inputs: tuple[Added, ...]
    """Module and inputs, by content id."""
    max_price: str
    budget: str
    mode: str = "market"
    bid_window_ms: int = 2_000
    target: str = ""
    """PeerId in text, or empty."""
    min_reputation_ppm: int = 0
    deadline: int = 0
    search_s: int = 60
    retry_on: tuple[str, ...] = ("no-capacity", "provider-lost", "infra-error")
    max_attempts: int = 3
    audit_ppm: int | None = None
    settlement: str = "auto"
    """auto, commit or channel."""
    enforcement: str = "self"
    """self or panel."""
    run_nonce: int | None = None
    """The client's own, for a submission that may be repeated after a crash; None lets the node draw one."""


class CandidateInfo(_Json, frozen=True):
    """One offer that was looked at, and what came of it."""

    provider: str
    round: int
    verdict: str
    price: str | None
    code: str
    detail: str
    attempt: int = 1
    """Which search of the run; each counts its rounds anew."""


class DealInfo(_Json, frozen=True):
    """One deal."""

    deal_id: str
    role: str
    phase: str
    run_id: str
    job_id: str
    client: str
    provider: str
    client_operator: str
    provider_operator: str
    price: str
    collateral: str
    paid: str | None
    audit_ppm: int
    enforcement: str
    seat_fee: str
    commit_by: int
    commit_tx: str | None
    committed_at: int | None
    final_tx: str | None
    final_how: str
    checked: str
    outcome: str | None
    exit_code: int | None
    fuel: int | None
    wall_ms: int | None
    root: str | None
    size: int
    detail: str
    hint: str
    """``running``, or ``pulling 41 %``: what the provider last said."""
    checks: str = ""
    """The deal whose result this one computes again, or nothing."""


class RunInfo(_Json, frozen=True):
    """One run with its deals and the offers it looked at."""

    run_id: str
    job_id: str
    name: str
    status: str
    """searching, dealing, done, failed or cancelled."""
    code: str
    detail: str
    submitted: int
    root: str | None
    outcome: str | None
    exit_code: int | None
    checked: str
    settled: bool
    spent: str
    max_price: str
    budget: str
    deals: tuple[DealInfo, ...]
    candidates: tuple[CandidateInfo, ...]
    search_until: int = 0
    """Unix seconds at which the search that is under way gives up; 0 when none is."""
    rechecks: tuple[DealInfo, ...] = ()
    """Deals in which others computed its results again; what they cost is in ``spent``."""
    replicas: int = 0
    """How many providers compute the job, where several do; ``deals`` are then theirs."""


class TraceInfo(_Json, frozen=True):
    """One line of ``mesh events``."""

    seq: int
    at: int
    name: str
    subject: str
    fields: dict[str, str]


class LogInfo(_Json, frozen=True):
    """Bytes of a job's log from some offset; ``live``: more may come."""

    data: bytes
    live: bool


class OfferInfo(_Json, frozen=True):
    """One live offer."""

    provider: str
    slot: int
    sequence: int
    expires: int
    capability: str
    cpus_milli: int
    memory_mib: int
    disk_mib: int
    gpus: tuple[str, ...]
    executors: tuple[str, ...]
    cpu_second: str
    gib_second: str
    gpu_second: str
    minimum: str
    token: str
    region: str
    labels: dict[str, str]
    max_wall_s: int
    free_slots: int
    reliability_ppm: int | None
    age_s: int = 0
    """Since its owner last said that it stands, by this node's clock."""


class PeerInfo(_Json, frozen=True):
    """One connected peer."""

    peer: str
    address: str
    connected_s: int
    dialled: bool
    score: int
    round_trip_ms: float | None


class TxInfo(_Json, frozen=True):
    """One transaction that this node sent."""

    tx: str
    block: int
    gas_used: int
    fee_wei: str
