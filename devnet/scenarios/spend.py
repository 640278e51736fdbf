"""Does `mesh spend` say where every token went? What it adds up is what the chain holds, for every member, whatever happened.

Happening are: a run that is paid, one by vouchers of a channel, one whose result is refused and whose provider claims. Asked
is before, while money is locked, and after: what a member's owner has put in must come out the same each time, and the gas it
names must be what its account has less.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from devnet.books import balance_figures, check_conserved, read_books
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
AGREE_S: Final = 60.0
"""A provider hears of a payment some blocks after its client."""
WINDOW_S: Final = 100
"""Longer than the devnet's window of such a job and its margins, all in all."""
SMALL: Final = ("command=[--samples, '100000']", "limits.wall=20s", "retry.max_attempts=1")


class _Seen(msgspec.Struct, frozen=True):
    """One member's account and purse."""

    spend: dict[str, Any]
    native: int

    @property
    def put_in(self) -> int:
        return int(self.spend["balance"]["put_in"])

    @property
    def gas(self) -> int:
        return int(self.spend["gas"]["wei"])

    def total(self, name: str) -> int:
        return int(self.spend["total"][name])


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Three runs, three looks."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("mesh spend is asked as a command")
    client = cluster.cluster.clients[0]
    liar = await cluster.cluster.add("liar", ("provider",), program="liar")
    await cluster.cluster.meet(len(cluster.providers))
    members = {one.name: one for one in (client, liar, *(cluster.cluster[name] for name in cluster.providers))}
    before = {name: await _seen(cluster, one) for name, one in members.items()}
    books = await read_books(cluster.cluster)

    honest = await cluster.peer_id(cluster.providers[0])
    paid = await _run(cluster, client.name, (*SMALL, f"market.target={honest}"), "0")
    await _run(cluster, client.name, (*SMALL, f"market.target={honest}", "settlement=channel", "verify.level=none"), "")
    refused = await cluster.submit(
        client.name, JobChoice(sets=(*SMALL, f"market.target={liar.peer_id}", "market.budget=10 MESH"), audit="1")
    )
    await cluster.until(client.name, refused, lambda one: one.status == "failed", LIMIT_S)
    locked = await _agreed(cluster, members, before)
    check(locked[client.name].total("locked") > 0, "nothing of the client's is locked")

    deal_id = (await cluster.run(client.name, refused)).deals[0].deal_id
    await cluster.until_deal(client.name, deal_id, lambda one: one.phase == "claimed", LIMIT_S)
    await cluster.pass_time(WINDOW_S)
    await cluster.until_deal(client.name, deal_id, lambda one: one.final_how == "finalized", LIMIT_S)
    after = await _agreed(cluster, members, before)
    mine = next(one for one in after[client.name].spend["runs"] if one["run_id"] == paid)
    check(int(mine["sums"]["paid"]) == int((await cluster.run(client.name, paid)).spent), "the paid run cost otherwise")
    names = ("paid", "fees", "locked", "earned", "owed")
    async with client.api() as api:
        in_channels = sum(int(one.deposit) - int(one.redeemed) for one in await api.channels() if one.phase != "closed")
    ended = await read_books(cluster.cluster)
    check_conserved(books, ended, in_channels)
    figures = {
        name: {
            "put_in_wei": str(one.put_in),
            **{word: str(one.total(word) - before[name].total(word)) for word in names},
            "gas_wei": str(one.gas - before[name].gas),
        }
        for name, one in after.items()
    }
    return figures | {"balances": balance_figures(books, ended)}


async def _run(cluster: Cluster, client: str, sets: tuple[str, ...], audit: str) -> str:
    run_id = await cluster.submit(client, JobChoice(millions=1, sets=sets, audit=audit))
    done = await cluster.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done), f"it {done.status} as {done.code}: {done.detail}")
    return run_id


async def _seen(cluster: ProcessWorld, member: Member) -> _Seen:
    told = await member.command("spend", "-o", "json")
    check(told.code == 0, f"mesh spend ends with {told.code}: {told.talk}")
    return _Seen(json.loads(told.out), int((await cluster.balance(member.name)).native))


async def _agreed(
    cluster: ProcessWorld, members: Mapping[str, Member], before: Mapping[str, _Seen]
) -> dict[str, _Seen]:
    """Ask each until its account is the chain's. Raises ``Failed`` when one does not come to that."""
    found = {}
    for name, member in members.items():
        was, problem = before[name], "it was never asked"
        with trio.move_on_after(AGREE_S):
            while problem:
                now = await _seen(cluster, member)
                problem = _difference(was, now)
                found[name] = now
        check(not problem, f"{name}: {problem}")
    return found


def _difference(was: _Seen, now: _Seen) -> str:
    """Why the account is not that of the chain; empty when it is."""
    if now.spend["gas"]["unknown"]:
        return f"{now.spend['gas']['unknown']} transactions have no receipt yet"
    if now.put_in != was.put_in:
        return f"its owner put in {now.put_in} wei, {was.put_in} before: {now.spend['total']}, {now.spend['balance']}"
    if was.native - now.native != now.gas - was.gas:
        return f"{was.native - now.native} wei went for gas, and it names {now.gas - was.gas}"
    return ""


SCENARIO = Scenario(
    name="spend",
    about="mesh spend accounts for every token, and its sums are the chain's",
    script=run,
    providers=2,
    worlds=("processes",),
)
