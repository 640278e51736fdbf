"""What does a node do about the disputes of its deals? Keeps their logs, and makes the calls that are its duty.

The deal's provider shows its secret, opens its result and publishes whom it matches; either side answers appeals as its
policy says, and pokes what the others leave lying. What is owed is read from the logs alone
(`protocols.disputes.duties`), so a restart changes nothing.
"""

from msgspec.structs import replace

from protocols import events as ev
from protocols.deals.eip712 import Deal
from protocols.deals.inputs import say
from protocols.deals.salting import root_on_chain
from protocols.deals.states import Claimed, DealTerms, Disputed, Rejected
from protocols.disputes.duties import Appeals, Duty, ProviderHas, client_duties, poke_due, provider_duties
from protocols.disputes.file import DEFENDANT, DISPUTER, DisputeFile
from protocols.disputes.params import appeal_deposit, fee_of
from protocols.disputes.record import Record
from protocols.effects import CallPanel, DropEffects, Effect
from protocols.env import Env
from protocols.handlers import cases, matching, outputs, seats
from protocols.handlers.overtaken import overtaken
from protocols.messages.deal import Delivered, ResultNotice
from protocols.messages.dispute import OutputTold
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import DealId, PeerId, Tokens, UnixSeconds

__all__ = [
    "logged",
    "output_arrived",
    "output_failed",
    "output_marked",
    "output_told",
    "outputs_compared",
    "retracted",
    "started",
    "time_moved",
]


def logged(state: NodeState, event: ev.DisputeLogged, env: Env) -> list[Effect]:
    """The panel said something about a dispute, of this node's deal or of others."""
    half = state.durable.deals.get(event.deal_id)
    if half is None:
        return seats.heard(state, event, env)
    file = state.durable.disputes.get(event.deal_id)
    if file is None:
        file = DisputeFile(event.deal_id, DISPUTER if half.role == CLIENT else DEFENDANT)
    heard = file.heard(event.log)
    return [] if heard is file else _follow(state, half, heard, env)


def retracted(state: NodeState, event: ev.DisputeRetracted, env: Env) -> list[Effect]:
    """A reorganisation took a log: what it said did not happen, and what was done on top of it is owed again."""
    half, file = state.durable.deals.get(event.deal_id), state.durable.disputes.get(event.deal_id)
    if file is None:
        return []
    left = file.retracted(event.tx, event.index)
    if left is file:
        return []
    owed = _follow(state, half, left, env) if half is not None else seats.retracted(state, left, env)
    return [*overtaken(file), *owed]


def time_moved(state: NodeState, event: ev.ChainTimeMoved, env: Env) -> list[Effect]:
    """Poke what is overdue; as a seat, do what its time has come for."""
    effects: list[Effect] = []
    for deal_id in list(state.open_disputes):
        half = state.durable.deals.get(deal_id)
        if half is None:
            effects += seats.work(state, deal_id, env)
        elif state.chain_now > state.open_disputes[deal_id]:
            effects += _follow(state, half, state.durable.disputes[deal_id], env)
    return effects


def started(state: NodeState, env: Env) -> list[Effect]:
    """After a restart: the same calls are owed; those that were made are in the outbox or in the logs."""
    effects: list[Effect] = []
    for deal_id, file in list(state.durable.disputes.items()):
        half = state.durable.deals.get(deal_id)
        effects += _follow(state, half, file, env) if half is not None else seats.resumed(state, file, env)
    return effects


# --- outputs -----------------------------------------------------------------------------------------------------------


def output_told(state: NodeState, peer: PeerId, message: OutputTold, env: Env) -> list[Effect]:
    """A seat says which output is behind its fingerprint."""
    return _again(state, message.deal_id, env) if outputs.told(state, peer, message) else []


def output_arrived(state: NodeState, event: ev.BlobsArrived, env: Env) -> list[Effect]:
    """A seat's output is here."""
    outputs.arrived(state, event)
    return _again(state, event.deal_id, env)


def output_failed(state: NodeState, event: ev.BlobsFailed, env: Env) -> list[Effect]:
    """A seat's output did not come."""
    return [*outputs.failed(state, event), *_again(state, event.deal_id, env)]


def output_marked(state: NodeState, event: ev.OutputMarked, env: Env) -> list[Effect]:
    """Fingerprints were made."""
    return [*outputs.marked(state, event, env), *_again(state, event.deal_id, env)]


def outputs_compared(state: NodeState, event: ev.OutputsCompared, env: Env) -> list[Effect]:
    """Two outputs were compared."""
    return [*outputs.compared(state, event), *_again(state, event.deal_id, env)]


def _again(state: NodeState, deal_id: DealId, env: Env) -> list[Effect]:
    """What is owed now that more is known."""
    half, file = state.durable.deals.get(deal_id), state.durable.disputes.get(deal_id)
    if file is None or deal_id not in state.open_disputes:
        return []
    return _follow(state, half, file, env) if half is not None else seats.work(state, deal_id, env)


def _follow(state: NodeState, half: Half, file: DisputeFile, env: Env) -> list[Effect]:
    """Keep the file, and call what is owed and was not called yet."""
    record, terms = file.record(), half.state.terms
    before = state.durable.disputes.get(file.deal_id)
    effects: list[Effect] = []
    asked = file.asked
    for duty in _owed(state, half, record, env) if record else ():
        if duty.name not in asked and not state.cases.waits(file.deal_id, duty.name, state.chain_now):
            asked = (*asked, duty.name)
            effects.append(_call(file, duty, _needs(duty, terms.deal)))
    file = replace(file, asked=asked)
    if file != before:
        state.durable.put_dispute(file)
    if record is None or record.over:
        state.open_disputes.pop(file.deal_id, None)
        state.cases.forget(file.deal_id)
    else:
        state.open_disputes[file.deal_id] = min((record.until, *state.cases.again(file.deal_id, state.chain_now)))
        state.cases.records[file.deal_id] = record
        effects += cases.announce(state, file.deal_id) + cases.collect(state, half, record)
        if half.role == PROVIDER and not matching.has_looked(record):
            state.open_disputes[file.deal_id] = UnixSeconds(0)  # looked at in every block
            effects += matching.provider_looks(state, half, record, env)
    return _told(terms, before.record() if before else None, record) + effects


def _told(terms: DealTerms, before: Record | None, now: Record | None) -> list[Effect]:
    """A new phase, or the same anew for other seats: somebody has poked, or nobody need. Once it is over nothing is called
    any more."""
    if now is None:
        return []
    if before is not None and (before.phase, before.round) == (now.phase, now.round):
        return [DropEffects(prefix=f"poke:{terms.deal_id.hex()}")] if before.until != now.until else []
    note = say(terms, "dispute." + now.phase.name.lower(), until=str(now.until), row=now.row.name if now.row else "")
    kinds = ("poke", "panel", "mark", "compare") if now.over else ("poke",)
    return [*(DropEffects(prefix=f"{kind}:{terms.deal_id.hex()}") for kind in kinds), note]


def _owed(state: NodeState, half: Half, record: Record, env: Env) -> tuple[Duty, ...]:
    poke = poke_due(record, state.chain_now, env.params.poke_margin)
    if poke is not None:
        return (poke,)
    if state.chain_now > record.until:
        return ()
    if half.role == CLIENT:
        return client_duties(record, _appeals(half, env))
    has = _provider_has(state, half, record, env)
    return provider_duties(record, has) if has else ()


def _appeals(half: Half, env: Env) -> Appeals:
    """For what this node puts up seven fees in this dispute."""
    return env.appeals.allows(appeal_deposit(_fee(half.state.terms.deal)), sure=_sure(half))


def _sure(half: Half) -> bool:
    """Whether two re-executions by different owners stand behind this client: then seven others will find what they found."""
    match half.state:
        case Disputed(was=Rejected(confirmed=confirmed)):
            return confirmed
        case Disputed(was=Claimed(rejected=why, withheld=withheld)):
            return bool(why) and not withheld
        case _:
            return False


def _provider_has(state: NodeState, half: Half, record: Record, env: Env) -> ProviderHas | None:
    """What this provider keeps of the deal: its secrets are derived from its key, the rest stands in the deal's row."""
    terms, notice = half.state.terms, getattr(half.state, "result", None)
    if not isinstance(notice, ResultNotice):
        return None
    receipt = getattr(half.state, "receipt", None)
    mask = matching.provider_match(state, half, record, env)
    return ProviderHas(
        secret=env.signer.derive("provider-secret", terms.rfq_id),
        result=notice.commit,
        salt=notice.salt,
        root=root_on_chain(notice.root),
        mask=mask,
        receipt=receipt.signature if isinstance(receipt, Delivered) else None,
        appeals=_appeals(half, env),
    )


def _call(file: DisputeFile, duty: Duty, needs: Tokens) -> CallPanel:
    kind = "poke" if duty.name.startswith("poke:") else "panel"
    key = f"{kind}:{file.deal_id.hex()}:{duty.name}:{file.attempt}"
    return CallPanel(key=key, deal_id=file.deal_id, purpose=f"panel {duty.name}", data=duty.data, needs=needs)


def _needs(duty: Duty, deal: Deal) -> Tokens:
    return appeal_deposit(_fee(deal)) if duty.name == "appeal" else Tokens(0)


def _fee(deal: Deal) -> Tokens:
    return fee_of(deal.seat_fee, deal.price, deal.collateral)
