"""Does the socket carry every call there and back, refuse what is malformed, and belong to its owner alone?"""

import gc
import inspect
import json
import os
import stat
from functools import partial

import httpx
import pytest
import trio

from mesh.api.calls import CALLS, MAX_REQUEST_BYTES, to_json
from mesh.api.client import RemoteApi, open_remote
from mesh.api.port import NodeApi
from mesh.api.server import serve_api
from mesh.api.types import TraceInfo
from mesh.base import errors
from mesh.base.errors import ChainOrFunds, MeshError, NodeUnreachable
from protocols.errors import RemoteProtocolError


def methods(kind: type) -> dict[str, inspect.Signature]:
    return {name: inspect.signature(one) for name, one in vars(kind).items() if not name.startswith("_")}


def event(seq: int) -> TraceInfo:
    return TraceInfo(seq=seq, at=1, name="run.submitted", subject="0xab", fields={"name": "pi"})


def test_every_method_of_the_port_travels() -> None:
    port = methods(NodeApi)
    assert set(CALLS) == set(port) - {"events"}
    assert set(methods(RemoteApi)) == set(port)
    for name, call in CALLS.items():
        assert list(call.arguments) == list(port[name].parameters)[1:], name


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_round_trip(name, remote, table, samples) -> None:
    arguments, answer = samples[name]
    assert await getattr(remote, name)(**arguments) == answer
    assert table.asked == [(name, arguments)]


def named_errors() -> list[type[MeshError]]:
    return [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]


@pytest.mark.parametrize("kind", named_errors())
async def test_errors_keep_class_code_and_words(kind, remote, table) -> None:
    table.answers["run"] = kind("it broke", why="because \x1b", fix="mesh ps")
    with pytest.raises(kind) as caught:
        await remote.run("abab")
    told = caught.value
    assert (type(told), told.what, told.why, told.fix) == (kind, "it broke", "because \x1b", "mesh ps")


async def test_an_error_of_a_class_nobody_names_keeps_the_code_of_its_base(remote, table) -> None:
    class Special(ChainOrFunds):
        """Defined by an adapter."""

    table.answers["deposit"] = Special("refused")
    with pytest.raises(ChainOrFunds):
        await remote.deposit("1")


async def test_a_peers_fault_is_an_error_not_a_crash(remote, table) -> None:
    table.answers["quote"] = RemoteProtocolError("a job of no bytes", code="malformed")
    with pytest.raises(MeshError, match="cannot be carried out"):
        await remote.quote(samples_submission())
    assert await remote.status()


async def test_a_defect_ends_one_request_not_the_server(remote, table) -> None:
    table.answers["run"] = RuntimeError("never heard of it")
    with pytest.raises(MeshError) as caught:
        await remote.run("abab")
    assert caught.value.fix
    assert await remote.status()


def samples_submission():
    from mesh.api.types import Submission

    return Submission(job=b"", inputs=(), max_price="0", budget="0")


async def post(socket, path: str, body: bytes) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://node") as raw:
        return await raw.post(path, content=body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"null", "cannot be read"),
        (b"{}", "not the call's"),
        (b'{"run":"abab","more":1}', "not the call's"),
        (b'{"ruin":"abab"}', "not the call's"),
        (b'{"run":7}', "cannot be read"),
        (b'{"run":null}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
async def test_malformed_requests(remote, table, socket, body, says) -> None:
    response = await post(socket, "/v1/run", body)
    assert response.status_code == 422
    assert says in json.loads(response.content)["what"]
    assert table.asked == []
    assert await remote.status()


async def test_an_oversized_request_is_refused(remote, table, socket) -> None:
    fits = to_json({"run": "a" * (MAX_REQUEST_BYTES - len('{"run":""}'))})
    assert len(fits) == MAX_REQUEST_BYTES
    assert (await post(socket, "/v1/run", fits)).status_code == 200
    response = await post(socket, "/v1/run", fits + b" ")
    assert response.status_code == 422
    assert "too large" in json.loads(response.content)["what"]
    assert len(table.asked) == 1


@pytest.mark.parametrize(
    ("path", "code"), [("/v1/nonsense", 404), ("/", 404), ("/v1/_answer", 404), ("/v1/events", 405)]
)
async def test_unknown_calls(remote, socket, path, code) -> None:
    assert (await post(socket, path, b"{}")).status_code == code


async def test_an_answer_that_is_no_error_object_is_told_as_it_is(remote, table) -> None:
    with pytest.raises(MeshError) as caught:
        await remote._call("nonsense")
    assert caught.value.fix == "mesh status"


async def test_the_socket_is_the_owners(remote, socket) -> None:
    assert stat.S_IMODE(os.stat(socket).st_mode) == 0o600
    assert stat.S_ISSOCK(os.stat(socket).st_mode)


async def test_the_umask_of_the_process_is_left_alone(remote) -> None:
    mask = os.umask(0o022)
    os.umask(mask)
    assert mask != 0o177


async def test_a_stale_socket_is_replaced(nursery, table, socket) -> None:
    first = trio.socket.socket(trio.socket.AF_UNIX)
    await first.bind(str(socket))
    first.close()
    async with open_remote(socket) as api:
        with pytest.raises(NodeUnreachable) as caught:
            await api.status()
        assert "mesh up" in caught.value.fix
    await nursery.start(partial(serve_api, table, socket))
    async with open_remote(socket) as api:
        assert await api.status()


async def test_nothing_is_left_of_a_server(table, socket) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_api, table, socket))
        assert socket.exists()
        nursery.cancel_scope.cancel()
    assert not socket.exists()


async def test_no_node_at_all(socket) -> None:
    async with open_remote(socket) as api:
        with pytest.raises(NodeUnreachable):
            await api.runs()
        with pytest.raises(NodeUnreachable):
            await anext(api.events(""))


async def test_a_server_that_goes_while_a_call_runs(table, socket) -> None:
    asked = trio.Event()

    class Slow(type(table)):
        async def status(self):
            asked.set()
            await trio.sleep_forever()

    async def ask() -> None:
        async with open_remote(socket) as api:
            with pytest.raises(NodeUnreachable):
                await api.status()
        answered.set()

    answered = trio.Event()
    async with trio.open_nursery() as asking, trio.open_nursery() as serving:
        await serving.start(partial(serve_api, Slow(), socket))
        asking.start_soon(ask)
        await asked.wait()
        serving.cancel_scope.cancel()
    assert answered.is_set()


async def test_events_in_order_with_their_place(remote, table) -> None:
    table.past = [event(1), event(2)]
    assert [one async for one in remote.events("abab", since=5)] == [event(1), event(2)]
    assert table.asked == [("events", {"run": "abab", "since": 5, "follow": False})]


async def test_an_error_in_the_stream_is_raised_here(remote, table) -> None:
    table.past = [event(1), ChainOrFunds("gone", why="w", fix="f")]
    stream = remote.events("")
    assert await anext(stream) == event(1)
    with pytest.raises(ChainOrFunds, match="gone"):
        await anext(stream)


async def test_a_bad_since_is_refused(remote, socket) -> None:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://node") as raw:
        response = await raw.get("/v1/events", params={"since": "soon"})
    assert response.status_code == 422
    told = json.loads(response.content)
    assert told["what"] == "since must be a number"
    assert told["fix"]


async def test_following_gets_each_event_as_it_happens(remote, table) -> None:
    table.past = [event(1)]
    stream = remote.events("", follow=True)
    assert await anext(stream) == event(1)
    for seq in (2, 3):
        await table.happened.send(event(seq))
        with trio.fail_after(60):
            assert await anext(stream) == event(seq)
    await stream.aclose()


async def test_a_follower_that_leaves_is_forgotten(table, socket, nursery) -> None:
    await nursery.start(partial(serve_api, table, socket))
    async with trio.open_nursery() as watching:

        async def watch() -> None:
            async with open_remote(socket) as api:
                async for _ in api.events("", follow=True):
                    pass

        watching.start_soon(watch)
        await table.follower_came.wait()
        watching.cancel_scope.cancel()
    with trio.fail_after(60):
        await table.follower_left.wait()
    assert table.followers == 0
    async with open_remote(socket) as api:
        assert await api.status()


async def test_a_follower_that_leaves_a_full_pipe_is_forgotten(table, socket, nursery) -> None:
    """The server is blocked in sending when the reader goes."""
    table.past = [event(seq) for seq in range(50_000)]
    await nursery.start(partial(serve_api, table, socket))
    async with open_remote(socket) as api:
        stream = api.events("", follow=True)
        assert await anext(stream) == event(0)
        await stream.aclose()
        assert await api.status()
        gc.collect()


async def test_a_server_that_goes_while_its_events_are_followed(table, socket) -> None:
    table.past = [event(1)]
    async with open_remote(socket) as api:
        stream = api.events("", follow=True)
        async with trio.open_nursery() as serving:
            await serving.start(partial(serve_api, table, socket))
            assert await anext(stream) == event(1)
            serving.cancel_scope.cancel()
        with pytest.raises(NodeUnreachable):
            await anext(stream)


async def test_many_callers_at_once(remote, table, socket, samples) -> None:
    done = []

    async def ask(number: int) -> None:
        async with open_remote(socket) as api:
            assert await api.run(f"{number:04x}") == samples["run"][1]
            done.append(number)

    async with trio.open_nursery() as callers:
        for number in range(40):
            callers.start_soon(ask, number)
    assert sorted(done) == list(range(40))
    assert len(table.asked) == 40
