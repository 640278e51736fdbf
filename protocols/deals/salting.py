"""How does a provider commit to a result that nobody may see yet? To a salted hash of its root.

The root of a result is the CID of a folder, of which the chain knows the digest: 32 bytes, as the panel opens them.
"""

from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.transfer.cid import check_cid, digest_of, is_raw
from protocols.units import Cid, Hash32

__all__ = ["root_on_chain", "salted_root"]


def root_on_chain(root: Cid) -> Hash32:
    """The digest of a result's root. Raises RemoteProtocolError(code="bad_root") for a name that is no folder's: two names
    with one digest would open the same commitment."""
    try:
        folder = not is_raw(check_cid(root))
    except RemoteProtocolError:
        folder = False
    if not folder:
        raise RemoteProtocolError(f"a result is a folder, {root[:36].hex()} names none", code="bad_root", penalty=50)
    return Hash32(digest_of(root))


def salted_root(salt: Hash32, root: Cid) -> Hash32:
    """``ResultCommit.saltedRoot``: what ``MediatorPanel.open`` computes from both. Raises as `root_on_chain`."""
    return keccak256(salt, root_on_chain(root))
