"""Do the shipped handlers of a provider's and a client's node carry a dispute through the real panel, and crash?"""

from typing import TYPE_CHECKING

import msgspec
import pytest

from devnet.sim.signer import KeyRing
from devnet.sim.workload import toy_job
from protocols import events as ev
from protocols.contracts import panel
from protocols.deals.states import Claimed, Commitment, DealTerms
from protocols.deals.terms import Level
from protocols.disputes import states as st
from protocols.disputes.duties import AppealPolicy, Duty
from protocols.disputes.file import DEFENDANT, DISPUTER, PanelLog
from protocols.disputes.marks import ending_at, fingerprints_of
from protocols.disputes.opening import open_dispute
from protocols.disputes.params import bond_of
from protocols.effects import CallPanel, DropEffects, Effect, MarkOutput, Notify
from protocols.env import Env
from protocols.hashing import keccak256, sha256
from protocols.limits import DEVNET
from protocols.messages.deal import ResultNotice
from protocols.node import handle
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import ZERO_HASH, Cid, Hash32, Millis, PeerId, RunId, Signature, Tokens, UnixSeconds
from tests.contracts.panel.test_panel_duties import RIGHT, WRONG, Court, F, P

if TYPE_CHECKING:
    from protocols.contracts.lock import Lock
    from tests.contracts.panel.court import PanelWorld

FOLDER = bytes.fromhex("01701220")
RFQ = Hash32(sha256(b"rfq"))


class Node:
    """One party's node: shipped rules, and what they have called for and nobody has sent yet."""

    def __init__(self, role: str, env: Env, deal: Claimed) -> None:
        self.role, self.env = role, env
        self.state = NodeState("devnet")
        self.state.durable.put_deal(deal.terms.deal_id, Half(role, deal))
        self.state.durable.put_job(deal.terms.deal.job_id, toy_job(7).encode())
        self.heard = 0
        self.calls: list[CallPanel] = []
        self.said: list[str] = []
        self.rows: dict[tuple[str, bytes], bytes] = {}

    def hears(self, event: ev.Event) -> None:
        effects: list[Effect] = handle(self.state, event, self.env)
        gone = tuple(effect.prefix for effect in effects if isinstance(effect, DropEffects))
        self.calls = [call for call in self.calls if not call.key.startswith(gone)]
        self.calls += [effect for effect in effects if isinstance(effect, CallPanel)]
        self.said += [effect.name for effect in effects if isinstance(effect, Notify)]
        for effect in effects:
            if isinstance(effect, MarkOutput):
                self.hears(self._marked(effect, event.at))

    def _marked(self, effect: MarkOutput, at: Millis) -> ev.Event:
        """As the seats of `Court` make their fingerprints; a provider that is right has their bytes."""
        ran = effect.ran
        output = RIGHT if ran.root == Cid(FOLDER + keccak256(RIGHT)) else WRONG
        marks = fingerprints_of(effect.keys, ending_at(Level.EXACT, ran.outcome, ran.exit_code, ran.fuel), (output,))
        return ev.OutputMarked(at=at, deal_id=effect.deal_id, ran=ran, keys=effect.keys, marks=marks)

    def restarted(self) -> "Node":
        """The same node after a crash: its rows, and what is in its outbox."""
        node = Node.__new__(Node)
        node.role, node.env, node.heard, node.said = self.role, self.env, self.heard, []
        node.calls, node.state = list(self.calls), NodeState("devnet")
        self.rows.update({(row.kind, row.id): row.data for row in self.state.durable.drain_dirty() if row.data})
        node.rows = dict(self.rows)
        for (kind, key), data in node.rows.items():
            node.state.durable.restore(kind, key, data)
        node.hears(ev.NodeStarted(at=Millis(0), wall=UnixSeconds(0), incarnation=ZERO_HASH))
        return node


class Nodes(Court):
    """A dispute whose provider and client are nodes; seats do their duties."""

    def __init__(self, court: "PanelWorld", *, seats_compute: bytes, restarts: bool = False) -> None:
        self.seats_compute, self.restarts = seats_compute, restarts
        ring = KeyRing(1)
        signers = ring.signer(), ring.signer()
        secrets = [
            keccak256(signer.derive(f"{side}-secret", RFQ))
            for signer, side in zip(signers, ("client", "provider"), strict=True)
        ]
        deal = msgspec.structs.replace(court.deal(), client_secret_hash=secrets[0], provider_secret_hash=secrets[1])
        lock = court.commit_deal(deal)
        court.claim(lock)
        result = court.result(lock)
        notice = ResultNotice(
            commit=result,
            signature=Signature(bytes(65)),
            root=Cid(FOLDER + keccak256(RIGHT)),
            salt=court.salt(lock),
            size=1,
        )
        terms = DealTerms(
            deal_id=lock.deal_id,
            deal=deal,
            client=PeerId(b"c"),
            provider=PeerId(b"p"),
            run_id=RunId(ZERO_HASH),
            rfq_id=RFQ,
            inputs=(),
            client_signature=Signature(bytes(65)),
            provider_signature=None,
        )
        on = Commitment(ZERO_HASH, 1, court.now)
        claimed = Claimed(terms, on, notice, court.now, ZERO_HASH, court.result_hash(lock))
        envs = [Env(params=DEVNET, signer=signer, domain=court.domain) for signer in signers]
        self.client_node, self.provider_node = Node(CLIENT, envs[0], claimed), Node(PROVIDER, envs[1], claimed)
        self.effect = open_dispute(terms, notice, envs[0], withheld=False)[0]
        self._begin(court, lock)

    def _begin(self, court: "PanelWorld", lock: "Lock") -> None:
        """As `Court` does, with what the client's node has made."""
        self.court, self.lock, self.output = court, lock, RIGHT
        self.outputs, self.silent, self.missing, self.logs, self.sent = {}, set(), set(), [], []
        effect = self.effect
        data = panel.dispute(effect.deal, lock, effect.result_hash, effect.secret, st.Reason.WRONG)
        court.send(court.client, data)
        self.hear()

    def tell(self) -> None:
        for node in (self.client_node, self.provider_node):
            for at, (topics, data) in enumerate(self.logs[node.heard :], node.heard):
                log = PanelLog(at, 0, Hash32(sha256(at.to_bytes(4))), topics, data)
                node.hears(ev.DisputeLogged(at=Millis(0), deal_id=self.lock.deal_id, log=log))
            node.heard = len(self.logs)
            node.hears(ev.ChainTimeMoved(at=Millis(0), block=1, timestamp=self.court.now))
        if self.restarts:
            self.client_node, self.provider_node = self.client_node.restarted(), self.provider_node.restarted()

    def step(self) -> bool:
        self.tell()
        for key, node in ((self.court.client, self.client_node), (self.court.provider, self.provider_node)):
            if node.calls:
                call = node.calls.pop(0)
                self.call(key, Duty(call.purpose, call.data, self.record.until))
                return True
        for key in self.court.mediators:
            self.outputs.setdefault(key.address, self.seats_compute)
            for duty in self.seat(key):
                self.call(key, duty)
                return True
        return False

    def run(self) -> st.Row | None:  # type: ignore[override]
        for _ in range(60):
            if not self.step():
                if self.record.over:
                    return self.record.row
                self.court.world.warp_to(self.record.until + DEVNET.poke_margin + 1)
        raise AssertionError(f"no end: {self.sent}")


def test_the_nodes_of_a_wrong_result_end_convicted(court: "PanelWorld") -> None:
    """The client's node opens, the provider's defends itself in vain; one of the two pokes the end."""
    scene = Nodes(court, seats_compute=WRONG)
    assert scene.effect.bond == bond_of(F, P)
    assert scene.run() is st.Row.CONVICTED
    assert [name for name in scene.sent if name.startswith("panel ") and "poke" not in name] == [
        "panel secret",
        "panel open:0",
        "panel match:0",
    ]
    files = [node.state.durable.disputes[scene.lock.deal_id] for node in (scene.client_node, scene.provider_node)]
    assert [file.role for file in files] == [DISPUTER, DEFENDANT]
    assert files[0].record() == files[1].record() == scene.record
    assert scene.client_node.state.open_disputes == {}
    assert scene.client_node.said[-1] == "dispute.slashed"


def test_an_honest_provider_is_acquitted_by_what_its_node_does(court: "PanelWorld") -> None:
    assert Nodes(court, seats_compute=RIGHT).run() is st.Row.ACQUITTED


def test_nodes_that_crash_after_every_event_call_everything_once(court: "PanelWorld") -> None:
    scene = Nodes(court, seats_compute=RIGHT, restarts=True)
    assert scene.run() is st.Row.ACQUITTED
    calls = [name for name in scene.sent if name.startswith("panel ") and "poke" not in name]
    assert calls == ["panel secret", "panel open:0", "panel match:0"]


def test_a_call_that_a_reorganisation_took_is_made_again_under_another_key(court: "PanelWorld") -> None:
    scene = Nodes(court, seats_compute=RIGHT)
    scene.tell()
    node = scene.provider_node
    (first,) = node.calls  # it waits in the outbox: nobody has sent it
    file = node.state.durable.disputes[scene.lock.deal_id]
    for log in reversed(file.logs[1:]):
        node.hears(ev.DisputeRetracted(at=Millis(0), deal_id=file.deal_id, tx=log.tx, index=log.index))
    assert first.key not in {call.key for call in node.calls}
    for log in file.logs[1:]:
        node.hears(ev.DisputeLogged(at=Millis(0), deal_id=file.deal_id, log=log))
    (again_owed,) = node.calls  # once, and not beside the one of before
    assert again_owed.data == first.data
    assert again_owed.key != first.key
    again = node.state.durable.disputes[scene.lock.deal_id]
    assert again.record() == file.record()


def test_when_a_dispute_moves_what_was_owed_before_is_dropped_and_what_is_owed_now_comes_once(
    court: "PanelWorld",
) -> None:
    """The masks of the provider wait in the outbox while a reorganisation takes the reveal of a seat, which comes back in
    another block: the old call would publish a match with a seat as it was revealed then."""
    scene = Nodes(court, seats_compute=RIGHT)
    scene.tell()
    node, deal_id = scene.provider_node, scene.lock.deal_id
    while not any(call.purpose == "panel match:0" for call in node.calls):
        assert scene.step()
        scene.tell()
    (old,) = [call for call in node.calls if call.purpose == "panel match:0"]
    last = node.state.durable.disputes[deal_id].logs[-1]
    node.hears(ev.DisputeRetracted(at=Millis(0), deal_id=deal_id, tx=last.tx, index=last.index))
    assert not any(call.key == old.key for call in node.calls)
    moved = msgspec.structs.replace(last, block=last.block + 5, tx=Hash32(sha256(b"elsewhere")))
    node.hears(ev.DisputeLogged(at=Millis(0), deal_id=deal_id, log=moved))
    (new,) = [call for call in node.calls if call.purpose == "panel match:0"]
    assert new.key != old.key
    assert scene.run() is st.Row.ACQUITTED


@pytest.mark.parametrize(
    "policy", [AppealPolicy("never"), AppealPolicy("always"), AppealPolicy("always", Tokens(7 * F - 1))]
)
def test_a_convicted_provider_deposits_if_and_only_if_its_owner_says_so(
    court: "PanelWorld", policy: AppealPolicy
) -> None:
    scene = Nodes(court, seats_compute=WRONG)
    scene.provider_node.env = msgspec.structs.replace(scene.provider_node.env, appeals=policy)
    scene.client_node.env = msgspec.structs.replace(scene.client_node.env, appeals=AppealPolicy("never"))
    row = scene.run()
    deposits = [call for call in scene.sent if call == "panel appeal"]
    if policy == AppealPolicy("always"):  # the client does not answer: the depositor wins
        assert (deposits, row) == (["panel appeal"], st.Row.ACQUITTED)
    else:
        assert (deposits, row) == ([], st.Row.CONVICTED)


def test_a_log_that_comes_twice_or_too_often_changes_nothing(court: "PanelWorld") -> None:
    scene = Nodes(court, seats_compute=RIGHT)
    scene.tell()
    node = scene.provider_node
    before, calls = node.state.durable.disputes[scene.lock.deal_id], len(node.calls)
    for log in before.logs:
        node.hears(ev.DisputeLogged(at=Millis(0), deal_id=before.deal_id, log=log))
    assert node.state.durable.disputes[scene.lock.deal_id] == before
    full = before
    for number in range(600):
        full = full.heard(PanelLog(9, number, Hash32(sha256(number.to_bytes(4))), (bytes(32),), b""))
    assert len(full.logs) == 512
    assert len(node.calls) == calls
