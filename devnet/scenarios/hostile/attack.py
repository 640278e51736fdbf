"""What is an attack, and how is it judged? One identity, one thing sent, and what it must cost.

A thing that must cost nothing is followed by one that certainly costs ten points: then exactly those ten are missing.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio

from devnet.scenarios.hostile.peer import LOST_AT_LEAST, Hostile, Target, hostile_key, open_hostile
from devnet.scenarios.hostile.verdicts import Verdict
from mesh.net.link import LinkError
from protocols.limits import NetworkParams
from protocols.units import DealId, PeerId

__all__ = ["Attack", "Stage", "wage"]

AT_ONCE: Final = 3
"""Attackers side by side."""
LIMIT_S: Final = 90.0
"""One attack, connecting and being judged included."""
ONE_REJECTION: Final = -10
"""Points for one malformed message."""


class Stage(NamedTuple):
    """What the attacker knows of the network: a deal between others, and who they are."""

    params: NetworkParams
    deal_id: DealId
    client: PeerId
    provider: PeerId


Act = Callable[[Hostile, Stage], Awaitable[str]]
"""Does it; answers what the target said, or why it went wrong for the attacker."""


class Attack(NamedTuple):
    """``code``: for which the target's rules must take score; ``costs`` without a code: the link takes it.

    ``says`` must be in what the target answers.
    """

    name: str
    act: Act
    code: str = ""
    costs: bool = True
    says: str = ""
    only: str = ""
    """``client`` or ``provider``, when the other one has no ear for it."""


async def wage(kind: str, attacks: tuple[Attack, ...], targets: list[Target], stage: Stage, seed: int) -> list[Verdict]:
    """Every attack on every target, each by an identity of its own."""
    verdicts: list[Verdict] = []
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(attack: Attack, target: Target) -> None:
        async with limiter:
            name = f"{attack.name} to {target.member.name}"
            verdicts.append(Verdict(kind, name, await _problem(attack, target, stage, seed)))

    async with trio.open_nursery() as nursery:
        for attack in attacks:
            for target in targets:
                if target.member.name.startswith(attack.only):
                    nursery.start_soon(one, attack, target)
    return verdicts


async def _problem(attack: Attack, target: Target, stage: Stage, seed: int) -> str:
    key = hostile_key(seed, f"{attack.name} {target.member.name}")
    problem = ""
    try:
        with trio.fail_after(LIMIT_S):
            async with open_hostile(target, stage.params, key) as hostile:
                problem = await _judged(attack, hostile, await attack.act(hostile, stage))
    except* (LinkError, trio.TooSlowError, trio.BrokenResourceError) as group:
        problem = f"the attack could not be made: {group.exceptions!r}"
    return problem


async def _judged(attack: Attack, hostile: Hostile, said: str) -> str:
    if attack.says not in said:
        return f"it said {said!r}, not {attack.says!r}"
    if attack.costs:
        score = await hostile.until_penalised()
        codes = hostile.target.penalised(hostile.link.me)
        if score is not None and score > -LOST_AT_LEAST:
            return f"it cost nothing; said {said!r}"
        return "" if not attack.code or attack.code in codes else f"it cost score for {codes}, not for {attack.code}"
    score = await hostile.costs_of_garbage()
    if score is None or score < ONE_REJECTION:
        return f"it cost score ({score}) for {hostile.target.penalised(hostile.link.me)}; said {said!r}"
    return ""
