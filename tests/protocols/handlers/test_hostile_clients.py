"""What does a client's bad message do to a provider? It costs the peer score, and nothing else. One bug, one test."""

from typing import Any

import msgspec
import pytest

from devnet.sim.workload import toy_job
from protocols import events as ev
from protocols import node as rules
from protocols.effects import ReadAccount
from protocols.hashing import keccak256
from protocols.limits import MAX_HOLDS
from protocols.messages.negotiation import DealRefusal, HoldRelease, InputRoot, Quote, Refusal
from protocols.units import Address, Hash32, Millis, Tokens
from tests.protocols.handlers.scene import Scene, answers, penalties, quoted, scene

__all__ = ["scene"]


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (InputRoot(toy_job(2, b"other").module, 4_096),),
        (InputRoot(toy_job(1).module, 1),),
        (InputRoot(toy_job(1).module, 4_096), InputRoot(toy_job(1, b"more").module, 4_096)),
    ],
)
def test_a_provider_asks_for_what_it_needs_to_run_the_job(scene: Scene, inputs: tuple[InputRoot, ...]) -> None:
    """A client that left the module out had its provider commit to a job it could not run."""
    (answer,) = answers(scene.asked(inputs=inputs))
    assert isinstance(answer, Refusal)
    assert answer.code == "inputs"


def test_numbers_that_fit_no_deal_do_not_end_the_provider(scene: Scene) -> None:
    """The deal of such a request can't be built; found when the proposal came, as a crash."""
    assert penalties(scene.says(scene.provider, scene.stranger, scene.rfq(index=1 << 32))) == ["malformed"]
    assert penalties(scene.says(scene.provider, scene.stranger, scene.rfq(run_nonce=-1))) == ["malformed"]


def test_a_firm_quote_is_given_once_and_a_hold_ends(scene: Scene) -> None:
    quote = quoted(scene.asked())
    assert answers(scene.says(scene.provider, scene.stranger, scene.rfq())) == [quote]
    (second,) = answers(scene.says(scene.provider, scene.stranger, scene.rfq(2)))
    assert isinstance(second, Refusal)
    assert second.code == "busy"
    scene.world.run(scene.world.now + scene.world.params.hold + 1)
    scene.effects(scene.provider, ev.Ticked(at=Millis(scene.world.now), wall=scene.provider.wall))
    assert scene.provider.state.desk.firm() == 0
    assert quoted(scene.asked()) is not quote


def test_the_first_hold_that_ends_wakes_the_provider(scene: Scene) -> None:
    """The wake-up was that of the newest hold: earlier ones kept their slot until it came."""
    quoted(scene.asked())
    due = rules.next_wakeup(scene.provider.state)
    scene.world.run(scene.world.now + 5_000)
    request = msgspec.structs.replace(scene.rfq(2), rfq_id=keccak256(b"of another"))
    scene.says(scene.provider, scene.client, request)
    scene.world.run(scene.world.now + 100)
    assert rules.next_wakeup(scene.provider.state) == due


def test_a_request_is_answered_to_who_made_it(scene: Scene) -> None:
    quoted(scene.asked())
    assert scene.says(scene.provider, scene.client, scene.rfq()) == []


def test_a_hold_is_released_by_its_client_only(scene: Scene) -> None:
    quoted(scene.asked())
    scene.says(scene.provider, scene.client, HoldRelease(rfq_id=scene.rfq().rfq_id))
    assert scene.provider.state.desk.firm() == 1
    scene.says(scene.provider, scene.stranger, HoldRelease(rfq_id=scene.rfq().rfq_id))
    assert scene.provider.state.desk.firm() == 0


def test_who_cannot_see_the_chain_says_so(scene: Scene) -> None:
    """It used to say that the client had no money, and the client's run failed for want of funds."""
    scene.says(scene.provider, scene.stranger, scene.rfq())
    (answer,) = answers(scene.effects(scene.provider, scene.account(known=False)))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.free_in_s > 0) == ("chain", True)


def test_requests_that_wait_for_the_chain_are_bounded(scene: Scene) -> None:
    for number in range(MAX_HOLDS):
        assert answers(scene.says(scene.provider, scene.stranger, scene.rfq(number))) == []
    (answer,) = answers(scene.says(scene.provider, scene.stranger, scene.rfq(MAX_HOLDS)))
    assert isinstance(answer, Refusal)
    assert answer.code == "busy"
    assert sum(map(len, scene.provider.state.desk.parked.values())) == MAX_HOLDS


@pytest.mark.parametrize(
    "changes",
    [
        {"price": Tokens(1)},
        {"collateral": Tokens(0)},
        {"exec_seconds": 1},
        {"index": 1},
        {"run_nonce": 9},
        {"image": Hash32(bytes(32))},
        {"gpus": (Hash32(bytes(32)),)},
        {"window_seconds": 1},
        {"token": bytes(20)},
    ],
)
def test_a_provider_signs_only_what_it_quoted(scene: Scene, changes: dict[str, Any]) -> None:
    quote = quoted(scene.asked())
    effects = scene.says(scene.provider, scene.stranger, scene.signed(quote, **changes))
    assert penalties(effects) == ["other_terms"]
    assert [type(one) for one in answers(effects)] == [DealRefusal]
    assert not scene.provider.state.durable.deals


def test_a_provider_signs_no_term_that_the_escrow_refuses(scene: Scene) -> None:
    quote = quoted(scene.asked())
    for changes in ({"audit_ppm": 1_000_001}, {"commit_by": 0}, {"commit_by": 1 << 40}):
        effects = scene.says(scene.provider, scene.stranger, scene.signed(quote, **changes))
        assert penalties(effects) == ["bad_terms"]
    assert not scene.provider.state.durable.deals
    assert len(answers(scene.says(scene.provider, scene.stranger, scene.signed(quote)))) == 1
    assert len(scene.provider.state.durable.deals) == 1


def test_collateral_is_promised_once(scene: Scene) -> None:
    """What is signed and not yet locked counts, like what is held."""
    first = quoted(scene.asked())
    stake = scene.provider.env.signer.address
    at = Millis(scene.world.now)
    own = ev.AccountRead(at=at, operator=stake, free=Tokens(0), stake=first.price, known=True)
    scene.effects(scene.provider, own)
    scene.says(scene.provider, scene.stranger, scene.signed(first))
    second = quoted(scene.asked(number=2))
    assert (first.collateral, second.collateral) == (first.price, 0)


# --- one owner, many operators -----------------------------------------------------------------------------------


def crowd(scene: Scene, slots: int, operators: int, *, one_owner: bool, free: int) -> list[bool]:
    """Operators ask one after the other; whether each got a firm quote. The money is their owner's."""
    state = scene.provider.state
    state.desk.slots, state.desk.queue = slots, 0
    firm = []
    for number in range(operators):
        node = scene.world.add(free=0, stake=0)
        me = node.env.signer.address
        if one_owner:
            scene.effects(scene.provider, ev.OperatorSet(at=Millis(scene.world.now), operator=me, owner=OWNER))
        request = scene.rfq(number + 1, rfq_id=keccak256(b"crowd", number.to_bytes(4)))
        effects = scene.says(scene.provider, node, request)
        if any(isinstance(effect, ReadAccount) for effect in effects):
            read = ev.AccountRead(
                at=Millis(scene.world.now), operator=me, free=Tokens(free), stake=Tokens(0), known=True
            )
            effects = scene.effects(scene.provider, read)
        (answer,) = answers(effects)
        firm.append(isinstance(answer, Quote) and answer.firm)
    return firm


OWNER = Address(b"\x0f" * 20)
RICH = 10**24


def test_the_operators_of_one_owner_hold_half_of_what_is_free_at_most(scene: Scene) -> None:
    """Found once: operators are free to make, and one owner's took every place with firm quotes, over and over."""
    assert crowd(scene, 8, 8, one_owner=True, free=RICH) == [True] * 4 + [False] * 4
    assert scene.provider.state.desk.firm() == 4, "others find the rest"


def test_whoever_has_no_owner_in_common_is_no_crowd(scene: Scene) -> None:
    assert crowd(scene, 8, 8, one_owner=False, free=RICH) == [True] * 8


def test_an_owner_always_gets_one_hold_where_a_place_is_free(scene: Scene) -> None:
    assert crowd(scene, 1, 2, one_owner=True, free=RICH) == [True, False]


def test_one_price_of_free_money_backs_one_hold(scene: Scene) -> None:
    """The money in escrow is the owner's: each of its operators showed the same."""
    price = quoted(scene.asked()).price
    scene.says(scene.provider, scene.stranger, HoldRelease(rfq_id=scene.rfq().rfq_id))
    assert crowd(scene, 8, 3, one_owner=True, free=2 * price - 1) == [True, False, False]
    (hold,) = scene.provider.state.desk.holds.values()
    scene.provider.state.desk.holds.clear()
    assert hold.quote.price == price
    assert crowd(scene, 8, 3, one_owner=True, free=2 * price) == [True, True, False]
