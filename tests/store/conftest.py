"""What do the tests of the store share?"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "node.db") as opened:
        yield opened
