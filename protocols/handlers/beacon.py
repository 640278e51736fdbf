"""What does a node do with randomness rounds? Passes them on, tells who waits, asks for what it missed, notices silence."""

from collections.abc import Callable, Mapping
from typing import Final

from protocols import events as ev
from protocols.beacon.tracker import SILENT_ROUNDS
from protocols.canonical import encode
from protocols.effects import Effect, FetchRound, Notify, Publish
from protocols.env import Env
from protocols.errors import LocalProtocolError
from protocols.messages.beacon import BeaconRound, beacon_topic
from protocols.state import NodeState

__all__ = ["FETCHES", "Waiters", "round_arrived", "started", "swept", "wait_for"]

FETCHES: Final = 32
"""Missed rounds asked for at a time; the next sweep asks for more. A relay answers some hundred a second."""

Waiters = Mapping[str, Callable[[NodeState, bytes, BeaconRound, Env], list[Effect]]]
"""Who is told, by the kind in front of the colon; the bytes are what follows it in hexadecimal."""


def started(state: NodeState, event: ev.NodeStarted) -> None:
    """Silence counts from here."""
    state.beacon.news_at, state.beacon.news_wall = event.at, event.wall


def wait_for(state: NodeState, number: int, who: str, env: Env) -> list[Effect]:
    """Tell ``who`` (``kind:hex``) when a round is here; one that has passed is asked for at once.

    Look with ``state.beacon.known`` first: raises ``LocalProtocolError`` when the round is here already, for nobody would
    be told. Waiting is forgotten in a restart.
    """
    if state.beacon.known(number) is not None:
        raise LocalProtocolError(f"{who} waits for round {number}, which is here")
    state.beacon.wait(number, who)
    return [FetchRound(number=number)] if number < state.beacon.newest else []


def round_arrived(state: NodeState, event: ev.RoundArrived, env: Env, waiters: Waiters) -> list[Effect]:
    """A verified round. News from a relay is gossiped; what gossip brought, gossip has passed on."""
    beacon, one, before = state.beacon, event.beacon_round, state.beacon.newest
    state.wall = event.wall
    effects: list[Effect] = []
    if beacon.put(one, event.at, event.wall):
        effects += _heard(state, one, env)
        if not event.gossiped:
            effects.append(Publish(topic=beacon_topic(env.params.name), data=encode(one)))
        effects += [FetchRound(number=missed) for missed in beacon.awaited(before, one.number)[:FETCHES]]
    for who in beacon.take_waiters(one.number):
        kind, _, rest = who.partition(":")
        effects += waiters[kind](state, bytes.fromhex(rest), one, env)
    return effects


def _heard(state: NodeState, one: BeaconRound, env: Env) -> list[Effect]:
    since, state.beacon.silent_since = state.beacon.silent_since, None
    if since is None:
        return []
    fields = {"round": str(one.number), "silent_s": str(max(0, state.wall - since))}
    return [Notify(subject=env.params.beacon.chain_hash, name="beacon.heard", fields=fields)]


def swept(state: NodeState, event: ev.Event, env: Env) -> list[Effect]:
    """From time to time: has the beacon fallen silent, and which rounds are still missing?"""
    beacon, chain = state.beacon, env.params.beacon
    effects: list[Effect] = [FetchRound(number=number) for number in beacon.awaited(0, beacon.newest)[:FETCHES]]
    if beacon.silent_since is None and event.at - beacon.news_at > SILENT_ROUNDS * chain.period_s * 1000:
        beacon.silent_since = beacon.news_wall
        fields = {"round": str(beacon.newest), "since": str(beacon.news_wall)}
        effects.append(Notify(subject=chain.chain_hash, name="beacon.silent", fields=fields))
    return effects
