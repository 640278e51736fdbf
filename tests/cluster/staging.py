"""How does a devnet come by a dispute? Client and provider are put into the state in which one begins, on disk and on chain.

The deal is signed, committed and claimed by their own keys; their nodes find it in their stores when they start, with the
result that the provider is said to have computed. From there on shipped nodes do everything.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import trio

from devnet.chain.accounts import DevAccount
from devnet.cluster import ProcessCluster
from devnet.members import Member
from devnet.scenario import JOBS
from mesh.api.types import Submission
from mesh.base.config import load_config
from mesh.base.config.home import Paths
from mesh.base.keys import NodeKey
from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed
from mesh.chain.panel import PanelContract
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from mesh.cli.submitting import prepare
from mesh.store import Batch, Row, Store
from protocols.canonical import encode
from protocols.contracts import artifact, panel
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import (
    Deal,
    Domain,
    Enforcement,
    Level,
    Metering,
    OutcomeCode,
    ResultCommit,
    SettlementMode,
    deal_id,
    digest,
)
from protocols.deals.salting import salted_root
from protocols.deals.states import Claimed, Commitment, DealTerms
from protocols.disputes.params import bond_of, fee_of
from protocols.disputes.record import Record, record_of
from protocols.disputes.states import Phase, Reason
from protocols.hashing import keccak256, sha256
from protocols.job.canonical import CanonicalJob, job_id_of, level_params_of, run_id_of
from protocols.messages.deal import ResultNotice
from protocols.state import CLIENT, PROVIDER, ROW_VERSION, Half, JobBody
from protocols.transfer.cid import parse_cid
from protocols.units import ZERO_HASH, Address, Cid, DealId, Hash32, Seconds, Tokens, UnixSeconds

__all__ = ["Said", "Staged", "computed", "imported", "pi", "stage"]

PRICE: Final = Tokens(10**18)
COLLATERAL: Final = Tokens(11 * 10**18)
FEE: Final = Tokens(3 * 10**18)
RFQ: Final = Hash32(sha256(b"staged"))
EXEC: Final = Seconds(30)
POLL_S: Final = 0.1
GAS: Final = 1_500_000
"""Of a call here, at most: nothing has to be estimated."""


class Staged:
    """A claimed panel deal between ``provider-1`` and ``client-1``, and the chain as a person sees it."""

    def __init__(
        self, cluster: ProcessCluster, rpc: Rpc, job: CanonicalJob, *, seats: int, slot: tuple[int, int]
    ) -> None:
        """``slot``: run nonce and index of the deal."""
        self.cluster, self.rpc, self.job, self.seats, self.slot = cluster, rpc, job, seats, slot
        self.client, self.provider = cluster["client-1"], cluster["provider-1"]
        self.escrow, self.token, self.judge = (
            Address(bytes.fromhex(text[2:])) for text in (cluster.escrow, cluster.token, cluster.panel)
        )
        self.domain = Domain(cluster.chain.chain_id, self.escrow)
        self.contracts = Contracts(rpc, escrow=self.escrow, token=self.token)
        self.panel = PanelContract(rpc, self.judge)
        self.count = 0

    def key(self, member: Member) -> NodeKey:
        return NodeKey(self._account(member).private_key)

    def _account(self, member: Member) -> DevAccount:
        assert member.account is not None
        return member.account

    def deal(self, now: int) -> Deal:
        secrets = [
            keccak256(self.key(member).derive(f"{side}-secret", RFQ))
            for member, side in ((self.client, "client"), (self.provider, "provider"))
        ]
        return Deal(
            client=self.key(self.client).address,
            provider=self.key(self.provider).address,
            token=self.token,
            run_nonce=self.slot[0],
            index=self.slot[1],
            job_id=job_id_of(self.job),
            image=Hash32(self.job.module[-32:]),
            gpus=(),
            price=PRICE,
            metering=Metering.FIXED,
            collateral=COLLATERAL,
            level=Level.EXACT,
            level_params=level_params_of(self.job.verify),
            numeric_class=ZERO_HASH,
            enforcement=Enforcement.PANEL,
            audit_ppm=20_000,
            seat_fee=FEE,
            seat_class=1,
            seat_snapshot=self.seats,
            client_secret_hash=secrets[0],
            provider_secret_hash=secrets[1],
            commit_by=UnixSeconds(now + 3_600),
            exec_seconds=EXEC,
            claim_seconds=Seconds(15),
            window_seconds=Seconds(6 + 2 * EXEC),
            settlement=SettlementMode.COMMIT,
        )

    async def send(self, member: Member, call: TxCall) -> None:
        """One transaction of a member's key, while its node is down or has nothing to send."""
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MediatorPanel"))
        submitter = Submitter(Eth(self.rpc), self._account(member), MemoryJournal(), reverts)
        self.count += 1
        outcome = await submitter.submit(f"staged:{self.count}", TxCall(call.to, call.data, gas=GAS))
        assert isinstance(outcome, Confirmed), outcome

    async def claim(self, root: Cid, size: int, fuel: int) -> None:
        """Commit and claim on chain, and put the deal in both stores. The nodes of both are down."""
        now = (await Eth(self.rpc).head()).timestamp
        self.terms_deal = deal = self.deal(now)
        self.deal_id = name = deal_id(self.domain, deal)
        salt = self.key(self.provider).derive("result-salt", name)
        commit = ResultCommit(
            deal_id=name,
            salted_root=salted_root(salt, root),
            outcome=OutcomeCode.EXITED,
            exit_code=0,
            fuel=fuel,
            wall_ms=1,
            log_head=ZERO_HASH,
        )
        self.result_hash = digest(self.domain, commit)
        signature = self.key(self.client).sign(Hash32(name))
        self.lock = Lock.of(self.domain, deal, client_owner=deal.client, provider_owner=deal.provider)
        await self.send(self.provider, self.contracts.commit(deal, signature))
        await self.send(self.provider, self.contracts.claim(self.lock, self.result_hash))
        terms = DealTerms(
            deal_id=name,
            deal=deal,
            client=self.key(self.client).peer_id,
            provider=self.key(self.provider).peer_id,
            run_id=run_id_of(deal.job_id, deal.client, deal.run_nonce),
            rfq_id=RFQ,
            inputs=(),
            client_signature=signature,
            provider_signature=self.key(self.provider).sign(Hash32(name)),
        )
        signed = self.key(self.provider).sign(self.result_hash)
        notice = ResultNotice(commit=commit, signature=signed, root=root, salt=salt, size=size)
        on = Commitment(tx=ZERO_HASH, block=1, at=UnixSeconds(now))
        claimed = Claimed(terms, on, notice, UnixSeconds(now), ZERO_HASH, self.result_hash)
        for member, role in ((self.client, CLIENT), (self.provider, PROVIDER)):
            rows = [
                Row("deal", name, ROW_VERSION, encode(Half(role, claimed))),
                Row("job", deal.job_id, ROW_VERSION, encode(JobBody(self.job.encode()))),
            ]
            async with await Store.open(Paths(member.home).store_file) as store:
                await store.commit(Batch(puts=rows))

    async def dispute(self, reason: Reason = Reason.WRONG) -> None:
        """As the client's owner: the bond to the panel, the client's secret shown."""
        bond = bond_of(fee_of(FEE, PRICE, COLLATERAL), PRICE)
        await self.send(self.client, self.contracts.fund_panel(Tokens(bond)))
        secret = self.key(self.client).derive("client-secret", RFQ)
        data = panel.dispute(self.terms_deal, self.lock, self.result_hash, secret, reason)
        await self.send(self.client, TxCall(self.judge, data))

    async def phase(self) -> Phase:
        return (await self.panel.status(DealId(self.deal_id))).phase

    async def record(self) -> Record:
        """The dispute as the chain's logs tell it."""
        eth = Eth(self.rpc)
        head = await eth.head()
        found = await eth.logs(LogQuery((self.judge,), (None, (Hash32(self.deal_id),))), 0, head.number)
        record = record_of((log.topics, log.data) for log in found)
        assert record is not None
        return record

    async def until(self, *phases: Phase) -> Phase:
        """Poll the chain until the dispute is in one of these."""
        while (now := await self.phase()) not in phases:
            await trio.sleep(POLL_S)
        return now


class Said(NamedTuple):
    """What the provider says that the job came to."""

    root: str
    size: int
    fuel: int


async def pi(cluster: ProcessCluster) -> tuple[CanonicalJob, Submission]:
    """The job, imported by the client and by the provider."""
    client = cluster["client-1"]
    loaded = load_config(flags={}, env=client.environment, cwd=client.home, file=client.home / "mesh.toml")
    file = JOBS / "pi" / "job.yaml"
    async with client.api() as api:
        sets = ['command=["--samples", "1000"]']
        _, job, submission = await prepare(api, loaded, file, sets=sets, env=(), now=0)
    async with cluster["provider-1"].api() as api:
        assert parse_cid((await api.add(file.parent / "pi.wasm")).cid) == job.module
    return job, submission


async def computed(cluster: ProcessCluster, submission: Submission) -> tuple[int, Said]:
    """What the provider's own run comes to, in a deal of the usual kind: (its run nonce, its result)."""
    nonce = 7
    async with cluster["client-1"].api() as api:
        run_id = await api.submit(msgspec.structs.replace(submission, run_nonce=nonce, settlement="commit"))
        while not (run := await api.run(run_id)).settled:
            assert run.status in ("searching", "dealing", "done"), run
            await trio.sleep(POLL_S)
    deal = run.deals[-1]
    assert deal.root is not None
    assert deal.fuel is not None
    return nonce, Said(deal.root, deal.size, deal.fuel)


async def imported(cluster: ProcessCluster, folder: Path) -> Said:
    """A folder as the provider's result."""
    async with cluster["provider-1"].api() as api:
        root = await api.add(folder)
    return Said(root.cid, root.size, 1)


@asynccontextmanager
async def stage(cluster: ProcessCluster, job: CanonicalJob, said: Said, slot: tuple[int, int]) -> AsyncIterator[Staged]:
    """The devnet with a claimed panel deal about the job, and nodes of both parties that know of it."""
    for name in ("client-1", "provider-1"):
        await cluster[name].stop()
    async with open_rpc([cluster.chain.rpc_url], cluster.chain.chain_id, jitter=random.random) as rpc:
        seats = await PanelContract(rpc, Address(bytes.fromhex(cluster.panel[2:]))).seats(1)
        staged = Staged(cluster, rpc, job, seats=seats, slot=slot)
        await staged.claim(parse_cid(said.root), said.size, said.fuel)
        for name in ("provider-1", "client-1"):
            await cluster.restart(name)
        yield staged
