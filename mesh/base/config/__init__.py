"""Which settings exist, where does each value come from, and how is one changed?"""

from mesh.base.config.edit import set_value
from mesh.base.config.home import Paths, ensure_home, mesh_home, user_config_file
from mesh.base.config.load import LoadedConfig, Origin, load_config
from mesh.base.config.schema import (
    Api,
    Chain,
    Client,
    Config,
    Key,
    Log,
    Network,
    Provider,
    Setting,
    Store,
    settings,
    tokens_text,
)

__all__ = [
    "Api",
    "Chain",
    "Client",
    "Config",
    "Key",
    "LoadedConfig",
    "Log",
    "Network",
    "Origin",
    "Paths",
    "Provider",
    "Setting",
    "Store",
    "ensure_home",
    "load_config",
    "mesh_home",
    "set_value",
    "settings",
    "tokens_text",
    "user_config_file",
]
