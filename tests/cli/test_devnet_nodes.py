"""Do the devnet's verbs see a node that its owner has started again, under another pid than the network knows?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from devnet.layout import ClusterFile, NodeEntry, devnet_home, write_cluster
from devnet.living import end_restarted


@pytest.fixture
def network(home: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterFile:
    """One node, whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    gone = NodeEntry("provider-1", "provider", str(home), ended.pid, "16Uiu2HAm", "0x", ("/ip4/127.0.0.1/tcp/1",))
    cluster = ClusterFile("pyevm", "http://127.0.0.1:1", 31337, 0, "0x", "0x", os.getpid(), (gone,))
    folder = home.with_name("devnet")
    folder.mkdir()
    write_cluster(folder, cluster)
    monkeypatch.setenv("MESH_DEVNET", str(folder))
    return cluster


def test_a_node_that_is_gone_is_down(mesh, network) -> None:
    assert "down" in mesh("devnet", "ps").out


def test_a_node_that_its_owner_started_again_is_up_under_its_own_pid(mesh, network, node) -> None:
    lines = mesh("devnet", "ps").out.splitlines()
    assert lines[1].split()[:4] == ["provider-1", "provider", "up", str(os.getpid())]
    (told,) = mesh("devnet", "ps", "-o", "json").json["nodes"]
    assert told == msgspec.to_builtins(network.nodes[0]) | {
        "pid": os.getpid(),
        "addresses": list(node.about.addresses),
    }
    mesh("devnet", "start", "provider-1").failed(2, "provider-1 is up")


@pytest.mark.parametrize("written", [False, True])
async def test_a_network_that_ends_takes_it_along(network, node, written) -> None:
    """It was left behind by Ctrl-C at `mesh devnet up`."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as again:
        try:
            node.about = msgspec.structs.replace(node.about, pid=again.pid)
            await end_restarted(devnet_home(), {again.pid})
            assert again.poll() is None
            if written:  # as `mesh devnet start` does
                entry = msgspec.structs.replace(network.nodes[0], pid=again.pid)
                write_cluster(devnet_home(), msgspec.structs.replace(network, nodes=(entry,)))
            await end_restarted(devnet_home(), {network.nodes[0].pid})
            assert again.wait(60) == -signal.SIGTERM
        finally:
            again.kill()
