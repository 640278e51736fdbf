"""Is a job file read as it was meant, and refused with file, line, path and advice when it was not?"""

import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devnet.scenarios.bad_jobs import BAD_JOBS
from mesh.base.errors import ConfigError
from mesh.cli.jobfile import JobFileError, JobFlagError, load_job, parse_job_text
from mesh.cli.yamldoc import MAX_DEPTH, MAX_FILE_BYTES, MAX_VALUES, parse_document, parse_value
from protocols.job import JobError

SMALL = b"version: 1\nmodule: ./pi.wasm\n"
LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


def job_of(text, **more):
    return parse_job_text(text, "job.yaml", **({"environ": {}} | more))


@pytest.mark.parametrize("bad", BAD_JOBS, ids=lambda bad: bad.name)
def test_bad_job_files(bad):
    with pytest.raises(JobFileError) as caught:
        job_of(bad.text)
    error = caught.value
    assert error.exit_code == 3
    hits = [one for one in error.problems if bad.path in one.path and bad.message in one.message]
    assert hits, error.problems
    for problem in error.problems:
        assert problem.suggestion
        assert problem.line or len(bad.text) > MAX_FILE_BYTES
        assert problem.line <= bad.text.count(b"\n") + 2
    assert "job.yaml:" in str(error) or len(bad.text) > MAX_FILE_BYTES
    assert "mesh job validate job.yaml" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_there_are_at_least_forty_and_no_two_alike():
    assert len({bad.name for bad in BAD_JOBS}) == len({bad.text for bad in BAD_JOBS}) == len(BAD_JOBS) >= 40


def test_the_message_names_file_line_path_and_advice():
    with pytest.raises(JobFileError) as caught:
        job_of(SMALL + b"limits:\n  wall: 300\n  pids: 010\n")
    assert str(caught.value) == (
        "job.yaml has 2 problems\n"
        "job.yaml:4: limits.wall: 300 is not a duration: the unit is missing\n"
        "    write 300s or 300m\n"
        "job.yaml:5: limits.pids: '010' is read as octal by some and as decimal by others\n"
        "    write it without the leading zero\n"
        "  try: mesh job validate job.yaml   (after correcting it)"
    )


@pytest.mark.parametrize("loader", LOADERS)
def test_nothing_is_guessed(loader):
    text = (
        b"a: no\nb: 010\nc: 1:30\nd: 2026-12-01\ne: 1.50\nf: 50e9\non: yes\ng: 0x1F\nh: 1_000\ni: .inf\nj: +5\nk: -0\n"
    )
    assert parse_document(text, loader).value == {
        "a": "no",
        "b": "010",
        "c": "1:30",
        "d": "2026-12-01",
        "e": "1.50",
        "f": "50e9",
        "on": "yes",
        "g": "0x1F",
        "h": "1_000",
        "i": ".inf",
        "j": "+5",
        "k": "-0",
    }


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_understood(loader):
    text = (
        b'a: 5\nb: -7\nc: true\nd: false\ne:\nf: ~\ng: "5"\nh: |\n  two\n  lines\n'
        b"i: [1, [x], {y: z}]\nj: 99999999999999999999\n"
    )
    document = parse_document(text, loader)
    assert document.value == {
        "a": 5,
        "b": -7,
        "c": True,
        "d": False,
        "e": None,
        "f": None,
        "g": "5",
        "h": "two\nlines\n",
        "i": [1, ["x"], {"y": "z"}],
        "j": "99999999999999999999",
    }
    assert {path: document.lines[path] for path in ("a", "h", "i[1][0]", "i[2].y", "j")} == {
        "a": 1,
        "h": 8,
        "i[1][0]": 11,
        "i[2].y": 11,
        "j": 12,
    }


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("bad", [bad for bad in BAD_JOBS if bad.message == "not YAML"], ids=lambda bad: bad.name)
def test_both_parsers_refuse_with_a_line(loader, bad):
    with pytest.raises(JobError) as caught:
        parse_document(bad.text, loader)
    (problem,) = caught.value.problems
    assert problem.line


def test_anchors_are_shared_values():
    job = job_of(b"version: 1\nmodule: m\ninputs: [{path: /a, source: &s ./data}, {path: /b, source: *s}]\n")
    assert job.inputs[0].source == job.inputs[1].source


def test_depth_and_count_are_bounded_exactly():
    deep = b"a: " + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"\n"
    assert parse_document(deep).value
    with pytest.raises(JobError, match="levels of nesting"):
        parse_document(b"b:\n  - " + deep.replace(b"a: ", b""))
    wide = "[" + ",".join(["x"] * (MAX_VALUES - 1)) + "]"
    assert parse_document(wide.encode()).value
    with pytest.raises(JobError, match="more than 10000 values"):
        parse_document((wide[:-1] + ",x]").encode())


def test_bom_and_windows_line_ends():
    assert job_of(b"\xef\xbb\xbfversion: 1\r\nmodule: m\r\nname: pi\r\n").name == "pi"


def test_settings_of_the_command_line_win():
    job = job_of(
        SMALL + b"market: {max_price: 1 MESH}\nenv: {A: x}\noutputs: [{path: /o}]\n",
        sets=[
            "market.max_price=3 MESH",
            "limits.wall=2m",
            "command=[a, 7]",
            "outputs[0].name=result",
            "outputs[1]={path: /p}",
        ],
        env=["A=1", "B=two=2", "HOME"],
        environ={"HOME": "/home/me"},
    )
    assert job.market.max_price is not None
    assert job.market.max_price.amount == 3 * 10**18
    assert (job.limits.wall_s, job.command) == (120, ("a", "7"))
    assert [one.name for one in job.outputs] == ["result", "p"]
    assert job.env == (("A", "1"), ("B", "two=2"), ("HOME", "/home/me"))


def test_a_setting_does_not_leak_through_an_alias():
    text = b"version: 1\nmodule: m\noutputs: [&o {path: /a, max_files: 5}]\ninputs: []\n"
    job = job_of(text + b"notify:\n", sets=["outputs[1]={path: /b}", "outputs[0].max_files=9"])
    assert [one.max_files for one in job.outputs] == [9, 10_000]


@pytest.mark.parametrize(
    ("more", "where", "message"),
    [
        ({"sets": ["limits.wall"]}, "--set", "names no value"),
        ({"sets": ["limits.wall=300"]}, "limits.wall", "the unit is missing"),
        ({"sets": ["name.first=x"]}, "--set", "no mapping"),
        ({"sets": ["outputs[3]={path: /p}"]}, "--set", "no item [3]"),
        ({"sets": ["..=1"]}, "--set", "not a path"),
        ({"sets": ["=1"]}, "--set", "not a path"),
        ({"sets": ["a.b.c.d.e.f.g.h.i=1"]}, "--set", "not a path"),
        ({"sets": ["name=[a"]}, "--set name=[a", "not YAML"),
        ({"sets": ["nam=x"]}, "nam", "unknown key"),
        ({"env": ["NOT_THERE"]}, "-e", "has no value"),
        ({"env": ["=x"]}, "-e", "has no value"),
        ({"env": ["A=x"] * 300}, "--set", "more than 256"),
    ],
    ids=str,
)
def test_bad_settings(more, where, message):
    with pytest.raises(JobFileError) as caught:
        job_of(SMALL + b"name: pi\noutputs: [{path: /o}]\n", **more)
    assert any(where in one.path and message in one.message for one in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"sets": ["limits.wall=300"]}, "--set limits.wall=300: limits.wall: 300 is not a duration"),
        ({"sets": ["markt.max_price=3 MESH"]}, "--set markt.max_price=3 MESH: markt: unknown key"),
        ({"sets": ["market.max_prize=3 MESH"]}, "--set market.max_prize=3 MESH: market.max_prize: unknown key"),
        ({"sets": ["nam=x"]}, "--set nam=x: nam: unknown key"),
        ({"sets": ["outputs=[{path: o}]"]}, "--set outputs=[{path: o}]: outputs[0].path: "),
    ],
    ids=str,
)
def test_a_bad_setting_is_blamed_on_its_flag_and_not_on_the_file(more, says):
    with pytest.raises(JobFlagError) as caught:
        job_of(SMALL + b"limits: {wall: 5m}\nmarket: {max_price: 1 MESH}\n", **more)
    assert says in str(caught.value)
    assert "job.yaml" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_bad_file_stays_the_files_fault_beside_a_bad_flag():
    with pytest.raises(JobFileError) as caught:
        job_of(SMALL + b"limits: {wall: 5}\n", sets=["nam=x"])
    assert "job.yaml:3: limits.wall" in str(caught.value)
    assert "--set nam=x: nam" in str(caught.value)
    assert caught.value.exit_code == 3


def test_files_that_a_job_names_must_be_there(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_text("version: 1\nmodule: ./pi.wasm\ninputs:\n  - path: /in\n    source: ./data\n")
    with pytest.raises(JobFileError) as caught:
        load_job(file, environ={}, beside=True)
    assert f"{file}:2: module: there is no {tmp_path}/pi.wasm" in str(caught.value)
    assert f"{file}:5: inputs[0].source: there is no {tmp_path}/data" in str(caught.value)
    assert f"ls {tmp_path}" in str(caught.value)
    (tmp_path / "data").mkdir()
    (tmp_path / "pi.wasm").write_bytes(b"\x7fELF")
    with pytest.raises(JobFileError, match="no WebAssembly module"):
        load_job(file, environ={}, beside=True)
    (tmp_path / "pi.wasm").write_bytes(b"\0asm\1\0\0\0")
    assert load_job(file, environ={}, beside=True).version == 1
    with pytest.raises(JobFlagError, match=r"--set module=data: module: .* is a folder"):
        load_job(file, environ={}, beside=True, sets=["module=data"])


def test_files(tmp_path):
    file = tmp_path / "job.yaml"
    file.write_bytes(SMALL)
    assert load_job(file, environ={}).version == 1
    with pytest.raises(ConfigError, match="no file"):
        load_job(tmp_path / "other.yaml", environ={})
    with pytest.raises(ConfigError, match="is a directory"):
        load_job(tmp_path, environ={})
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 100))
    with pytest.raises(JobFileError, match="at most 262144"):
        load_job(file, environ={})


@given(st.binary(max_size=200) | st.text(alphabet="version: 1\n-[]{}&*!|>'\"ab#,?%@`", max_size=120).map(str.encode))
def test_any_bytes_are_a_document_or_a_job_error(raw):
    for loader in LOADERS:
        try:
            document = parse_document(raw, loader)
        except JobError as error:
            document = None
            problems = error.problems
        assert document is not None or problems


@given(st.text(max_size=40))
def test_any_setting_is_a_value_or_a_job_error(text):
    try:
        value = parse_value(text)
    except JobError:
        return
    assert value is None or isinstance(value, str | int | bool | list | dict)
