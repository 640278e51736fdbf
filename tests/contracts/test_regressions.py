"""Which defects of other escrows can this one not have? Each test is named after the defect.

Lilypad's: found by running and reading its contracts. The others: found in prototypes of this escrow.
"""

from typing import TYPE_CHECKING

import pytest

from protocols.contracts import artifact, calls
from protocols.deals.eip712 import OnChainState, deal_id
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH

if TYPE_CHECKING:
    from tests.contracts.conftest import World

RESULT = keccak256(b"result")


@pytest.mark.parametrize("claimed", [False, True])
def test_lilypad_both_timeouts_reverted_for_ever(world: "World", claimed: bool) -> None:
    # There a silent client locked the provider's collateral, and a silent provider the client's payment, for good.
    lock = world.commit()
    if claimed:
        world.send(world.provider, calls.claim(lock, RESULT))
    world.warp(10**6)
    world.send(world.stranger, calls.poke(lock, RESULT if claimed else ZERO_HASH))
    assert world.read("burnable") + world.free(world.client) + world.free(world.provider) + world.stake(
        world.provider
    ) == world.tokens(world.escrow)


def test_lilypad_a_vanished_client_left_the_provider_unpaid(world: "World") -> None:
    lock = world.commit()
    world.send(world.provider, calls.claim(lock, RESULT))
    world.warp_to(lock.window_ends(world.now) + 1)
    world.send(world.stranger, calls.finalize(lock, RESULT))
    assert (world.free(world.provider), world.stake(world.provider)) == (990, 100_000)


def test_lilypad_anyone_the_user_called_could_lock_its_tokens(world: "World") -> None:
    # There `tx.origin` was the payer. Here the payer is whoever signed, and an allowance alone moves nothing.
    deal = world.deal(client=world.stranger.address, provider=world.provider.address)
    forged = world.provider.sign(deal_id(world.domain, deal))
    world.call(world.stranger, "deposit", 5_000)
    world.refused("BadSignature", lambda: world.send(world.provider, calls.commit(deal, forged)))
    assert world.free(world.stranger) == 5_000


def test_lilypad_an_administrator_could_point_the_money_elsewhere() -> None:
    # There an owner set the addresses of the payment, storage and mediation contracts.
    for name in ("MeshEscrow", "MeshToken"):
        functions = {str(entry["name"]) for entry in artifact(name).abi if entry["type"] == "function"}
        powers = {"owner", "transferOwnership", "pause", "unpause", "upgradeTo", "setToken", "setMinter", "rescue"}
        assert not functions & powers


def test_lilypad_the_deal_was_agreed_by_two_transactions_of_which_one_could_be_missing(world: "World") -> None:
    # There each side agreed in a transaction of its own. Here one commit carries both consents or does not happen.
    lock = world.lock_of(world.deal())
    assert world.state(lock) is OnChainState.NONE
    assert world.state(world.commit()) is OnChainState.COMMITTED


def test_a_provider_is_not_slashed_for_terms_it_could_not_meet(world: "World") -> None:
    # In a prototype a hostile window made `claim` revert by checked arithmetic, and the honest provider lost its
    # collateral. With the largest terms that commit accepts, claim and finalize still work.
    bounds = world.bounds
    deal = world.deal(
        run_nonce=2**64 - 1,
        index=2**32 - 1,
        commit_by=world.now + bounds.max_commit_lead,
        exec_seconds=bounds.max_exec,
        claim_seconds=bounds.max_claim,
        window_seconds=bounds.max_window,
    )
    lock = world.commit(deal)
    world.warp_to(lock.claim_by(world.now))
    world.send(world.provider, calls.claim(lock, RESULT))
    world.warp_to(lock.window_ends(world.now) + 1)
    world.send(world.provider, calls.finalize(lock, RESULT))
    assert world.stake(world.provider) == 100_000


def test_a_third_party_cannot_front_run_a_commit_or_a_settlement(world: "World") -> None:
    deal = world.deal()
    data = calls.commit(deal, world.client.sign(deal_id(world.domain, deal)))
    world.refused("NotProvider", lambda: world.send(world.stranger, data))
    world.send(world.provider, data)


def test_collateral_did_not_return_to_whom_it_came_from(world: "World") -> None:
    # If later calls looked the owner up again, naming another operator's owner would move open collateral.
    lock = world.commit()
    world.adopt(world.stranger, world.provider)
    world.warp(10**6)
    world.send(world.stranger, calls.expire(lock))
    assert (world.stake(world.provider), world.stake(world.stranger)) == (99_000, 0)
