"""Whose fault is it? Ours crashes us and replays; a peer's costs the peer.

``LocalProtocolError``: this node broke its own rules. ``RemoteProtocolError``: a peer did; it carries a stable code
and the score that the peer loses. ``GossipIgnore`` and ``GossipReject`` are verdicts of gossip validators.
"""

__all__ = ["GossipIgnore", "GossipReject", "LocalProtocolError", "ProtocolError", "RemoteProtocolError"]


class ProtocolError(Exception):
    """A rule of the protocol was broken."""


class LocalProtocolError(ProtocolError):
    """This node broke its own rules: a defect. The process ends and restarts into the same state."""


class RemoteProtocolError(ProtocolError):
    """A peer broke a rule.

    ``code`` is a stable word (``malformed``, ``bad_signature``, ``not_canonical`` ...), ``penalty`` the score it loses.
    """

    def __init__(self, message: str, *, code: str, penalty: int = 10) -> None:
        super().__init__(message)
        self.code = code
        self.penalty = penalty


class GossipIgnore(ProtocolError):
    """Drop the record and do not forward it; nobody is to blame (stale, duplicate, not our network)."""


class GossipReject(ProtocolError):
    """Drop the record; whoever forwarded it loses score."""
