"""How do blocks, transactions, receipts and logs of the development chain look in JSON-RPC?

Shapes of the Ethereum execution API: quantities are 0x-hex without leading zeros, byte strings 0x-hex of full length.
"""

from collections.abc import Iterator

from devnet.chain.evm import BLOCK_GAS_LIMIT, SignedTx
from devnet.chain.ledger import Block, Included

__all__ = ["Json", "block_json", "data", "log_json", "logs_of", "quantity", "receipt_json", "transaction_json"]

Json = object
"""Whatever ``json`` can write."""


def quantity(value: int) -> str:
    """An integer as a JSON-RPC quantity."""
    return hex(value)


def data(value: bytes) -> str:
    """Bytes as JSON-RPC data."""
    return "0x" + value.hex()


def block_json(block: Block, *, full: bool) -> dict[str, Json]:
    """A block, with whole transactions or their hashes."""
    sealed = block.sealed
    return {
        "number": quantity(block.number),
        "hash": data(sealed.hash),
        "parentHash": data(block.parent),
        "timestamp": quantity(block.env.timestamp),
        "baseFeePerGas": quantity(block.env.base_fee),
        "gasLimit": quantity(BLOCK_GAS_LIMIT),
        "gasUsed": quantity(sealed.gas_used),
        "stateRoot": data(sealed.state_root),
        "transactionsRoot": data(sealed.transactions_root),
        "receiptsRoot": data(sealed.receipts_root),
        "logsBloom": data(sealed.bloom.to_bytes(256, "big")),
        "miner": data(bytes(20)),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": data(sealed.extra),
        "mixHash": data((1).to_bytes(32, "big")),
        "nonce": "0x0000000000000042",
        # As in every block without withdrawals, blobs and requests: whoever hashes the header needs them.
        "withdrawalsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": data(bytes(32)),
        "requestsHash": "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
        "size": quantity(540 + sum(len(row.tx.raw) for row in block.txs)),
        "uncles": [],
        "transactions": [
            transaction_json(row.tx, block, row.index) if full else data(row.tx.hash) for row in block.txs
        ],
    }


def transaction_json(tx: SignedTx, block: Block | None, index: int) -> dict[str, Json]:
    """A transaction; ``block`` is None while it waits."""
    price = tx.max_fee if block is None else min(tx.max_fee, block.env.base_fee + tx.priority_fee)
    shown: dict[str, Json] = {
        "hash": data(tx.hash),
        "type": quantity(tx.type_id),
        "nonce": quantity(tx.nonce),
        "from": data(tx.sender),
        "to": None if tx.to is None else data(tx.to),
        "value": quantity(tx.value),
        "gas": quantity(tx.gas),
        "gasPrice": quantity(price),
        "input": data(tx.data),
        "r": quantity(tx.r),
        "s": quantity(tx.s),
        "v": quantity(tx.y_parity),
        "blockHash": None if block is None else data(block.sealed.hash),
        "blockNumber": None if block is None else quantity(block.number),
        "transactionIndex": None if block is None else quantity(index),
    }
    if tx.type_id >= 2:
        shown["maxFeePerGas"] = quantity(tx.max_fee)
        shown["maxPriorityFeePerGas"] = quantity(tx.priority_fee)
    if tx.type_id >= 1:
        shown["yParity"] = quantity(tx.y_parity)
        shown["accessList"] = []
    return shown


def receipt_json(block: Block, row: Included) -> dict[str, Json]:
    """The receipt of a mined transaction."""
    tx, done = row.tx, row.done
    return {
        "transactionHash": data(tx.hash),
        "transactionIndex": quantity(row.index),
        "blockHash": data(block.sealed.hash),
        "blockNumber": quantity(block.number),
        "from": data(tx.sender),
        "to": None if tx.to is None else data(tx.to),
        "contractAddress": None if done.created is None else data(done.created),
        "status": "0x1" if done.revert is None else "0x0",
        "gasUsed": quantity(done.gas_used),
        "cumulativeGasUsed": quantity(row.cumulative_gas),
        "effectiveGasPrice": quantity(min(tx.max_fee, block.env.base_fee + tx.priority_fee)),
        "type": quantity(tx.type_id),
        "logsBloom": data(block.sealed.bloom.to_bytes(256, "big")),
        "logs": [log_json(block, row, position) for position in range(len(done.logs))],
    }


def log_json(block: Block, row: Included, position: int) -> dict[str, Json]:
    """One log; ``position`` counts inside its transaction."""
    log = row.done.logs[position]
    return {
        "address": data(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": quantity(block.number),
        "blockHash": data(block.sealed.hash),
        "transactionHash": data(row.tx.hash),
        "transactionIndex": quantity(row.index),
        "logIndex": quantity(row.first_log + position),
        "removed": False,
    }


def logs_of(
    block: Block, addresses: frozenset[bytes] | None, topics: tuple[frozenset[bytes] | None, ...]
) -> Iterator[dict[str, Json]]:
    """The block's logs that pass an ``eth_getLogs`` filter (None matches anything)."""
    for row in block.txs:
        for position, log in enumerate(row.done.logs):
            if addresses is not None and log.address not in addresses:
                continue
            if len(log.topics) < len(topics):
                continue
            if all(wanted is None or log.topics[place] in wanted for place, wanted in enumerate(topics)):
                yield log_json(block, row, position)
