"""What does a dossier prove of a deal that a channel paid: of a result that was sealed, of its key, and of the voucher?

A channel's deal is on no chain, so nothing here is a proof of a chain's. What cannot be proved by anybody is that something
was *not* sent; what can is who had promised what, and that it was paid for.
"""

from protocols.deals import eip712
from protocols.deals.dossier import Dossier
from protocols.deals.salting import salted_root
from protocols.deals.sealing import key_hash, promise_of
from protocols.errors import RemoteProtocolError
from protocols.signing import address_of_key, recover_key
from protocols.units import Address, DealId, Hash32, Signature

__all__ = ["Check", "checks", "open_questions"]

Check = tuple[str, bool, str]
"""Its name, whether it holds, what it proves if it does."""


def checks(dossier: Dossier, deal_id: DealId) -> list[Check]:
    """Every check of the channel's parts that needs nothing but the file."""
    return [*_sealed(dossier, deal_id), *_key(dossier), *_voucher(dossier, deal_id)]


def _sealed(dossier: Dossier, deal_id: DealId) -> list[Check]:
    notice, provider = dossier.sealed, dossier.deal.provider
    if notice is None:
        return []
    commit = eip712.digest(dossier.domain, notice.commit)
    bound = _signed(provider, promise_of(dossier.domain, notice), notice.promise)
    return [
        ("sealed result", _signed(provider, commit, notice.signature), "the provider committed to a result"),
        ("sealed result deal", notice.commit.deal_id == deal_id, "the sealed result belongs to this deal"),
        (
            "sealed promise",
            bound,
            "the provider promised that these sealed bytes, opened by the key of this hash, hold it",
        ),
    ]


def _key(dossier: Dossier) -> list[Check]:
    notice, release = dossier.sealed, dossier.release
    if notice is None or release is None:
        return []
    found = [
        (
            "key",
            key_hash(release.key) == notice.key_hash,
            "this is the promised key: whoever pulls the sealed bytes can open them and see what they hold",
        )
    ]
    result = dossier.result
    if result is not None:
        opened = result.commit == notice.commit and release.salt == result.salt and _opens(dossier)
        found.append(("key result", opened, "what came out is the result that the provider had committed to"))
    return found


def _opens(dossier: Dossier) -> bool:
    result = dossier.result
    try:
        return result is not None and salted_root(result.salt, result.root) == result.commit.salted_root
    except RemoteProtocolError:
        return False


def _voucher(dossier: Dossier, deal_id: DealId) -> list[Check]:
    paid = dossier.paid_by
    if paid is None:
        return []
    voucher, before = paid.notice.voucher, paid.before
    # A stranger wrote it: a count that does not fit its peaks is no tree at all.
    ours = 0 <= before.count < 1 << 63 and before.count.bit_count() == len(before.peaks)
    if ours:
        after = before.append(deal_id)
        ours = (paid.notice.deal_id, voucher.count, voucher.deals_root) == (deal_id, after.count, after.root)
    signed = _signed(dossier.deal.client, eip712.digest(dossier.domain, voucher), paid.notice.signature)
    owed = f"the client owes {voucher.cumulative} wei in all for {voucher.count} deals of the channel"
    return [("voucher", signed, owed), ("voucher deal", ours, "this deal is the last of those that the voucher pays")]


def _signed(who: Address, digest: Hash32, signature: Signature) -> bool:
    try:
        return address_of_key(recover_key(digest, signature)) == who
    except RemoteProtocolError:
        return False


def open_questions(dossier: Dossier) -> tuple[tuple[str, str], ...]:
    """What is missing of a channel's deal, by name, and what a reader must therefore not conclude."""
    told = dossier.result is not None or dossier.sealed is not None
    parts = (
        ("provider signature", dossier.provider_signature is not None, "whether the provider ever agreed"),
        ("result", told, "whether the provider committed to any result"),
        (
            "voucher",
            dossier.paid_by is not None,
            "whether the client ever signed for it; channels show the last voucher",
        ),
        (
            "key",
            dossier.sealed is None or dossier.release is not None,
            "why it is not there: that nothing was sent cannot be proved. The provider can answer with the key at any time",
        ),
        (
            "result",
            dossier.sealed is None or dossier.result is not None,
            "what the sealed bytes hold. With the key, and the bytes of the promised root, anybody can look; the salt that came "
            "with the key is in no signature of its own",
        ),
        (
            "chain: redeemed",
            False,
            "whether the provider was paid by it: compare what was redeemed from the channel, and its root of deals",
        ),
    )
    return tuple({name: left_open for name, there, left_open in parts if not there}.items())
