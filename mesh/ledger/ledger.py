"""How do the rules' words about money become transactions, and the chain's logs events?

One escrow on one chain: `following` turns the follower's logs and heads into events, `posting` turns a `PostTx` into one
escrow call that is posted exactly once under its key. Here both are put together, with what the node may ask.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from mesh.api.types import EndpointInfo
from mesh.base.clock import Clock
from mesh.base.config import Config
from mesh.base.entropy import Entropy
from mesh.base.errors import ConfigError
from mesh.base.keys import NodeKey
from mesh.base.tasks import Started
from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth
from mesh.chain.outcomes import SubmitterSettings
from mesh.chain.panel import PanelContract
from mesh.chain.presets import chain_preset
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from mesh.engine import Engine
from mesh.ledger.channels import ChannelFeed
from mesh.ledger.crediting import Crediting
from mesh.ledger.following import Following
from mesh.ledger.posting import Posting
from mesh.store import Store
from protocols.contracts import artifact
from protocols.contracts.channels import Channel, ChannelWord
from protocols.contracts.lock import Lock
from protocols.effects import CallPanel, OpenDispute, PostChannelTx, PostTx, ProveFraud, ReadSeats
from protocols.limits import NetworkParams
from protocols.units import ZERO_ADDRESS, Address, Millis, Tokens

__all__ = ["Ledger", "network_params", "open_ledger"]


def network_params(config: Config) -> NetworkParams:
    """The network's parameters with the configured contracts. Raises ``ConfigError`` for a network nobody knows."""
    preset = chain_preset(config.network.name).params
    chain = config.chain
    if not any(chain.escrow_address) or not any(chain.token_address):
        raise ConfigError(
            f"no escrow is known on {preset.name}",
            why="its contracts are not deployed, or their addresses are not in the configuration",
            fix=f"mesh chain deploy --network {preset.name}, or mesh config set chain.escrow 0x...",
        )
    return msgspec.structs.replace(
        preset,
        chain_id=chain.chain_id or preset.chain_id,
        escrow=chain.escrow_address,
        token=chain.token_address,
        panel=chain.panel_address,
    )


class Ledger:
    """The escrow as the node uses it."""

    def __init__(
        self,
        params: NetworkParams,
        rpc: Rpc,
        submitter: Submitter,
        store: Store,
        clock: Clock,
        deploy_block: int,
        *,
        mediates: bool = False,
    ) -> None:
        self.params = params
        self.rpc = rpc
        self.eth = Eth(rpc)
        self.contracts = Contracts(rpc, escrow=params.escrow, token=params.token)
        self.submitter = submitter
        self._clock = clock
        self.posting = Posting(params, self.eth, self.contracts, submitter, deploy_block)
        remember = self.posting.remember
        self.following = Following(
            params, self.eth, submitter.address, store, clock, deploy_block, remember, mediates=mediates
        )
        self.channel_feed = ChannelFeed(self.contracts, submitter.address, clock)
        self.following.watch(self.channel_feed.told)
        self.crediting = Crediting(params, rpc, self.contracts, submitter, clock)
        self.following.watch(self.crediting.told)

    async def follow(self, engine: Engine, *, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """See `Following.follow`."""

        def endpoints() -> str:
            return ", ".join(f"{one.url} is {one.state}" for one in self.endpoints())

        async def tidy() -> None:
            await self.posting.tidy(engine)

        async with trio.open_nursery() as nursery:
            if any(self.params.panel):
                nursery.start_soon(self.crediting.run, engine)
            nursery.start_soon(self.following.owners.ask, engine, self.contracts.owner_of)
            await self.following.follow(engine, endpoints, tidy, task_status=task_status)

    async def post(self, tx: PostTx) -> None:
        """See `Posting.post`."""
        await self.posting.post(tx)

    async def dispute(self, call: CallPanel | OpenDispute) -> None:
        """See `Posting.dispute`."""
        await self.posting.dispute(call)

    async def prove_fraud(self, proof: ProveFraud) -> None:
        """See `Posting.prove_fraud`."""
        await self.posting.prove_fraud(proof)

    async def post_channel(self, tx: PostChannelTx) -> None:
        """See `Posting.post_channel`."""
        await self.posting.post_channel(tx)

    async def read_channel(self, client: Address, provider: Address, owner: Address) -> tuple[Channel, ChannelWord]:
        """The channel of two operators with money of ``owner``; zero: of the client's owner of now. Raises ``ChainError``."""
        if owner == ZERO_ADDRESS:
            owner = await self.contracts.owner_of(client)
        return await self.contracts.channel_of(client, provider, owner)

    async def release(self, key: str) -> None:
        """See `Posting.release`."""
        await self.posting.release(key)

    async def account(self, operator: Address) -> tuple[Tokens, Tokens]:
        """(free, unlocked stake) of the operator's owner, as two endpoints tell it. Raises ``ChainError``."""
        found = await self.contracts.sure_account(operator)
        return found.free, found.stake

    async def seats(self, asked: ReadSeats) -> tuple[int, int]:
        """(seats of the class, how many of them a dispute between the two could call now). Raises ``ChainError``."""
        if not any(self.params.panel):
            return 0, 0
        contract = PanelContract(self.rpc, self.params.panel)
        total = await contract.seats(asked.seat_class)
        owners = [await self.contracts.owner_of(one) if any(one) else one for one in (asked.client, asked.provider)]
        lock = Lock.asking(
            asked.client, asked.provider, client_owner=owners[0], provider_owner=owners[1], price=asked.price
        )
        return total, await contract.eligible(lock, asked.seat_class, total)

    def now_ms(self) -> Millis:
        """The monotonic clock, for events about money."""
        return self._clock.monotonic_ms()

    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Which RPC endpoint serves, and how each fares."""
        found = self.rpc.statistics()
        return tuple(
            EndpointInfo(
                url=one.name,
                serving=one.name == found.serving,
                state=one.state,
                calls=one.calls,
                failures=one.failures,
                head_block=one.head_number,
                trouble=one.last_error if one.state == "refused" else found.disagreement,
            )
            for one in found.endpoints
        )


@asynccontextmanager
async def open_ledger(
    config: Config, key: NodeKey, store: Store, clock: Clock, entropy: Entropy
) -> AsyncIterator[Ledger]:
    """The configured escrow over the configured endpoints. Raises ``ConfigError`` when either is missing."""
    params = network_params(config)
    chain = config.chain
    jitter = lambda: int.from_bytes(entropy.bytes(4), "big") / (1 << 32)  # noqa: E731
    wall = None if params.name == "devnet" else lambda: float(clock.unix_s())
    async with open_rpc((*chain.rpc, *chain.public_rpc), params.chain_id, jitter=jitter, wall=wall) as rpc:
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken", "MediatorPanel"))
        settings = SubmitterSettings(fee_cap=int(chain.max_fee_gwei * 10**9))
        submitter = Submitter(Eth(rpc), key, store.journal, reverts, settings)
        mediates = "mediator" in config.provider.roles
        yield Ledger(params, rpc, submitter, store, clock, chain.deploy_block, mediates=mediates)
