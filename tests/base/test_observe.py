"""Do logs say what happened, keep secrets, stay bounded and never stop the node?"""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from mesh.base.errors import ConfigError
from mesh.base.keys import NodeKey
from mesh.base.observe import Counters, adopt_library, get_log, log_context, log_statistics, log_to
from mesh.base.observe.clean import MAX_CHARS, MAX_ITEMS, REDACTED, clean, clean_fields


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_per_event_with_bound_fields() -> None:
    out = io.StringIO()
    log = get_log("net").bind(peer=b"\x00\x25")
    with log_to(out, level="info", form="json"):
        log.debug("peer.dialled")
        log.info("peer.connected", attempts=2, addresses=("/ip4/1", "/ip4/2"))
    [line] = lines(out)
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["event"] == "peer.connected"
    assert (line["level"], line["logger"]) == ("info", "mesh.net")
    assert (line["peer"], line["attempts"], line["addresses"]) == ("0x0025", 2, ["/ip4/1", "/ip4/2"])


def test_secrets_are_redacted_wherever_they_hide() -> None:
    out = io.StringIO()
    secret = b"\x42" * 32
    with log_to(out, form="json"):
        get_log("base").info(
            "key.loaded",
            node_key=secret,
            PASSPHRASE="hunter2",
            nested={"client_secret": secret.hex(), "list": [{"mnemonic": "test test junk"}]},
            node=NodeKey(secret),
            public_key=b"\x02",
            rpc="https://user:pw@rpc.example/v2/ACCESSCODE?x=ACCESSCODE",
        )
    text = out.getvalue()
    for leak in ("hunter2", "4242", "junk", "ACCESSCODE", "pw@"):
        assert leak not in text
    [line] = lines(out)
    assert line["node_key"] == line["PASSPHRASE"] == REDACTED
    assert (line["public_key"], line["rpc"]) == ("0x02", "https://rpc.example/...")


def test_libraries_go_the_same_way_from_warning_up() -> None:
    out = io.StringIO()
    with log_to(out, form="json"):
        logging.getLogger("library.part").info("chatter")
        logging.getLogger("library.part").warning("refused %s", "https://h/CODE")
    [line] = lines(out)
    assert (line["logger"], line["level"], line["event"]) == ("library.part", "warning", "refused https://h/...")


def test_libp2p_which_cuts_itself_off_is_heard() -> None:
    import libp2p  # sets propagate to False

    assert libp2p.__name__
    logger = logging.getLogger("libp2p")
    logger.propagate = False
    out = io.StringIO()
    with log_to(out, form="json"):
        logging.getLogger("libp2p.host").warning("before")
        logger.propagate = False  # as if it were imported only now
        logging.getLogger("libp2p.host").warning("lost")
        adopt_library("libp2p")
        logging.getLogger("libp2p.host").warning("after")
    assert [line["event"] for line in lines(out)] == ["before", "after"]
    assert not logger.propagate


async def test_context_reaches_the_tasks_started_in_it() -> None:
    out = io.StringIO()
    log = get_log("deal")

    async def child() -> None:
        log.info("deal.signed")

    with log_to(out, form="json"):
        with log_context(deal=b"\x01"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
        log.info("deal.left")
    assert [line.get("deal") for line in lines(out)] == ["0x01", None]


def test_an_exception_keeps_its_traceback_on_one_line() -> None:
    out = io.StringIO()
    with log_to(out, form="json"):
        try:
            raise ValueError("broken \x1b[2J")
        except ValueError:
            get_log("base").exception("part.crashed", step=3, level="x")
    [line] = lines(out)
    assert "ValueError: broken \\x1b[2J" in str(line["exception"])
    assert (line["level"], line["step"]) == ("error", 3)


def test_pretty_form_lets_no_peer_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    with log_to(out, form="pretty"):
        get_log("net").warning("peer.refused", reason="\x1b[31mred\r\nfake line\u202e")
    assert "peer.refused" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


def test_the_file_is_private_rotated_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    with log_to(io.StringIO(), form="json", file=path, file_bytes=4_096, files=2):
        for number in range(400):
            get_log("base").info("tick.counted", number=number)
    found = sorted(tmp_path.iterdir())
    assert [p.name for p in found] == ["node.log", "node.log.1", "node.log.2"]
    assert all(p.stat().st_size <= 4_096 and p.stat().st_mode & 0o777 == 0o600 for p in found)
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 399


def test_a_file_that_is_opened_again_goes_on_where_it_was_and_keeps_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    for number in range(40):
        with log_to(io.StringIO(), form="json", file=path, file_bytes=4_096, files=9):
            get_log("base").info("node.started", number=number, padding="x" * 200)
            get_log("base").info("node.stopped", number=number, padding="x" * 200)
    found = sorted(tmp_path.iterdir(), key=lambda one: one.name, reverse=True)
    written = [json.loads(line)["number"] for one in found for line in one.read_text().splitlines()]
    assert written == [number for number in range(40) for _ in range(2)]
    assert all(3_000 < one.stat().st_size <= 4_096 for one in found[:-1])


def test_the_console_and_the_file_say_the_same_each_in_its_form(tmp_path: Path) -> None:
    path, out = tmp_path / "node.log", io.StringIO()
    with log_to(out, form="pretty", file=path):
        get_log("base").info("deal.signed", deal="0xab")
    assert "deal.signed" in out.getvalue()
    assert not out.getvalue().startswith("{")
    assert json.loads(path.read_text())["deal"] == "0xab"
    plain = io.StringIO()
    with log_to(plain, form="json", file=tmp_path / "other.log"):
        get_log("base").info("deal.signed", deal="0xab")
    assert plain.getvalue() == (tmp_path / "other.log").read_text()


def test_a_full_disk_or_closed_pipe_loses_lines_and_nothing_else() -> None:
    before = log_statistics()
    out = io.StringIO()
    with log_to(out, form="json", file=Path("/dev/full")):
        get_log("base").info("disk.filled")
        out.close()
        get_log("base").info("terminal.closed")
    after = log_statistics()
    assert after.lines - before.lines == 2
    assert after.lost - before.lost >= 3  # the file twice, the terminal once


def test_a_log_that_cannot_be_opened_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file"), log_to(io.StringIO(), file=tmp_path / "no" / "node.log"):
        pytest.fail("entered")


def test_everything_is_as_before_when_the_block_ends(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with log_to(io.StringIO(), level="debug"):
        pass
    assert (root.level, root.handlers) == (before[0], before[1])
    get_log("base").info("nobody.listened")
    get_log("base").warning("set.up.missed", api_key="hunter2")
    assert [record.getMessage() for record in caplog.records] == ["set.up.missed api_key=[redacted]"]


def test_a_part_that_logs_does_not_import_structlog() -> None:
    program = (
        "import sys; from mesh.base.observe import get_log; get_log('x').info('a.b');"
        "import mesh.base.config, mesh.base.keys;"
        "print(sorted({'structlog', 'eth_keyfile', 'trio', 'web3', 'libp2p', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(fields=st.dictionaries(st.text(), JSON))
def test_whatever_is_logged_becomes_bounded_json(fields: dict[str, object]) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(clean_fields(fields)))
    assert len(decoded) <= len(fields)


def test_each_bound_is_kept() -> None:
    assert len(str(clean("x" * 10_000))) < MAX_CHARS + 40
    assert len(clean_fields({str(i): i for i in range(100)})) == MAX_ITEMS
    deep: object = "end"
    for _ in range(50):
        deep = [deep]
    assert str(clean(deep)).count("[") <= 50
    assert clean(bytes(100)) == f"0x{'00' * 72}...(100 bytes)"


class Counted(msgspec.Struct, frozen=True):
    seen: int
    queued: int


def test_counters_freeze_into_their_struct() -> None:
    counters = Counters(Counted)
    counters.add("seen")
    counters.add("seen", 4)
    counters.set("queued", 3)
    counters.peak("queued", 2)
    first = counters.freeze()
    counters.peak("queued", 9)
    assert (first, counters.freeze()) == (Counted(5, 3), Counted(5, 9))
    for change in (counters.add, counters.set, counters.peak):
        with pytest.raises(KeyError):
            change("sene", 1)
