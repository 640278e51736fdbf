"""Which rules of the house can a machine check beyond ruff and mypy? Sizes, first lines, floats, forbidden habits."""

import ast
from collections.abc import Iterator
from pathlib import Path

Sources = dict[Path, ast.Module]
PACKAGES = ("mesh", "protocols", "devnet")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
# In pieces, so that this file does not find itself.
FORBIDDEN = {
    "TO" + "DO": "file an issue, or finish it",
    "FIX" + "ME": "file an issue, or fix it",
    "unittest." + "mock": "ship a fake behind the seam",
    "monkeypatch." + "setattr": "pass the part in",
    "mocker" + ".": "ship a fake behind the seam",
}
FLOATS_ALLOWED = {
    Path("protocols/job/problems.py"): "how alike two words are, for a suggestion to a person",
}


def in_packages(sources: Sources) -> Iterator[tuple[Path, ast.Module]]:
    return ((path, tree) for path, tree in sources.items() if path.parts[0] in PACKAGES)


def test_files_are_short(root: Path, sources: Sources) -> None:
    lines = {path: len((root / path).read_text().splitlines()) for path, _ in in_packages(sources)}
    assert {str(path): n for path, n in lines.items() if n > MAX_FILE_LINES} == {}


def test_functions_are_short(sources: Sources) -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == [], "\n".join(map(str, long))


def test_first_line_asks_a_question(sources: Sources) -> None:
    silent = [
        str(path)
        for path, tree in in_packages(sources)
        if path.name not in ("__init__.py", "__main__.py")
        and "?" not in (ast.get_docstring(tree) or "").split("\n\n")[0]
    ]
    assert silent == [], "\n".join(map(str, silent))


def test_public_names_are_listed(sources: Sources) -> None:
    unlisted = []
    for path, tree in in_packages(sources):
        has_code = any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body)
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        if has_code and "__all__" not in names:
            unlisted.append(str(path))
    assert unlisted == [], "\n".join(map(str, unlisted))


def test_listed_names_exist(sources: Sources) -> None:
    """`__all__` that names what is not there breaks `from x import *` and every reader's trust."""
    missing = []
    for path, tree in in_packages(sources):
        defined: set[str] = set()
        listed: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                defined.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
        for statement in tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.List):
                target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
                if isinstance(target, ast.Name) and target.id == "__all__":
                    listed = [str(item.value) for item in statement.value.elts if isinstance(item, ast.Constant)]
        missing += [f"{path}: {name}" for name in listed if name not in defined]
    assert missing == [], "\n".join(map(str, missing))


def test_no_junk_drawer(sources: Sources) -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py", "manager.py"}
    assert [str(path) for path in sources if path.name in drawers] == []


def test_no_forbidden_habit(root: Path, sources: Sources) -> None:
    found = [
        f"{path}: {word}: {instead}"
        for path in sources
        for word, instead in FORBIDDEN.items()
        if word in (root / path).read_text()
    ]
    assert found == [], "\n".join(map(str, found))


def test_no_error_vanishes(sources: Sources) -> None:
    """`except Exception: pass` hides the fault of whoever wrote it."""
    silent = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    assert silent == [], "\n".join(map(str, silent))


def test_tests_do_not_sleep(sources: Sources) -> None:
    sleepy = [
        f"{path}:{node.lineno}"
        for path, tree in sources.items()
        if path.parts[0] == "tests"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]
    assert sleepy == [], "\n".join(sleepy)


def test_rules_hold_no_float(sources: Sources) -> None:
    """Money and points are integers; only the comparators of tolerance levels may calculate with floats."""
    found = []
    for path, tree in sources.items():
        comparator = path.parts[:3] == ("protocols", "verify", "comparators")
        if path.parts[0] != "protocols" or comparator or path in FLOATS_ALLOWED:
            continue
        for node in ast.walk(tree):
            is_float = (
                (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
                or (isinstance(node, ast.Name) and node.id == "float")
                or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
            )
            if is_float:
                found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found == [], "\n".join(map(str, found))


def test_rules_open_no_file(sources: Sources) -> None:
    """Imports are import-linter's; these need none."""
    reach = {"open", "print", "input", "breakpoint", "eval", "exec", "hash", "id"}
    found = [
        f"{path}:{node.lineno} {node.func.id}()"
        for path, tree in sources.items()
        if path.parts[0] == "protocols"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in reach
    ]
    assert found == [], "\n".join(map(str, found))
