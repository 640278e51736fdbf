"""How does a drawn mediator come to know what it is to judge? It hears who has the case, asks, and is told.

`CaseNotice` is gossip: whoever has the case of an open dispute says so, and where to dial. `CasePull` and `CaseFile`, and
under a tolerance `OutputPull` and `OutputTold`, are direct messages. Nothing in them is believed: the DealId that the panel's
log names is the hash of the deal, the deal names the job by its hash, the job its module and inputs.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.deals.eip712 import Deal, OutcomeCode, ResultCommit
from protocols.limits import MAX_JOB_BYTES
from protocols.offers.records import Addresses, Moment
from protocols.signing import PEER_ID_BYTES
from protocols.transfer.cid import CID_BYTES
from protocols.units import DealId, PeerId

__all__ = ["CASE_TAG", "CaseFile", "CaseNotice", "CasePull", "OutputPull", "OutputTold", "cases_topic"]

CASE_TAG: Final = "case/1"
MAX_OUTCOME: Final = int(max(OutcomeCode))

Named = Annotated[DealId, Meta(min_length=32, max_length=32)]
Peer = Annotated[PeerId, Meta(min_length=PEER_ID_BYTES, max_length=PEER_ID_BYTES)]


class CaseNotice(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Gossip: the signer of this envelope has the deal, the job and its inputs, and serves them to the drawn seats.

    A party of the deal says so, and a seat that has been served. A later one replaces the one before, by ``expires``.
    """

    deal_id: Named
    expires: Moment
    addresses: Addresses = ()


class CasePull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A called seat to whoever has the case: what was agreed, and what is to be run?"""

    deal_id: Named


class CaseFile(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer, to whoever has a place in the panel."""

    deal: Deal
    """Its digest is the DealId, which the escrow holds only with both signatures: they need not be shown again."""
    client: Peer
    provider: Peer
    job: Annotated[bytes, Meta(max_length=MAX_JOB_BYTES)]
    """Canonical bytes; their hash is the deal's job id."""
    result: ResultCommit | None
    """What the provider has signed, once the chain knows its parts: before that it would help those who do not work."""


class OutputPull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """To a seat that has revealed, from another one or from the provider: which output is behind your fingerprint?"""

    deal_id: Named


class OutputTold(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer. It proves nothing: what is pulled must have the fingerprint that was revealed."""

    deal_id: Named
    root: Annotated[bytes, Meta(min_length=CID_BYTES, max_length=CID_BYTES)]
    outcome: Annotated[int, Meta(ge=0, le=MAX_OUTCOME)]
    exit_code: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


def cases_topic(network: str) -> str:
    """Where notices travel."""
    return f"/mesh/{network}/cases/1"
