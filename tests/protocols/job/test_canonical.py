"""Does one job have one canonical form, and is nothing else taken for one?"""

import copy

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import encode
from protocols.errors import RemoteProtocolError
from protocols.job import JobError, parse_job
from protocols.job.canonical import (
    FUEL_PER_WALL_SECOND,
    CanonicalInput,
    CanonicalJob,
    CanonicalOutput,
    Resolved,
    canonical_job,
    job_id_of,
    level_params_of,
    run_id_of,
)
from protocols.limits import MAX_JOB_BYTES
from protocols.units import Address, Cid

MODULE = Cid(bytes.fromhex("01551220") + bytes(range(32)))
DATA = Cid(bytes.fromhex("01701220") + bytes(range(32, 64)))
MORE = Cid(bytes.fromhex("01551220") + bytes(range(64, 96)))
SOURCE = {
    "version": 1,
    "name": "pi",
    "module": "./pi.wasm",
    "command": ["--samples", "20000000"],
    "env": {"SEED": "7", "A": "b"},
    "inputs": [{"path": "/z", "source": "./z"}, {"path": "/in", "source": "./data"}],
    "outputs": [{"path": "/out"}, {"path": "/log", "max_bytes": "1MiB"}],
    "constraints": ["region in [eu, us]"],
    "labels": {"team": "demo"},
    "market": {"max_price": "2.50 MESH"},
}
RESOLVED = Resolved(MODULE, 65_000, ((DATA, 1000), (MORE, 5)))
GOLDEN_BYTES = (
    "dc001001a27069a47761736dc42401551220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "cdfde892a92d2d73616d706c6573a832303030303030309292a141a16292a453454544a1379293a32f696ec4240155122040"
    "4142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f0593a22f7ac424017012202021222324252627"
    "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3fcd03e89295a42f6c6f67a36c6f67ce00100000cd2710c295a42f"
    "6f7574a36f7574ce40000000cd2710c29592cd03e80092cd02000092cd04000040950092000092000090c294cd012ccf0000"
    "0ae9f7bcc00040ce00100000a3616e799099a56578616374a3616e790000ce000f424090000000c091b2726567696f6e2069"
    "6e205b65752c2075735d"
)
GOLDEN_ID = "5d7fecbcc7c28e6f01eb5aaf35ff0d84c2bd829f885af1e6605d83b61d962d8b"


def job_of(**changes):
    return canonical_job(parse_job(SOURCE | changes, {}, {}), RESOLVED)


def test_golden_vector():
    job = job_of()
    assert (job.encode().hex(), job_id_of(job).hex()) == (GOLDEN_BYTES, GOLDEN_ID)


def test_it_holds_what_a_re_execution_needs():
    job = job_of()
    assert job.inputs == (CanonicalInput("/in", MORE, 5), CanonicalInput("/z", DATA, 1000))
    assert [one.path for one in job.outputs] == ["/log", "/out"]
    assert job.env == (("A", "b"), ("SEED", "7"))
    assert job.limits.fuel == 300 * FUEL_PER_WALL_SECOND
    assert (job.resources.memory_mib, job.seed, job.verify.level) == ((512, 0), None, "exact")


def test_order_in_the_file_does_not_matter():
    turned = copy.deepcopy(SOURCE)
    turned["inputs"].reverse()
    turned["outputs"].reverse()
    turned["env"] = dict(reversed(turned["env"].items()))
    again = canonical_job(parse_job(turned, {}, {}), Resolved(MODULE, 65_000, ((MORE, 5), (DATA, 1000))))
    assert job_id_of(again) == job_id_of(job_of())


def test_writing_a_default_out_does_not_matter():
    assert job_of(limits={"wall": "300s", "stdout": "1024KiB"}, network="none", seed="deal") == job_of()


@pytest.mark.parametrize(
    "change",
    [{"labels": {"a": "b"}}, {"market": {"max_price": "9 MESH"}}, {"retry": {"max_attempts": 1}}, {"deadline": "2h"}],
    ids=str,
)
def test_the_clients_own_business_is_not_part_of_the_job(change):
    assert job_id_of(job_of(**change)) == job_id_of(job_of())


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"command": []},
        {"env": {"SEED": "8"}},
        {"limits": {"wall": "6m"}},
        {"resources": {"memory": "513MiB"}},
        {"resources": {"memory": "512MiB..1GiB"}},
        {"seed": 0},
        {"verify": {"level": "none"}},
        {"constraints": []},
        {"outputs": []},
    ],
    ids=str,
)
def test_everything_else_is(change):
    assert job_id_of(job_of(**change)) != job_id_of(job_of())


def test_run_ids_differ_by_client_and_nonce():
    job_id = job_id_of(job_of())
    runs = {run_id_of(job_id, Address(bytes([who]) * 20), nonce) for who in (1, 2) for nonce in (0, 1, 2**64 - 1)}
    assert len(runs) == 6
    with pytest.raises(OverflowError):
        run_id_of(job_id, Address(bytes(20)), 2**64)


def test_level_params_differ_by_level():
    assert level_params_of(job_of().verify) != level_params_of(job_of(verify={"level": "none"}).verify)


def test_inputs_of_another_job_are_refused():
    with pytest.raises(ValueError, match="zip"):
        canonical_job(parse_job(SOURCE, {}, {}), Resolved(MODULE, 1))


def test_a_job_too_heavy_to_travel_is_refused():
    folders = [{"path": f"/{i:02d}" + "x" * 250, "source": "."} for i in range(64)]
    outputs = [{"path": f"/o{i:02d}" + "x" * 250, "name": f"{i:02d}" + "y" * 60} for i in range(64)]
    spec = parse_job(SOURCE | {"inputs": folders, "outputs": outputs}, {}, {})
    with pytest.raises(JobError, match="at most 32768"):
        canonical_job(spec, Resolved(MODULE, 1, ((DATA, 1),) * 64))


def test_the_heaviest_arguments_and_environment_fit():
    heavy = job_of(command=["x" * 4096], env={"A": "y" * 4095}, constraints=['region == "' + "z" * 200 + '"'] * 16)
    assert len(heavy.encode()) < MAX_JOB_BYTES / 2
    assert CanonicalJob.decode(heavy.encode()) == heavy


def replaced(**changes):
    return encode(msgspec.structs.replace(job_of(), **changes))


def output(path, name="o"):
    return CanonicalOutput(path, name, 1, 1, False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\xc0", "malformed"),
        (msgpack.packb([1] * 17), "malformed"),
        (job_of().encode() + b"\x00", "malformed"),
        (job_of().encode()[:-1], "malformed"),
        (b"\x00" * (MAX_JOB_BYTES + 1), "too_large"),
        (replaced(version=2), "malformed"),
        (replaced(module=Cid(bytes(36))), "malformed"),
        (replaced(env=(("SEED", "7"), ("A", "b"))), "malformed"),
        (replaced(env=(("A", "1"), ("A", "2"))), "malformed"),
        (replaced(env=(("A=B", "1"),)), "malformed"),
        (replaced(command=("a\x00b",)), "malformed"),
        (replaced(outputs=(output("/o"), output("/o/p", "p"))), "malformed"),
        (replaced(outputs=(output("/in", "p"),)), "malformed"),
        (replaced(outputs=(output("/in/deep", "p"),)), "malformed"),
        (replaced(outputs=(output("/o/../p"),)), "malformed"),
        (replaced(outputs=(output("relative"),)), "malformed"),
        (replaced(outputs=(output("/o", "a/b"),)), "malformed"),
        (replaced(outputs=(output("/o", ".."),)), "malformed"),
        (replaced(outputs=(output("/o"), output("/p"))), "malformed"),
        (replaced(constraints=("region =",)), "malformed"),
        (replaced(verify=msgspec.structs.replace(job_of().verify, canonicalisers=("run-this",))), "malformed"),
        (replaced(executor="bash"), "malformed"),
        (replaced(seed=-1), "malformed"),
        (replaced(name=""), "malformed"),
        (replaced(resources=msgspec.structs.replace(job_of().resources, cpus_milli=(2000, 1000))), "malformed"),
        (replaced(resources=msgspec.structs.replace(job_of().resources, memory_mib=(0, 0))), "malformed"),
        (replaced(limits=msgspec.structs.replace(job_of().limits, wall_s=0)), "malformed"),
        (replaced(limits=msgspec.structs.replace(job_of().limits, fuel=2**63)), "malformed"),
    ],
)
def test_hostile_bytes_are_refused(data, code):
    with pytest.raises(RemoteProtocolError) as caught:
        CanonicalJob.decode(data)
    assert caught.value.code == code


def test_a_second_spelling_is_refused():
    data = job_of().encode()
    assert data[:4] == b"\xdc\x00\x10\x01"  # 16 fields, then version 1; 0xcc 0x01 is the same number in two bytes
    with pytest.raises(RemoteProtocolError) as caught:
        CanonicalJob.decode(data[:3] + b"\xcc\x01" + data[4:])
    assert caught.value.code == "not_canonical"


@given(st.binary(max_size=300))
def test_random_bytes_never_do_more_than_fail(data):
    with pytest.raises(RemoteProtocolError):
        CanonicalJob.decode(data)


@given(
    st.lists(st.text(max_size=20).filter(str.isprintable), max_size=10),
    st.dictionaries(st.from_regex(r"\A[A-LN-Z_][A-Z0-9_]{0,9}\Z"), st.text(max_size=20).filter(str.isprintable)),
    st.integers(0, 2**63 - 1) | st.just("deal"),
)
def test_every_job_survives_the_journey(command, env, seed):
    job = job_of(command=command, env=dict(list(env.items())[:20]), seed=seed)
    assert CanonicalJob.decode(job.encode()) == job
