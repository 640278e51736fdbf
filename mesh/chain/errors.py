"""What can go wrong between a node and the chain?

An endpoint's fault costs the endpoint (it is put aside, the next one is asked); what is left when no endpoint helps,
and what the chain itself refuses, is a ``ChainError``, which ends a command with code 6.
"""

from mesh.base.errors import ChainOrFunds

__all__ = [
    "BadAnswer",
    "ChainError",
    "ChainUnreachable",
    "EndpointFailed",
    "EndpointRefused",
    "EndpointsDisagree",
    "FeeAboveCap",
    "InsufficientFunds",
    "NonceRefused",
    "ReorgTooDeep",
    "RpcError",
    "TxRefused",
    "Unconfirmed",
]


class ChainError(ChainOrFunds):
    """Something about the chain failed. ``endpoint`` is the host that said so, "" where none is to blame."""

    def __init__(self, what: str, *, why: str = "", fix: str = "", endpoint: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.endpoint = endpoint


class EndpointFailed(ChainError):
    """An RPC endpoint did not answer, or answered that it is overloaded. ``retry_after_s``: what it asked for, or 0."""

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", endpoint: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(what, why=why, fix=fix, endpoint=endpoint)
        self.retry_after_s = retry_after_s


class BadAnswer(ChainError):
    """An RPC endpoint answered something that no honest one would: not JSON, another call's id, impossible values."""


class EndpointRefused(ChainError):
    """An RPC endpoint serves another chain than the one this network lives on. It is never used."""


class ChainUnreachable(ChainError):
    """No RPC endpoint answers. ``why`` lists what each of them did."""


class Unconfirmed(ChainUnreachable):
    """One endpoint says something that the others do not know yet, or contradict. Ask again."""


class EndpointsDisagree(ChainUnreachable):
    """The endpoints tell different chains, and nothing shows which of them lies. Nothing is done until it is known."""


class NonceRefused(ChainUnreachable):
    """What the RPC endpoints say about this key's transactions cannot be right, or is contradicted. Nothing was signed."""


class RpcError(ChainError):
    """The chain's node understood the call and declined it. ``code`` and ``data`` are JSON-RPC's."""

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", endpoint: str = "", code: int = 0, data: bytes = b""
    ) -> None:
        super().__init__(what, why=why, fix=fix, endpoint=endpoint)
        self.code = code
        self.data = data


class InsufficientFunds(ChainError):
    """The operator's account holds too little ether for gas and value."""


class FeeAboveCap(ChainError):
    """The chain's base fee is above the most that this node is set to pay."""


class TxRefused(ChainError):
    """The chain's node will not take the transaction; nothing was spent."""


class ReorgTooDeep(ChainError):
    """The chain was rewritten below everything this node remembers. Restart it: state is rebuilt from the chain."""
