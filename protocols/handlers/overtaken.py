"""Which calls of the panel does nobody owe any more, after a reorganisation took what they answered to?"""

from protocols.disputes.file import DisputeFile
from protocols.effects import DropEffects

__all__ = ["overtaken"]


def overtaken(before: DisputeFile) -> list[DropEffects]:
    """Drop the calls of a dispute as it was: those that are still owed come again under another key.

    A call that waits for gas, or for an endpoint, would otherwise be made after the dispute has moved: an old masks' call would
    fail for the price of an estimate, a deposit would be made twice. One that has left may still land; its log is then heard
    like any other, and the call under the new key is refused at no cost. The opening is no duty, and stays.
    """
    deal = before.deal_id.hex()
    return [
        DropEffects(prefix=f"{'poke' if name.startswith('poke:') else 'panel'}:{deal}:{name}:{before.attempt}")
        for name in before.asked
    ]
