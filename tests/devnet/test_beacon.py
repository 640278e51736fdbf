"""Does the devnet's beacon speak as drand does, and sign what the network's parameters promise?"""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import msgspec
import pytest
import trio

from devnet.beacon import DEVNET_GROUP, DEVNET_ID, BeaconServer, chain_hash_of, devnet_key
from protocols.beacon.chain import DEVNET_BEACON, QUICKNET, SCHEME
from protocols.beacon.scheme import verify_round
from protocols.messages.beacon import BeaconRound
from protocols.units import Hash32

QUICKNET_GROUP = Hash32(bytes.fromhex("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e"))
NOW = DEVNET_BEACON.time_of(5_000)
HASH = DEVNET_BEACON.chain_hash.hex()


def test_chain_hashes_are_drands() -> None:
    """quicknet's own hash comes out of quicknet's published group, so ours is computed as drand would."""
    assert chain_hash_of(QUICKNET, QUICKNET_GROUP, "quicknet") == QUICKNET.chain_hash
    assert chain_hash_of(DEVNET_BEACON, DEVNET_GROUP, DEVNET_ID) == DEVNET_BEACON.chain_hash


def test_the_devnets_key_is_the_one_that_nodes_know() -> None:
    assert devnet_key().public_key == DEVNET_BEACON.public_key


@pytest.fixture
async def server(nursery: trio.Nursery) -> BeaconServer:
    made = BeaconServer(wall=lambda: float(NOW))
    await nursery.start(partial(made.run))
    return made


@pytest.fixture
async def client(server: BeaconServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as made:
        yield made


async def test_it_tells_its_chain(client: httpx.AsyncClient) -> None:
    assert (await client.get("/chains")).json() == [HASH]
    info = (await client.get(f"/{HASH}/info")).json()
    assert info["public_key"] == DEVNET_BEACON.public_key.hex()
    assert (info["period"], info["genesis_time"]) == (DEVNET_BEACON.period_s, DEVNET_BEACON.genesis)
    assert (info["hash"], info["schemeID"]) == (HASH, SCHEME)


@pytest.mark.parametrize(("which", "number"), [("latest", 5_000), ("1", 1), ("4999", 4_999), ("5000", 5_000)])
async def test_its_rounds_are_genuine(client: httpx.AsyncClient, which: str, number: int) -> None:
    told = (await client.get(f"/{HASH}/public/{which}")).json()
    one = BeaconRound(told["round"], bytes.fromhex(told["signature"]))
    assert one.number == number
    assert one.randomness.hex() == told["randomness"]
    verify_round(DEVNET_BEACON, one)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/{HASH}/public/5001", 425),
        (f"/{HASH}/public/0", 425),
        (f"/{HASH}/public/-1", 404),
        (f"/{HASH}/public/", 404),
        (f"/{QUICKNET.chain_hash.hex()}/public/latest", 404),
        ("/", 404),
    ],
)
async def test_what_it_does_not_have(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(path)).status_code == status


async def test_two_devnets_have_one_history(nursery: trio.Nursery, client: httpx.AsyncClient) -> None:
    other = BeaconServer(wall=lambda: float(NOW + 60))
    await nursery.start(partial(other.run))
    mine = (await client.get(f"/{HASH}/public/17")).content
    async with httpx.AsyncClient(base_url=other.url, trust_env=False) as asked:
        assert (await asked.get(f"/{HASH}/public/17")).content == mine
    assert msgspec.json.decode(mine)["round"] == 17
