"""Which planted bugs does the simulator catch, at which seed, and how?

``python -m devnet.sim.hunt [--seeds N] [NAME ...]``: `make sim-mutants`. Prints one line for each; ends with 1 when one of them
outlives its seeds.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from devnet.sim.mutants import MUTANTS, caught

__all__ = ["main"]

SEEDS: Final = 300
"""Histories in which a mutant has to be caught."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt the mutants that are named, or all. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="devnet.sim.hunt", description="Plant bugs in the rules and look for them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants; all when none is named")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"histories for each (default: {SEEDS})")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - {one.name for one in MUTANTS}
    if unknown:
        parser.error(
            f"no mutant is called {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in MUTANTS)}"
        )
    chosen = [one for one in MUTANTS if not asked.names or one.name in asked.names]
    outlived = []
    for mutant in chosen:
        began = time.process_time()
        found = caught(mutant, range(asked.seeds))
        cpu_s = time.process_time() - began
        if found is None:
            outlived.append(mutant.name)
            print(f"OUTLIVED {mutant.name}: {mutant.slip}; {asked.seeds} seeds, {cpu_s:.1f} s of CPU", flush=True)
        else:
            print(f"caught {mutant.name} at seed {found[0]} ({cpu_s:.1f} s of CPU): {found[1]}", flush=True)
    print(f"{len(chosen) - len(outlived)} of {len(chosen)} caught")
    return 1 if outlived else 0


if __name__ == "__main__":
    sys.exit(main())
