"""Which configuration files must be refused, and what must the refusal say?"""

from typing import Final, NamedTuple

__all__ = ["BAD_SETTINGS", "BadSettings"]


class BadSettings(NamedTuple):
    """A malformed mesh.toml. ``says`` are parts of the error: the place, the setting, and what to do."""

    name: str
    text: bytes
    says: tuple[str, ...]


def _bad(name: str, text: str, *says: str) -> BadSettings:
    return BadSettings(name, text.encode(), says)


_ADDRESS: Final = "0x5FbDB2315678afecb367f032d93F642f64180aa3"

BAD_SETTINGS: Final = (
    _bad("unknown setting", "[chain]\nrcp = []\n", "mesh.toml:2", "chain.rcp", "chain.rpc"),
    _bad("setting in another section", "[network]\nbid_window_ms = 1\n", "mesh.toml:2", "client.bid_window_ms"),
    _bad("unknown section", "\n[chian]\nrpc = []\n", "mesh.toml:2", "[chian]", "chain"),
    _bad("section as a value", "chain = 3\n", "mesh.toml:1", "chain is a section"),
    _bad("no slots", "[provider]\n\nslots = 0\n", "mesh.toml:3", "provider.slots", ">= 1"),
    _bad("fraction of a slot", "[provider]\nslots = 2.5\n", "mesh.toml:2", "provider.slots"),
    _bad("number as text", "provider.slots = 'two'\n", "mesh.toml:1", "provider.slots"),
    _bad("unknown role", "[provider]\nroles = ['king']\n", "mesh.toml:2", "'king'", "provider, client"),
    _bad("no role", "[provider]\nroles = []\n", "mesh.toml:2", "provider.roles", "empty"),
    _bad("role twice", "[provider]\nroles = ['client', 'client']\n", "mesh.toml:2", "twice"),
    _bad("price in words", "[provider]\nprice_floor = 'free'\n", "mesh.toml:2", "provider.price_floor", "'free'"),
    _bad("negative price", "[provider]\nprice_floor = -1\n", "mesh.toml:2", "provider.price_floor"),
    _bad("price too fine", "[provider]\nprice_floor = 1e-19\n", "mesh.toml:2", "18 digits"),
    _bad("price beyond reason", "[provider]\nprice_floor = 1e99999\n", "mesh.toml:2", "amount of tokens"),
    _bad("GPU list", "[provider]\ngpus = '0;1'\n", "mesh.toml:2", "provider.gpus", "indices"),
    _bad("short address", "[chain]\nescrow = '0x12'\n", "mesh.toml:2", "chain.escrow", "40 hex digits"),
    _bad("mistyped address", f"[chain]\nescrow = '{_ADDRESS[:-1]}4'\n", "mesh.toml:2", "chain.escrow", "checksum"),
    _bad("websocket endpoint", "[chain]\nrpc = ['ws://x']\n", "mesh.toml:2", "chain.rpc", "'ws://x'"),
    _bad("fee that is no number", "[chain]\nmax_fee_gwei = nan\n", "mesh.toml:2", "chain.max_fee_gwei"),
    _bad("peer without id", "[network]\nbootstrap = ['/ip4/1.2.3.4/tcp/1']\n", "mesh.toml:2", "/p2p/"),
    _bad("port beyond the last", "[network]\nlisten = ['/ip4/1.2.3.4/tcp/99999']\n", "mesh.toml:2", "network.listen"),
    _bad("network with blanks", "[network]\nname = 'My Net'\n", "mesh.toml:2", "network.name", "'My Net'"),
    _bad("log level", "[log]\nlevel = 'loud'\n", "mesh.toml:2", "log.level", "'loud'"),
    _bad("unclosed bracket", "[log\n", "mesh.toml", "line 1", "mesh config view"),
    _bad("key twice", "[log]\nfiles = 1\nfiles = 2\n", "mesh.toml", "line 3", "mesh config view"),
    BadSettings("not text", b"\xff\xfe\x00", ("mesh.toml", "not TOML", "mesh config view")),
    BadSettings("another file by mistake", b"#" * 300_000, ("mesh.toml", "too long", "262144")),
)
