"""Where do blobs live on this machine?"""

from mesh.store.blobs.collect import Collected
from mesh.store.blobs.disk import Lease
from mesh.store.blobs.errors import BlobAbsent, BlobStoreFailed, DestinationRefused, ImportRefused, QuotaExceeded
from mesh.store.blobs.importing import ImportRules
from mesh.store.blobs.materialise import Materialised
from mesh.store.blobs.reach import DigestSet
from mesh.store.blobs.store import BlobStatistics, BlobStore, open_blobs

__all__ = [
    "BlobAbsent",
    "BlobStatistics",
    "BlobStore",
    "BlobStoreFailed",
    "Collected",
    "DestinationRefused",
    "DigestSet",
    "ImportRefused",
    "ImportRules",
    "Lease",
    "Materialised",
    "QuotaExceeded",
    "open_blobs",
]
