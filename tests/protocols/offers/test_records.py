"""Does every legal record fit a gossip message, in exactly one form, and nothing illegal decode?"""

import msgspec
import pytest

from protocols.canonical import decode_strict, encode
from protocols.envelope import ENVELOPE_OVERHEAD, Envelope
from protocols.errors import RemoteProtocolError
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.records import (
    MAX_PAYLOAD_BYTES,
    MAX_SLOTS,
    Ask,
    ExecutorOffer,
    GpuOffer,
    JobOffer,
    OfferWithdrawn,
    Property,
    ResourceOffer,
)
from protocols.offers.topics import (
    CPU,
    GPU_CLASSES,
    class_of_cards,
    class_of_need,
    classes_within,
    jobs_topic,
    offers_topic,
)
from protocols.units import Hash32, Signature, Tokens, UnixSeconds

MOST = (1 << 256) - 1
AMOUNTS = [0, 1 << 64, MOST]


def largest(offer, peer):
    """The record with every field at its bound."""
    word = "w" * 20
    return offer(
        slot=MAX_SLOTS - 1,
        sequence=(1 << 63) - 1,
        expires=UnixSeconds(1 << 40),
        capability="gpu-140",
        cpus_milli=(1 << 31) - 1,
        memory_mib=(1 << 31) - 1,
        disk_mib=(1 << 31) - 1,
        gpus=tuple(GpuOffer("M" * 32, (1 << 31) - 1, 999, Hash32(bytes([i]) * 32), True) for i in range(8)),
        executors=(ExecutorOffer("wasm", 4), ExecutorOffer("oci", 4), ExecutorOffer("process", 4)),
        ask=Ask(Tokens(MOST), Tokens(MOST), Tokens(MOST), Tokens(MOST)),
        region="r" * 16,
        labels=tuple((f"l{i}" + "x" * 18, word) for i in range(6)),
        properties=tuple(Property(f"p{i}" + "x" * 18, (1 << 63) - 1, True) for i in range(8)),
        addresses=tuple(bytes([i]) * 96 for i in range(4)),
        max_wall_s=(1 << 31) - 1,
        free_slots=65_535,
    )


def test_the_largest_offer_fits_a_gossip_message(offer, peer):
    payload = encode(largest(offer, peer))
    assert len(payload) == 1864
    assert len(payload) <= MAX_PAYLOAD_BYTES == MAX_GOSSIP_BYTES - ENVELOPE_OVERHEAD
    assert decode_strict(ResourceOffer, payload, max_bytes=MAX_PAYLOAD_BYTES) == largest(offer, peer)
    sealed = encode(Envelope("offer/1", payload, peer(1), Signature(bytes(65))))
    assert len(sealed) <= MAX_GOSSIP_BYTES


@pytest.mark.parametrize("amount", AMOUNTS)
def test_golden_vectors(offer, job_offer, withdrawn, amount):
    tokens = Tokens(amount)
    word = amount.to_bytes(32, "big").hex()
    plain = encode(offer(ask=Ask(tokens, tokens, tokens, tokens))).hex()
    assert plain == GOLDEN_OFFER.replace("{amount}", word)
    assert encode(job_offer(max_price=tokens)).hex() == GOLDEN_JOB_OFFER.replace("{amount}", word)
    assert encode(withdrawn()).hex() == GOLDEN_WITHDRAWN


def test_a_small_offer_stays_small(offer):
    assert len(encode(offer())) < 300


@pytest.mark.parametrize(
    "change",
    [
        {"slot": MAX_SLOTS},
        {"slot": -1},
        {"sequence": 1 << 63},
        {"provider": bytes(38)},
        {"capability": "gpu-80"},
        {"capability": "gpu-9"},
        {"executors": ()},
        {"executors": (ExecutorOffer("wasm", 3), ExecutorOffer("wasm", 2))},
        {"executors": (ExecutorOffer("wasm", 5),)},
        {"modes": ()},
        {"modes": ("market", "market")},
        {"region": "EU"},
        {"region": "x" * 17},
        {"labels": (("reliability", "high"),)},
        {"labels": (("Team", "a"),)},
        {"labels": (("team", "a\n"),)},
        {"labels": tuple((f"l{i}", "a") for i in range(7))},
        {"properties": (Property("cpus", 1, False),)},
        {"properties": (Property("x", 1, False), Property("x", 2, True))},
        {"labels": (("x", "a"),), "properties": (Property("x", 1, False),)},
        {"properties": (Property("x", -1, False),)},
        {"addresses": (b"x",) * 5},
        {"addresses": (b"x" * 97,)},
        {"addresses": (b"",)},
        {"gpus": (GpuOffer("H100\n", 81_559, 90, Hash32(bytes(32)), False),), "capability": "gpu-80"},
        {"gpus": (GpuOffer("H100", 81_559, 90, Hash32(bytes(31)), False),), "capability": "gpu-80"},
        {"token": bytes(19)},
        {"free_slots": 65_536},
    ],
    ids=str,
)
def test_an_illegal_offer_does_not_decode(offer, change):
    values = {name: getattr(offer(), name) for name in ResourceOffer.__struct_fields__} | change
    raw = encode(_Loose(tuple(values.values())))
    with pytest.raises(RemoteProtocolError) as caught:
        decode_strict(ResourceOffer, raw[1:], max_bytes=4096)
    assert caught.value.code == "malformed"


class _Loose(msgspec.Struct, frozen=True, array_like=True):
    """An array of one array: what it encodes to, without its first byte, is a record with any fields at all."""

    fields: tuple[object, ...]


def test_a_job_offer_has_the_class_of_its_cards(job_offer):
    with pytest.raises(ValueError, match="class"):
        job_offer(gpu_count=1)
    with pytest.raises(ValueError, match="class"):
        job_offer(capability="gpu-24")
    assert job_offer(capability="gpu-24", gpu_count=1).author == job_offer().client


def test_records_are_arrays_with_fields_in_this_order():
    assert [one.__struct_fields__[:3] for one in (ResourceOffer, JobOffer)] == [
        ("provider", "slot", "sequence"),
        ("client", "slot", "sequence"),
    ]
    assert OfferWithdrawn.__struct_fields__ == ("owner", "kind", "slot", "sequence", "expires")


@pytest.mark.parametrize(
    ("vram", "capability"),
    [
        ((), "cpu"),
        ((4096,), "cpu"),
        ((8192,), "gpu-8"),
        ((15_109,), "gpu-16"),
        ((22_500,), "gpu-24"),
        ((24_564,), "gpu-24"),
        ((40_536,), "gpu-40"),
        ((46_068,), "gpu-48"),
        ((81_559, 8192), "gpu-80"),
        ((143_771,), "gpu-140"),
    ],
)
def test_classes_of_real_cards(vram, capability):
    assert class_of_cards(vram) == capability


@pytest.mark.parametrize(
    ("count", "memory", "capability"),
    [(0, 0, "cpu"), (1, 0, "gpu-8"), (1, 16_000, "gpu-24"), (2, 80_000, "gpu-140"), (1, 200_000, "gpu-140")],
)
def test_classes_of_needs(count, memory, capability):
    assert class_of_need(count, memory) == capability


def test_whoever_listens_to_all_classes_within_hears_every_job_it_could_do():
    for vram in (4096, 8192, 15_109, 24_564, 46_068, 81_559, 143_771):
        heard = classes_within(class_of_cards([vram]))
        for need in range(0, vram + 1, 500):
            assert class_of_need(1, need) in heard or vram < GPU_CLASSES["gpu-8"] or need > GPU_CLASSES[heard[-1]]
    assert classes_within(CPU) == (CPU,)


def test_topics():
    assert offers_topic("devnet", "cpu") == "/mesh/devnet/offers/cpu/1"
    assert jobs_topic("devnet", "gpu-24") == "/mesh/devnet/jobs/gpu-24/1"


GOLDEN_OFFER = (
    "dc0014c4270025080212210200000000000000000000000000000000000000000000000000000000000000010001cd03e8a3"
    "637075cd0fa0cd2000cd2800909192a47761736d0394c420{amount}c420{amount}c420{amount}c420{amount}92a56669"
    "786564a66d61726b6574c4141111111111111111111111111111111111111111c41422222222222222222222222222222222"
    "22222222a0909090cd0e1002"
)
GOLDEN_JOB_OFFER = (
    "dc0011c4270025080212210200000000000000000000000000000000000000000000000000000000000000010001cd03e8c4"
    "203333333333333333333333333333333333333333333333333333333333333333a3637075a47761736dcd03e8cd0200cd04"
    "000000cd012cc420{amount}c41411111111111111111111111111111111111111110090"
)
GOLDEN_WITHDRAWN = (
    "95c427002508021221020000000000000000000000000000000000000000000000000000000000000001a56f666665720002cd03e8"
)
