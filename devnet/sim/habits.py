"""How may a simulated node behave, where the rules leave it a choice and where it breaks them?"""

import msgspec

from protocols.deals.terms import OutcomeCode

__all__ = ["Habits"]


class Habits(msgspec.Struct):
    """Of one node. Whatever it is, its owner and its faults are drawn elsewhere (`devnet.sim.faults`)."""

    honest: bool = True
    """A liar computes something else than it was asked to."""
    noisy: bool = False
    """Its numbers end in other digits than everybody else's: the same result at the levels that look at the bytes."""
    withholds: bool = False
    """Serves nothing: as a client no inputs, as a provider no result."""
    keeps_keys: bool = False
    """As a provider it takes vouchers for sealed results and says nothing more."""
    thief: bool = False
    """Tries to settle with a signature of its own."""
    fickle: bool = False
    """Declines the deals it has signed, and commits them all the same."""
    vanishes: bool = False
    """A client that is never seen again once its first deal is committed."""
    idles: bool = False
    """Begins no job, and says of each that it met a limit."""
    excuse: OutcomeCode = OutcomeCode.TIMEOUT
    """Which one."""
    takes_ms: int = 1
    """How long a job runs on its machine; beyond the job's own limit its time is up, honestly."""
    infra_ppm: int = 0
    """Share of jobs its executor fails to run."""
    cheat_ppm: int = 0
    """Share of jobs that it does not run: it makes up a result, another than any other cheat's."""

    noise: int = 0
    """Its machine is another: where a job's level tolerates that, its results end in other digits than everybody else's."""
    freeloads: bool = False
    """As a client it sends no voucher for what it holds."""
    leaves: bool = False
    """As a client it closes each channel as soon as it has signed a voucher, without a word to its provider."""
    slanders: bool = False
    """As a client it disputes right results."""

    misjudges: bool = False
    """Whenever it runs a job again, as a client or as a seat, it finds something else than anybody."""

    @property
    def upright(self) -> bool:
        """As a provider it cheats in no other way than `cheat_ppm` says."""
        return (
            self.honest
            and not self.idles
            and not self.withholds
            and not self.thief
            and not self.fickle
            and not self.keeps_keys
        )
