"""Which seats sit in a dispute? A shuffle of the pool, step by step, from a seed that neither party could choose.

Both parties signed the hash of a secret before the deal began; the seed hangs on both. Places of the shuffle are looked
at in order and those that may not be called are passed over, so every eligible seat has the same chance and none is
drawn twice.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from protocols.disputes.params import MAX_VISITS
from protocols.disputes.states import Round, Stage, Turn
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, DealId, Hash32

__all__ = [
    "appeal_seed",
    "commitment_of",
    "fill",
    "fingerprint_key",
    "first_seed",
    "fold_salt",
    "new_round",
    "seat_at",
    "unfilled",
]

_WORD: Final = 32


def first_seed(client_secret: Hash32, provider_secret: Hash32, deal_id: DealId) -> Hash32:
    """The seed of the first panel."""
    return keccak256(client_secret, provider_secret, deal_id)


def appeal_seed(first: Round) -> Hash32:
    """The seed of the second panel: nobody knew it before the first had revealed its salts."""
    return keccak256(first.seed, first.salts)


def fold_salt(salts: Hash32, position: int, salt: Hash32) -> Hash32:
    """The folded salts with one more. The order of folding makes no difference, so the last to reveal gains nothing."""
    word = int.from_bytes(salts) ^ int.from_bytes(keccak256(position.to_bytes(_WORD), salt))
    return Hash32(word.to_bytes(_WORD))


def fingerprint_key(deal_id: DealId, rounds: int, seat: int) -> Hash32:
    """What a seat hashes before its output's bytes. No other seat, and no other dispute, has the same fingerprint, so
    none can be copied, and whoever holds the bytes can recompute each. ``rounds``: how many panels there were before."""
    return keccak256(b"mesh/fingerprint/1", deal_id, rounds.to_bytes(_WORD), seat.to_bytes(_WORD))


def commitment_of(deal_id: DealId, rounds: int, seat: int, fingerprint: Hash32, salt: Hash32) -> Hash32:
    """What a seat commits to: five words."""
    return keccak256(deal_id, rounds.to_bytes(_WORD), seat.to_bytes(_WORD), fingerprint, salt)


def seat_at(round_: Round, pool: int) -> tuple[int, Round]:
    """The seat at the shuffle's next place, and the round one step on (Fisher-Yates, kept as the places that differ)."""
    swaps, place = dict(round_.swaps), round_.cursor
    other = place + int.from_bytes(keccak256(round_.seed, place.to_bytes(_WORD))) % (pool - place)
    found, here = swaps.get(other, other), swaps.get(place, place)
    swaps[other] = here
    return found, replace(round_, cursor=place + 1, swaps=tuple(sorted(swaps.items())))


def unfilled(round_: Round, pool: int) -> bool:
    """Is there an empty place in the panel, and somebody left to look at?"""
    return round_.cursor < pool and any(turn.stage is Stage.VACANT for turn in round_.turns)


def fill(round_: Round, pool: int, may_be_called: Callable[[int], bool], before: tuple[int, ...] = ()) -> Round:
    """Call seats to the empty places, looking at ``MAX_VISITS`` seats at most. ``before``: seats of the first panel."""
    for _ in range(MAX_VISITS):
        if not unfilled(round_, pool):
            break
        seat, round_ = seat_at(round_, pool)
        if seat not in before and may_be_called(seat):
            turns = list(round_.turns)
            empty = next(at for at, turn in enumerate(turns) if turn.stage is Stage.VACANT)
            turns[empty] = Turn(seat=seat, stage=Stage.CALLED)
            round_ = replace(round_, turns=tuple(turns), called=(*round_.called, seat))
    return round_


def new_round(seed: Hash32, size: int) -> Round:
    """A panel with every place empty."""
    return Round(seed=seed, turns=(Turn(),) * size, salts=ZERO_HASH)
