"""Which chains does the project know, and what does it know about each?

Public endpoints are a fallback: the user's own are tried first, each proves its chain id, and any of them may be dead.
Contract addresses are empty until somebody has deployed there; ``mesh doctor`` says so.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from mesh.base.errors import ConfigError
from mesh.chain.feed import FollowerSettings
from protocols.deals.eip712 import DEVNET_BOUNDS, PUBLIC_BOUNDS, EscrowBounds
from protocols.disputes.params import DEVNET_PANEL, PUBLIC_PANEL, PanelBounds
from protocols.limits import ARBITRUM_ONE, ARBITRUM_SEPOLIA, DEVNET, NetworkParams

__all__ = ["PRESETS", "ChainPreset", "chain_preset", "preset_of"]


class ChainPreset(msgspec.Struct, frozen=True):
    """One chain. ``bounds`` and ``panel_bounds``: what an escrow and a panel deployed here shall accept, for good."""

    params: NetworkParams
    public_rpc: tuple[str, ...]
    bounds: EscrowBounds
    panel_bounds: PanelBounds
    follower: FollowerSettings
    escrow: str = ""
    token: str = ""
    panel: str = ""
    deploy_block: int = 0

    @property
    def name(self) -> str:
        """The network's name."""
        return self.params.name


PRESETS: Final[Mapping[str, ChainPreset]] = {
    preset.name: preset
    for preset in (
        ChainPreset(
            params=DEVNET,
            public_rpc=(),
            bounds=DEVNET_BOUNDS,
            panel_bounds=DEVNET_PANEL,
            follower=FollowerSettings(poll_s=0.1, level_poll_s=0.5),
        ),
        ChainPreset(
            params=ARBITRUM_SEPOLIA,
            public_rpc=(
                "https://sepolia-rollup.arbitrum.io/rpc",
                "https://arbitrum-sepolia-rpc.publicnode.com",
                "https://arbitrum-sepolia.drpc.org",
            ),
            bounds=PUBLIC_BOUNDS,
            panel_bounds=PUBLIC_PANEL,
            follower=FollowerSettings(),
        ),
        ChainPreset(
            params=ARBITRUM_ONE,
            public_rpc=(
                "https://arb1.arbitrum.io/rpc",
                "https://arbitrum-one-rpc.publicnode.com",
                "https://arbitrum.drpc.org",
                "https://1rpc.io/arb",
            ),
            bounds=PUBLIC_BOUNDS,
            panel_bounds=PUBLIC_PANEL,
            follower=FollowerSettings(),
        ),
    )
}


def chain_preset(name: str) -> ChainPreset:
    """The preset of a network. Raises ``ConfigError`` for one that nobody knows."""
    preset = PRESETS.get(name)
    if preset is None:
        raise ConfigError(
            f"there is no network {name!r}",
            why=f"known are {', '.join(PRESETS)}",
            fix="mesh config set network.name arbitrum-sepolia",
        )
    return preset


def preset_of(name: str) -> Mapping[str, Mapping[str, object]]:
    """What the network brings to the configuration, as a TOML file would: empty for a network nobody knows."""
    preset = PRESETS.get(name)
    if preset is None:
        return {}
    chain: dict[str, object] = {"chain_id": preset.params.chain_id, "public_rpc": list(preset.public_rpc)}
    if preset.escrow:
        chain |= {"escrow": preset.escrow, "token": preset.token, "deploy_block": preset.deploy_block}
    if preset.panel:
        chain["panel"] = preset.panel
    return {"chain": chain}
