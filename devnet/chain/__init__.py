"""Which chain does a network on one machine use? anvil if it is installed, else a pip-only one on py-evm.

``handle = await nursery.start(partial(run_chain, kind="auto"))``. Only ``launch`` and ``accounts`` are for others; the
rest is the pip-only server (``python -m devnet.chain.server``), whose imports take a second.
"""

from devnet.chain.accounts import DEV_MNEMONIC, DevAccount, dev_accounts
from devnet.chain.launch import ChainHandle, ChainKind, ChainStartError, find_anvil, run_chain

__all__ = [
    "DEV_MNEMONIC",
    "ChainHandle",
    "ChainKind",
    "ChainStartError",
    "DevAccount",
    "dev_accounts",
    "find_anvil",
    "run_chain",
]
