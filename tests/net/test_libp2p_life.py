"""Does a link start, end and come back without leaving or losing anything?"""

import os
import resource
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from mesh.net.addresses import peer_text
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.link import LinkError
from protocols.units import PeerId

StartLink = Callable[..., Awaitable[Libp2pLink]]
LIMIT_S = 90.0


async def until(condition: Callable[[], bool]) -> None:
    """Waits for a real condition that has no event."""
    with trio.fail_after(LIMIT_S):
        while not condition():
            await trio.sleep(0.01)


async def test_the_cache_replaces_the_bootstrap_node(
    nursery: trio.Nursery, tmp_path: Path, start_link: StartLink
) -> None:
    friend = await start_link("friend")
    cache = tmp_path / "deep" / "peers.json"
    async with trio.open_nursery() as inner:
        config = LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, cache=cache, bootstrap=friend.addresses)
        link = Libp2pLink(b"k" * 32, config)
        await inner.start(link.run)
        await until(lambda: friend.me in link.peers())
        inner.cancel_scope.cancel()
    assert peer_text(friend.me) in cache.read_text()
    assert [path.name for path in cache.parent.iterdir()] == ["peers.json"]
    again = Libp2pLink(b"k" * 32, LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False, cache=cache))
    await nursery.start(again.run)
    await until(lambda: friend.me in again.peers())


async def test_a_node_that_is_killed_young_has_saved_whoever_dialled_it(tmp_path: Path, start_link: StartLink) -> None:
    """On port 0 and without a bootstrap list nobody finds it again: it must remember who did."""
    cache = tmp_path / "peers.json"
    young = await start_link("young", cache=cache)
    friend = await start_link("friend", bootstrap=young.addresses)
    await until(lambda: cache.exists() and peer_text(friend.me) in cache.read_text())
    assert friend.me in young.peers(), "it is running still: nothing was saved because it ended"
    later = await start_link("later", bootstrap=young.addresses)
    await until(lambda: peer_text(later.me) in cache.read_text())


async def test_the_round_trip_to_a_peer_is_measured_on_both_sides(start_link: StartLink) -> None:
    one = await start_link("one")
    other = await start_link("other", bootstrap=one.addresses)
    for link, peer in ((one, other.me), (other, one.me)):
        await until(lambda link=link, peer=peer: _round_trip_ms(link, peer) > 0)  # type: ignore[misc]


def _round_trip_ms(link: Libp2pLink, peer: PeerId) -> float:
    state = link.peers().get(peer)
    return 0 if state is None else state.round_trip_ms or 0


async def test_a_port_in_use_is_refused_with_the_way_out(start_link: StartLink) -> None:
    first = await start_link("first")
    taken = first.addresses[0].rsplit("/p2p/", 1)[0]
    second = Libp2pLink(b"s" * 32, LinkConfig(listen=(taken,), mdns=False))
    with pytest.raises(LinkError, match="--listen"):
        await second.run()


@pytest.mark.parametrize("bad", ["4001", "/ip4/1.2.3.4/udp/1", "/ip4/127.0.0.1/tcp/70000"])
def test_a_malformed_listen_address_is_refused_before_anything_starts(bad: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        Libp2pLink(b"s" * 32, LinkConfig(listen=(bad,)))


async def test_starting_and_stopping_leaves_nothing_behind() -> None:
    async def cycle() -> None:
        async with trio.open_nursery() as inner:
            config = LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False)
            a = Libp2pLink(b"a" * 32, config)
            await inner.start(a.run)
            b = Libp2pLink(b"b" * 32, LinkConfig(listen=config.listen, mdns=False, bootstrap=a.addresses))
            await inner.start(b.run)
            await until(lambda: len(a.peers()) == 1)
            inner.cancel_scope.cancel()

    await cycle()  # what is made once, is made here
    tasks, fds, threads = trio.lowlevel.current_statistics().tasks_living, _open_files(), _threads()
    for _ in range(3):
        await cycle()
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    await until(lambda: _open_files() <= fds)
    await until(lambda: _threads() <= threads)


def _threads() -> set[threading.Thread]:
    """Those that live, without the workers that trio keeps for a while."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


def _open_files() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sum(_is_open(fd) for fd in range(min(limit, 1024)))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
