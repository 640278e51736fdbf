"""Is a person told what gas and fees come to before anything is signed?"""

import json
from pathlib import Path

import msgspec
import pytest

from mesh.base.errors import ChainOrFunds
from mesh.cli.costs import GAS

MEASURED = json.loads((Path(__file__).parents[1] / "contracts/gas.json").read_text())
NAMES = {"fund": "open_channel", "redeem": "redeem", "request_close": "request_close", "expire": "expire"}
NAMES |= {"request": "request_withdraw", "take": "withdraw"}
GWEI = 10**9


@pytest.mark.parametrize("name", NAMES)
def test_what_a_call_is_said_to_take_is_what_was_measured(name: str) -> None:
    measured = MEASURED[NAMES[name]]
    assert measured <= GAS[name] <= 1.05 * measured


def order(node) -> list[str]:
    return [name for name, _ in node.asked]


def dear(node, gwei: int) -> None:
    node.account = msgspec.structs.replace(node.account, base_fee=str(gwei * GWEI))


def test_a_run_says_fee_and_gas_before_it_is_submitted(mesh, node, job) -> None:
    dear(node, 2)
    said = mesh("submit", str(job))
    assert "1 % of what is paid is burned, out of the provider's part" in said.talk
    assert "gas: the provider's, for commitment and settlement" in said.talk
    assert "a channel, where one is opened, takes about 0.000108 ETH of gas (54,000 units at 2 gwei)" in said.talk
    assert "no panel judges it" in said.talk
    assert order(node).index("balance") < order(node).index("submit")


def test_what_a_run_cannot_come_to_is_not_said(mesh, node, job) -> None:
    assert "a channel" not in mesh("submit", str(job), "--set", "settlement=commit").talk
    alone = mesh("submit", str(job), "--set", "settlement=channel", "--set", "verify={level: none}").talk
    assert "for commitment" not in alone
    judged = mesh("submit", str(job), "--set", "verify.enforcement=panel", "--set", "market.max_price=1 MESH").talk
    assert "a dispute, where one is opened, takes about 458,000 units" in judged
    assert "no panel judges it" not in judged


def test_a_chain_that_does_not_answer_keeps_nobody_from_submitting(mesh, node, job) -> None:
    node.failing["balance"] = ChainOrFunds("no endpoint answers")
    said = mesh("submit", str(job))
    assert said.code == 0
    assert "what one costs now no endpoint says" in said.talk


def test_programs_and_the_quiet_are_told_nothing_and_ask_nothing(mesh, node, job) -> None:
    assert "gas" not in mesh("submit", str(job), "-q").talk
    assert "balance" not in order(node)


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        (("wallet", "deposit", "1"), "about 0.000228 ETH of gas (114,000 units at 2 gwei)"),
        (("wallet", "stake", "1"), "(47,000 units"),
        (("wallet", "withdraw", "1"), "(53,000 units"),
        (("wallet", "withdraw"), "(40,000 units"),
    ],
)
def test_a_move_of_money_says_its_gas_before_it_is_signed(mesh, node, verb, says) -> None:
    dear(node, 2)
    said = mesh(*verb)
    assert says in said.talk
    assert "you hold 0.01 ETH" in said.talk
    assert order(node).index("balance") < order(node).index(verb[1])
