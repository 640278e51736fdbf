"""Do offers, gpus, peers, deals and dossiers show what the node says, and does a bad dossier end with 7?"""

from pathlib import Path

import msgspec
import pytest

from mesh.base.errors import UsageError
from mesh.base.keys import NodeKey
from mesh.cli.jobfile import parse_job_text
from protocols.canonical import encode
from protocols.deals.eip712 import Deal, Domain, deal_id
from protocols.deals.evidence import MAX_DOSSIER_BYTES, Dossier
from protocols.deals.states import Commitment
from protocols.deals.terms import Enforcement, Level, Metering, SettlementMode
from protocols.job.canonical import CanonicalJob, Resolved, canonical_job, job_id_of, level_params_of
from protocols.transfer.cid import raw_cid
from protocols.units import Address, Hash32, Tokens

TOKEN = 10**18
CLIENT, PROVIDER = NodeKey(b"\x01" * 32), NodeKey(b"\x02" * 32)
DOMAIN = Domain(31337, Address(b"\x0e" * 20))


def test_offers(mesh, node) -> None:
    said = mesh("offers", "cpus >= 1", "-o", "wide")
    assert node.arguments("offers") == {"expression": "cpus >= 1"}
    for word in ("wasm D3", "1.5", "512 MiB", "0.036 MESH", "98.8 %", "eu"):
        assert word in said.out
    assert mesh("offers", "-o", "json").json[0]["reliability_ppm"] == 987_654
    assert len(mesh("offers", "-o", "jsonl").lines) == 1


def test_offers_with_an_expression_that_cannot_be_read(mesh, node) -> None:
    node.failing["offers"] = UsageError("the expression cannot be read", why="cpus >", fix="mesh offers 'cpus >= 2'")
    mesh("offers", "cpus >").failed(2, "cannot be read", "cpus >= 2")


def test_a_fresh_node_is_given_a_moment_to_hear_of_offers(mesh, node) -> None:
    node.about = msgspec.structs.replace(node.about, uptime_s=1, offers=0)
    seen = iter([0, 0, 2])

    def status():
        node.about = msgspec.structs.replace(node.about, offers=next(seen, 2))
        return type(node).status(node)

    node.status = status
    assert mesh("offers").code == 0
    assert sum(name == "status" for name, _ in node.asked) >= 3


def test_gpus_are_honest(mesh, node) -> None:
    said = mesh("gpus")
    assert said.out.split() == ["GPU", "PROVIDER", "GPU-HOUR"]
    assert "this version probes no GPUs" in said.talk
    node.offer_list = [msgspec.structs.replace(node.offer_list[0], gpus=("H200 143771 MiB",))]
    assert "H200 143771 MiB" in mesh("gpus").out
    assert mesh("gpus", "-o", "json").json[0]["gpu"] == "H200 143771 MiB"


def test_peers(mesh, node) -> None:
    said = mesh("peers")
    assert "/ip4/1.2.3.4/tcp/1" in said.out
    assert "1.2 ms" in said.out
    assert mesh("peers", "-o", "json").json[0]["dialled"] is True


def test_deals(mesh, node) -> None:
    assert "0x77aaefef" in mesh("deals").out
    assert mesh("deals", "-o", "jsonl").lines[0]["phase"] == "settled"


def test_deal_show(mesh, node) -> None:
    said = mesh("deal", "show", "0x77aa")
    for word in ("settled", "0.5 MESH", "2.0 %", "exited, exit code 0", "checked: bytes"):
        assert word in said.out
    assert mesh("deal", "show", "0x77aa", "-o", "json").json["role"] == "client"
    mesh("deal", "show", "beef").failed(2, "beef names no deal", "mesh deals")


def a_job() -> bytes:
    spec = parse_job_text(b"version: 1\nmodule: ./pi.wasm\n", "job.yaml", environ={})
    return canonical_job(spec, Resolved(raw_cid(b"module"), 6, ())).encode()


def a_deal(**changes) -> Deal:
    zero = Hash32(bytes(32))
    job = CanonicalJob.decode(a_job())
    terms = {
        "client": CLIENT.address,
        "provider": PROVIDER.address,
        "token": Address(b"\x03" * 20),
        "run_nonce": 5,
        "index": 0,
        "job_id": job_id_of(job),
        "image": Hash32(job.module[-32:]),
        "gpus": (),
        "price": Tokens(TOKEN),
        "metering": Metering(0),
        "collateral": Tokens(0),
        "level": Level.EXACT,
        "level_params": level_params_of(job.verify),
        "numeric_class": zero,
        "enforcement": Enforcement(0),
        "audit_ppm": 0,
        "seat_fee": Tokens(0),
        "seat_class": 0,
        "seat_snapshot": 0,
        "client_secret_hash": zero,
        "provider_secret_hash": zero,
        "commit_by": 1,
        "exec_seconds": 1,
        "claim_seconds": 1,
        "window_seconds": 1,
        "settlement": SettlementMode(0),
    }
    return Deal(**(terms | changes))


def dossier(**changes) -> bytes:
    deal = a_deal()
    digest = Hash32(deal_id(DOMAIN, deal))
    well = Dossier(
        chain_id=DOMAIN.chain_id,
        escrow=DOMAIN.escrow,
        deal=deal,
        client_signature=CLIENT.sign(digest),
        provider_signature=PROVIDER.sign(digest),
        job=a_job(),
        commitment=None,
        result=None,
        delivered=None,
        sign_off=None,
        state="signed",
    )
    return encode(msgspec.structs.replace(well, **changes))


def test_evidence_is_written_once(mesh, node) -> None:
    said = mesh("deal", "evidence", "0x77aa")
    assert said.out.startswith("deal-77aaefef.dossier ")
    assert Path("deal-77aaefef.dossier").read_bytes() == b"dossier"
    mesh("deal", "evidence", "0x77aa").failed(1, "exists already", "mesh deal verify deal-77aaefef.dossier")
    assert mesh("deal", "evidence", "0x77aa", "--to", "-").out == "dossier"
    assert mesh("deal", "evidence", "0x77aa", "--to", "d", "-o", "json").json["bytes"] == 7
    mesh("deal", "evidence", "0x77aa", "--to", "no/where").failed(1, "cannot write no/where", "--to FILE")


def test_verify(mesh, home) -> None:
    Path("d").write_bytes(dossier())
    said = mesh("deal", "verify", "d")
    assert said.code == 0
    for word in (
        "client signature    ok",
        "provider signature  ok",
        "job id              ok",
        "1 MESH",
        "on chain 31337",
    ):
        assert word in said.out
    told = mesh("deal", "verify", "d", "-o", "json").json
    assert told["ok"] is True
    assert told["client"] == f"0x{CLIENT.address.hex()}"


def test_verify_says_what_is_missing_and_what_can_be_sent(mesh, home) -> None:
    Path("d").write_bytes(dossier())
    lines = mesh("deal", "verify", "d").out.splitlines()
    assert any(line.startswith("commit  the provider  by commitBy  900 bytes") for line in lines)
    assert any(line.startswith("chain: committed") and "look it up" in line for line in lines)
    told = mesh("deal", "verify", "d", "-o", "json").json
    assert {one["name"] for one in told["missing"]} >= {"result", "client secret"}
    (call,) = told["calls"]
    assert call["call"] == "commit"
    assert call["to"] == f"0x{DOMAIN.escrow.hex()}"
    assert len(call["data"]) == 2 + 2 * (4 + 28 * 32)


def test_evidence_with_the_secret_is_the_clients_alone_to_write(mesh, node) -> None:
    node.dossier = dossier()
    assert mesh("deal", "evidence", "0x77aa", "--to", "plain").code == 0
    assert Path("plain").read_bytes() == dossier()
    mesh("deal", "evidence", "0x77aa", "--secret", "--to", "d").failed(2, "cannot open a dispute", "mesh deal")
    mesh("key", "new")
    mesh("deal", "evidence", "0x77aa", "--secret", "--to", "d").failed(2, "cannot open a dispute", "mesh deal")
    assert not Path("d").exists()


def test_evidence_is_written_also_where_no_endpoint_answers(mesh, node) -> None:
    tx = Commitment(tx=Hash32(b"\x01" * 32), block=1, at=1)
    node.dossier = dossier(commitment=tx)
    said = mesh("deal", "evidence", "0x77aa", "--to", "d")
    assert said.code == 0
    assert "chain proofs" in said.talk
    assert Path("d").read_bytes() == node.dossier


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"job": b"not a job"}, "job id"),
        ({"deal": a_deal(price=Tokens(2 * TOKEN))}, "client signature"),
        ({"deal": a_deal(provider=CLIENT.address)}, "provider signature"),
        ({"client_signature": PROVIDER.sign(Hash32(deal_id(DOMAIN, a_deal())))}, "client signature"),
        ({"chain_id": 1}, "client signature"),
    ],
)
def test_verify_sees_what_does_not_hold(mesh, home, changes, wrong) -> None:
    Path("d").write_bytes(dossier(**changes))
    said = mesh("deal", "verify", "d")
    assert said.code == 7
    assert [line for line in said.out.splitlines() if line.startswith(wrong) and "WRONG" in line]
    assert "d does not hold" in said.talk
    assert said.talk.splitlines()[-1].startswith("  try: ")
    assert mesh("deal", "verify", "d", "-o", "json").json["ok"] is False


@pytest.mark.parametrize("content", [b"", b"\xc1", b"x" * (MAX_DOSSIER_BYTES + 1), dossier()[:-1], dossier() + b"\0"])
def test_a_file_that_is_no_dossier(mesh, home, content) -> None:
    Path("d").write_bytes(content)
    mesh("deal", "verify", "d").failed(3, "d is no dossier", "mesh deals")


def test_a_dossier_that_is_not_there(mesh, home) -> None:
    mesh("deal", "verify", "d").failed(3, "cannot read d", "mesh deals")


def test_offers_show_when_they_were_last_heard_of(mesh, node) -> None:
    assert "1m05s ago" in mesh("offers").out
    assert mesh("offers", "-o", "json").json[0]["age_s"] == 65
