"""Which job files must be refused, and what must the refusal name?

Each row: a name, the file, a part of the path that the problem must name, a part of its message. Used by the tests of
the job format and by the ``bad-inputs`` scenario, which feeds them to a real ``mesh submit``.
"""

from typing import Final, NamedTuple

__all__ = ["BAD_JOBS", "BadJob"]


class BadJob(NamedTuple):
    """A malformed job file. ``path`` and ``message`` are fragments of one problem that must be reported."""

    name: str
    text: bytes
    path: str
    message: str


def _with(name: str, addition: str, path: str, message: str) -> BadJob:
    """A minimal job with something added."""
    return BadJob(name, f"version: 1\nmodule: ./pi.wasm\n{addition}\n".encode(), path, message)


_BOMB: Final = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(8)
)

_NOT_YAML: Final = (
    BadJob("empty file", b"", "", "empty"),
    BadJob("only a comment", b"# nothing\n", "", "empty"),
    BadJob("a list", b"- version: 1\n", "", "not a mapping"),
    BadJob("a word", b"hello\n", "", "not a mapping"),
    BadJob("not utf-8", b"version: 1\nname: caf\xe9\n", "", "not UTF-8"),
    BadJob("utf-16", "version: 1\n".encode("utf-16"), "", "not UTF-8"),
    BadJob("control character", b"version: 1\nname: a\x07b\n", "", "not YAML"),
    BadJob("tab indentation", b"version: 1\nlimits:\n\twall: 5m\n", "", "not YAML"),
    BadJob("unclosed bracket", b"version: 1\ncommand: [a, b\nmodule: x\n", "", "not YAML"),
    BadJob("unclosed quote", b'version: 1\nname: "pi\n', "", "not YAML"),
    BadJob("two documents", b"version: 1\n---\nversion: 1\n", "", "second document"),
    BadJob("too large", b"# " + b"x" * (256 * 1024) + b"\n", "", "at most 262144"),
    BadJob("too deep", b"version: 1\nlabels: " + b"[" * 400 + b"]" * 400 + b"\n", "", "levels of nesting"),
    BadJob("billion laughs", f"version: 1\n{_BOMB}\n".encode(), "", "anchors included"),
    BadJob("alias to itself", b"version: 1\nlabels: &a {x: *a}\n", "", "refers to itself"),
    BadJob("unknown alias", b"version: 1\nname: *nobody\n", "", "not"),
    BadJob("python tag", b"version: 1\nname: !!python/object/apply:os.system [id]\n", "", "tag"),
    BadJob("duplicate key", b"version: 1\nmodule: a.wasm\nmodule: b.wasm\n", "module", "stands twice, first on line 2"),
    BadJob("merge key", b"version: 1\nlimits: {<<: {wall: 5m}}\n", "limits", "merge keys"),
    BadJob("list as a key", b"version: 1\n? [a, b]\n: c\n", "", "key"),
    BadJob("many values", b"version: 1\ncommand: [" + b"a," * 10_100 + b"]\n", "", "more than 10000 values"),
)

_KEYS: Final = (
    BadJob("no version", b"module: ./pi.wasm\n", "version", "is missing"),
    BadJob("version of the future", b"version: 2\nmodule: ./pi.wasm\n", "version", "2 is not a version"),
    BadJob("nothing to run", b"version: 1\n", "module", "nothing to run"),
    _with("unknown key", "comand: [a]", "comand", "unknown key"),
    _with("unknown nested key", "limits: {wal: 5m}", "limits.wal", "unknown key"),
    _with("key of another system", "environment: {A: b}", "environment", "unknown key"),
    _with("key on the wrong level", "max_price: 2 MESH", "max_price", "unknown key"),
    _with("module and image", "image: alpine", "image", "both `module` and `image`"),
    _with("run and command", "run: echo\ncommand: [a]", "run", "both `run` and `command`"),
    _with("unknown executor", "executor: docker", "executor", "'docker' is not one of"),
    _with("command as text", "command: --samples 3", "command", "is not a list"),
    _with("true as an argument", "command: [--fast, true]", "command[1]", "true is not text"),
    _with("mapping as an argument", "command: [{a: b}]", "command[0]", "a mapping is not text"),
    _with("long arguments", "command: [" + "x" * 4000 + ", " + "y" * 200 + "]", "command", "bytes of arguments"),
    _with("bad name", "name: My Job", "name", "is not a job name"),
    _with("variable with a dash", "env: {MY-VAR: a}", "env.MY-VAR", "is not a variable name"),
    _with("variable of the node", "env: {MESH_KEY: a}", "env.MESH_KEY", "is set by the node"),
    _with("variable not set", "env: {SURELY_NOT_SET_ANYWHERE: }", "env.SURELY_NOT_SET_ANYWHERE", "has no value"),
    _with("env as a list", "env: [A=b]", "env", "is not a mapping"),
    _with("bad label", "labels: {'!': a}", "labels", "label"),
)

_VALUES: Final = (
    _with("size without unit", "resources: {memory: 512}", "resources.memory", "the unit is missing"),
    _with("size in kubernetes units", "resources: {memory: 512Mi}", "resources.memory", "unknown unit 'Mi'"),
    _with("negative size", "resources: {disk: -1GiB}", "resources.disk", "is not a size"),
    _with("range upside down", "resources: {cpus: 8..2}", "resources.cpus", "empty range"),
    _with("no cpus", "resources: {cpus: 0}", "resources.cpus", "out of range"),
    _with("gpu without count", "resources: {gpus: H100}", "resources.gpus", "names no model and count"),
    _with("gpu memory without unit", "resources: {gpus: {memory: 16..}}", "resources.gpus.memory", "unit is missing"),
    _with("duration without unit", "limits: {wall: 300}", "limits.wall", "the unit is missing"),
    _with("duration as clock time", "limits: {wall: 1:30}", "limits.wall", "is not a duration"),
    _with("endless run", "limits: {wall: 400d}", "limits.wall", "too long"),
    _with("octal", "limits: {pids: 010}", "limits.pids", "octal"),
    _with("pids as text", 'limits: {pids: "64"}', "limits.pids", "is not a whole number"),
    _with("fraction of fuel", "limits: {fuel: 1.5}", "limits.fuel", "not a whole number of fuel units"),
    _with("too much fuel", "limits: {fuel: 1e30}", "limits.fuel", "out of range"),
    _with("yes for true", "outputs: [{path: /out, public: yes}]", "outputs[0].public", "neither true nor false"),
    _with("relative output", "outputs: [{path: out}]", "outputs[0].path", "not an absolute path"),
    _with("escape from the sandbox", "outputs: [{path: /out/../etc}]", "outputs[0].path", "'..'"),
    _with("output without path", "outputs: [{name: out}]", "outputs[0].path", "is missing"),
    _with(
        "overlapping folders", "inputs: [{path: /d, source: a}]\noutputs: [{path: /d/o}]", "outputs[0].path", "overlaps"
    ),
    _with(
        "outputs of one name", "outputs: [{path: /a/o}, {path: /b/o}]", "outputs[1].name", "two outputs are called o"
    ),
    _with("ftp input", "inputs: [{path: /in, source: 'ftp://h/f'}]", "inputs[0].source", "scheme that is not known"),
    _with(
        "broken CID", "inputs: [{path: /in, source: bafkrei" + "1" * 52 + "}]", "inputs[0].source", "not a content id"
    ),
    _with("price without token", "market: {max_price: 2.50}", "market.max_price", "names no token"),
    _with("negative price", "market: {max_price: -1 MESH}", "market.max_price", "not an amount"),
    _with(
        "price too fine", "market: {max_price: 0." + "0" * 18 + "1 MESH}", "market.max_price", "more than 18 decimals"
    ),
    _with("two tokens", "market: {max_price: 1 MESH, budget: 2 USDC}", "market.budget", "is in USDC"),
    _with("small budget", "market: {max_price: 2 MESH, budget: 1 MESH}", "market.budget", "less than max_price"),
    _with("fixed price without price", "market: {mode: fixed}", "market.max_price", "is missing"),
    _with("patient bidder", "market: {bid_window: 1m}", "market.bid_window", "out of range"),
    _with("peer of another network", "market: {target: QmYyQSo1c1Ym7orWxLYvCrM2}", "market.target", "not a PeerId"),
    _with("reputation above one", "market: {min_reputation: 95}", "market.min_reputation", "more than 1"),
    _with("date without zone", "deadline: 2026-12-01", "deadline", "is not a time"),
    _with("day that is none", "deadline: 2026-02-30T00:00Z", "deadline", "is not a time"),
    _with("constraint without name", 'constraints: [">= 3"]', "constraints[0]", "name of a property"),
    _with("constraint with one =", 'constraints: ["region = eu"]', "constraints[0]", "single ="),
    _with("constraint on a word", 'constraints: ["memory_mib >= 16GiB"]', "constraints[0]", "not a number"),
    _with("constraint with code", "constraints: [\"__import__('os')\"]", "constraints[0]", "no sense"),
    _with("retry on anything", "retry: {on: [error]}", "retry.on[0]", "is not one of"),
    _with("many attempts", "retry: {max_attempts: 1000}", "retry.max_attempts", "out of range"),
    _with("audit of a level none", "verify: {level: none, audit: 0.5}", "verify.audit", "compares nothing"),
    _with("tolerance on exact", "verify: {level: exact, rtol: 1e-5}", "verify.rtol", "belongs to level numeric"),
    _with("impossible vote", "verify: {level: replicate, n: 2, agree: 3}", "verify.agree", "can never decide"),
    _with("seed as text", "seed: lucky", "seed", "is not a seed"),
)

_NOT_YET: Final = (
    BadJob("container", b"version: 1\nimage: alpine@sha256:00\n", "image", "not supported by this version"),
    _with("shell form", "run: echo hello", "run", "not supported by this version"),
    _with("input from the web", "inputs: [{path: /in, source: 'hf://org/m@r'}]", "inputs[0].source", "not supported"),
    _with("secrets", "secrets: [HF_TOKEN]", "secrets", "not supported by this version"),
    _with("network", "network: {allow: [example.org]}\nverify: {level: none}", "network", "not supported"),
    _with("numeric class", "verify: {class: same}", "verify.class", "not supported by this version"),
    _with("checkpoint", "checkpoint: {path: /c}", "checkpoint", "not supported by this version"),
    _with("array", "array: 10", "array", "not supported by this version"),
    _with("gang", "num_nodes: 2", "num_nodes", "not supported by this version"),
    _with("gpu", 'resources: {gpus: "H100:1"}', "resources.gpus", "not supported by this version"),
)

BAD_JOBS: Final = (*_NOT_YAML, *_KEYS, *_VALUES, *_NOT_YET)
