"""Where do the panel's tests get a court? The escrow's world with a real panel in it, mediators, and its model beside it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.contracts.panel.court import PanelWorld

if TYPE_CHECKING:
    from tests.contracts.conftest import World


@pytest.fixture
def court(make_world: "Callable[..., World]") -> PanelWorld:
    """Fourteen seats in class 1; client and provider have money in the escrow and at the panel."""
    return PanelWorld(make_world())


@pytest.fixture(scope="session")
def make_court(make_world: "Callable[..., World]") -> Callable[..., PanelWorld]:
    """For tests that need other bounds, fewer seats, or many worlds."""
    return lambda **options: PanelWorld(make_world(), **options)
