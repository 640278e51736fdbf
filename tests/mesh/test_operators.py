"""Do the rules know whose an operator is, as the escrow does: after a change, a restart, and a reorganisation?"""

from typing import Any

import msgspec
import trio

from devnet.sim.samples import Samples
from mesh.base.clock import SystemClock
from mesh.ledger.owners import Owners
from protocols import events as ev
from protocols.deals.search import Recheck, Search
from protocols.handlers.owners import operators_forgotten
from protocols.node import handle
from protocols.state import NodeState
from protocols.units import ZERO_HASH, Address, Millis
from tests.mesh.money import Money, Party, chain, money

__all__ = ["chain", "money"]


async def bind(owner: Party, operator: Party) -> None:
    """The owner names an operator, with the consent of that."""
    contracts = owner.ledger.contracts
    consent = await contracts.consent(operator.key, owner.key.address)
    await owner.wallet.send("operator", contracts.set_operator(operator.key.address, consent))


def told(party: Party, operator: Address) -> Address:
    """What the rules make of the events that they were handed."""
    state, env = NodeState("devnet"), party.loop.engine.env
    for event in party.loop.script.of(ev.OperatorSet):
        handle(state, event, env)
    return state.owner_of(operator)


async def test_the_rules_know_what_the_escrow_knows(money: Money, eventually: Any) -> None:
    async with money.both() as (owner, operator):
        me, other = owner.key.address, operator.key.address
        await owner.follow()
        assert told(owner, other) == other == await owner.ledger.contracts.owner_of(other)
        mark = await money.control(owner, "evm_snapshot")
        await bind(owner, operator)
        await eventually(lambda: told(owner, other) == me)
        assert await owner.ledger.contracts.owner_of(other) == me
        assert told(owner, me) == me

        await operator.follow()  # another node, from the start
        await eventually(lambda: told(operator, other) == me)

        assert await money.control(owner, "evm_revert", mark)
        await money.control(owner, "evm_mine")
        await money.control(owner, "evm_mine")
        await money.control(owner, "evm_mine")
        await eventually(lambda: told(owner, other) == other)
        assert await owner.ledger.contracts.owner_of(other) == other


async def test_a_restarted_node_still_knows(money: Money, eventually: Any) -> None:
    async with money.both() as (owner, operator):
        other = operator.key.address
        await bind(owner, operator)
        key = owner.key
        await owner.follow()
        await eventually(lambda: told(owner, other) == key.address)
        head = await owner.ledger.eth.head()
        for _ in range(3):
            await money.control(owner, "evm_mine")
        await eventually(lambda: owner.loop.script.of(ev.ChainTimeMoved)[-1].block > head.number)
        kept = await owner.loop.store.cursor("escrow.operators")
        assert kept
        assert bytes(other) in bytes(kept)


async def test_what_may_have_been_forgotten_is_asked_of_the_chain_while_a_search_waits_for_it(
    money: Money, eventually: Any
) -> None:
    async with money.both() as (owner, operator):
        other = operator.key.address
        await bind(owner, operator)
        engine, script = owner.loop.engine, owner.loop.script
        owners = Owners(SystemClock())
        await owners.resume(engine, None)
        assert script.of(ev.OperatorsForgotten) == []
        await owners.resume(engine, msgspec.msgpack.encode(({}, True)))  # more were logged than are kept
        assert len(script.of(ev.OperatorsForgotten)) == 1
        again = Owners(SystemClock())
        await again.resume(engine, owners.packed())
        assert len(script.of(ev.OperatorsForgotten)) == 2

        samples = Samples()
        run = samples.runs()["Searching"]
        recheck = Recheck(run.run_id, None, (other,), ZERO_HASH)
        search = Search(run, samples.job, started=Millis(0), quote_only=False, recheck=recheck)

        def waits(state: NodeState) -> None:
            operators_forgotten(state)
            state.searches[run.run_id] = search

        engine.view(waits)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(owners.ask, engine, owner.ledger.contracts.owner_of)
            await eventually(lambda: told(owner, other) == owner.key.address)
            nursery.cancel_scope.cancel()
