"""Does `mesh spend` tell people what its JSON says, and how does it find out which run a transaction was for?"""

from mesh.cli.spending import BalanceCheck, GasInfo, RunSpend, SpendInfo, _Gas, _run_of, _text
from protocols.spending import Sums
from protocols.units import DealId, RunId

DEAL, RUN = DealId(b"\x07" * 32), RunId(b"\x08" * 32)


def shown(**wei: int) -> dict[str, str]:
    return {name: str(wei.get(name, 0)) for name in Sums.__struct_fields__}


def test_a_transaction_belongs_to_the_run_of_its_deal() -> None:
    runs = {DEAL: RUN}
    assert _run_of(f"tx:{DEAL.hex()}:commit", runs) == RUN
    assert _run_of(f"panel:{DEAL.hex()}:dispute:0", runs) == RUN
    for other in (f"tx:{'00' * 32}:commit", f"channel:{'07' * 40}:fund:1", "wallet:deposit:1a2b", "approve"):
        assert _run_of(other, runs) is None


def test_what_is_unknown_is_counted_and_not_guessed() -> None:
    gas = _Gas()
    gas.add(RUN, 5)
    gas.add(RUN, None)
    gas.add(None, 7)
    assert gas.of(RUN) == GasInfo(wei="5", transactions=1, unknown=1)
    assert gas.total == [12, 2, 1]


def test_people_read_whole_tokens_and_only_what_there_is() -> None:
    one = 10**18
    run = RunSpend(
        run_id="0x" + RUN.hex(),
        name="pi",
        status="done",
        budget=str(3 * one),
        deals=1,
        sums=shown(paid=2 * one, fees=one // 50),
        gas=GasInfo(wei="0", transactions=0, unknown=0),
    )
    text = _text(
        SpendInfo(
            symbol="MESH",
            runs=(run,),
            provided=shown(),
            channels=shown(),
            total=shown(paid=2 * one, fees=one // 50, locked=one),
            change=str(-3 * one),
            gas=GasInfo(wei=str(one // 1000), transactions=4, unknown=1),
            balance=BalanceCheck(free=str(7 * one), stake="0", leaving="0", put_in=str(10 * one)),
        )
    )
    for part in ("0.02 MESH", "-3 MESH", "0.001 ETH in 4, 1 unknown", "10 MESH", "locked now"):
        assert part in text
    assert "earned" not in text.split("\n\n")[1].replace("was earned", "")
