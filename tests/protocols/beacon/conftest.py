"""What do the tests of the beacon share? Real rounds of quicknet, and a chain whose key is known."""

from collections.abc import Callable

import pytest

from devnet.beacon import BeaconKey, devnet_key
from protocols.beacon.chain import DEVNET_BEACON
from protocols.beacon.tracker import Beacon
from protocols.messages.beacon import BeaconRound
from protocols.units import Millis, UnixSeconds


@pytest.fixture(scope="session")
def key() -> BeaconKey:
    return devnet_key()


@pytest.fixture(scope="session")
def signed(key: BeaconKey) -> Callable[[int], BeaconRound]:
    """A genuine round of the devnet's chain."""
    return key.sign


@pytest.fixture
def knowing(signed: Callable[[int], BeaconRound]) -> Callable[..., Beacon]:
    """A beacon that has heard these rounds."""

    def make(*numbers: int) -> Beacon:
        beacon = Beacon()
        for number in numbers:
            beacon.put(signed(number), Millis(0), UnixSeconds(DEVNET_BEACON.time_of(number)))
        return beacon

    return make
