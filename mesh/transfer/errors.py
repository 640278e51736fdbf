"""Why did a fetch not bring everything?"""

from mesh.base.errors import MeshError

__all__ = ["FetchError", "FetchFailed", "FetchNoRoom", "FetchRefused", "FetchTimeout", "FetchTooLarge"]


class FetchError(MeshError):
    """A fetch gave up. Verified blocks that had arrived are kept, and a later fetch goes on from them.

    ``code`` is what the core's ``BlobsFailed`` carries: ``refused``, ``too_large``, ``malformed`` or ``timeout``.
    """

    code = "malformed"


class FetchRefused(FetchError):
    """No peer gives us these blocks: no grant for this deal, or it was revoked."""

    code = "refused"


class FetchFailed(FetchError):
    """The tree is malformed or lies about its sizes, or no peer holds a block."""


class FetchNoRoom(FetchFailed):
    """There is no room for it here. No fault of any peer's: the same fetch goes on once there is."""

    code = "no_room"


class FetchTooLarge(FetchError):
    """The tree exceeds the limits that were agreed; nothing beyond its directories was pulled."""

    code = "too_large"


class FetchTimeout(FetchError):
    """The time for it ran out, or no peer could be reached often enough."""

    code = "timeout"
