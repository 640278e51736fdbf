"""Do forks of one loaded process behave as processes of their own, and does none outlive it?"""

import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from devnet.chain import ChainHandle, run_chain
from devnet.errand import Grant, run_errand
from devnet.spawner import Forked, Spawner, open_spawner
from mesh.base.errors import ChainOrFunds

LIMIT_S = 90.0
"""A loaded two-core machine imports for ten seconds."""


@pytest.fixture
async def spawner(tmp_path: Path) -> AsyncIterator[Spawner]:
    async with open_spawner(tmp_path / "spawner.log") as made:
        yield made


@pytest.fixture
async def chain(spawner: Spawner, tmp_path: Path, nursery: trio.Nursery) -> ChainHandle:
    async def fork(arguments: list[str], log: Path) -> Forked:
        return await spawner.fork("chain", arguments, cwd=tmp_path, environment={}, log=log)

    found: ChainHandle = await nursery.start(partial(run_chain, kind="pyevm", fork=fork, log=tmp_path / "chain.log"))
    return found


async def test_a_chain_is_a_fork_like_any_other(chain: ChainHandle) -> None:
    assert chain.pid not in (0, os.getpid())
    async with httpx.AsyncClient(trust_env=False) as client:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        assert int((await client.post(chain.rpc_url, json=asked)).json()["result"], 16) == chain.chain_id


async def test_what_was_forked_ends_with_the_spawner_however_that_ends(tmp_path: Path) -> None:
    async with open_spawner(tmp_path / "spawner.log") as spawner:
        arguments = ["--ready-file", str(tmp_path / "ready.json")]
        forked = await spawner.fork("chain", arguments, cwd=tmp_path, environment={}, log=tmp_path / "log")
        assert forked.poll() is None
        status = Path(f"/proc/{forked.pid}/stat").read_text().rpartition(")")[2].split()
        os.kill(int(status[1]), signal.SIGKILL)
        with trio.fail_after(LIMIT_S):
            assert await forked.wait() == 0


async def test_a_fork_that_fails_says_why_in_its_log(spawner: Spawner, tmp_path: Path) -> None:
    forked = await spawner.fork("purse", ["{"], cwd=tmp_path, environment={}, log=tmp_path / "log")
    with trio.fail_after(LIMIT_S):
        await forked.wait()
    assert "DecodeError" in (tmp_path / "log").read_text()


async def test_a_command_ends_with_its_code_and_its_words(spawner: Spawner, tmp_path: Path) -> None:
    code, out, talk = await spawner.run("mesh", ["version"], cwd=tmp_path, environment={"MESH_HOME": str(tmp_path)})
    assert (code, talk) == (0, b"")
    assert b"mesh-compute" in out
    code, out, talk = await spawner.run("mesh", ["submit"], cwd=tmp_path, environment={"MESH_HOME": str(tmp_path)})
    assert (code, out) == (2, b"")
    assert b"mesh submit" in talk


async def test_the_purse_deploys_gives_and_stakes(spawner: Spawner, chain: ChainHandle, tmp_path: Path) -> None:
    grants = (Grant(1, "1000", "400"), Grant(2, "7"))
    first = await run_errand(spawner, chain, tmp_path, grants)
    assert len(first.escrow) == len(first.token) == 42
    again = await run_errand(spawner, chain, tmp_path, (Grant(3, "5"),), escrow=first.escrow, token=first.token)
    assert (again.escrow, again.token) == (first.escrow, first.token)


async def test_an_errand_that_comes_to_nothing_says_why(spawner: Spawner, chain: ChainHandle, tmp_path: Path) -> None:
    with pytest.raises(ChainOrFunds, match="no contracts or no funds") as caught:
        await run_errand(spawner, chain, tmp_path, (Grant(1, "1", "5"),))
    assert "transaction failed" in caught.value.why
