"""Which of the acceptable offers are asked, and which quote wins?

Asking the best visible offers herds everybody onto the same few (11, 28, 103 requests per deal at 200, 400, 800 nodes;
measured in simulation), so a client asks a few drawn at random from all that fit, and only then compares.
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from protocols.canonical import tagged_digest
from protocols.offers.records import ResourceOffer
from protocols.units import PPM, WEI_PER_TOKEN, Hash32, PeerId, Tokens

__all__ = ["MIN_RELIABILITY_PPM", "SMALL_DEAL", "WAIT_WEIGHT_PPM", "draw", "ignores_reliability", "sample", "score"]

T = TypeVar("T")

WAIT_WEIGHT_PPM: Final = 300_000
"""A job that would end at its deadline counts as 30 % dearer than one that ends at once."""
MIN_RELIABILITY_PPM: Final = 700_000
"""Below this a provider does not look worse still: it is twice as dear already, and a newcomer starts here."""
SMALL_DEAL: Final = Tokens(WEI_PER_TOKEN)
"""Deals up to one token are small enough to try a newcomer."""
NEWCOMER_ONE_IN: Final = 10


def sample(entropy: Hash32, offers: Sequence[ResourceOffer], count: int) -> list[ResourceOffer]:
    """``count`` offers of different providers, uniformly at random from all providers, in random order.

    A provider with several offers takes part once, with the cheapest per CPU-second (then GPU-second, minimum, slot):
    more records buy no more chances. The same entropy and the same offers, in any order, give the same sample.
    """
    best: dict[PeerId, ResourceOffer] = {}
    for offer in offers:
        known = best.get(offer.provider)
        if known is None or _cheapness(offer) < _cheapness(known):
            best[offer.provider] = offer
    return draw(entropy, [best[provider] for provider in sorted(best)], count)


def draw(entropy: Hash32, items: Sequence[T], count: int) -> list[T]:
    """``count`` different items (all, if there are fewer), every subset and order equally likely: Fisher-Yates, cut
    short.
    """
    pool = list(items)
    numbers = _uniform(entropy)
    for index in range(min(count, len(pool))):
        left = len(pool) - index
        ceiling = (1 << 64) - (1 << 64) % left  # above it a remainder would favour the first items
        number = next(n for n in numbers if n < ceiling)
        other = index + number % left
        pool[index], pool[other] = pool[other], pool[index]
    return pool[:count]


def score(price: Tokens, finish_s: int, deadline_s: int, reliability_ppm: int | None) -> int:
    """Lower is better: ``price * (1 + 0.3 * finish / deadline) / max(r, 0.7)**2``, in wei, floored.

    ``reliability_ppm`` is r, the 5 % lower bound; None (a newcomer) counts as 0.7. A job without deadline passes
    ``deadline_s`` 0 and waits for free. With r ignored (``ignores_reliability``) pass ``PPM`` for everybody.
    """
    r = max(reliability_ppm or 0, MIN_RELIABILITY_PPM)
    late = WAIT_WEIGHT_PPM * max(finish_s, 0) // deadline_s if deadline_s > 0 else 0
    return price * (PPM + late) * PPM // (r * r)


def ignores_reliability(entropy: Hash32, price: Tokens, small: Tokens = SMALL_DEAL) -> bool:
    """Whether this deal is the one small deal in ten that looks at price and time alone, so that newcomers get work.

    ``price`` is the client's limit for the deal: what it risks.
    """
    first = tagged_digest("newcomer/1", entropy)
    return price <= small and int.from_bytes(first[:8], "big") % NEWCOMER_ONE_IN == 0


def _cheapness(offer: ResourceOffer) -> tuple[int, int, int, int]:
    return offer.ask.cpu_second, offer.ask.gpu_second, offer.ask.minimum, offer.slot


def _uniform(entropy: Hash32) -> Iterator[int]:
    """64-bit numbers out of a hash in counter mode."""
    counter = 0
    while True:
        block = tagged_digest("draw/1", entropy, counter.to_bytes(8, "big"))
        for start in range(0, 32, 8):
            yield int.from_bytes(block[start : start + 8], "big")
        counter += 1
