"""Which scenarios are there? One file each; this table names them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from devnet.scenario import Scenario
from devnet.scenarios import (
    bad_inputs,
    client_restarted,
    client_withholds_inputs,
    first_job,
    no_match,
    node_restarts,
    provider_killed,
)

__all__ = ["SCENARIOS"]

_ALL: Final = (
    first_job.SCENARIO,
    provider_killed.SCENARIO,
    client_restarted.SCENARIO,
    node_restarts.SCENARIO,
    bad_inputs.SCENARIO,
    client_withholds_inputs.SCENARIO,
    no_match.SCENARIO,
)
SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({one.name: one for one in _ALL})
"""By name, in the order in which they are told."""
