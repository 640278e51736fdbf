"""What has a panel found? Guilty only if a majority of seats match each other and the provider does not match them.

An edge counts when both ends have published it. So votes without work match nobody, and a single seat, bought or broken,
neither convicts nor saves: the provider matches the majority when a majority that matches each other matches it too.
"""

from collections.abc import Iterator, Sequence

from protocols.disputes.params import APPEAL_SEATS
from protocols.disputes.states import PROVIDER_BIT, Finding, Outcome, Round, Stage, first_bit

__all__ = ["cliques", "edges_of", "judge", "majority", "places"]


def majority(present: int) -> int:
    """How many of the seats that are there make a majority: more than half, and never one alone."""
    return max(2, present // 2 + 1)


def places(bits: int) -> tuple[int, ...]:
    """The places that a bit set names."""
    return tuple(at for at in range(APPEAL_SEATS) if bits >> at & 1)


def edges_of(masks: Sequence[int]) -> tuple[int, ...]:
    """Per seat, the seats of its panel that it matches and that match it. ``masks`` as published, 0 for nothing."""
    return tuple(
        sum(1 << j for j, other in enumerate(masks) if j != i and mask >> j & 1 and other >> i & 1)
        for i, mask in enumerate(masks)
    )


def cliques(edges: Sequence[int], least: int) -> Iterator[int]:
    """Every set of at least ``least`` seats that all match each other, as bits."""
    for group in range(1, 1 << len(edges)):
        members = places(group)
        if len(members) >= least and all((group & ~(1 << i)) & ~edges[i] == 0 for i in members):
            yield group


def judge(panel: Round, first: Round | None = None) -> Finding:
    """The finding of a panel whose seats have published. ``first``: the first panel, when this is the second.

    ``clique`` has every seat that is in some majority that matches each other. A seat of the first panel stands with
    them (``firsts``) when all of such a majority match what it revealed.
    """
    masks = [turn.mask if turn.stage is Stage.MATCHED else 0 for turn in panel.turns]
    present = sum(turn.stage in (Stage.REVEALED, Stage.MATCHED) for turn in panel.turns)
    to_provider = sum(1 << i for i, mask in enumerate(masks) if mask & PROVIDER_BIT and panel.provider_mask >> i & 1)
    found = tuple(cliques(edges_of(masks), majority(present)))
    if not found:
        return Finding(Outcome.SPLIT)
    firsts, clique, acquitted = 0, 0, False
    for group in found:
        clique |= group
        acquitted = acquitted or group & ~to_provider == 0
        for at, turn in enumerate(first.turns if first else ()):
            if turn.stage in (Stage.REVEALED, Stage.MATCHED) and all(masks[i] & first_bit(at) for i in places(group)):
                firsts |= 1 << at
    return Finding(Outcome.ACQUITTED if acquitted else Outcome.GUILTY, clique, firsts)
