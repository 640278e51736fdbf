"""Is what was deployed what was meant, wherever the deployment was interrupted, and is a wrong address described?"""

from pathlib import Path

import pytest

from mesh.base.errors import ConfigError
from mesh.chain.contracts import Contracts
from mesh.chain.deploy import (
    check_deployment,
    check_panel,
    create_address,
    deploy,
    quote_deploy,
    read_record,
    same_code,
    write_record,
)
from mesh.chain.errors import ChainError
from mesh.chain.eth import TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Outcome, SubmitterSettings
from mesh.chain.panel import PanelContract
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact
from protocols.deals.eip712 import DEVNET_BOUNDS
from protocols.disputes.params import DEVNET_PANEL, PUBLIC_PANEL
from protocols.units import Address, Tokens
from tests.chain.market import REVERTS, SEPOLIA, Market, market, planned, sepolia

__all__ = ["market", "sepolia"]


async def test_a_deployment_is_what_was_meant_and_its_record_survives(market: Market, tmp_path: Path) -> None:
    contracts = market.contracts
    assert await check_deployment(market.eth, contracts, DEVNET_BOUNDS) == ()
    assert await contracts.bounds() == DEVNET_BOUNDS
    assert await contracts.separator() == contracts.domain.separator
    assert await contracts.symbol() == "MESH"
    assert market.record.chain_id == SEPOLIA
    path = tmp_path / "deployments" / "arbitrum-sepolia.json"
    write_record(path, market.record)
    assert read_record(path) == market.record
    assert market.record.settings()["chain"]["escrow"] == market.record.escrow
    assert market.record.settings()["chain"]["panel"] == market.record.panel
    path.write_text('{"network": 1}')
    with pytest.raises(ConfigError, match="not a deployment record"):
        read_record(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_record(tmp_path / "none.json")


async def test_escrow_and_panel_name_each_other(market: Market) -> None:
    address = Address(bytes.fromhex(market.record.panel[2:]))
    found = PanelContract(market.eth.rpc, address)
    assert await market.contracts.panel() == address
    assert await found.escrow() == market.contracts.escrow
    assert await found.bounds() == DEVNET_PANEL
    assert await check_panel(market.eth, market.contracts, address, DEVNET_PANEL) == ()
    assert "other bounds" in (await check_panel(market.eth, market.contracts, address, PUBLIC_PANEL))[0]
    wrong = await check_panel(market.eth, market.contracts, market.contracts.token)
    assert wrong == (
        f"that escrow's disputes are judged by 0x{address.hex()}, not by 0x{market.contracts.token.hex()}",
    )


async def test_a_panel_that_cannot_be_where_the_escrow_expects_it_is_refused(market: Market) -> None:
    """Another program sends with the deployer's key between escrow and panel."""
    deployer = market.deployer
    mint = market.contracts.mint(market.client.address, Tokens(1))

    class Late(Submitter):
        disturbed = False

        async def submit(self, key: str, call: TxCall) -> Outcome:
            if key == "deploy panel" and not self.disturbed:
                self.disturbed = True
                await market.send(deployer, mint)
            return await super().submit(key, call)

    late = Late(market.eth, deployer, MemoryJournal(), REVERTS, SubmitterSettings(poll_s=0.002))
    with pytest.raises(ChainError, match="no panel where it expects one"):
        await deploy(market.eth, late, planned(deployer))
    made = await deploy(market.eth, late, planned(deployer))
    assert made.panel != market.record.panel


def test_the_address_of_a_created_contract() -> None:
    """The first contracts of the well-known first account of development chains."""
    deployer = Address(bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"))
    assert create_address(deployer, 0).hex() == "5fbdb2315678afecb367f032d93f642f64180aa3"
    assert create_address(deployer, 1).hex() == "e7f1725e7734ce288f8367e1bb143e90bb3f0512"


async def test_wrong_addresses_are_described(market: Market) -> None:
    rpc, good = market.eth.rpc, market.contracts
    nothing = Contracts(rpc, escrow=Address(b"\x09" * 20), token=good.token)
    assert "there is no contract" in (await check_deployment(market.eth, nothing))[0]
    with pytest.raises(ChainError, match="does not answer accountOf"):
        await nothing.account(market.client.address)
    swapped = Contracts(rpc, escrow=good.token, token=good.token)
    assert "is not this version's MeshEscrow" in (await check_deployment(market.eth, swapped))[0]
    forged = bytearray(artifact("MeshToken").bytecode)
    forged[-10] ^= 1  # in the metadata, so that the contract still works
    assert not same_code(bytes(forged), artifact("MeshToken").bytecode)
    assert same_code(await market.eth.code(good.escrow), artifact("MeshEscrow").runtime)
    other_token = Contracts(rpc, escrow=good.escrow, token=good.escrow)
    assert "holds token" in (await check_deployment(market.eth, other_token))[0]


class DyingJournal(MemoryJournal):
    """Survives in memory what a disk would keep; the power fails at the second transaction."""

    async def put(self, key: str, nonce: int, raw: bytes, hash: bytes, /) -> None:
        await super().put(key, nonce, raw, hash)
        if key == "deploy escrow":
            raise ConnectionAbortedError


async def test_an_interrupted_deployment_goes_on(market: Market) -> None:
    settings = SubmitterSettings(poll_s=0.002)
    plan = planned(market.deployer)
    dying = DyingJournal()
    first = Submitter(market.eth, market.deployer, dying, REVERTS, settings)
    quote = await quote_deploy(first, plan)
    assert 0 < quote.expected_wei < quote.max_wei < quote.balance_wei
    before = await market.eth.nonce(market.deployer.address)
    with pytest.raises(ConnectionAbortedError):
        await deploy(market.eth, first, plan)
    kept = MemoryJournal()
    for entry in await dying.pending():
        await kept.put(entry.key, entry.nonce, entry.raw, entry.hash)
    record = await deploy(market.eth, Submitter(market.eth, market.deployer, kept, REVERTS, settings), plan)
    assert await market.eth.nonce(market.deployer.address) == before + 3
    assert record.token_tx in {"0x" + bytes(entry.hash).hex() for entry in await dying.pending()}
    assert await kept.pending() == ()
