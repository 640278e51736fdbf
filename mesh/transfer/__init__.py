"""How do blobs get from one node's store into another's? By pull, block by block, for a deal's parties alone."""

from mesh.transfer.errors import FetchError, FetchFailed, FetchNoRoom, FetchRefused, FetchTimeout, FetchTooLarge
from mesh.transfer.fetcher import BlobFetcher, FetchStatistics, Progress
from mesh.transfer.server import BlobServer, ServerStatistics
from mesh.transfer.streams import Streams

__all__ = [
    "BlobFetcher",
    "BlobServer",
    "FetchError",
    "FetchFailed",
    "FetchNoRoom",
    "FetchRefused",
    "FetchStatistics",
    "FetchTimeout",
    "FetchTooLarge",
    "Progress",
    "ServerStatistics",
    "Streams",
]
