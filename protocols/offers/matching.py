"""Does this offer fit this job, and if not, why not?

Every rule that fails gives a reason: a stable code, what was needed, what is offered, and a sentence for people.
Client and provider ask the same question; a provider leaves out what only the client can know.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import msgspec

from protocols.job.canonical import CanonicalGpus, CanonicalJob
from protocols.job.constraints import MICRO, Compare, Expression, Fact, parse_constraint, plain, why_not
from protocols.job.peers import peer_to_text
from protocols.offers.pricing import price_of, tokens_text
from protocols.offers.records import GpuOffer, ResourceOffer
from protocols.units import PPM, Address, PeerId, Tokens

__all__ = ["CLIENT_ONLY", "Reason", "Terms", "facts_of", "match"]

CLIENT_ONLY = frozenset({"reliability"})
"""Properties that the client's own node measures; no provider can state them about itself."""


class Reason(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One rule that fails. ``code`` is stable: executor, cpus, memory, disk, gpu_count, gpu_model, gpu_memory,
    compute_capability, wall, token, mode, target, price, reputation, constraint."""

    code: str
    needed: str
    offered: str
    sentence: str


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a client demands besides the job itself; None leaves a rule out. ``reliability_ppm`` is what it has seen."""

    max_price: Tokens | None = None
    token: Address | None = None
    mode: str | None = None
    target: PeerId | None = None
    min_reputation_ppm: int = 0
    reliability_ppm: int | None = None


def match(
    offer: ResourceOffer, job: CanonicalJob, terms: Terms | None = None, measured: Mapping[str, int] | None = None
) -> tuple[Reason, ...]:
    """Every reason why the offer does not fit; empty when it fits.

    ``measured``: what the caller's node found out about the provider, in millionths (``reliability``).
    None means that the caller is the provider, and constraints on those properties are left to the client.
    """
    found = _machine(offer, job)
    if job.resources.gpus.count:
        found += _cards(offer, job.resources.gpus)
    if terms is not None:
        found += _market(offer, job, terms)
    if job.constraints:
        found += _constraints(offer, job, measured)
    return tuple(found)


def facts_of(offer: ResourceOffer, measured: Mapping[str, int] | None = None) -> dict[str, Fact]:
    """What constraints may speak about: fields, labels and properties of a record, and the caller's measurements."""
    facts = {name: Fact(word, False) for name, word in offer.labels}
    facts |= {one.name: Fact(one.value, one.measured) for one in offer.properties}
    numbers = {
        "cpus": offer.cpus_milli * 1000,
        "memory_mib": offer.memory_mib * MICRO,
        "disk_mib": offer.disk_mib * MICRO,
        "gpus": len(offer.gpus) * MICRO,
        "max_wall_s": offer.max_wall_s * MICRO,
        "free_slots": offer.free_slots * MICRO,
    }
    if offer.gpus:
        numbers["gpu_memory_mib"] = min(card.vram_mib for card in offer.gpus) * MICRO
        numbers["compute_capability"] = min(card.capability_tenths for card in offer.gpus) * MICRO // 10
        facts["gpu_model"] = Fact(offer.gpus[0].model, True)
    facts |= {name: Fact(value, True) for name, value in numbers.items()}
    facts["class"] = Fact(offer.capability, True)
    facts["provider"] = Fact(peer_to_text(offer.provider), True)
    if offer.region:
        facts["region"] = Fact(offer.region, False)
    facts |= {name: Fact(value, True) for name, value in (measured or {}).items()}
    return facts


def _machine(offer: ResourceOffer, job: CanonicalJob) -> list[Reason]:
    """Words are made for what fails alone: a search asks this of every offer in the book, and most of them fit."""
    found: list[Reason] = []
    if job.executor not in [one.kind for one in offer.executors]:
        have = ", ".join(sorted(one.kind for one in offer.executors))
        found.append(Reason("executor", job.executor, have, f"needs executor {job.executor}, this node runs {have}"))
    needs = job.resources
    low, high = needs.cpus_milli
    if not low <= offer.cpus_milli <= (high or offer.cpus_milli):
        found.append(_amount("cpus", "CPUs", needs.cpus_milli, offer.cpus_milli, _cpus))
    low, high = needs.memory_mib
    if not low <= offer.memory_mib <= (high or offer.memory_mib):
        found.append(_amount("memory", "memory", needs.memory_mib, offer.memory_mib, _mib))
    low, high = needs.disk_mib
    if not low <= offer.disk_mib <= (high or offer.disk_mib):
        found.append(_amount("disk", "disk", needs.disk_mib, offer.disk_mib, _mib))
    if job.limits.wall_s > offer.max_wall_s:
        need, here = f"{job.limits.wall_s} s", f"{offer.max_wall_s} s"
        found.append(Reason("wall", need, here, f"may run {need}, this node allows {here}"))
    return found


def _amount(code: str, what: str, need: tuple[int, int], have: int, show: Callable[[int], str]) -> Reason:
    low, high = need
    here = show(have)
    if have < low:
        return Reason(code, show(low), here, f"needs {show(low)} {what}, one job gets {here}")
    wanted = f"at most {show(high)}"
    return Reason(code, wanted, here, f"wants {wanted} {what}, this machine has {here}")


def _cards(offer: ResourceOffer, needs: CanonicalGpus) -> Iterator[Reason]:
    cards = [card for card in offer.gpus if needs.mig or not card.mig]
    if len(cards) < needs.count:
        have = str(len(cards))
        yield Reason("gpu_count", str(needs.count), have, f"needs {_cards_word(needs.count)}, this node has {have}")
        return
    for code, needed, fits, show in _card_rules(needs):
        rest = [card for card in cards if fits(card)]
        if len(rest) >= needs.count:
            cards = rest  # the next rule is asked of the cards that passed this one
            continue
        best = show(cards)
        have = f"{len(rest)} of {len(cards)} here (best: {best})"
        yield Reason(code, needed, best, f"needs {_cards_word(needs.count)} with {needed}, {have}")


CardRule = tuple[str, str, Callable[[GpuOffer], bool], Callable[[list[GpuOffer]], str]]
"""Code, what is needed, whether a card has it, and what the best of some cards has."""


def _card_rules(needs: CanonicalGpus) -> Iterator[CardRule]:
    wanted = [_padded(name) for name in needs.names]
    if wanted:
        needed = f"model {' or '.join(needs.names)}"
        yield "gpu_model", needed, lambda card: any(name in _padded(card.model) for name in wanted), _models
    least, most = needs.memory_mib
    if least or most:
        needed = f"memory {_span(least, most, _mib)}"
        yield "gpu_memory", needed, lambda card: least <= card.vram_mib <= (most or card.vram_mib), _largest
    low, high = needs.capability_tenths
    if low or high:
        needed = f"compute capability {_span(low, high, _tenths)}"

        def newer(card: GpuOffer) -> bool:
            return low <= card.capability_tenths <= (high or card.capability_tenths)

        yield "compute_capability", needed, newer, _newest


def _models(cards: list[GpuOffer]) -> str:
    return ", ".join(sorted({card.model for card in cards}))


def _largest(cards: list[GpuOffer]) -> str:
    return _mib(max(card.vram_mib for card in cards))


def _newest(cards: list[GpuOffer]) -> str:
    return _tenths(max(card.capability_tenths for card in cards))


def _market(offer: ResourceOffer, job: CanonicalJob, terms: Terms) -> list[Reason]:
    found: list[Reason] = []
    if terms.target is not None and offer.provider != terms.target:
        target, here = peer_to_text(terms.target), peer_to_text(offer.provider)
        found.append(Reason("target", target, here, "the job names another provider"))
    if terms.mode is not None and terms.mode not in offer.modes:
        have = ", ".join(offer.modes)
        found.append(Reason("mode", terms.mode, have, f"the job is {terms.mode}-price, this node sells {have}"))
    if terms.token is not None and offer.token != terms.token:
        need, got = f"0x{terms.token.hex()}", f"0x{offer.token.hex()}"
        found.append(Reason("token", need, got, f"prices here are in token {got}"))
    elif terms.max_price is not None and (ask := price_of(offer, job)) > terms.max_price:
        sentence = f"asks {tokens_text(ask)}, the limit is {tokens_text(terms.max_price)}"
        found.append(Reason("price", str(terms.max_price), str(ask), sentence))
    known = terms.reliability_ppm
    if terms.min_reputation_ppm and (known is None or known < terms.min_reputation_ppm):
        need, got = _share(terms.min_reputation_ppm), "unknown" if known is None else _share(known)
        found.append(Reason("reputation", need, got, f"needs a reliability of {need}, your node has seen {got}"))
    return found


def _constraints(offer: ResourceOffer, job: CanonicalJob, measured: Mapping[str, int] | None) -> Iterator[Reason]:
    facts = facts_of(offer, measured)
    for text in job.constraints:
        failed = why_not(_understood(text), facts, CLIENT_ONLY if measured is None else frozenset())
        if failed is not None:
            compare, got = failed
            yield Reason("constraint", text, got, f"{_claim(compare)} does not hold: {got}")


@lru_cache(maxsize=1024)  # one job's constraints are asked of every offer in the book
def _understood(text: str) -> Expression:
    return parse_constraint(text).expression


def _claim(compare: Compare) -> str:
    name = f"measured.{compare.name}" if compare.measured else compare.name
    values = ", ".join(plain(value) for value in compare.values)
    return f"{name} {compare.op} [{values}]" if compare.op in ("in", "notin") else f"{name} {compare.op} {values}"


def _padded(words: str) -> str:
    """Lower-case words between spaces, so that "A10" is no part of "A100"."""
    return f" {' '.join(words.lower().replace('-', ' ').split())} "


def _cards_word(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _cpus(milli: int) -> str:
    return plain(milli * 1000)


def _mib(amount: int) -> str:
    return f"{amount} MiB"


def _tenths(amount: int) -> str:
    return f"{amount // 10}.{amount % 10}"


def _span(low: int, high: int, show: Callable[[int], str]) -> str:
    return f"from {show(low)} to {show(high)}" if high else f"of at least {show(low)}"


def _share(ppm: int) -> str:
    return plain(ppm * MICRO // PPM)
