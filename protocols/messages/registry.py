"""Which struct does a type tag stand for, and how large may it be?"""

from typing import Final

import msgspec

from protocols.canonical import decode_strict, encode
from protocols.envelope import Envelope, seal
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages import channel, deal, dispute, negotiation
from protocols.signing import Signer

__all__ = [
    "CASE_PROTOCOL",
    "DEAL_PROTOCOL",
    "LOGS_PROTOCOL",
    "MESSAGE_TYPES",
    "RFQ_PROTOCOL",
    "UnknownType",
    "decode_message",
    "protocol_of",
    "seal_message",
    "tag_of",
]

RFQ_PROTOCOL: Final = "/mesh/rfq/1"
DEAL_PROTOCOL: Final = "/mesh/deal/1"
LOGS_PROTOCOL: Final = "/mesh/logs/1"
CASE_PROTOCOL: Final = "/mesh/case/1"

MESSAGE_TYPES: Final[dict[str, type[msgspec.Struct]]] = {
    "rfq/1": negotiation.Rfq,
    "channel_rfq/1": negotiation.ChannelRfq,
    "panel_rfq/1": negotiation.PanelRfq,
    "quote/1": negotiation.Quote,
    "refusal/1": negotiation.Refusal,
    "release/1": negotiation.HoldRelease,
    "deal_proposal/1": negotiation.DealProposal,
    "deal_acceptance/1": negotiation.DealAcceptance,
    "deal_refusal/1": negotiation.DealRefusal,
    "result/1": deal.ResultNotice,
    "delivered/1": deal.Delivered,
    "receipt/1": deal.ReceiptNotice,
    "sign_off/1": deal.SignOff,
    "rejection/1": deal.Rejection,
    "cancel/1": deal.CancelConsent,
    "progress/1": deal.Progress,
    "sealed/1": deal.SealedNotice,
    "key/1": deal.KeyRelease,
    "result_pull/1": deal.ResultPull,
    "voucher/1": channel.VoucherNotice,
    "channel_close/1": channel.CloseConsent,
    "case_pull/1": dispute.CasePull,
    "case_file/1": dispute.CaseFile,
    "output_pull/1": dispute.OutputPull,
    "output_told/1": dispute.OutputTold,
}
_TAGS: Final = {kind: tag for tag, kind in MESSAGE_TYPES.items()}
_CASES: Final = frozenset({"case_pull/1", "case_file/1", "output_pull/1", "output_told/1"})
_NEGOTIATION: Final = frozenset({"rfq/1", "channel_rfq/1", "panel_rfq/1", "quote/1", "refusal/1", "release/1"})


class UnknownType(RemoteProtocolError):
    """A type or version this node does not speak: ignored, without penalty."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"unknown message type {tag!r}", code="unknown_type", penalty=0)


def tag_of(message: msgspec.Struct) -> str:
    """The type tag of a message. Raises ``LocalProtocolError`` for a struct that is no message."""
    tag = _TAGS.get(type(message))
    if tag is None:
        raise LocalProtocolError(f"{type(message).__name__} is not a message")
    return tag


def protocol_of(tag: str) -> str:
    """The libp2p protocol id a message travels on."""
    if tag in _CASES:
        return CASE_PROTOCOL
    return RFQ_PROTOCOL if tag in _NEGOTIATION else DEAL_PROTOCOL


def seal_message(signer: Signer, network: str, message: msgspec.Struct) -> bytes:
    """The signed envelope of a message."""
    return seal(signer, network, tag_of(message), encode(message))


def decode_message(envelope: Envelope) -> msgspec.Struct:
    """The message in an envelope. Raises ``UnknownType``, or ``RemoteProtocolError`` when it is malformed."""
    kind = MESSAGE_TYPES.get(envelope.type)
    if kind is None:
        raise UnknownType(envelope.type)
    return decode_strict(kind, envelope.payload, max_bytes=MAX_MESSAGE_BYTES)
