"""How is a deal's dossier written to a file, and how is one from anybody checked?"""

import sys
from pathlib import Path

from msgspec import to_builtins

from mesh.base.config import LoadedConfig
from mesh.base.errors import ConfigError, MeshError, ResultRejected
from mesh.cli.dossier_parts import completed
from mesh.cli.options import Form
from mesh.cli.render import amount, emit, pairs, table
from mesh.cli.session import open_reading
from protocols.deals.eip712 import deal_id
from protocols.deals.evidence import MAX_DOSSIER_BYTES, Action, Dossier, Gap, actions, examine, gaps, read_dossier
from protocols.errors import RemoteProtocolError

__all__ = ["read_file", "verify_dossier", "write_evidence"]


async def write_evidence(loaded: LoadedConfig, name: str, to: Path | None, secret: bool, output: Form) -> None:
    """`mesh deal evidence`. An existing file is left alone; ``secret`` adds what opens a dispute."""
    async with open_reading(loaded) as api:
        deal = await api.deal(name)
        data = await completed(loaded, await api.evidence(name), secret=secret)
    if to is not None and str(to) == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    path = to or Path(f"deal-{deal.deal_id[2:10]}.dossier")
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise MeshError(
            f"{path} exists already", why="evidence is never overwritten", fix=f"mesh deal verify {path}, or --to FILE"
        ) from None
    except OSError as error:
        raise MeshError(
            f"cannot write {path}",
            why=error.strerror or str(error),
            fix=f"mesh deal evidence {deal.deal_id[:10]} --to FILE",
        ) from error
    told = {"deal_id": deal.deal_id, "file": str(path), "bytes": len(data)}
    emit(told, output, lambda: f"{path}   ({len(data)} bytes; mesh deal verify {path})")


def verify_dossier(path: Path, output: Form) -> None:
    """`mesh deal verify`. Raises ``ResultRejected`` when anything in it does not hold."""
    dossier = read_file(path)
    findings = examine(dossier)
    left, possible = gaps(dossier), actions(dossier)
    calls = [
        {**to_builtins(one), "to": f"0x{one.to.hex()}" if one.to else "panel", "data": f"0x{one.data.hex()}"}
        for one in possible
    ]
    told = {
        **_facts(dossier),
        "findings": findings,
        "missing": left,
        "calls": calls,
        "ok": all(one.ok for one in findings),
    }
    rows = [[one.name, "ok" if one.ok else "WRONG", one.proves] for one in findings]
    facts = pairs([fact for fact in _facts(dossier).items() if fact[1]])
    emit(
        told,
        output,
        lambda: f"{facts}\n\n{table(['CHECK', 'HOLDS', 'PROVES'], rows, folds=True)}\n{_rest(left, possible)}",
    )
    wrong = [one.name for one in findings if not one.ok]
    if wrong:
        raise ResultRejected(
            f"{path} does not hold", why=f"wrong: {', '.join(wrong)}", fix="ask the other party for its dossier"
        )


def _rest(left: tuple[Gap, ...], possible: tuple[Action, ...]) -> str:
    """What the file does not tell, and what can be sent with it."""
    missing = [[one.name, one.open] for one in left]
    sendable = [[one.call, one.sender, one.when, f"{len(one.data)} bytes"] for one in possible]
    parts = [("", table(["MISSING", "STAYS OPEN"], missing, folds=True))] if missing else []
    parts.append(
        ("calldata: -o json", table(["CALL", "SENT BY", "WHEN", "DATA"], sendable, least=("DATA",), folds=True))
    )
    return "\n".join(f"\n{shown}{f'   ({note})' if note else ''}" for note, shown in parts)


def read_file(path: Path) -> Dossier:
    """A dossier from a file. Raises ``ConfigError`` for one that is none."""
    fix = "mesh deals   (lists those whose evidence can be written)"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOSSIER_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}", why=error.strerror or str(error), fix=fix) from error
    try:
        return read_dossier(data)
    except RemoteProtocolError as error:
        raise ConfigError(f"{path} is no dossier", why=str(error), fix=fix) from error


def _facts(dossier: Dossier) -> dict[str, str]:
    deal = dossier.deal
    return {
        "deal": "0x" + deal_id(dossier.domain, deal).hex(),
        "escrow": f"0x{dossier.escrow.hex()} on chain {dossier.chain_id}",
        "client": f"0x{deal.client.hex()}",
        "provider": f"0x{deal.provider.hex()}",
        "job": f"0x{deal.job_id.hex()}",
        "price": amount(str(int(deal.price))),
        "state": dossier.state,
        "refused": f"{dossier.refused.code} {dossier.refused.detail}".strip() if dossier.refused else "",
    }
