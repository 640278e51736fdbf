"""Is a running devnet found where it was written down, and is there only one of it?"""

from pathlib import Path

import pytest

from devnet.layout import ClusterFile, NodeEntry, claim, devnet_home, read_cluster, write_cluster
from mesh.base.errors import NodeUnreachable, UsageError

NODE = NodeEntry("provider-1", "provider", "/h", 7, "16Uiu2H", "0x" + "1" * 40, ("/ip4/127.0.0.1/tcp/1",))
CLUSTER = ClusterFile("pyevm", "http://127.0.0.1:1", 31337, 5, "0x" + "2" * 40, "0x" + "3" * 40, 6, (NODE,))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_cluster(tmp_path, CLUSTER)
    assert read_cluster(tmp_path) == CLUSTER
    assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.json"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1", b'{"nodes": 3}'])
def test_no_devnet_says_how_to_start_one(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "cluster.json").write_bytes(content)
    with pytest.raises(NodeUnreachable) as caught:
        read_cluster(tmp_path)
    assert caught.value.exit_code == 4
    assert caught.value.fix == "mesh devnet up"


def test_a_second_devnet_in_the_same_place_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path / "net"), pytest.raises(UsageError, match="runs here already"), claim(tmp_path / "net"):
        pass
    with claim(tmp_path / "net"):
        pass


def test_the_home_is_the_named_one_and_does_not_move_with_a_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("MESH_DEVNET", raising=False)
    monkeypatch.delenv("MESH_HOME", raising=False)
    usual = devnet_home()
    assert tmp_path in usual.parents
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "somewhere"))
    assert devnet_home() == usual
    monkeypatch.setenv("MESH_DEVNET", str(tmp_path / "named"))
    assert devnet_home() == tmp_path / "named"
