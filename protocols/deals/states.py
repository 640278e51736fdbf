"""Which states can a deal be in, seen from one of its parties?

Both halves share these types; `protocols.deals.table` says who moves between them. A state is a frozen value that holds
everything needed to go on after a restart.
"""

import msgspec

from protocols.deals.eip712 import Deal
from protocols.deals.results import Audit, Comparing, LocalResult, PaidBy, Ran, SealedBytes
from protocols.messages.deal import CancelConsent, KeyRelease, ReceiptNotice, ResultNotice, SealedNotice, SignOff
from protocols.messages.deal import Delivered as DeliveredMessage
from protocols.messages.negotiation import InputRoot
from protocols.units import ZERO_HASH, DealId, Hash32, PeerId, RunId, Signature, Tokens, UnixSeconds

__all__ = [
    "FINAL_STATES",
    "Abandoned",
    "Accepted",
    "Audit",
    "Checking",
    "Claimed",
    "Commitment",
    "Committed",
    "Comparing",
    "DealState",
    "DealTerms",
    "Delivered",
    "Disputed",
    "Expired",
    "LocalResult",
    "PaidBy",
    "Proposed",
    "Ran",
    "Ready",
    "Rejected",
    "Resulted",
    "Running",
    "Sealed",
    "SealedBytes",
    "Settled",
    "Signed",
    "Slashed",
    "Unsealing",
    "Voided",
    "phase_of",
]


class DealTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was agreed and between whom. The job body lives in its own row, once per deal."""

    deal_id: DealId
    deal: Deal
    client: PeerId
    provider: PeerId
    run_id: RunId
    rfq_id: Hash32
    inputs: tuple[InputRoot, ...]
    client_signature: Signature
    provider_signature: Signature | None
    """None while only the client has signed."""
    checks: DealId | None = None
    """Client: the deal whose result this one computes again. It is never the run's own result."""
    most_bytes: int = 0
    """Client: what a result may weigh by the job's own limits; zero where that was not kept."""

    def room_for(self, size: int) -> int:
        """What is pulled of a result that is said to have ``size`` bytes: never more than the job may write, whatever its
        provider says, or one result would fill the disk of its client. What is larger is not had, as if nobody served it."""
        return min(size, self.most_bytes) if self.most_bytes else size


class Commitment(msgspec.Struct, frozen=True):
    """The `commit` transaction as the chain shows it; every later deadline runs from ``at``."""

    tx: Hash32
    block: int
    at: UnixSeconds
    lost: bool = False
    """A reorganisation took it back; until it is on chain again only `commitBy` counts."""


class Proposed(msgspec.Struct, frozen=True, tag=True):
    """Client: signed and sent, not yet countersigned. PROTOCOL.md calls it QUOTED."""

    terms: DealTerms
    early: ResultNotice | None = None
    """What its provider said before this client saw the commitment: see `Signed`."""
    refund: CancelConsent | None = None


class Signed(msgspec.Struct, frozen=True, tag=True):
    """Both have signed. Before `commit` either side may leave freely."""

    terms: DealTerms
    early: ResultNotice | None = None
    """Client: the result of a job that was over before this client saw the commitment. Its provider sends it once."""
    refund: CancelConsent | None = None
    """Client: the same for a provider that gave up."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Provider: module and inputs are here and verified, `commit` is on its way."""

    terms: DealTerms


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The chain holds the price and the collateral."""

    terms: DealTerms
    commitment: Commitment
    leaving: bool = False
    """Provider: a cancellation is under way, so the job must not start (again)."""


class Running(msgspec.Struct, frozen=True, tag=True):
    """Provider: the job runs."""

    terms: DealTerms
    commitment: Commitment
    sealed: bool | msgspec.UnsetType = msgspec.UNSET
    """Its client sees nothing of the result before it has paid: no log of the running job either."""


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """The provider has claimed without its client; the window runs from ``at``."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice | None
    at: UnixSeconds
    tx: Hash32
    result_hash: Hash32 = ZERO_HASH
    """What the claim recorded, as the chain logged it; `finalize` and `settle` bring it along."""
    rejected: str = ""
    """Client: why it had refused to sign off, if it had."""
    sign_off: SignOff | None = None
    checked: str = ""
    withheld: bool | msgspec.UnsetType = msgspec.UNSET
    """Client: it refused because the bytes never came. Unset, like all that rows of before disputes do not have: no."""


class Resulted(msgspec.Struct, frozen=True, tag=True):
    """The provider has committed to a result; the client does not hold its bytes yet."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice
    at: UnixSeconds
    """Chain time when this party learned of it."""
    claiming: bool = False
    """Provider: `claim` is on its way, because the client is silent."""
    claim: Claimed | msgspec.UnsetType = msgspec.UNSET
    """Client: the provider has claimed already, and the check goes on while the window is open."""
    sealed: SealedNotice | msgspec.UnsetType = msgspec.UNSET
    """Provider: what the client was told instead; its voucher is answered with the key."""


class Sealed(msgspec.Struct, frozen=True, tag=True):
    """Client: the provider has committed to a result whose key comes against the voucher. ``held``: the sealed bytes are here
    and verified, and it is paid as soon as the channel holds enough."""

    terms: DealTerms
    commitment: Commitment
    notice: SealedNotice
    at: UnixSeconds
    held: bool = False


class Unsealing(msgspec.Struct, frozen=True, tag=True):
    """Client: the voucher is signed, since ``at``; the key is awaited, or its bytes are being opened with it."""

    terms: DealTerms
    commitment: Commitment
    notice: SealedNotice
    at: UnixSeconds
    release: KeyRelease | None = None
    paid_by: PaidBy | msgspec.UnsetType = msgspec.UNSET
    """Unset in rows of before there was the field."""


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """The client holds and has verified every byte."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice
    at: UnixSeconds
    receipt: DeliveredMessage
    audited: bool = False
    """Unused: a row of before there was `Checking` says that a re-execution was under way."""
    claiming: bool = False
    claim: Claimed | msgspec.UnsetType = msgspec.UNSET
    checked: str | msgspec.UnsetType = msgspec.UNSET
    """Client, of a channel's deal that its audit has let pass: what was done. It waits to be paid."""


class Checking(msgspec.Struct, frozen=True, tag=True):
    """The client has signed its receipt, and the round that it names decides whether the job runs again."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice
    at: UnixSeconds
    receipt: DeliveredMessage | None
    """Provider: None when the other receipt came first."""
    named: ReceiptNotice | None
    """The client's first one counts: it cannot choose another round. None in a channel, whose draw is the client's own."""
    audit: Audit | None = None
    """Client: how its check goes on. Provider: None."""
    claiming: bool = False
    claim: Claimed | msgspec.UnsetType = msgspec.UNSET
    """Client: as in `Resulted`."""
    overtime: bool | msgspec.UnsetType = msgspec.UNSET
    """Client: a re-execution was under way when its provider could claim; it goes on in the window."""
    seal: Unsealing | msgspec.UnsetType = msgspec.UNSET
    """Client: its result was sealed, so it is paid for already; what the provider has signed and said about it."""


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The client has signed off; `settle` follows."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice
    sign_off: SignOff
    checked: str
    """What the client did before it signed: `protocols.verify.audits.Checked`."""
    claiming: bool = False
    """Provider: `claim` is on its way, because the settlement does not get through."""


class Rejected(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The client refuses to sign off; evidence is kept. Under ``enforcement: self`` the provider may still claim."""

    terms: DealTerms
    commitment: Commitment
    result: ResultNotice
    code: str
    detail: str
    receipt: DeliveredMessage | None = None
    named: ReceiptNotice | None = None
    confirmed: bool = False
    """Client: two re-executions by different owners agree with each other and not with the result."""


class Disputed(msgspec.Struct, frozen=True, tag=True):
    """The panel has the deal. What it does there stands in the node's file of the dispute (`protocols.disputes`)."""

    terms: DealTerms
    was: Committed | Running | Resulted | Delivered | Checking | Accepted | Rejected | Claimed
    """Where the dispute found it: where a reorganisation leads back to."""
    tx: Hash32
    at: UnixSeconds
    result_hash: Hash32

    @property
    def commitment(self) -> Commitment:
        """As before the dispute."""
        return self.was.commitment

    @property
    def result(self) -> ResultNotice | None:
        """What is disputed, where this party knows more of it than its hash."""
        return getattr(self.was, "result", None)

    @property
    def receipt(self) -> DeliveredMessage | None:
        """The client's word that it held all bytes, if it was given."""
        return getattr(self.was, "receipt", None)

    @property
    def detail(self) -> str:
        """Why the client has refused, in its own words."""
        return self.was.rejected if isinstance(self.was, Claimed) else getattr(self.was, "detail", "")


class Settled(msgspec.Struct, frozen=True, tag=True):
    """Final: the chain has paid ``paid`` to the provider. ``how`` is ``settled``, ``finalized``, ``cancelled``, ``voucher``,
    ``keyless`` (a voucher for a result that was never opened), ``wrong`` (one for a sealed result that was then found wrong),
    or ``acquitted`` by a panel."""

    terms: DealTerms
    tx: Hash32
    paid: Tokens
    how: str
    result: ResultNotice | None
    checked: str
    commitment: Commitment | None = None
    sign_off: SignOff | None = None
    claim: Claimed | None = None
    """The claim it came from, if there was one: where a reorganisation leads back to."""
    dispute: Disputed | msgspec.UnsetType = msgspec.UNSET
    """The dispute that it came from, likewise."""
    seal: Unsealing | msgspec.UnsetType = msgspec.UNSET
    """Client: what the provider has said about a result that it never opened, or that is wrong. A key may come late."""
    late: ResultNotice | msgspec.UnsetType | None = msgspec.UNSET
    """Client: it was away and this was paid for; what its provider has told since (None: nothing yet) is still to be pulled."""
    kept: bool | msgspec.UnsetType = msgspec.UNSET
    """Provider: the result is kept for such a client."""
    refused: str | msgspec.UnsetType = msgspec.UNSET
    """Client: why it holds a result for wrong that it had paid for sealed, or could not open."""


class Slashed(msgspec.Struct, frozen=True, tag=True):
    """Final: the provider has lost collateral, by a panel's verdict or because it had signed two results."""

    terms: DealTerms
    tx: Hash32
    refund: Tokens
    """What the client has got: its price, and its bounty."""
    returned: Tokens
    """What is left of the collateral."""
    was: Disputed | Committed | Running | Resulted | Delivered | Checking | Accepted | Rejected | Claimed
    """Where it came from: where a reorganisation leads back to."""

    @property
    def commitment(self) -> Commitment:
        """As before."""
        return self.was.commitment

    @property
    def result(self) -> ResultNotice | None:
        """What was found wrong."""
        return getattr(self.was, "result", None)


class Voided(msgspec.Struct, frozen=True, tag=True):
    """Final: the panel has found nothing, and price and collateral have returned but for what they had to pay."""

    terms: DealTerms
    tx: Hash32
    refund: Tokens
    returned: Tokens
    was: Disputed

    @property
    def commitment(self) -> Commitment:
        """As before."""
        return self.was.commitment

    @property
    def result(self) -> ResultNotice | None:
        """What was disputed."""
        return self.was.result


class Expired(msgspec.Struct, frozen=True, tag=True):
    """Final: no claim in time; price back, penalty taken."""

    terms: DealTerms
    tx: Hash32
    commitment: Commitment | None = None


class Abandoned(msgspec.Struct, frozen=True, tag=True):
    """Final: it never reached the chain, and no longer can."""

    terms: DealTerms
    code: str
    detail: str
    burned: bool = False
    """The chain knows: nobody can commit it any more. Until then, or until `commitBy`, it may still cost its price."""
    disowned: ResultNotice | msgspec.UnsetType = msgspec.UNSET
    """Of a channel's deal whose result the client has refused to pay for: evidence."""


DealState = (
    Proposed
    | Signed
    | Ready
    | Committed
    | Running
    | Resulted
    | Sealed
    | Unsealing
    | Delivered
    | Checking
    | Accepted
    | Rejected
    | Claimed
    | Disputed
    | Settled
    | Slashed
    | Voided
    | Expired
    | Abandoned
)
FINAL_STATES = (Settled, Slashed, Voided, Expired, Abandoned)


def phase_of(state: DealState) -> str:
    """The state's name for people: ``committed``, ``running`` ..."""
    return type(state).__name__.lower()
