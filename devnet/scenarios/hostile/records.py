"""Which gossip records are refused, and at whose cost? Forged, stale, oversized and misplaced ones."""

import itertools
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from devnet.scenarios.hostile.attack import Act, Attack, Stage
from devnet.scenarios.hostile.peer import NOTICED_S, Hostile
from mesh.net.link import Verdict
from protocols.canonical import encode
from protocols.envelope import Envelope, seal
from protocols.offers.records import OFFER_TAG, Ask, ExecutorOffer, ResourceOffer
from protocols.offers.topics import CPU, offers_topic
from protocols.units import Tokens, UnixSeconds

__all__ = ["RECORDS", "join", "offer_by"]

PAUSE_S: Final = 0.4
"""Between two tries: the target hears nothing before it has told what it subscribes to."""

Record = Callable[[Hostile, Stage, int], bytes]
"""The envelope of the n-th try; every try has other bytes, because equal ones are heard once."""


def offer_by(hostile: Hostile, stage: Stage, number: int, **changes: Any) -> ResourceOffer:
    """An offer nobody could take offence at."""
    fields: dict[str, Any] = {
        "provider": hostile.key.peer_id,
        "sequence": number,
        "expires": UnixSeconds(int(time.time()) + 60),
        "cpus_milli": 1_000,
        "memory_mib": 1_024,
        "disk_mib": 1_024,
        "executors": (ExecutorOffer("wasm", 3),),
        "ask": Ask(Tokens(1), Tokens(1), Tokens(1), Tokens(1)),
        "token": stage.params.token,
        "escrow": stage.params.escrow,
        "max_wall_s": 3_600,
        "free_slots": 1,
    }
    return ResourceOffer(**(fields | changes))


def _offer(**changes: Any) -> Record:
    return lambda hostile, stage, number: seal(
        hostile.key, stage.params.name, OFFER_TAG, encode(offer_by(hostile, stage, number, **changes))
    )


def _expires(after_s: int) -> Record:
    return lambda h, s, n: _offer(expires=UnixSeconds(int(time.time()) + after_s))(h, s, n)


def _forged(hostile: Hostile, stage: Stage, number: int) -> bytes:
    """In another node's name, under the attacker's own signature."""
    return _offer(provider=stage.provider)(hostile, stage, number)


def _forged_envelope(hostile: Hostile, stage: Stage, number: int) -> bytes:
    """In another node's name throughout, with a signature that is not its own."""
    found = msgspec.msgpack.decode(_forged(hostile, stage, number), type=Envelope)
    return encode(msgspec.structs.replace(found, signer=stage.provider))


def _elsewhere(hostile: Hostile, stage: Stage, number: int) -> bytes:
    return seal(hostile.key, "arbitrum-sepolia", OFFER_TAG, encode(offer_by(hostile, stage, number)))


def _of_the_future(hostile: Hostile, stage: Stage, number: int) -> bytes:
    return seal(hostile.key, stage.params.name, "offer/9", encode(offer_by(hostile, stage, number)))


def _wrong_class(hostile: Hostile, stage: Stage, number: int) -> bytes:
    """A machine without cards that says it has the largest: the struct refuses it, so the payload is edited."""
    fields = msgspec.msgpack.decode(encode(offer_by(hostile, stage, number)))
    fields[ResourceOffer.__struct_fields__.index("capability")] = "gpu-140"
    return seal(hostile.key, stage.params.name, OFFER_TAG, msgspec.msgpack.encode(fields))


def _longer(hostile: Hostile, stage: Stage, number: int) -> bytes:
    return _offer()(hostile, stage, number) + b"\x00"


def _noise(size: int) -> Record:
    return lambda _h, _s, number: number.to_bytes(4, "big") * (size // 4)


async def join(hostile: Hostile, topic: str) -> None:
    """Be in the topic's mesh with the target: known once one of the network's own records comes from it."""
    records = hostile.link.subscribe(topic, lambda _peer, _record: Verdict.ACCEPT)
    with trio.fail_after(NOTICED_S):
        await anext(records)


def _rejected(record: Record, capability: str = CPU) -> Act:
    """Publish until it is noticed."""

    async def act(hostile: Hostile, stage: Stage) -> str:
        topic = offers_topic(stage.params.name, capability)
        await join(hostile, offers_topic(stage.params.name, CPU))
        with trio.move_on_after(NOTICED_S):
            for number in itertools.count(1):
                await hostile.link.publish(topic, record(hostile, stage, number))
                with trio.move_on_after(PAUSE_S):
                    await hostile.until_penalised()
                    break
        return ""

    return act


def _ignored(record: Record) -> Act:
    """Publish it and, right behind it, one that certainly costs: when that is noticed, the first was heard too."""

    async def act(hostile: Hostile, stage: Stage) -> str:
        topic = offers_topic(stage.params.name, CPU)
        worse = _expires(24 * 3600)(hostile, stage, 2)
        await join(hostile, topic)
        await hostile.link.publish(topic, record(hostile, stage, 1))
        await hostile.link.publish(topic, worse)
        score = await hostile.until_penalised()
        return "ignored" if score is not None and -10 <= score < 0 else f"score {score}"

    return act


RECORDS: Final = (
    Attack("noise", _rejected(_noise(400))),
    Attack("bytes after the record", _rejected(_longer)),
    Attack("an offer in another's name", _rejected(_forged)),
    Attack("an offer with a forged signature", _rejected(_forged_envelope)),
    Attack("an offer of another network", _rejected(_elsewhere)),
    Attack("an offer that lives a day", _rejected(_expires(24 * 3600))),
    Attack("an offer of 3 KiB", _rejected(_noise(3_000))),
    Attack("an offer on another class's topic", _rejected(_offer(), "gpu-80")),
    Attack("an offer of a class its cards are not of", _rejected(_wrong_class)),
    Attack("an offer that has expired", _ignored(_expires(-5)), says="ignored"),
    Attack("an offer of a version to come", _ignored(_of_the_future), says="ignored"),
)
"""The last two cost nothing by themselves; what follows each of them does."""
