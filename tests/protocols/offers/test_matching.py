"""Does every rule of matching hold at its edge, and say why when it does not?"""

import pytest

from protocols.canonical import encode
from protocols.job.peers import peer_to_text
from protocols.offers.matching import Reason, Terms, match
from protocols.offers.pricing import price_of
from protocols.offers.records import Ask, ExecutorOffer, Property
from protocols.units import Address, Tokens


def codes(*args, **more):
    return [reason.code for reason in match(*args, **more)]


def test_a_job_that_fits_gets_no_reason(offer, job):
    assert match(offer(), job()) == ()


@pytest.mark.parametrize(
    ("needs", "has", "code"),
    [
        ({"resources": {"cpus": "4"}}, {"cpus_milli": 3999}, "cpus"),
        ({"resources": {"cpus": "1..2"}}, {"cpus_milli": 2001}, "cpus"),
        ({"resources": {"memory": "1GiB"}}, {"memory_mib": 1023}, "memory"),
        ({"resources": {"memory": "1GiB..2GiB"}}, {"memory_mib": 2049}, "memory"),
        ({"resources": {"disk": "2GiB"}}, {"disk_mib": 2047}, "disk"),
        ({"limits": {"wall": "10m"}}, {"max_wall_s": 599}, "wall"),
        ({}, {"executors": (ExecutorOffer("oci", 2),)}, "executor"),
        ({"constraints": ["region == eu"]}, {"region": "us"}, "constraint"),
        ({"constraints": ["region == eu"]}, {}, "constraint"),
        ({"constraints": ["cpus >= 4"]}, {"cpus_milli": 3999}, "constraint"),
        (
            {"constraints": ["measured.inet_down >= 200"]},
            {"properties": (Property("inet_down", 10**9, False),)},
            "constraint",
        ),
        ({"constraints": ["team == blue"]}, {"labels": (("team", "red"),)}, "constraint"),
    ],
    ids=str,
)
def test_what_does_not_fit_says_so(offer, job, needs, has, code):
    (reason,) = match(offer(**has), job(**needs))
    assert reason.code == code
    assert reason.needed
    assert reason.offered
    assert len(reason.sentence) < 200


@pytest.mark.parametrize(
    ("needs", "has"),
    [
        ({"resources": {"cpus": "4", "memory": "8GiB", "disk": "10GiB"}}, {}),
        ({"resources": {"cpus": "2..4"}}, {}),
        ({"limits": {"wall": "1h"}}, {}),
        ({"constraints": ["region in [eu, us]"]}, {"region": "us"}),
        ({"constraints": ["measured.inet_down >= 200"]}, {"properties": (Property("inet_down", 2 * 10**8, True),)}),
        ({"constraints": ["cpus == 4 and memory_mib >= 8192 and class == cpu and free_slots >= 1"]}, {}),
    ],
    ids=str,
)
def test_the_edge_still_fits(offer, job, needs, has):
    assert match(offer(**has), job(**needs)) == ()


def test_all_reasons_come_at_once_in_one_order(offer, job):
    tiny = offer(cpus_milli=1, memory_mib=1, disk_mib=1, max_wall_s=1, executors=(ExecutorOffer("oci", 0),))
    assert codes(tiny, job(constraints=["region == eu"])) == [
        "executor",
        "cpus",
        "memory",
        "disk",
        "wall",
        "constraint",
    ]


def test_reasons_read_well_and_travel(offer, job):
    (reason,) = match(offer(cpus_milli=2500), job(resources={"cpus": "4"}))
    assert reason == Reason("cpus", "4", "2.5", "needs 4 CPUs, one job gets 2.5")
    assert len(encode(reason)) < 100
    (reason,) = match(offer(), job(), Terms(max_price=Tokens(1)))
    assert reason.sentence == "asks 0.0000000000003015 MESH, the limit is 0.000000000000000001 MESH"


@pytest.mark.parametrize(
    ("needs", "code"),
    [
        ((3, (0, 0), (0, 0), (), False), "gpu_count"),
        ((2, (80_000, 0), (0, 0), (), False), "gpu_memory"),
        ((1, (90_000, 0), (0, 0), (), False), "gpu_memory"),
        ((1, (0, 8_000), (0, 0), (), False), "gpu_memory"),
        ((1, (0, 0), (100, 0), (), False), "compute_capability"),
        ((1, (0, 0), (0, 70), (), False), "compute_capability"),
        ((1, (0, 0), (0, 0), ("A100",), False), "gpu_model"),
        ((1, (0, 0), (0, 0), ("H10",), False), "gpu_model"),
        ((2, (0, 0), (0, 0), ("H100",), False), "gpu_model"),
        ((1, (0, 30_000), (0, 0), ("H100",), False), "gpu_memory"),
        ((1, (60_000, 0), (0, 89), (), False), "compute_capability"),
    ],
    ids=str,
)
def test_cards_that_do_not_do(offer, job, card, needs, code):
    machine = offer(gpus=(card(), card("NVIDIA A10", 23_028, 86)), capability="gpu-80")
    assert codes(machine, job(needs)) == [code]


@pytest.mark.parametrize(
    "needs",
    [
        (2, (0, 0), (0, 0), (), False),
        (1, (80_000, 0), (90, 90), ("H100",), False),
        (1, (0, 24_000), (80, 89), ("a10",), False),
        (2, (16_000, 0), (80, 0), ("H100", "A10"), False),
    ],
    ids=str,
)
def test_cards_that_do(offer, job, card, needs):
    machine = offer(gpus=(card(), card("NVIDIA A10", 23_028, 86)), capability="gpu-80")
    assert match(machine, job(needs)) == ()


def test_a_slice_of_a_card_is_taken_only_by_who_agrees(offer, job, card):
    machine = offer(gpus=(card(mig=True),), capability="gpu-80")
    assert codes(machine, job((1, (0, 0), (0, 0), (), False))) == ["gpu_count"]
    assert match(machine, job((1, (0, 0), (0, 0), (), True))) == ()


def test_what_only_the_client_knows_is_left_to_it(offer, job):
    needy = job(constraints=["reliability >= 0.95"])
    assert match(offer(), needy) == ()
    assert codes(offer(), needy, measured={}) == ["constraint"]
    assert codes(offer(), needy, measured={"reliability": 940_000}) == ["constraint"]
    assert match(offer(), needy, measured={"reliability": 960_000}) == ()


def test_terms_of_the_client(offer, job, peer):
    ask = price_of(offer(), job())
    here = offer().token
    assert match(offer(), job(), Terms(max_price=ask, token=here, mode="fixed", target=peer(1))) == ()
    assert codes(offer(), job(), Terms(max_price=Tokens(ask - 1), token=here)) == ["price"]
    assert codes(offer(), job(), Terms(max_price=Tokens(0), token=Address(b"\x99" * 20))) == ["token"]
    assert codes(offer(modes=("fixed",)), job(), Terms(mode="market")) == ["mode"]
    (reason,) = match(offer(), job(), Terms(target=peer(2)))
    assert (reason.code, reason.needed) == ("target", peer_to_text(peer(2)))


def test_reputation(offer, job):
    assert codes(offer(), job(), Terms(min_reputation_ppm=900_000)) == ["reputation"]
    assert codes(offer(), job(), Terms(min_reputation_ppm=900_000, reliability_ppm=899_999)) == ["reputation"]
    assert match(offer(), job(), Terms(min_reputation_ppm=900_000, reliability_ppm=900_000)) == ()
    assert match(offer(), job(), Terms()) == ()


def test_price(offer, job):
    # 300 s * (1 CPU * 1000 wei + 0.5 GiB * 10 wei)
    assert price_of(offer(), job()) == 300 * 1005
    assert price_of(offer(), job(), expected=10) == 10 * 1005
    assert price_of(offer(), job((2, (0, 0), (0, 0), (), False))) == 300 * (1005 + 2 * 100_000)
    assert price_of(offer(), job(limits={"wall": "1s"}, resources={"cpus": "0.001", "memory": "1MiB"})) == 5
    # 1 s * (1.001 wei + 10/1024 wei) = 1.0107 wei: rounded up, once
    free = Ask(Tokens(1001), Tokens(10), Tokens(0), Tokens(0))
    assert price_of(offer(ask=free), job(limits={"wall": "1s"}, resources={"cpus": "0.001", "memory": "1MiB"})) == 2


def test_the_price_follows_the_low_end_and_the_wall_limit(offer, job):
    assert price_of(offer(), job(resources={"cpus": "1..4"})) == price_of(offer(), job(resources={"cpus": "1"}))
    assert price_of(offer(), job(limits={"wall": "10m"})) == 2 * price_of(offer(), job())


def test_an_absurd_ask_is_an_absurd_price(offer, job):
    most = Tokens((1 << 256) - 1)
    assert price_of(offer(ask=Ask(most, most, most, most)), job()) == most
