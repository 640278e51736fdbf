"""Do config, key, wallet and chain verbs change what they say, nothing else, and refuse the rest?"""

from pathlib import Path

import pytest
import trio

from mesh.api.types import ChannelInfo
from mesh.base.errors import ChainOrFunds
from mesh.base.keys import load_key
from mesh.chain.rpc import Rpc
from mesh.cli.waiting import REMIND_S, Waiting, slow_chain

TOKEN = 10**18
TX = "0x9b" + "01" * 31


def test_config_view(mesh, home) -> None:
    assert "FROM" not in mesh("config", "view").out
    said = mesh("config", "view", "--origins")
    assert [line.split() for line in said.out.splitlines() if line.startswith("network.name")] == [
        ["network.name", "devnet", "MESH_NETWORK_NAME"]
    ]
    rows = {one["name"]: one for one in mesh("config", "view", "-o", "json").json}
    assert rows["chain.chain_id"] == {"name": "chain.chain_id", "value": "31337", "origin": "preset devnet"}


def test_config_get(mesh, home) -> None:
    assert mesh("config", "get", "provider.slots").out == "1\n"
    assert mesh("config", "get", "network.mdns", "-o", "json").json["origin"] == "MESH_NETWORK_MDNS"
    mesh("config", "get", "provider.slot").failed(3, "there is no setting", "provider.slots")


def test_config_set_and_unset(mesh, home) -> None:
    said = mesh("config", "set", "provider.slots", "3", "--user")
    assert (said.code, said.out) == (0, "")
    assert mesh("config", "get", "provider.slots").out == "3\n"
    file = home.parent / "config/mesh/config.toml"
    assert "slots = 3" in file.read_text()
    assert said.talk == f"provider.slots set in {file}\n"
    mesh("config", "set", "--unset", "provider.slots", "--user")
    assert mesh("config", "get", "provider.slots").out == "1\n"


def test_config_set_writes_where_the_node_of_this_home_reads(mesh, home, monkeypatch) -> None:
    """It wrote the user's file: the home's own said something else, and every other home was changed."""
    home.mkdir(mode=0o700)
    (home / "mesh.toml").write_text("[provider]\nslots = 2  # mine\n")
    said = mesh("config", "set", "provider.slots", "3")
    assert said.talk == f"provider.slots set in {home / 'mesh.toml'}\n"
    assert (home / "mesh.toml").read_text() == "[provider]\nslots = 3  # mine\n"
    assert not (home.parent / "config").exists()
    Path("mesh.toml").write_text("[provider]\nslots = 9\n")
    said = mesh("config", "set", "provider.slots", "4")
    assert f"reads {Path('mesh.toml').absolute()} in its place" in said.talk
    Path("mesh.toml").unlink()
    assert mesh("config", "get", "provider.slots").out == "4\n"
    monkeypatch.delenv("MESH_HOME")
    assert str(home.parent / "config/mesh/config.toml") in mesh("config", "set", "provider.slots", "5").talk


def test_config_set_makes_the_home_that_is_not_there_yet(mesh, home) -> None:
    assert str(home / "mesh.toml") in mesh("config", "set", "provider.slots", "3").talk
    assert home.stat().st_mode & 0o777 == 0o700
    mesh("config", "set", "--unset", "provider.slots")
    assert mesh("config", "get", "provider.slots").out == "1\n"


def test_config_set_here(mesh, home) -> None:
    mesh("config", "set", "chain.rpc", "http://127.0.0.1:1,http://127.0.0.1:2", "--local")
    assert mesh("config", "get", "chain.rpc").out == "http://127.0.0.1:1,http://127.0.0.1:2\n"
    assert Path("mesh.toml").exists()


def test_config_set_tells_when_something_stronger_decides(mesh, home) -> None:
    said = mesh("config", "set", "network.name", "arbitrum-one")
    assert "MESH_NETWORK_NAME" in said.talk
    assert "still decides" in said.talk
    assert "still decides" not in mesh("config", "set", "provider.slots", "2").talk


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["provider.slots", "many"], 3, "provider.slots cannot be 'many'"),
        (["provider.slots", "0"], 3, ">= 1"),
        (["nothing.here", "1"], 3, "there is no setting"),
        (["provider.slots"], 2, "no value is given"),
        (["provider.slots", "1", "--unset"], 2, "not both"),
        (["provider.slots", "1", "--local", "--user"], 2, "exclude each other"),
    ],
)
def test_config_set_refuses(mesh, home, arguments, code, says) -> None:
    mesh("config", "set", *arguments).failed(code, says)
    assert not (home.parent / "config").exists()
    assert not (home / "mesh.toml").exists()


def test_a_broken_file_is_named_with_its_line(mesh, home) -> None:
    Path("mesh.toml").write_text("[provider]\nslot = 1\n")
    for verb in (["ps"], ["up"], ["config", "view"], ["doctor"]):
        mesh(*verb).failed(3, "mesh.toml:2", "provider.slot", "did you mean provider.slots")


def test_key_new_and_show(mesh, home) -> None:
    made = mesh("key", "new", "-o", "json").json
    assert made["peer_id"].startswith("16Uiu2HA")
    assert (home / "node.key").stat().st_mode & 0o777 == 0o600
    said = mesh("key", "show")
    assert made["operator"] in said.out
    assert (home / "node.key").read_text().strip() not in said.out + said.talk
    mesh("key", "new").failed(3, "exists already", "mesh key show")


def test_key_show_without_one(mesh, home) -> None:
    mesh("key", "show").failed(3, "cannot read", "mesh key new")


def test_key_that_others_can_read(mesh, home) -> None:
    mesh("key", "new")
    (home / "node.key").chmod(0o644)
    mesh("key", "show").failed(3, "can be read by others", "chmod 600")


def secret_file(name: str, text: str) -> str:
    file = Path(name)
    file.write_text(text)
    file.chmod(0o600)
    return name


def test_key_export_and_import(mesh, home, monkeypatch) -> None:
    operator = mesh("key", "new", "-o", "json").json["operator"]
    word = secret_file("word", "correct horse\n")
    assert mesh("key", "export", "copy.json", "--passphrase-file", word).code == 0
    assert Path("copy.json").read_text().startswith("{")
    said = mesh("key", "export", "copy.hex", "--plain")
    assert "unprotected" in said.talk
    assert load_key(Path("copy.hex")).address.hex() in operator
    mesh("key", "export", "copy.hex", "--plain").failed(3, "copy.hex exists already")
    mesh("key", "import", "copy.hex").failed(3, "exists already")
    (home / "node.key").unlink()
    assert mesh("key", "import", "copy.hex", "-o", "json").json["operator"] == operator


def test_an_encrypted_key_is_opened_by_the_passphrase_file(mesh, home, monkeypatch) -> None:
    word = secret_file("word", "correct horse\n")
    operator = mesh("key", "new", "--passphrase-file", word, "-o", "json").json["operator"]
    mesh("key", "show").failed(3, "is encrypted", "key.passphrase_file")
    monkeypatch.setenv("MESH_KEY_PASSPHRASE_FILE", word)
    assert mesh("key", "show", "-o", "json").json["operator"] == operator
    monkeypatch.setenv("MESH_KEY_PASSPHRASE_FILE", secret_file("other", "wrong"))
    mesh("key", "show").failed(3, "the passphrase is wrong")


@pytest.mark.parametrize("arguments", [["new", "--encrypt"], ["export", "copy"]])
def test_a_passphrase_is_asked_for_on_a_terminal_alone(mesh, home, arguments) -> None:
    if arguments[0] == "export":
        mesh("key", "new")
    mesh("key", *arguments).failed(3, "no terminal", "--passphrase-file")
    assert not Path("copy").exists()


def test_key_import_of_something_else(mesh, home) -> None:
    Path("poem").write_text("roses are red")
    said = mesh("key", "import", "poem")
    said.failed(3, "poem holds no key")
    assert "roses" not in said.talk


def test_wallet_show(mesh, node) -> None:
    said = mesh("wallet", "show")
    for word in (
        "0.01 ETH",
        "3 MESH",
        "0.5 MESH",
        "the same",
        "1 MESH, from 2027-01-15 08:00:00 UTC on: mesh wallet withdraw",
    ):
        assert word in said.out
    assert mesh("wallet", "show", "-o", "json").json["token"] == str(3 * TOKEN)


@pytest.mark.parametrize("verb", ["deposit", "withdraw", "stake", "unstake"])
def test_money_moves(mesh, node, verb) -> None:
    said = mesh("wallet", verb, "2.5")
    assert (said.code, said.out) == (0, f"{TX}\n")
    assert node.arguments(verb) == {"amount": str(5 * TOKEN // 2)}
    assert "2.5 MESH" in said.talk
    assert mesh("wallet", verb, "1", "-o", "json").json["tx"] == TX


@pytest.mark.parametrize("verb", ["withdraw", "unstake"])
def test_money_is_taken_out_after_the_delay(mesh, node, verb) -> None:
    assert mesh("wallet", verb).code == 0
    assert node.arguments(verb) == {"amount": "0"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["deposit", "much"], "is no amount"),
        (["deposit", "1e3"], "is no amount"),
        (["deposit", "0.0000000000000000001"], "18 digits"),
        (["deposit", "0"], "more than zero"),
        (["stake", "0"], "more than zero"),
    ],
)
def test_amounts_that_cannot_be(mesh, node, arguments, says) -> None:
    mesh("wallet", *arguments).failed(2, says)
    assert "deposit" not in dict(node.asked)


def test_the_smallest_and_a_large_amount_are_exact(mesh, node) -> None:
    mesh("wallet", "deposit", "0.000000000000000001")
    assert node.arguments("deposit") == {"amount": "1"}
    mesh("wallet", "deposit", f"{10**30}.000000000000000001 MESH")
    assert node.arguments("deposit") == {"amount": str(10**48 + 1)}


def test_a_refused_deposit(mesh, node) -> None:
    node.failing["deposit"] = ChainOrFunds("deposit was refused", why="too little", fix="mesh wallet show")
    mesh("wallet", "deposit", "1").failed(6, "deposit was refused", "mesh wallet show")


def test_what_is_asked_of_a_channel_is_one_thing_and_an_amount(mesh) -> None:
    mesh("wallet", "channels", "--fund", "a", "--close", "b").failed(2, "one thing at a time")
    mesh("wallet", "channels", "--fund", "a").failed(2, "more than zero", "--amount 1")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "mesh chain deploy --network arbitrum-sepolia"),
        (["--network", "mars"], 2, "there is no network 'mars'"),
        (["--network", "devnet"], 3, "mesh chain deploy --network devnet --rpc http://"),
        (["--network", "devnet", "--rpc", "http://127.0.0.1:9", "--token", "0x12"], 2, "--token 0x12 is no address"),
    ],
)
def test_deploy_refuses(mesh, home, arguments, code, says) -> None:
    mesh("chain", "deploy", *arguments).failed(code, says)


def test_deploy_says_whom_it_asks_and_who_does_not_answer(mesh, home) -> None:
    said = mesh("chain", "deploy", "--network", "devnet", "--rpc", "http://127.0.0.1:9", "--rpc", "http://127.0.0.1:7")
    said.failed(6, "waiting for chain 31337 from 127.0.0.1:9, 127.0.0.1:7", "nothing was deployed")
    said.failed(6, "127.0.0.1:9 cannot be reached", "127.0.0.1:7 cannot be reached")
    said.failed(6, "try: mesh chain deploy --network devnet --rpc URL")


async def test_deploy_says_again_what_it_waits_for(autojump_clock, capsys) -> None:
    waiting = Waiting(Rpc(["http://127.0.0.1:9"], 31337, jitter=lambda: 0.5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.remind)
        waiting.begin("the token's contract")
        await trio.sleep(2 * REMIND_S + 1)
        waiting.pause()
        await trio.sleep(2 * REMIND_S)
        nursery.cancel_scope.cancel()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "waiting for the token's contract"
    assert lines[1::2] == [f"still waiting for the token's contract, {s} s   (Ctrl-C ends it)" for s in (5, 10)]
    assert lines[2::2] == ["  127.0.0.1:9 untried"] * 2


async def test_whoever_asks_the_chain_is_told_when_it_takes_long(autojump_clock, capsys) -> None:
    async with slow_chain(Rpc(["http://127.0.0.1:9"], 31337, jitter=lambda: 0.5)):
        await trio.sleep(REMIND_S / 2)
        assert capsys.readouterr().err == ""
        await trio.sleep(REMIND_S)
    assert capsys.readouterr().err.splitlines() == [
        "still waiting for chain 31337, 5 s   (Ctrl-C ends it)",
        "  127.0.0.1:9 untried",
    ]


def channel(**changes: object) -> ChannelInfo:
    given = {"role": "client", "phase": "open", "peer": "16Uiu2", "deposit": str(TOKEN), "paid": "0", "redeemed": "0"}
    given |= {"deals": 0, "deals_root": "", "until": 1_900_000_000, "owing": ""}
    return ChannelInfo(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--fund", "16Uiu2", "--amount", "2"), 6, ("0.5 MESH are free", "try: mesh wallet deposit 1.5")),
        (("--close", "16Uiu3"), 2, ("there is no channel with 16Uiu3",)),
        (("--redeem", "16Uiu2"), 2, ("only who is paid redeems", "--close 16Uiu2")),
        (("--close", "16Uiu4"), 2, ("closed already",)),
    ],
)
def test_a_channel_is_not_asked_for_what_comes_to_nothing(mesh, node, arguments, code, words) -> None:
    node.channel_list = [channel(), channel(peer="16Uiu4", phase="closed")]
    mesh("wallet", "channels", *arguments).failed(code, *words)
    assert "channel" not in {name for name, _ in node.asked}


@pytest.mark.parametrize(
    "arguments", [("--fund", "16Uiu2", "--amount", "0.5"), ("--close", "16Uiu4"), ("--redeem", "16Uiu5")]
)
def test_a_channel_is_asked_for_what_can_be(mesh, node, arguments) -> None:
    node.channel_list = [
        channel(peer="16Uiu4", role="provider", phase="closed", owing="77" * 32),
        channel(peer="16Uiu5", role="provider"),
    ]
    said = mesh("wallet", "channels", *arguments)
    assert said.code == 0, said.talk
    assert node.arguments("channel")["verb"] == arguments[0].removeprefix("--")
    assert "0x77777777" in said.out
    assert "--close PEER writes it off" in " ".join(said.out.split())


def test_deploy_needs_a_network(mesh, home) -> None:
    said = mesh("chain", "deploy")
    assert said.code == 2
    assert "--network" in said.talk
