"""Which stores and trees do the transfer tests share?"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.store.blobs import BlobStore, open_blobs

QUOTA = 1 << 30


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BlobStore]:
    async with open_blobs(tmp_path / "store", quota_bytes=QUOTA, sync=False) as opened:
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[BlobStore]:
    async with open_blobs(tmp_path / "other", quota_bytes=QUOTA, sync=False) as opened:
        yield opened
