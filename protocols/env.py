"""What is neither state nor event? The network's parameters, this node's signer and its machine."""

import msgspec

from protocols.canonical import encode
from protocols.deals.eip712 import Domain
from protocols.disputes.duties import AppealPolicy
from protocols.envelope import seal
from protocols.limits import NetworkParams
from protocols.mediation.machine import ANY_MACHINE, Machine
from protocols.messages.registry import protocol_of, seal_message, tag_of
from protocols.signing import Signer
from protocols.units import PeerId

__all__ = ["Env"]


class Env(msgspec.Struct, frozen=True, kw_only=True):
    """Handed to every rule. Keys stay behind ``signer``: they never enter state, events or the store."""

    params: NetworkParams
    signer: Signer
    domain: Domain
    appeals: AppealPolicy = AppealPolicy()
    machine: Machine = ANY_MACHINE
    """What runs of cases may take here."""

    @property
    def me(self) -> PeerId:
        """This node."""
        return self.signer.peer_id

    def seal(self, message: msgspec.Struct) -> tuple[str, bytes]:
        """(protocol id, envelope) of a message from this node."""
        return protocol_of(tag_of(message)), seal_message(self.signer, self.params.name, message)

    def record(self, kind: str, record: msgspec.Struct) -> bytes:
        """The envelope of a gossip record from this node."""
        return seal(self.signer, self.params.name, kind, encode(record))
