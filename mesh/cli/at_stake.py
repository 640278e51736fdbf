"""What may a run that a panel judges take from the free balance, beside its budget? The bond of a dispute, and an appeal."""

import msgspec

from mesh.api.types import Submission
from mesh.base.config import LoadedConfig
from mesh.cli.render import amount
from protocols.units import Tokens

__all__ = ["DisputeStakes", "dispute_stakes", "stakes_lines", "with_stakes"]


class DisputeStakes(msgspec.Struct, frozen=True, kw_only=True):
    """For one attempt at its highest price, wei as decimal text. ``appeal`` and ``max_deposit`` are the settings of the section
    ``dispute`` that decide on the deposit."""

    bond: str
    """To open a dispute about a confirmed mismatch."""
    appeal_deposit: str
    """Most that this node puts up on top for a second panel; 0 where the settings forbid it."""
    appeal: str
    max_deposit: str


def dispute_stakes(loaded: LoadedConfig, submission: Submission) -> DisputeStakes | None:
    """None for a run whose deals no panel judges."""
    if submission.enforcement != "panel":
        return None
    from protocols.deals.panel_terms import bound_by_dispute
    from protocols.disputes.params import appeal_deposit
    from protocols.verify.incentives import seat_fee_for

    price, settings = Tokens(int(submission.max_price)), loaded.config.dispute
    deposit = min(appeal_deposit(seat_fee_for(price)), settings.max_deposit)
    return DisputeStakes(
        bond=str(int(bound_by_dispute(price))),
        appeal_deposit=str(0 if settings.appeal == "never" else int(deposit)),
        appeal=settings.appeal,
        max_deposit=str(int(settings.max_deposit)),
    )


_WHEN = {
    "when_sure": "to defend a verdict, or when two proofs are for you",
    "always": "against every verdict that is not for you, and to defend one",
}


def stakes_lines(stakes: DisputeStakes) -> str:
    """For people."""
    lines = (
        f"a confirmed mismatch is disputed unasked: that takes a bond of up to {amount(stakes.bond)} from your free balance,",
        "beside the budget; it comes back when the panel finds you right",
    )
    if not int(stakes.appeal_deposit):
        setting = "dispute.appeal is never" if stakes.appeal == "never" else "dispute.max_deposit is 0"
        return "\n".join(
            (*lines, f"a second panel is never paid for, and one that the provider calls is lost ({setting})")
        )
    settings = f"dispute.appeal {stakes.appeal}, dispute.max_deposit {amount(stakes.max_deposit)}"
    return "\n".join((
        *lines,
        f"an appeal takes a deposit of up to {amount(stakes.appeal_deposit)} more, {_WHEN[stakes.appeal]};",
        f"it is lost when the second panel finds against you ({settings})",
    ))  # fmt: skip


def with_stakes(answer: object, stakes: DisputeStakes | None) -> object:
    """What a program reads about a run, with what it puts at stake; the answer as it is where there is none."""
    if stakes is None:
        return answer
    return {**msgspec.to_builtins(answer), "dispute": msgspec.to_builtins(stakes)}
