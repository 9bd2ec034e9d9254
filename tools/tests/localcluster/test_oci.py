"""A layout that is written here is one that the specification describes."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tools.localcluster import oci


def blob(layout: Path, digest: str) -> bytes:
    algorithm, _, value = digest.partition(":")
    content = (layout / "blobs" / algorithm / value).read_bytes()
    assert hashlib.sha256(content).hexdigest() == value
    return content


def make(layout: Path, folder: Path, compress: bool = False) -> Path:
    if not folder.exists():  # written again, a folder has another time, and its archive another digest
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "tool").write_text("hello")
    layer = oci.add_folder(layout, folder, compress=compress)
    oci.finish(layout, "localhost/x:1", oci.Config(entrypoint=("/bin/tool",), env={"A": "b"}, user="5"), [layer])
    return layout


def test_layout_leads_from_the_index_to_every_blob(tmp_path: Path) -> None:
    layout = make(tmp_path / "layout", tmp_path / "folder")
    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/x:1"
    manifest = json.loads(blob(layout, entry["digest"]))
    config = json.loads(blob(layout, manifest["config"]["digest"]))
    assert config["config"] == {"Entrypoint": ["/bin/tool"], "Env": ["A=b"], "WorkingDir": "/", "User": "5"}
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    blob(layout, manifest["layers"][0]["digest"])


def test_layer_belongs_to_root(tmp_path: Path) -> None:
    layout = make(tmp_path / "layout", tmp_path / "folder")
    with tarfile.open(layout / "blobs" / "sha256" / oci.layers_of(layout)[0].digest) as layer:
        assert {(member.uid, member.gid) for member in layer.getmembers()} == {(0, 0)}


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_compressed_layer_keeps_the_digest_of_its_content(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", tmp_path / "folder")
    packed = make(tmp_path / "packed", tmp_path / "folder", compress=True)
    layer = oci.layers_of(packed)[0]
    assert layer.media_type.endswith("+zstd")
    assert layer.diff_id == oci.layers_of(plain)[0].digest


def test_base_layers_are_shared_without_a_copy(tmp_path: Path) -> None:
    base = make(tmp_path / "base", tmp_path / "folder")
    [layer] = oci.link_layers(base, tmp_path / "derived")
    linked = tmp_path / "derived" / "blobs" / "sha256" / layer.digest
    assert linked.stat().st_nlink == 2
