"""Which bytes is everything made of? Writes the golden vectors; what stands there already is never written over.

`PYTHONPATH=. python tests/vectors/generate.py` adds what is new. A vector that would change is an error: a version never
changes, so a struct with other bytes needs a new tag (messages), a new ROW_VERSION with a migration (rows), or is a mistake.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from devnet.sim.samples import Samples
from protocols import effects as fx
from protocols.canonical import encode
from protocols.channels.states import Open, Owing
from protocols.deals import eip712
from protocols.deals.inputs import post_tx
from protocols.deals.states import LocalResult, Ran
from protocols.disputes.file import DEFENDANT, DISPUTER, SEAT, DisputeFile, PanelLog
from protocols.envelope import envelope_digest, seal
from protocols.hashing import keccak256
from protocols.mediation.case import Case
from protocols.messages.dispute import CaseFile
from protocols.messages.negotiation import InputRoot
from protocols.state import CLIENT, PROVIDER, ChannelHalf, Counters, Half, JobBody
from protocols.units import DealId, Signature, Tokens

FOLDER = Path(__file__).resolve().parent
AMOUNTS = (0, 1 << 64, (1 << 256) - 1)
ROLES = {
    "Proposed": (CLIENT,),
    "Ready": (PROVIDER,),
    "Running": (PROVIDER,),
    "Sealed": (CLIENT,),
    "Unsealing": (CLIENT,),
}
Vectors = Iterator[tuple[str, str]]


def messages(amount: int) -> Vectors:
    for tag, message in Samples(amount).messages().items():
        yield f"{tag} amount={amount}", encode(message).hex()


def envelopes(amount: int) -> Vectors:
    samples = Samples(amount)
    for tag, message in samples.messages().items():
        payload = encode(message)
        yield f"{tag} amount={amount} digest", envelope_digest("devnet", tag, payload).hex()
        yield f"{tag} amount={amount}", seal(samples.client, "devnet", tag, payload).hex()


def signed(amount: int) -> Vectors:
    samples = Samples(amount)
    for name, value in samples.eip712().items():
        yield f"{name} amount={samples.paid}", encode(value).hex()
        yield f"{name} amount={samples.paid} words", value.words().hex()
        yield f"{name} amount={samples.paid} digest", eip712.digest(samples.domain, value).hex()
        yield f"{name} amount={samples.paid} signature", samples.signed(samples.client, value).hex()


def outbox(samples: Samples) -> Iterator[fx.DurableEffect]:
    terms = samples.terms()
    deal_id, name = terms.deal_id, terms.deal_id.hex()
    yield fx.SendDurably(key=f"send:{name}:rfq/1", peer=terms.provider, protocol="/mesh/deal/1", data=b"envelope")
    roots = (InputRoot(samples.root, 7),)
    yield fx.FetchBlobs(key=f"fetch:{name}:result", deal_id=deal_id, purpose="result", peer=terms.provider, roots=roots)
    yield fx.ServeBlobs(key=f"serve:{name}", deal_id=deal_id, peer=terms.client, roots=(samples.root,))
    yield fx.RunJob(key=f"run:{name}", deal_id=deal_id, job=samples.job.encode(), audit=True)
    ran = Ran(terms.deal.client, 0, 0, 7, samples.root)
    yield fx.CompareOutputs(
        key=f"compare:{name}:{ran.owner.hex()}", deal_id=deal_id, job=samples.job.encode(), ran=ran, others=(ran,)
    )
    keys = (keccak256(b"seat"),)
    yield fx.MarkOutput(key=f"mark:{name}:1", deal_id=deal_id, job=samples.job.encode(), ran=ran, keys=keys)
    yield fx.Unseal(key=f"unseal:{name}", deal_id=deal_id, root=samples.root, size=7, secret=keccak256(b"key"))
    yield fx.CallPanel(key=f"panel:{name}:secret:0", deal_id=deal_id, purpose="panel secret", data=b"calldata")
    yield fx.OpenDispute(
        key=f"panel:{name}:dispute",
        deal_id=deal_id,
        deal=terms.deal,
        result=samples.result_commit(),
        signature=samples.notice().signature,
        result_hash=eip712.digest(samples.domain, samples.result_commit()),
        secret=keccak256(b"client"),
        withheld=False,
        bond=Tokens(samples.paid),
    )
    yield fx.ProveFraud(
        key=f"fraud:{name}",
        deal_id=deal_id,
        deal=terms.deal,
        first=samples.result_commit(),
        first_signature=samples.notice().signature,
        second=None,
        second_signature=Signature(b""),
        claimed=keccak256(b"another"),
    )
    yield samples.post_channel_tx()
    yield post_tx(terms, "settle", amount=Tokens(samples.paid), signature=samples.sign_off().signature)


def rows(amount: int) -> Vectors:
    samples = Samples(amount)
    for name, state in samples.states().items():
        for role in ROLES.get(name, (CLIENT, PROVIDER)):
            yield f"deal {role} {name} version=1 amount={amount}", encode(Half(role, state)).hex()
    for name, run in samples.runs().items():
        yield f"run {name} version=1 amount={amount}", encode(run).hex()
    for name, channel in samples.channel_states().items():
        yield f"channel {name} version=1 amount={amount}", encode(ChannelHalf(CLIENT, channel)).hex()
    waits = Owing(DealId(keccak256(b"next")), Tokens(samples.paid))
    two = Open(msgspec.structs.replace(samples.book(), ahead=waits))
    yield f"channel Open with-one-ahead version=1 amount={amount}", encode(ChannelHalf(PROVIDER, two)).hex()
    for effect in outbox(samples):
        item = encode(fx.OutboxItem(effect))  # type: ignore[arg-type]
        yield f"outbox {type(effect).__name__} version=1 amount={amount}", item.hex()
    for role in (DISPUTER, DEFENDANT, SEAT):
        log = PanelLog(9, 1, keccak256(b"tx"), (keccak256(b"topic"), samples.terms().deal_id), bytes(64))
        file = DisputeFile(samples.terms().deal_id, role, (log,), ("secret",), 1)
        yield f"dispute {role} version=1", encode(file).hex()
    told, deal_id = samples.messages()["case_file/1"], samples.terms().deal_id
    assert isinstance(told, CaseFile)
    case = Case(deal_id, told.deal, told.client, told.provider, told.job)
    yield f"case told version=1 amount={amount}", encode(case).hex()
    ran = LocalResult(
        outcome=0, exit_code=0, fuel=7, wall_ms=8, root=samples.root, size=9, log_head=keccak256(b"log"), detail="x"
    )
    done = msgspec.structs.replace(case, inputs_here=True, ran=ran, tries=1, result=told.result, bytes_here=True)
    yield f"case executed version=1 amount={amount}", encode(done).hex()
    yield "job version=1", encode(JobBody(samples.job.encode())).hex()
    yield "counters version=1", encode(Counters(sequence=(1 << 63) - 1)).hex()


FILES = {"messages": messages, "envelopes": envelopes, "eip712": signed, "rows": rows}


def current(name: str) -> dict[str, str]:
    """What the code makes today."""
    return {label: data for amount in AMOUNTS for label, data in FILES[name](amount)}


def main() -> int:
    changed = []
    for name in FILES:
        path = FOLDER / f"{name}.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        made = current(name)
        changed += [f"{path.name}: {label}" for label in kept if label in made and kept[label] != made[label]]
        path.write_text(json.dumps({**made, **kept}, indent=1) + "\n")
    for label in changed:
        print(f"refused to change {label}: a version never changes, so give it a new one", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
