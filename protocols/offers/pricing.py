"""What does a job cost at an offer's asking prices?

    price = max(minimum, ceil(seconds * (cpus * cpu_second + GiB * gib_second + cards * gpu_second)))

for what is reserved: the low ends of the job's resources. ``seconds`` is the job's wall limit, because a fixed price
sells the right to run that long; a client that knows better names a smaller wall limit, and pays for no more than
that.
"""

from typing import Final

from protocols.job.canonical import CanonicalJob
from protocols.limits import TOKEN_SYMBOL
from protocols.offers.records import ResourceOffer
from protocols.units import Seconds, Tokens

__all__ = ["price_of", "tokens_text"]

_MOST: Final = (1 << 256) - 1


def price_of(offer: ResourceOffer, job: CanonicalJob, expected: Seconds | None = None) -> Tokens:
    """The asking price in wei, exact and rounded up once. ``expected`` stands in for the wall limit.

    Saturates at 2**256 - 1: an absurd ask is an absurd price, never an exception.
    """
    seconds: int = job.limits.wall_s if expected is None else expected
    needs, ask = job.resources, offer.ask
    # Thousandths of a CPU and 1,024ths of a GiB over one denominator, so that nothing is rounded before the end.
    rate = (
        needs.cpus_milli[0] * 1024 * ask.cpu_second
        + needs.memory_mib[0] * 1000 * ask.gib_second
        + needs.gpus.count * 1000 * 1024 * ask.gpu_second
    )
    price = -(-seconds * rate // (1000 * 1024))
    if price <= ask.minimum:
        return ask.minimum
    return Tokens(price if price < _MOST else _MOST)


def tokens_text(wei: int) -> str:
    """An amount for people, exact, in the word that every command shows: ``0.25 MESH``, the token of all networks."""
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".") + f" {TOKEN_SYMBOL}"
