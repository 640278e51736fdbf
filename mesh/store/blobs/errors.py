"""Why could the blob store not do it?"""

from mesh.base.errors import MeshError

__all__ = ["BlobAbsent", "BlobStoreFailed", "DestinationRefused", "ImportRefused", "QuotaExceeded"]


class BlobStoreFailed(MeshError):
    """The disk under the blob store failed, is full, or is used by another node."""


class QuotaExceeded(MeshError):
    """The blobs would take more room than the quota, although everything unpinned was collected."""


class BlobAbsent(MeshError):
    """A block of the tree is not held, or what was held was damaged and has been removed."""


class ImportRefused(MeshError):
    """A file or directory cannot be named by content: a link, a device, a name or a size outside the rules."""


class DestinationRefused(MeshError):
    """The tree cannot be written there."""
