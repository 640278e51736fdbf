"""What do parties look like that break the rules of a dispute, or of a sealed result? The shipped node, but for one habit.

As a program (`main`) each takes what `mesh` takes; its name says which habit it has.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

import mesh.cases
import mesh.effects
from devnet.scenarios.hostile import liar
from devnet.scenarios.hostile.altered import alter
from mesh.base.observe import get_log
from mesh.cli.app import main as mesh_main
from protocols import effects as fx
from protocols.deals import channel_provider, checking, provider
from protocols.deals.inputs import Ctx, Step, say
from protocols.deals.states import Accepted, Checking, Delivered, Rejected, Resulted
from protocols.disputes.duties import Duty, ProviderHas
from protocols.disputes.record import Record
from protocols.env import Env
from protocols.handlers import cases, disputes, vouchers
from protocols.state import NodeState
from protocols.units import Hash32
from protocols.verify.audits import Concluded

__all__ = ["main"]

log = get_log("hostile")


def _slanderer() -> None:
    """A client that calls every result wrong, whatever its checks have found."""

    def refuse(state: Checking, end: Concluded, ctx: Ctx) -> Step:
        return checking.reject(state, "wrong-result", "it is not what this client likes to see", ctx, confirmed=True)

    alter(checking, "_concluded", refuse)


def _withholding_slanderer() -> None:
    """And it tells and serves the seats nothing, so that they should find the inputs unavailable."""
    _slanderer()
    alter(cases, "_file", _withheld)
    alter(mesh.cases, "roots_for", lambda *_: ())


def _withheld(state: NodeState, record: Record, env: Env) -> None:
    log.info("case.withheld", subject=record.deal_id.hex()[:12])


def _ransomer() -> None:
    """A provider that signs its result, and keeps the bytes."""
    _serve_nothing()


def _empty_ransomer() -> None:
    """The same, with nothing worth having behind it."""
    liar.lie()
    _serve_nothing()


def _serve_nothing() -> None:
    mesh.effects.AT_ONCE[fx.ServeBlobs] = lambda *_: None
    alter(mesh.cases, "roots_for", lambda *_: ())


def _mute_liar() -> None:
    """A provider that lies, and does not show its secret when that is disputed."""
    liar.lie()
    duties: Callable[[Record, ProviderHas], tuple[Duty, ...]] = vars(disputes)["provider_duties"]
    alter(disputes, "provider_duties", lambda *given: tuple(one for one in duties(*given) if one.name != "secret"))


def _silent_liar() -> None:
    """A provider that lies, and when it is caught never claims."""
    liar.lie()

    def nothing(
        state: Resulted | Delivered | Checking | Rejected | Accepted, ctx: Ctx, attempt: Hash32 | None = None
    ) -> fx.Effect:
        return say(state.terms, "deal.not_claimed")

    alter(provider, "claim_now", nothing)


def _key_keeper() -> None:
    """A provider that takes vouchers for sealed results, and keeps their keys."""
    alter(channel_provider, "_key", lambda terms, ctx: say(terms, "deal.key_kept"))


def _freeloader() -> None:
    """A client that pulls sealed results and signs no voucher."""
    alter(vouchers, "room_of", lambda *_: 0)


_HABITS: Final[dict[str, Callable[[], Any]]] = {
    "slanderer": _slanderer,
    "withholding-slanderer": _withholding_slanderer,
    "ransomer": _ransomer,
    "empty-ransomer": _empty_ransomer,
    "mute-liar": _mute_liar,
    "silent-liar": _silent_liar,
    "key-keeper": _key_keeper,
    "freeloader": _freeloader,
}


def main() -> None:
    """`mesh` with the habit that the program is called after."""
    _HABITS[sys.argv[0]]()
    mesh_main()
