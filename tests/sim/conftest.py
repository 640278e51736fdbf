"""How do the simulator's tests reach the real contract? Through the world of the contract tests, loaded by its path."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

__all__: list[str] = []


@pytest.fixture(scope="session")
def contracts() -> ModuleType:
    """`tests/contracts/conftest.py`: tests are never imported by name."""
    path = Path(__file__).resolve().parents[1] / "contracts" / "conftest.py"
    spec = importlib.util.spec_from_file_location("contract_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
