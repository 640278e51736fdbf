"""How does a node read and write the chain? The only place that speaks JSON-RPC and knows web3.

``rpc`` (endpoints, failover), ``eth`` (typed reads), ``follower`` (logs, reorg-aware), ``submitter`` (the operator's
nonce), ``contracts`` and ``deploy`` (MeshToken, MeshEscrow through web3), ``presets`` (networks). web3 takes a second
to import, so only ``provider`` does, and the first contract that is built loads it.
"""
