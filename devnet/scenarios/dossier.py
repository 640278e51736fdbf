"""Does a deal's evidence hold, as its owner would export and check it?"""

import json
from pathlib import Path
from typing import Any

from devnet.members import Member
from devnet.scenario import check

__all__ = ["evidence_of", "verified"]


async def evidence_of(member: Member, deal_id: str) -> int:
    """`mesh deal evidence` and `mesh deal verify`, as the node's owner types them; bytes of the dossier."""
    await verified(member, deal_id)
    return _file(member, deal_id).stat().st_size


async def verified(member: Member, deal_id: str) -> dict[str, Any]:
    """What `mesh deal verify -o json` says of the dossier that `mesh deal evidence` has written."""
    file = _file(member, deal_id)
    written = await member.command("deal", "evidence", deal_id, "--to", str(file))
    check(written.code == 0, f"mesh deal evidence ends with {written.code}: {written.talk}")
    told = await member.command("deal", "verify", str(file), "-o", "json")
    check(told.code == 0, f"mesh deal verify ends with {told.code}: {told.talk}{told.out}")
    found: dict[str, Any] = json.loads(told.out)
    return found


def _file(member: Member, deal_id: str) -> Path:
    return member.home / f"{deal_id.removeprefix('0x')[:16]}.dossier"
