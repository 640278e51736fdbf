"""How large, how many, how long? Every bound, timeout and default of the protocol, with its unit and its reason.

What may differ between networks stands in ``NetworkParams``; everything else is the same everywhere.
"""

from typing import Final

import msgspec

from protocols.beacon.chain import DEVNET_BEACON, QUICKNET, BeaconChain
from protocols.units import PPM, ZERO_ADDRESS, Address, Millis, Seconds, Tokens

__all__ = [
    "ARBITRUM_ONE",
    "ARBITRUM_SEPOLIA",
    "COLLATERAL_PRICES",
    "DEVNET",
    "MAX_ACTIVE_DEALS",
    "MAX_ATTEMPTS",
    "MAX_CANDIDATES",
    "MAX_CHANNELS",
    "MAX_GOSSIP_BYTES",
    "MAX_HOLDS",
    "MAX_JOB_BYTES",
    "MAX_KEPT_BYTES",
    "MAX_KEPT_RESULTS",
    "MAX_MESSAGE_BYTES",
    "MAX_QUOTES",
    "MAX_REASON_CHARS",
    "MAX_RUNS_LIVE",
    "TOKEN_SYMBOL",
    "NetworkParams",
]

MAX_GOSSIP_BYTES: Final = 2048
"""One gossip record with its envelope. Announce small, pull big."""
MAX_JOB_BYTES: Final = 32 * 1024
"""A canonical job inside an RFQ: 4,096 bytes of arguments and environment each, 64 inputs and outputs, fits 5 times over."""
MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Any message on a direct stream with its envelope: an RFQ is the largest."""
MAX_REASON_CHARS: Final = 400
"""A refusal's or rejection's sentence: two lines on a terminal."""
MAX_HOLDS: Final = 256
"""Live holds and indicative quotes a provider keeps; the 257th RFQ is refused as ``busy``."""
MAX_CANDIDATES: Final = 64
"""Refusals and quotes kept per run for ``mesh describe``; older ones go first."""
MAX_ACTIVE_DEALS: Final = 10_000
"""Deals that are not final, per node: the size at which a restart is still under a second."""
MAX_CHANNELS: Final = 10_000
"""Channels a node remembers, as either party: one per pair. A provider takes no new one beyond it."""
MAX_QUOTES: Final = 64
"""Answers to `mesh quote` kept until they are read."""
MAX_RUNS_LIVE: Final = 10_000
"""Runs of a client that are not finished."""
MAX_ATTEMPTS: Final = 16
"""Deals one run may sign: run index is a uint32 on chain, the budget ends it far sooner."""
MAX_KEPT_RESULTS: Final = 1_000
"""Paid results that a provider keeps for clients that were away; beyond, the oldest goes."""
MAX_KEPT_BYTES: Final = 4 << 30
"""Of all of them: a fifth of a node's blob quota, as it comes."""
COLLATERAL_PRICES: Final = 8
"""Collateral of a panel deal in prices, at least (PROTOCOL.md 6: C = max(8P, P/(q(d-f))))."""


TOKEN_SYMBOL: Final = "MESH"
"""Of the token that all networks pay in."""


class NetworkParams(msgspec.Struct, frozen=True, kw_only=True):
    """What one network fixes for all its nodes. Durations that the chain judges are in seconds of ``block.timestamp``."""

    name: str
    chain_id: int
    token: Address = ZERO_ADDRESS
    escrow: Address = ZERO_ADDRESS
    panel: Address = ZERO_ADDRESS
    """Who judges disputes; zero: nobody, and every deal enforces itself."""
    min_seats: int = 30
    """With fewer seats to draw from nobody signs a panel deal: ten others would know who sits."""
    token_symbol: str = TOKEN_SYMBOL
    beacon: BeaconChain = QUICKNET
    """Where public randomness comes from."""

    rfq_fanout: int = 6
    """Providers asked at once, drawn at random from all acceptable offers (naive ranking needs up to 103 rounds)."""
    bid_window: Millis = Millis(2_000)
    """Bidding closes after this, or when all have answered."""
    hold: Millis = Millis(15_000)
    """How long a firm quote keeps its slot: signing and three chain round trips fit."""
    min_hold_left: Millis = Millis(1_000)
    """A client signs only while the hold has at least this left."""
    offer_ttl: Seconds = Seconds(90)
    """An offer lapses this long after its heartbeat: three heartbeats may be lost."""
    offer_heartbeat: Seconds = Seconds(30)
    commit_within: Seconds = Seconds(600)
    """Time from signing to ``commitBy``: inputs are pulled in it."""
    exec_margin: Seconds = Seconds(60)
    """Added to the job's wall limit: start, collection and hashing of outputs."""
    claim_seconds: Seconds = Seconds(48 * 3600)
    """From the execution deadline to the claim deadline."""
    window_base: Seconds = Seconds(30 * 3600)
    """Dispute window after a claim, plus twice the execution time."""
    deadline_margin: Seconds = Seconds(3600)
    """Act on every on-chain deadline this long before it: an hour outlasts a stuck sequencer batch."""
    poke_margin: Seconds = Seconds(120)
    """A phase of a dispute that is over is left to others for so long before this node ends it: one poke is enough."""
    accept_margin: Seconds = Seconds(1_200)
    """A called seat that was served nothing decides this long before the time to accept is over."""
    case_period: Seconds = Seconds(60)
    """Between two notices of one node that it has the case of an open dispute; a new seat asks within it."""
    silence_before_claim: Seconds = Seconds(6 * 3600)
    """A provider claims when its client has not signed off this long after the result."""
    keep_paid: Seconds = Seconds(7 * 24 * 3600)
    """A result that was paid for without its client is kept, and awaited, so long after its window: a week away loses none."""
    provider_lost: Millis = Millis(20_000)
    """A provider that has been unreachable this long is given up and the job is tried elsewhere."""
    max_price: Tokens = Tokens(2**96)
    """Largest price of a deal: the escrow's range check, 7.9e10 tokens."""
    channel_max_price: Tokens = Tokens(10**18)
    """Dearest deal that `settlement: auto` pays by a channel, in wei: what one side may lose to the other."""
    channel_prices: int = 20
    """What a new channel holds, in prices of the deal that opens it: a transaction for every twenty at worst."""
    channel_history: int = 10
    """Deals of a pair after which `settlement: auto` opens a channel of its own accord."""
    channel_trust: int = 10
    """Deals of a pair whose results its provider seals in a channel: the key comes against the voucher."""
    audit_floor_ppm: int = 20_000
    """Never fewer than 2 % of results are re-executed."""
    audit_newcomer_ppm: int = 250_000
    """A provider without audited deals is re-checked one time in four (auditPpm = max(floor, newcomer / (1 + n/10)))."""
    audit_doubted_ppm: int = 500_000
    """A provider that has broken its word to this client, or was too slow for it, is re-checked every second time."""

    def audit_ppm(self, passed: int) -> int:
        """Audit rate for a provider with ``passed`` audited and passed deals (PROTOCOL.md 6)."""
        return min(PPM, max(self.audit_floor_ppm, self.audit_newcomer_ppm * 10 // (10 + passed)))

    def window_seconds(self, exec_seconds: int) -> Seconds:
        """The dispute window of a deal."""
        return Seconds(self.window_base + 2 * exec_seconds)


DEVNET: Final = NetworkParams(
    name="devnet",
    chain_id=31337,
    beacon=DEVNET_BEACON,
    bid_window=Millis(1_000),
    offer_ttl=Seconds(30),
    offer_heartbeat=Seconds(5),
    commit_within=Seconds(30),
    exec_margin=Seconds(5),
    claim_seconds=Seconds(15),
    window_base=Seconds(6),
    deadline_margin=Seconds(3),
    poke_margin=Seconds(1),
    accept_margin=Seconds(4),
    case_period=Seconds(2),
    silence_before_claim=Seconds(8),
    keep_paid=Seconds(600),
    provider_lost=Millis(5_000),
    channel_trust=2,
    min_seats=10,
)
ARBITRUM_SEPOLIA: Final = NetworkParams(name="arbitrum-sepolia", chain_id=421_614)
ARBITRUM_ONE: Final = NetworkParams(name="arbitrum-one", chain_id=42_161)
