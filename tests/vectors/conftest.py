"""Where is the generator? A script beside the vectors, loaded by path: tests are never imported by name."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

__all__: list[str] = []


@pytest.fixture
def generator() -> ModuleType:
    """A fresh copy of the module `generate.py`."""
    path = Path(__file__).resolve().parent / "generate.py"
    spec = importlib.util.spec_from_file_location("vector_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
