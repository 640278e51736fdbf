"""What if a client with money, or a provider with an offer, negotiates in bad faith? Nobody signs, nobody crashes."""

import time
from functools import partial
from typing import Any, Final

import msgspec
import trio

from devnet.process_world import ProcessWorld
from devnet.scenario import JOBS
from devnet.scenarios.hostile.attack import Stage
from devnet.scenarios.hostile.peer import LOST_AT_LEAST, NOTICED_S, Hostile, Target, hostile_key, open_hostile
from devnet.scenarios.hostile.records import join, offer_by
from devnet.scenarios.hostile.strangers_jobs import submit_file
from devnet.scenarios.hostile.verdicts import Verdict, held
from mesh.base.config import load_config
from mesh.base.keys import load_key
from mesh.cli.submitting import prepare
from protocols.canonical import encode
from protocols.deals import eip712
from protocols.deals.desk import deal_of_quote
from protocols.envelope import seal
from protocols.job.canonical import CanonicalJob
from protocols.job.peers import peer_to_text
from protocols.messages.negotiation import DealProposal, DealRefusal, InputRoot, Quote, Refusal, Rfq
from protocols.offers.records import OFFER_TAG
from protocols.offers.topics import CPU, offers_topic
from protocols.transfer.cid import parse_cid
from protocols.units import ZERO_HASH, Hash32, RunId, Seconds, Tokens, UnixSeconds

__all__ = ["cheat_a_client", "cheat_a_provider"]

KIND: Final = "trades"
PI: Final = JOBS / "pi" / "job.yaml"
POLL_S: Final = 0.1
RUN_S: Final = 60.0
"""Until a run gives up that has five seconds to find a provider."""
TRIES: Final = 4
ID: Final = Hash32(b"\x0b" * 32)


async def cheat_a_provider(world: ProcessWorld, target: Target, stage: Stage) -> list[Verdict]:
    """A client with real money asks honestly, and then proposes something else than was quoted."""
    member = await world.cluster.add("cheat", ("client",))
    loaded = load_config(flags={}, env=member.environment, cwd=member.home, file=member.home / "mesh.toml")
    async with member.api() as api:
        _, job, submission = await prepare(api, loaded, PI, sets=(), env=(), now=int(time.time()))
    await member.stop()
    inputs = tuple(InputRoot(root=parse_cid(one.cid), size=one.size) for one in submission.inputs)
    key = await trio.to_thread.run_sync(load_key, member.home / "node.key", None)
    verdicts = []
    async with open_hostile(target, stage.params, key) as cheat:
        lying = (msgspec.structs.replace(inputs[0], size=1),)
        verdicts.append(await _asks(cheat, stage, job, lying, "inputs", "inputs that are not the job's"))
        verdicts.append(await _asks(cheat, stage, job, (), "inputs", "no inputs at all"))
        now = await _chain_time(target)
        late = UnixSeconds(now + 10 * 86_400)
        verdicts.append(await _proposes(cheat, stage, job, inputs, "bad-terms", False, commit_by=late))
        verdicts.append(await _proposes(cheat, stage, job, inputs, "other-terms", True, price=Tokens(1)))
        # A hold outlives a bad proposal: the provider must let go of it before it quotes this client again.
    return verdicts


async def _chain_time(target: Target) -> int:
    async with target.member.api() as api:
        return (await api.status()).chain_time


def _rfq(stage: Stage, job: CanonicalJob, inputs: tuple[InputRoot, ...], number: int) -> Rfq:
    return Rfq(
        rfq_id=Hash32(number.to_bytes(32, "big")),
        run_id=RunId(ID),
        run_nonce=number,
        index=0,
        job=job.encode(),
        inputs=inputs,
        max_price=Tokens(10**19),
        token=stage.params.token,
        enforcement=eip712.Enforcement.SELF,
        deadline=UnixSeconds(0),
    )


async def _asks(
    cheat: Hostile, stage: Stage, job: CanonicalJob, inputs: tuple[InputRoot, ...], code: str, name: str
) -> Verdict:
    await cheat.say(_rfq(stage, job, inputs, 1))
    answer = await cheat.answer()
    return held(KIND, name, isinstance(answer, Refusal) and answer.code == code, f"answered {answer!r}")


async def _proposes(
    cheat: Hostile,
    stage: Stage,
    job: CanonicalJob,
    inputs: tuple[InputRoot, ...],
    code: str,
    costs: bool,
    **changes: Any,
) -> Verdict:
    """Get a firm quote, sign a deal that differs from it in ``changes``, and read the refusal."""
    name = f"a deal with another {', '.join(changes)}"
    rfq = _rfq(stage, job, inputs, 2)
    await cheat.say(rfq)
    quote = await cheat.answer()
    if not isinstance(quote, Quote) or not quote.firm:
        return Verdict(KIND, name, f"answered {quote!r}")
    fair = deal_of_quote(
        rfq,
        quote,
        job,
        cheat.env,
        client=cheat.link.me,
        provider=cheat.target.peer,
        client_secret_hash=ID,
        audit_ppm=0,
        commit_by=UnixSeconds(await _chain_time(cheat.target) + 20),
    )
    deal = msgspec.structs.replace(fair, **changes)
    signature = cheat.key.sign(Hash32(eip712.deal_id(cheat.env.domain, deal)))
    await cheat.say(DealProposal(rfq_id=rfq.rfq_id, deal=deal, signature=signature))
    answer = await cheat.answer()
    refused = isinstance(answer, DealRefusal) and answer.code == code and bool(answer.detail)
    score = await cheat.until_penalised() if costs else await cheat.score()
    paid = (score is None or score <= -LOST_AT_LEAST) == costs
    return held(KIND, name, refused and paid, f"answered {answer!r}, score {score}")


def _bad_quotes(stage: Stage, rfq: Rfq, wall_s: int) -> tuple[tuple[str, Quote], ...]:
    exec_seconds = wall_s + stage.params.exec_margin
    fair = Quote(
        rfq_id=rfq.rfq_id,
        firm=True,
        hold_ms=stage.params.hold,
        price=Tokens(1_000),
        collateral=Tokens(0),
        provider_secret_hash=ID,
        exec_seconds=exec_seconds,
        claim_seconds=stage.params.claim_seconds,
        window_seconds=stage.params.window_seconds(exec_seconds),
        starts_in_s=0,
        gpus=(),
        numeric_class=ZERO_HASH,
        detail="",
    )
    replace = msgspec.structs.replace
    return (
        ("a collateral of 2^255", replace(fair, collateral=Tokens(1 << 255))),
        ("a price of 2^255", replace(fair, price=Tokens(1 << 255))),
        ("a price of nothing", replace(fair, price=Tokens(0))),
        ("no time to run", replace(fair, exec_seconds=0)),
        ("a hundred years to run", replace(fair, exec_seconds=Seconds((1 << 32) - 1))),
        ("a hundred years to claim", replace(fair, claim_seconds=Seconds((1 << 32) - 1))),
        ("a start in a hundred years", replace(fair, starts_in_s=Seconds((1 << 32) - 1))),
    )


async def cheat_a_client(world: ProcessWorld, target: Target, stage: Stage, seed: int) -> list[Verdict]:
    """A provider offers honestly and quotes absurdly. The client signs nothing and says why in its own list."""
    verdicts: list[Verdict] = []
    async with trio.open_nursery() as nursery:
        for number in range(len(_bad_quotes(stage, _rfq_of_nothing(stage), 1))):
            nursery.start_soon(partial(_cheat_once, world, target, stage, seed, number, verdicts))
    return verdicts


async def _cheat_once(
    world: ProcessWorld, target: Target, stage: Stage, seed: int, number: int, verdicts: list[Verdict]
) -> None:
    key = hostile_key(seed, f"bad quotes {number}")
    async with open_hostile(target, stage.params, key) as cheat, trio.open_nursery() as nursery:
        await join(cheat, offers_topic(stage.params.name, CPU))
        nursery.start_soon(_advertise, cheat, stage)
        await _known(cheat)
        verdicts.append(await _quotes_badly(world, cheat, stage, number))
        nursery.cancel_scope.cancel()


def _rfq_of_nothing(stage: Stage) -> Rfq:
    return Rfq(ID, RunId(ID), 0, 0, b"", (), Tokens(0), stage.params.token, 0, UnixSeconds(0))


async def _advertise(cheat: Hostile, stage: Stage) -> None:
    """Heartbeats of an offer."""
    number = 0
    while True:
        number += 1
        record = seal(cheat.key, stage.params.name, OFFER_TAG, encode(offer_by(cheat, stage, number)))
        await cheat.link.publish(offers_topic(stage.params.name, CPU), record)
        await trio.sleep(1)


async def _known(cheat: Hostile) -> None:
    me = peer_to_text(cheat.link.me)
    with trio.fail_after(NOTICED_S):
        async with cheat.target.member.api() as api:
            while all(offer.provider != me for offer in await api.offers()):
                await trio.sleep(POLL_S)


async def _quotes_badly(world: ProcessWorld, cheat: Hostile, stage: Stage, number: int) -> Verdict:
    """Again when the quote came too late to be looked at: the client waits for a second, a busy machine may not."""
    verdict = await _quotes_once(world, cheat, stage, number)
    for _ in range(TRIES):
        if "silent" in verdict.problem:
            verdict = await _quotes_once(world, cheat, stage, number)
    return verdict


async def _quotes_once(world: ProcessWorld, cheat: Hostile, stage: Stage, number: int) -> Verdict:
    me = peer_to_text(cheat.link.me)
    client = cheat.target.member
    run_id = await submit_file(client, PI, f"market.target={me}", "deadline=5s")
    rfq = await cheat.answer()
    while not isinstance(rfq, Rfq) or rfq.run_id.hex() != run_id[2:]:  # what came of an earlier try
        rfq = await cheat.answer()
    name, quote = _bad_quotes(stage, rfq, CanonicalJob.decode(rfq.job).limits.wall_s)[number]
    await cheat.say(quote)
    run = await world.until(client.name, run_id, lambda one: one.status in ("failed", "done"), RUN_S)
    answers = [one.code for one in run.candidates if one.provider == me]
    score = await cheat.until_penalised() if "bad-terms" in answers else 0
    fine = run.code == "no-match" and not run.deals and score is not None and score <= -LOST_AT_LEAST
    return held(KIND, f"a quote with {name}", fine, f"score {score}, run {run.status} {run.code}, answers {answers}")
