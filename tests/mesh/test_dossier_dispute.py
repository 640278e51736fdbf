"""Can somebody who is no party fund a dispute with nothing but the client's dossier, knowing before what it may cost?"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from devnet.sim.samples import Samples
from mesh.base.config import LoadedConfig, load_config
from mesh.base.errors import ChainOrFunds, ConfigError, MeshError, ResultRejected, UsageError
from mesh.base.keys import create_key
from mesh.chain.panel import PanelContract
from mesh.chain.presets import preset_of
from mesh.cli.disputing import dispute_dossier
from protocols.canonical import encode
from protocols.deals.dossier import ClaimSeen, Dossier
from protocols.deals.eip712 import Enforcement, Level, digest
from protocols.deals.salting import salted_root
from protocols.disputes.stakes import dispute_of, stakes_of
from protocols.disputes.states import Phase
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.job.canonical import job_id_of, level_params_of
from protocols.messages.deal import ResultNotice
from protocols.units import Cid, Hash32, Signature, Tokens, UnixSeconds
from tests.mesh.money import RESULT, Money, chain, money
from tests.mesh.test_disputes import BOND, SECRETS, Court, court

__all__ = ["chain", "money"]

JOB = Samples().job
TERMS: dict[str, Any] = {
    "job_id": job_id_of(JOB),
    "image": Hash32(JOB.module[-32:]),
    "level": Level[JOB.verify.level.upper()],
    "level_params": level_params_of(JOB.verify),
}
SALT = keccak256(b"salt")
ROOT = Cid(bytes.fromhex("01701220") + keccak256(b"root"))


def dossier_of(scene: Court) -> Dossier:
    """As the client writes it with --secret."""
    commit = msgspec.structs.replace(scene.result, salted_root=salted_root(SALT, ROOT))
    notice = ResultNotice(
        commit=commit,
        signature=scene.provider.key.sign(digest(scene.money.domain, commit)),
        root=ROOT,
        salt=SALT,
        size=1,
    )
    return Dossier(
        chain_id=31337,
        escrow=scene.money.domain.escrow,
        deal=scene.deal,
        client_signature=scene.client.key.sign(Hash32(scene.deal_id)),
        provider_signature=scene.provider.key.sign(Hash32(scene.deal_id)),
        job=JOB.encode(),
        commitment=None,
        result=notice,
        delivered=None,
        sign_off=None,
        state="rejected",
        client_secret=SECRETS[0],
    )


class Third:
    """Somebody else, with a home and money of its own."""

    def __init__(self, money: Money, folder: Path) -> None:
        self.money, self.folder = money, folder
        self.key = create_key(folder / "home" / "node.key")
        self.file = folder / "deal.dossier"

    def loaded(self) -> LoadedConfig:
        chain = self.money.config(panel=self.money.purse.deployment.panel).chain  # type: ignore[union-attr]
        flags = {f"chain.{name}": getattr(chain, name) for name in ("rpc", "escrow", "token", "panel", "deploy_block")}
        env = {"MESH_HOME": str(self.folder / "home"), "MESH_NETWORK_NAME": "devnet"}
        return load_config(flags=flags, env=env, cwd=self.folder, preset=preset_of)

    async def deposits(self, wei: int) -> None:
        await self.money.purse.give(self.key.address, wei)
        async with self.money.open(self.key) as party:
            await party.wallet.deposit(wei)

    async def disputes(self, *, yes: bool = True) -> None:
        try:
            await dispute_dossier(self.loaded(), self.file, False, yes, "json")
        except BaseExceptionGroup as group:  # what a command line shows of it
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                (error,) = error.exceptions
            raise error from None


@pytest.fixture
def third(money: Money, tmp_path: Path) -> Third:
    (tmp_path / "home").mkdir(mode=0o700)
    return Third(money, tmp_path)


async def test_a_third_party_opens_the_dispute_with_its_own_bond(
    money: Money, third: Third, eventually: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with court(money, **TERMS) as scene:
        third.file.write_bytes(encode(dossier_of(scene)))
        await third.deposits(BOND + 1_000)
        with pytest.raises(UsageError, match="nothing was disputed"):
            await third.disputes(yes=False)
        asked = capsys.readouterr().err
        for word in ("bond", "gas", "client is right", "provider is right", "appeals"):
            assert word in asked
        assert scene.record(scene.client) is None

        await third.disputes()
        await eventually(lambda: scene.both_know(Phase.DISPUTED))
        record = scene.record(scene.client)
        assert record is not None
        assert record.funder == third.key.address
        told = msgspec.json.decode(capsys.readouterr().out)
        assert (told["phase"], told["bond"]) == ("disputed", str(BOND))
        ledger = scene.client.ledger
        assert await ledger.account(third.key.address) == (1_000, 0)
        assert await PanelContract(ledger.rpc, ledger.params.panel).account(third.key.address) == 0
        assert (await ledger.account(scene.client.key.address))[0] == 50_000 - 1_000

        with pytest.raises(ChainOrFunds, match="DISPUTED"):
            await third.disputes()


async def test_who_cannot_pay_is_told_what_is_missing_and_spends_nothing(money: Money, third: Third) -> None:
    async with court(money, **TERMS) as scene:
        third.file.write_bytes(encode(dossier_of(scene)))
        await third.deposits(BOND - 1)
        before = await scene.client.ledger.eth.balance(third.key.address)
        with pytest.raises(ChainOrFunds, match="not enough for the bond") as caught:
            await third.disputes()
        assert caught.value.fix == "mesh wallet deposit 1"
        assert await scene.client.ledger.eth.balance(third.key.address) == before


async def test_a_file_about_another_result_than_the_claimed_one_moves_no_money(money: Money, third: Third) -> None:
    """What a file says of the claim is nobody's signature: its author may have any result of the provider's in it."""
    async with court(money, **TERMS) as scene:
        good = dossier_of(scene)
        await third.deposits(BOND + 1_000)
        panel = PanelContract(scene.client.ledger.rpc, scene.client.ledger.params.panel)
        invented = msgspec.structs.replace(
            good, result=None, claim=ClaimSeen(Hash32(bytes(32)), UnixSeconds(1), RESULT)
        )
        third.file.write_bytes(encode(invented))
        with pytest.raises(ChainOrFunds, match="another result") as caught:
            await third.disputes()
        assert "nothing is claimed" in caught.value.why

        await scene.provider.ledger.post(msgspec.structs.replace(money.tx("claim", scene.deal), result_hash=RESULT))
        third.file.write_bytes(encode(good))
        with pytest.raises(ChainOrFunds, match="another result"):
            await third.disputes()
        assert await panel.account(third.key.address) == 0
        assert await scene.client.ledger.account(third.key.address) == (BOND + 1_000, 0)


async def test_a_file_that_does_not_hold_or_suffice_is_refused_before_the_chain_is_asked(
    money: Money, third: Third
) -> None:
    async with court(money, **TERMS) as scene:
        good = dossier_of(scene)
    bad: tuple[tuple[dict[str, Any], type[MeshError], str], ...] = (
        ({"provider_signature": Signature(bytes(65))}, ResultRejected, "provider signature"),
        ({"client_secret": None}, UsageError, "client's secret"),
        ({"client_secret": SECRETS[1]}, ResultRejected, "client secret"),
        ({"result": None}, UsageError, "neither signed nor claimed"),
        ({"chain_id": 5}, ResultRejected, "signature"),
    )
    for changes, kind, word in bad:
        third.file.write_bytes(encode(msgspec.structs.replace(good, **changes)))
        with pytest.raises(kind) as caught:
            await third.disputes()
        assert word in caught.value.why
    third.file.write_bytes(b"no dossier")
    with pytest.raises(ConfigError):
        await third.disputes()


def test_the_stakes_are_those_of_the_terms() -> None:
    deal = msgspec.structs.replace(
        Samples().deal(),
        enforcement=Enforcement.PANEL,
        price=Tokens(1_000),
        collateral=Tokens(8_000),
        seat_fee=Tokens(1_200),
    )
    dossier = Dossier(
        chain_id=31337,
        escrow=Samples().domain.escrow,
        deal=deal,
        client_signature=Signature(bytes(65)),
        provider_signature=None,
        job=b"",
        commitment=None,
        result=None,
        delivered=None,
        sign_off=None,
        state="signed",
    )
    stakes = stakes_of(dossier)
    assert (stakes.bond, stakes.shared, stakes.appeal, stakes.to_client) == (BOND, 1_800, 8_400, 3_000)
    with pytest.raises(RemoteProtocolError, match="client's secret"):
        dispute_of(dossier, withheld=False)
    alone = msgspec.structs.replace(dossier, deal=msgspec.structs.replace(deal, enforcement=Enforcement.SELF))
    with pytest.raises(RemoteProtocolError, match="nobody judges"):
        dispute_of(alone, withheld=False)
