"""What is added to a node's dossier when it is written to a file: proofs from the chain, and on demand the client's secret?"""

import random

from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.base.keys import load_key
from mesh.chain.errors import ChainError
from mesh.chain.presets import chain_preset
from mesh.chain.proofs import log_proofs
from mesh.chain.rpc import RpcSettings, open_rpc
from mesh.cli.node_key import key_path, unlock
from mesh.cli.session import say
from protocols.deals.dossier import MAX_PROOFS, Dossier, read_dossier, with_parts
from protocols.deals.eip712 import deal_id
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32
from protocols.verify.inclusion import LogProof

__all__ = ["completed"]

PATIENCE = RpcSettings(attempt_s=5.0, give_up_s=10.0)
"""A person waits, and the file is worth having without proofs."""


async def completed(loaded: LoadedConfig, data: bytes, *, secret: bool) -> bytes:
    """The dossier with every proof the configured endpoints give. Says on stderr what could not be added.

    Raises ``UsageError`` when a secret is asked for that this node does not have.
    """
    try:
        dossier = read_dossier(data)
    except RemoteProtocolError:
        say("the node's dossier has a form that this version does not know: it is written as it is")
        return data
    proofs = await _proofs(loaded, dossier) if dossier.transactions and not dossier.proofs else ()
    return with_parts(dossier, client_secret=_secret(loaded, dossier) if secret else None, proofs=proofs)


def _secret(loaded: LoadedConfig, dossier: Dossier) -> Hash32:
    """What the client committed itself to in the deal; whoever has it can open a dispute in the client's place."""
    path = key_path(loaded)
    made = load_key(path, unlock(loaded)).derive("client-secret", dossier.rfq_id) if path.exists() else b""
    if keccak256(made) != dossier.deal.client_secret_hash:
        raise UsageError(
            "this node cannot open a dispute about that deal",
            why="the secret is derived from the key of the deal's client, and this is another",
            fix="mesh deals   (write its evidence without --secret)",
        )
    return Hash32(made)


async def _proofs(loaded: LoadedConfig, dossier: Dossier) -> tuple[LogProof, ...]:
    """Proofs of the escrow's logs about this deal, in the order of its transactions."""
    chain = loaded.config.chain
    urls = (*chain.rpc, *chain.public_rpc)
    if not urls:
        say("no RPC endpoint is known: the dossier has no chain proofs   (mesh config set chain.rpc URL)")
        return ()
    ours = Hash32(deal_id(dossier.domain, dossier.deal))

    def about(address: Address, topics: tuple[Hash32, ...]) -> bool:
        return address == dossier.escrow and len(topics) > 1 and topics[1] == ours

    found: list[LogProof] = []
    chain_id = chain.chain_id or chain_preset(loaded.config.network.name).params.chain_id
    try:
        async with open_rpc(urls, chain_id, jitter=random.random, settings=PATIENCE) as rpc:
            for tx in dossier.transactions:
                found += await log_proofs(rpc, tx, about)
    except ChainError as error:
        say(f"the dossier lacks chain proofs: {error.what}")
    return tuple(found[:MAX_PROOFS])
