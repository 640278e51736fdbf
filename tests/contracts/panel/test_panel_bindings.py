"""Do the panel's sources, its artifact and the Python that speaks to it say the same?"""

import re
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocols.contracts import artifact, panel
from protocols.disputes import params, states
from protocols.disputes.params import PanelBounds
from protocols.hashing import keccak256

FOLDER = Path(__file__).parents[3] / "protocols" / "contracts"
TYPES = (FOLDER / "PanelTypes.sol").read_text()


def kind(member: dict[str, Any]) -> str:
    if not member["type"].startswith("tuple"):
        return str(member["type"])
    return f"({','.join(kind(inner) for inner in member['components'])})"


def signatures(name: str, entry_type: str) -> dict[str, str]:
    found = [entry for entry in artifact(name).abi if entry["type"] == entry_type]
    return {str(one["name"]): f"{one['name']}({','.join(kind(m) for m in one['inputs'])})" for one in found}


@pytest.mark.parametrize(
    "kind_",
    [states.Phase, states.Reason, states.Stage, states.Outcome, states.Row, states.Side],
    ids=lambda one: one.__name__,
)
def test_enumerations_have_the_same_names_and_numbers(kind_: type[IntEnum]) -> None:
    found = re.search(rf"enum {kind_.__name__} \{{(.*?)\}}", TYPES, re.DOTALL)
    assert found is not None
    names = [name.strip() for name in found[1].split(",")]
    # In Python nobody's side is None.
    assert [name for name in names if name != "NEITHER"] == [one.name for one in kind_]


def test_bounds_have_the_same_members_in_the_same_order() -> None:
    found = re.search(r"struct PanelBounds \{(.*?)\n\}", TYPES, re.DOTALL)
    assert found is not None
    members = re.findall(r"^    uint\d+ (\w+);", found[1], re.MULTILINE)
    fields = [field.name for field in msgspec.structs.fields(PanelBounds)]
    assert [re.sub(r"(?=[A-Z])", "_", name).lower().rstrip("_") for name in members] == fields


def test_numbers_are_the_same() -> None:
    text = "".join(path.read_text() for path in sorted(FOLDER.glob("Panel*.sol")))
    text += (FOLDER / "MediatorPanel.sol").read_text()
    wanted = {
        "MAX_VISITS": params.MAX_VISITS,
        "MAX_REPLACEMENTS": params.MAX_REPLACEMENTS,
        "LOCK_PRICES": params.LOCK_PRICES,
        "BOUNTY_PRICES": params.BOUNTY_PRICES,
        "FIRST_SEATS": params.FIRST_SEATS,
        "APPEAL_SEATS": params.APPEAL_SEATS,
        "FAILURE": params.SPRT_FAILURE,
        "DEAL": params.SPRT_DEAL,
        "LIMIT": params.SPRT_LIMIT,
    }
    for name, number in wanted.items():
        assert [int(one.replace("_", "")) for one in re.findall(rf"\b{name} = ([\d_]+);", text)] == [number], name


def test_calls_have_the_selectors_of_the_abi() -> None:
    functions = signatures("MediatorPanel", "function") | {
        "creditSettled": signatures("PanelScores", "function")["creditSettled"]
    }
    packed = {
        "join": panel._JOIN,
        "resign": panel._RESIGN,
        "retire": panel._RETIRE,
        "withdraw": panel._WITHDRAW,
        "dispute": panel._DISPUTE,
        "disputeUnclaimed": panel._DISPUTE_UNCLAIMED,
        "showSecret": panel._SHOW_SECRET,
        "accept": panel._ACCEPT,
        "commit": panel._COMMIT,
        "missInputs": panel._MISS_INPUTS,
        "open": panel._OPEN,
        "reveal": panel._REVEAL,
        "publish": panel._PUBLISH,
        "publishProvider": panel._PUBLISH_PROVIDER,
        "showDelivery": panel._SHOW_DELIVERY,
        "proveEquivocation": panel._PROVE,
        "deposit": panel._DEPOSIT,
        "poke": panel._POKE,
        "creditSettled": panel._CREDIT,
    }
    assert {name: keccak256(functions[name].encode())[:4] for name in packed} == packed


def test_everything_anybody_may_change_is_here() -> None:
    changing = {
        entry["name"]
        for entry in artifact("MediatorPanel").abi
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    accounts = {"onFunded", "withdraw", "burn", "join", "resign", "retire"}
    parties = {"dispute", "disputeUnclaimed", "showSecret", "showDelivery", "proveEquivocation", "open", "deposit"}
    seats = {"accept", "commit", "missInputs", "reveal", "publish"}
    assert changing == accounts | parties | seats | {"publishProvider", "poke"}


def test_every_event_can_be_read() -> None:
    known = {name: [(one[0], one[1], one[2]) for one in members] for name, members in panel.EVENTS.values()}
    entries = [e for name in ("MediatorPanel", "PanelScores") for e in artifact(name).abi if e["type"] == "event"]
    assert {e["name"]: [(m["name"], m["type"], m["indexed"]) for m in e["inputs"]] for e in entries} == known


def test_a_log_of_something_else_is_none_of_ours() -> None:
    topic = next(iter(panel.EVENTS))
    for topics, data in (([], b""), ([bytes(32)], b""), ([topic], b""), ([topic, bytes(32)], bytes(31))):
        assert panel.event_of(topics, data) is None
