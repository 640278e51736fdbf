"""Do the verbs that only look read the home of a node that does not run, and start none?"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, submit
from devnet.sim.world import World
from mesh.artifacts import Held
from mesh.base.clock import SystemClock
from mesh.store import Batch, Row, Store, TraceEntry
from mesh.store.blobs.importing import ImportRules
from mesh.store.blobs.store import open_blobs
from protocols.canonical import decode_strict, encode
from protocols.runs import Done, Run
from protocols.state import ROW_VERSION


async def _fill(home: Path, rows: list[tuple[str, bytes, bytes]]) -> None:
    outcome = home / "outcome"
    (outcome / "outputs").mkdir(parents=True)
    for name, text in (("stdout", "3.14\n"), ("stderr", "careful\n"), ("exitCode", "0\n")):
        (outcome / name).write_text(text)
    async with open_blobs(home / "blobs", quota_bytes=1 << 20) as blobs:
        root = await blobs.add_path(outcome, ImportRules(max_content_bytes=1 << 20), key=b"user")
        assert await Held(blobs).used_bytes() >= root.content_bytes
    async with await Store.open(home / "node.db", clock=SystemClock()) as store:
        puts = []
        for kind, key, data in rows:
            if kind == "run":
                run = decode_strict(Run, data, max_bytes=1 << 20)
                assert isinstance(run.status, Done)
                data = encode(msgspec.structs.replace(run, status=msgspec.structs.replace(run.status, root=root.cid)))
                trace = [TraceEntry(at=1, kind="run.submitted", subject=key, data=b'{"name":"pi"}')]
                await store.commit(Batch(trace=trace))
            puts.append(Row(kind, key, ROW_VERSION, data))
        await store.commit(Batch(puts=puts))


@pytest.fixture
def lived(home: Path) -> str:
    """A home whose node ran one job for a provider and was stopped; the first digits of the run."""
    world = World(1, network=NO_NOISE)
    client, provider = world.add(free=FUNDS, stake=0), world.add(free=0, stake=FUNDS)
    provider.offer = offer_of(world, provider)
    for one in (client, provider):
        one.start()
    world.run(8_000)
    submit(world, client, 1)
    world.run(120_000)
    rows, _ = client.disk.load()
    trio.run(_fill, home, [(kind, key, data) for kind, key, data in rows])
    return next(key for kind, key, _ in rows if kind == "run").hex()[:8]


def no_node_was_started(home: Path, talk: str) -> None:
    assert not (home / "node.key").exists()
    assert not (home / "api.sock").exists()
    assert "starting a client node" not in talk


@pytest.mark.parametrize(
    ("verb", "shows"),
    [
        (["ps", "-a"], "pi"),
        (["describe", "RUN"], "settled"),
        (["events", "RUN"], "run.submitted"),
        (["events"], "run.submitted"),
        (["logs", "RUN"], "3.14\n"),
        (["get", "RUN", "-d", "here"], "here"),
        (["deals"], "settled"),
        (["wallet", "channels"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_home_is_read(mesh, home, lived, verb, shows) -> None:
    said = mesh(*[lived if word == "RUN" else word for word in verb])
    assert (said.code, shows in said.out) == (0, True), said
    assert "no node runs here: this is what its home last knew" in said.talk
    no_node_was_started(home, said.talk)


def test_deals_and_their_evidence_too(mesh, home, lived) -> None:
    deal = mesh("deals", "-o", "json").json[0]["deal_id"]
    assert deal in mesh("deal", "show", deal[:10]).out
    assert mesh("deal", "evidence", deal[:10], "--to", "d").code == 0
    assert mesh("deal", "verify", "d").talk.startswith("mesh: d does not hold") or mesh("deal", "verify", "d").code == 0
    no_node_was_started(home, "")


def test_what_only_a_node_can_tell_says_what_to_do(mesh, home, lived) -> None:
    mesh("events", lived, "-f").failed(4, "there is nothing to follow", "mesh up --detach")
    for verb in (["offers"], ["gpus"], ["peers"], ["status"]):
        mesh(*verb).failed(4, "no node runs here", "mesh up --detach")
    mesh("describe", "beef").failed(2, "beef names no run", "mesh ps -a")
    no_node_was_started(home, "")


def test_the_wallet_is_read_from_the_chain(mesh, home, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh("wallet", "show").failed(3, "no escrow is known on devnet", "mesh chain deploy")
    monkeypatch.setenv("MESH_CHAIN_ESCROW", "0x" + "11" * 20)
    monkeypatch.setenv("MESH_CHAIN_TOKEN", "0x" + "22" * 20)
    mesh("wallet", "show").failed(4, "this home has no wallet yet", "mesh key new")
    mesh("mediator", "seats").failed(4, "this home has no wallet yet", "mesh key new")
    no_node_was_started(home, "")


def test_looking_at_seats_and_channels_starts_no_node_and_makes_no_key(mesh, home) -> None:
    """Both started one: a home that had none got a key for a look."""
    mesh("mediator", "seats").failed(3, "no escrow is known on devnet")
    said = mesh("wallet", "channels", "-o", "json")
    assert (said.code, said.json) == (0, [])
    no_node_was_started(home, said.talk)
    assert not home.exists()


def test_a_node_may_start_while_its_home_is_read(home, lived) -> None:
    from mesh.store.offline import open_reader

    async def both() -> None:
        async with open_reader(home / "node.db") as reader:
            before = await reader.load()
            async with await Store.open(home / "node.db", clock=SystemClock()) as store:
                await store.commit(Batch(puts=[Row("x", b"1", 1, b"2")]))
                assert len((await reader.load()).rows) == len(before.rows) + 1

    trio.run(both)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_that_is_no_store(mesh, home, content: bytes, searching: Callable[..., object]) -> None:
    home.mkdir(mode=0o700)
    (home / "node.db").write_bytes(content)
    assert mesh("ps").code == 1
    assert (home / "node.db").read_bytes() == content
