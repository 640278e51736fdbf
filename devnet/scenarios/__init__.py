"""Which scenarios are there? One file each; this table names them, in the order in which they are told."""

import importlib
from typing import Final

from devnet.scenario import Scenario

__all__ = ["NAMES", "load_scenario"]

NAMES: Final = (
    "first-job",
    "provider-killed",
    "client-restarted",
    "daemonless-killed",
    "node-restarts",
    "bad-inputs",
    "client-withholds-inputs",
    "wrong-result-unjudged",
    "wrong-result-audited",
    "other-machines",
    "replicate",
    "spend",
    "no-match",
    "client-vanishes",
    "provider-vanishes",
    "two-deals-one-slot",
    "rpc-failover",
    "gas-spike",
    "reorg",
    "time-bomb-job",
    "channel-100",
    "stale-voucher-exit",
    "sealed-strangers",
    "wrong-result-in-channel",
    "wrong-result",
    "wrong-result-canonical",
    "wrong-result-numeric",
    "wrong-result-perceptual",
    "false-dispute",
    "output-ransom",
    "input-withheld-in-dispute",
    "secret-withheld",
    "caught-and-silent",
    "junk-auditor",
    "mediator-silent",
    "mediator-junk",
    "split-verdict-appeal",
    "split-verdict-numeric",
    "audit-deterrence",
)


def load_scenario(name: str) -> Scenario:
    """The scenario of a name in ``NAMES``."""
    found: Scenario = importlib.import_module(f"devnet.scenarios.{name.replace('-', '_')}").SCENARIO
    return found
