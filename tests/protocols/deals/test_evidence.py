"""Does a dossier prove exactly what it proves, say what it lacks, and survive whatever stranger wrote it?"""

import msgspec
import pytest
from eth.db.trie import make_trie_root_and_nodes
from hypothesis import given, settings
from hypothesis import strategies as st

from devnet.sim.samples import Samples
from protocols.canonical import encode
from protocols.contracts import artifact, calls, panel
from protocols.contracts.lock import COMMITTED_TOPIC, Lock
from protocols.deals import eip712, states
from protocols.deals.dossier import MAX_DOSSIER_BYTES, MAX_PROOFS, Dossier, dossier_of, read_dossier, with_parts
from protocols.deals.evidence import EVENTS, Finding, actions, examine, gaps
from protocols.disputes.states import Reason
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, Signature, Tokens, UnixSeconds
from protocols.verify.inclusion import LogProof, prove_log
from protocols.verify.rlp import encode_rlp, integer

SAMPLES = Samples()
JOB = SAMPLES.job.encode()
DEAL_ID = eip712.deal_id(SAMPLES.domain, SAMPLES.deal())
OWNER = Address(b"\x0a" * 20)
LOCK = Lock.of(SAMPLES.domain, SAMPLES.deal(), client_owner=SAMPLES.client.address, provider_owner=OWNER)


def dossier(name: str = "Settled", **changes: object) -> Dossier:
    found = read_dossier(dossier_of(SAMPLES.states()[name], JOB, SAMPLES.domain))
    return msgspec.structs.replace(found, **changes)


def wrong(found: Dossier) -> set[str]:
    return {one.name for one in examine(found) if not one.ok}


def names(found: Dossier) -> list[str]:
    return [one.name for one in examine(found)]


# --- chain logs, as the escrow writes them ------------------------------------------------------------------------


class Encoded(bytes):
    """What py-evm's trie takes."""

    def encode(self) -> bytes:
        return bytes(self)


def proof_of(topics: list[bytes], data: bytes, *, escrow: bytes = SAMPLES.domain.escrow, at: int = 0) -> LogProof:
    """One transaction with one log, in a block at ``at`` (default: when the sample deal was committed)."""
    receipt = b"\x02" + encode_rlp([b"\x01", integer(21_000), bytes(256), [[escrow, topics, data]]])
    root, _ = make_trie_root_and_nodes((Encoded(receipt),))  # type: ignore[arg-type]
    head = [bytes(32), bytes(32), bytes(20), bytes(32), bytes(32), root, bytes(256), b"", integer(17), b"\x01", b"\x01"]
    header = encode_rlp([*head, integer(at or SAMPLES.commitment.at), b"", bytes(32), bytes(8)])
    return prove_log(header, [receipt], 0, 0)


def committed(lock: Lock = LOCK, **more: object) -> LogProof:
    pad = bytes(12)
    run = lock.client + lock.run_nonce.to_bytes(8) + lock.index.to_bytes(4)
    numbers = (lock.price, lock.collateral, lock.claim_within, lock.window_seconds)
    data = run + pad + lock.client_owner + pad + lock.provider_owner + b"".join(n.to_bytes(32) for n in numbers)
    return proof_of([COMMITTED_TOPIC, lock.deal_id, pad + lock.client, pad + lock.provider], data, **more)  # type: ignore[arg-type]


def ended(how: str) -> LogProof:
    return proof_of([keccak256(EVENTS[how].encode()), DEAL_ID], SAMPLES.paid.to_bytes(32) + bytes(32))


# --- what holds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES.states())
def test_every_state_makes_a_dossier_that_holds(name: str) -> None:
    found = dossier(name)
    assert wrong(found) == set()
    assert encode(found) == dossier_of(SAMPLES.states()[name], JOB, SAMPLES.domain)
    assert found.state == name.lower()


def test_what_each_part_adds() -> None:
    assert "provider signature" not in names(dossier("Proposed"))
    assert {"result signature", "result root"} <= set(names(dossier("Resulted")))
    assert {"delivery signature", "delivery result"} <= set(names(dossier("Delivered")))
    assert {"receipt signature", "receipt result", "settlement signature"} <= set(names(dossier("Accepted")))
    assert dossier("Rejected").refused is not None
    claim = SAMPLES.claim()
    assert dossier("Claimed").claim is not None
    assert dossier("Claimed").transactions == (SAMPLES.commitment.tx, claim.tx)
    end = dossier("Expired").end
    assert end is not None
    assert (end.how, end.paid) == ("expired", 0)


# --- what does not ------------------------------------------------------------------------------------------------


def other_result() -> Samples:
    """The same parties about another amount: every signature is good, for another deal."""
    return Samples(7)


def replaced(part: object, **changes: object) -> object:
    return msgspec.structs.replace(part, **changes)  # type: ignore[type-var]


LIES: dict[str, tuple[dict[str, object], set[str]]] = {
    "another price": (
        {"deal": msgspec.structs.replace(SAMPLES.deal(), price=Tokens(1))},
        {"client signature", "provider signature", "result deal", "delivery result"},
    ),
    "another chain": ({"chain_id": 1}, {"client signature", "provider signature", "result signature"}),
    "another deal's result": ({"result": other_result().notice()}, {"result deal", "delivery result"}),
    "a root the provider did not commit to": (
        {"result": replaced(SAMPLES.notice(), root=SAMPLES.job.module)},
        {"result root"},
    ),
    "a receipt for another deal": ({"delivered": other_result().receipt()}, {"delivery result"}),
    "the provider's signature as the client's": (
        {"client_signature": SAMPLES.terms().provider_signature},
        {"client signature"},
    ),
    "no job": ({"job": b"\x90"}, {"job id"}),
    "a secret that is none": ({"client_secret": Hash32(bytes(32))}, {"client secret"}),
    "a receipt without a result": ({"result": None}, {"delivery result"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named(lie: str) -> None:
    changes, expected = LIES[lie]
    assert expected <= wrong(dossier("Delivered", **changes))


def test_a_settlement_is_of_this_deal_and_within_its_price() -> None:
    assert "settlement amount" in wrong(dossier("Accepted", sign_off=other_result().sign_off()))
    too_much = eip712.Settlement(deal_id=DEAL_ID, paid=Tokens(SAMPLES.paid + 1))
    off = replaced(SAMPLES.sign_off(), settlement=too_much, signature=SAMPLES.signed(SAMPLES.client, too_much))
    assert wrong(dossier("Accepted", sign_off=off)) == {"settlement amount"}


def test_a_job_that_says_another_level_is_not_theirs() -> None:
    deal = msgspec.structs.replace(SAMPLES.deal(), level=eip712.Level.NONE)
    assert "job level" in wrong(dossier("Signed", deal=deal))
    assert "job module" in wrong(dossier("Signed", deal=msgspec.structs.replace(deal, image=Hash32(bytes(32)))))


def test_the_secret_opens_the_hash_in_the_deal() -> None:
    assert wrong(dossier("Rejected", client_secret=Hash32(b"client" + bytes(26)))) == {"client secret"}
    deal = msgspec.structs.replace(SAMPLES.deal(), client_secret_hash=keccak256(bytes(32)))
    digest = Hash32(eip712.deal_id(SAMPLES.domain, deal))
    found = dossier("Signed", deal=deal, client_secret=Hash32(bytes(32)), client_signature=SAMPLES.client.sign(digest))
    assert "client secret" not in wrong(found)


# --- the chain ----------------------------------------------------------------------------------------------------


def test_topics_are_those_of_the_contract() -> None:
    told = {
        f"{one['name']}({','.join(i['type'] for i in one['inputs'])})"
        for one in artifact("MeshEscrow").abi
        if one["type"] == "event"
    }
    assert set(EVENTS.values()) <= told
    about_deals = {one for one in told if one.startswith(("Deal", "Dispute"))}
    assert about_deals == set(EVENTS.values()), "a log about deals that no dossier can hold"


def test_a_proven_commitment_says_what_the_deal_says() -> None:
    found = dossier("Settled", proofs=(committed(), ended("settled")))
    assert wrong(found) == set()
    assert [name for name in names(found) if name.startswith("chain")] == ["chain: committed", "chain: settled"]
    (finding,) = [one for one in examine(found) if one.name == "chain: committed"]
    assert "if block 17 of chain 31337 is 0x" in finding.proves


@pytest.mark.parametrize(
    "proof",
    [
        committed(msgspec.structs.replace(LOCK, price=Tokens(1))),
        committed(msgspec.structs.replace(LOCK, window_seconds=1)),
        committed(at=7),
        ended("expired"),
    ],
)
def test_a_log_that_says_something_else(proof: LogProof) -> None:
    assert wrong(dossier("Settled", proofs=(proof,))) in ({"chain: committed"}, {"chain: expired"})


@pytest.mark.parametrize(
    "proof",
    [
        committed(escrow=bytes(20)),
        proof_of([COMMITTED_TOPIC, bytes(32)], b""),
        proof_of([keccak256(b"Transfer(address,address,uint256)"), DEAL_ID], b""),
        proof_of([COMMITTED_TOPIC], b""),
        msgspec.structs.replace(committed(), path=(b"\xc0",)),
    ],
)
def test_a_proof_of_something_else(proof: LogProof) -> None:
    assert wrong(dossier("Settled", proofs=(proof,))) == {"chain proof"}


# --- what is missing, what can be done ----------------------------------------------------------------------------


def test_what_is_missing_is_said() -> None:
    assert [gap.name for gap in gaps(dossier("Proposed"))] == [
        "provider signature",
        "chain: committed",
        "result",
        "delivery",
        "acceptance",
        "chain: end",
        "client secret",
    ]
    whole = dossier("Accepted", delivered=SAMPLES.receipt(), client_secret=Hash32(bytes(32)))
    whole = msgspec.structs.replace(whole, proofs=(committed(), ended("settled")))
    assert gaps(whole) == ()
    broken = dossier("Settled", proofs=(committed(escrow=bytes(20)),))
    assert "chain: committed" in {gap.name for gap in gaps(broken)}, "a proof that fails fills no gap"


def doable(found: Dossier) -> dict[str, bytes]:
    return {one.call: one.data for one in actions(found)}


def test_calldata_of_everything_that_can_follow() -> None:
    notice = SAMPLES.notice()
    result_hash = eip712.digest(SAMPLES.domain, notice.commit)
    commit = calls.commit(SAMPLES.deal(), SAMPLES.terms().client_signature)
    assert doable(dossier("Signed")) == {"commit": commit}, "without the Lock nothing else can be built"
    proven = {"proofs": (committed(),)}
    assert doable(dossier("Committed", **proven)) == {"commit": commit, "expire": calls.expire(LOCK)}
    assert doable(dossier("Resulted", **proven))["claim"] == calls.claim(LOCK, result_hash)
    off = SAMPLES.sign_off()
    assert doable(dossier("Accepted", **proven))["settle"] == calls.settle(LOCK, off.settlement.paid, off.signature)
    claimed = doable(dossier("Claimed", **proven))
    assert claimed == {"commit": commit, "finalize": calls.finalize(LOCK, result_hash)}
    assert all(one.to == SAMPLES.domain.escrow for one in actions(dossier("Accepted", **proven)))


def disputable(name: str, **changes: object) -> Dossier:
    """A panel deal of the same parties, its commitment proven, with a secret."""
    deal = msgspec.structs.replace(SAMPLES.deal(), enforcement=eip712.Enforcement.PANEL)
    owners = {"client_owner": SAMPLES.client.address, "provider_owner": OWNER}
    proofs = (committed(Lock.of(SAMPLES.domain, deal, **owners)),)
    return dossier(name, deal=deal, proofs=proofs, client_secret=Hash32(bytes(32)), **changes)


def test_anybody_can_fund_a_dispute_from_it() -> None:
    claimed = disputable("Claimed")
    lock = Lock.of(SAMPLES.domain, claimed.deal, client_owner=SAMPLES.client.address, provider_owner=OWNER)
    assert claimed.claim is not None
    assert claimed.client_secret is not None
    found = {one.call: one for one in actions(claimed)}
    for reason in Reason:
        one = found[f"dispute, {reason.name}"]
        expected = panel.dispute(claimed.deal, lock, claimed.claim.result_hash, claimed.client_secret, reason)
        assert (one.to, one.sender, one.data) == (None, "anybody", expected)
        assert "wei at the panel" in one.when
    unclaimed = disputable("Rejected")
    notice = SAMPLES.notice()
    expected = panel.dispute_unclaimed(
        unclaimed.deal, lock, notice.commit, notice.signature, Hash32(bytes(32)), Reason.WRONG
    )
    assert doable(unclaimed)["dispute, WRONG"] == expected


@pytest.mark.parametrize("changes", [{"client_secret": None}, {"proofs": ()}, {"result": None}])
def test_what_a_dispute_needs(changes: dict[str, object]) -> None:
    assert not [
        call for call in doable(msgspec.structs.replace(disputable("Rejected"), **changes)) if "dispute" in call
    ]
    assert not [
        call
        for call in doable(dossier("Rejected", proofs=(committed(),), client_secret=Hash32(bytes(32))))
        if "dispute" in call
    ]


def test_a_lock_from_another_deal_makes_no_calldata() -> None:
    other = committed(msgspec.structs.replace(LOCK, price=Tokens(1)))
    assert set(doable(dossier("Claimed", proofs=(other,)))) == {"commit"}


# --- strangers' files ---------------------------------------------------------------------------------------------


def test_parts_are_added_and_bounded() -> None:
    data = with_parts(dossier(), client_secret=Hash32(b"\x05" * 32), proofs=(committed(),) * (MAX_PROOFS + 3))
    found = read_dossier(data)
    assert len(found.proofs) == MAX_PROOFS
    assert found.client_secret == b"\x05" * 32
    assert len(data) < MAX_DOSSIER_BYTES // 8
    assert read_dossier(with_parts(found)).client_secret == b"\x05" * 32


BAD: dict[str, dict[str, object]] = {
    "a short escrow": {"escrow": b"\x01"},
    "a negative chain": {"chain_id": -1},
    "a chain beyond every integer": {"chain_id": 1 << 63},
    "a word for a terminal": {"state": "\x1b[2J"},
    "a signature of 64 bytes": {"client_signature": bytes(64)},
    "a secret of 31": {"client_secret": bytes(31)},
    "too many proofs": {"proofs": (committed(),) * (MAX_PROOFS + 1)},
    "too long a job": {"job": bytes(32 * 1024 + 1)},
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_outside_its_bounds_is_no_dossier(name: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_dossier(encode(dossier("Settled", **BAD[name])))
    assert caught.value.code == "malformed"


def test_the_bound_of_the_file() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_dossier(bytes(MAX_DOSSIER_BYTES + 1))
    assert caught.value.code == "too_large"


WHOLE = encode(dossier("Claimed", proofs=(committed(),)))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_found_or_harmless(at: int, change: int) -> None:
    """No file crashes the reader. What may change unseen is what the node itself noted down, the size of the result (a hint
    to whoever pulls it), and a header, whose hash the reader is told to compare."""
    data = bytearray(WHOLE)
    data[at] ^= change
    try:
        found = read_dossier(bytes(data))
    except RemoteProtocolError:
        return
    shown: tuple[Finding, ...] = examine(found)
    gaps(found)
    actions(found)
    before = read_dossier(WHOLE)
    noted = {"state", "rfq_id", "claim", "commitment", "result", "proofs"}
    changed = {name for name in Dossier.__struct_fields__ if getattr(found, name) != getattr(before, name)}
    assert changed <= noted or {one.name for one in shown if not one.ok} > wrong(before)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_noise_is_no_dossier(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_dossier(data)


def test_a_time_beyond_the_clock_breaks_nothing() -> None:
    odd = states.Commitment(tx=Hash32(bytes(32)), block=-1, at=UnixSeconds(1 << 62))
    assert wrong(dossier("Settled", commitment=odd, proofs=(committed(),))) == {"chain: committed"}


def test_a_signature_that_no_contract_takes_is_no_action() -> None:
    """One changed byte of it ended the reader of somebody else's file with a defect of ours."""
    whole = dossier("Accepted", proofs=(committed(),))
    assert {"commit", "settle"} <= {one.call for one in actions(whole)}
    odd = Signature(bytes(64) + b"\x05")
    assert whole.sign_off is not None
    unsigned = msgspec.structs.replace(
        whole, client_signature=odd, sign_off=msgspec.structs.replace(whole.sign_off, signature=odd)
    )
    assert not {"commit", "settle"} & {one.call for one in actions(unsigned)}
