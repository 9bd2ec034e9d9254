"""Write images in the OCI layout, without a container engine.

A layout is a folder: `blobs/sha256/` holds layers, configuration and manifest by their digests, `index.json`
names the manifest. See https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import IO, Any

from tools.localcluster.errors import ClusterError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A blob of a layout; a compressed layer also has a `diff_id`, the digest of its content."""

    digest: str
    size: int
    media_type: str = LAYER
    diff_id: str = ""

    def descriptor(self, media_type: str = "") -> dict[str, Any]:
        """Return the reference to it in a manifest or an index."""
        kind = media_type or self.media_type
        return {"mediaType": kind, "digest": f"sha256:{self.digest}", "size": self.size}


@dataclass(frozen=True)
class Config:
    """The settings of an image's configuration that are used here."""

    entrypoint: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    architecture: str = "amd64"

    def document(self, layers: Sequence[Blob]) -> dict[str, Any]:
        """Return the image configuration."""
        settings: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "WorkingDir": self.workdir,
        }
        if self.user:
            settings["User"] = self.user
        return {
            "architecture": self.architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id or layer.digest}" for layer in layers]},
        }


def add_stream(layout: Path, stream: IO[bytes]) -> Blob:
    """Store what the stream holds; it is read once, hashed and written at the same time."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    digest, size, temporary = hashlib.sha256(), 0, blobs / ".new"
    with temporary.open("wb") as file:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += file.write(chunk)
    temporary.rename(blobs / digest.hexdigest())
    return Blob(digest.hexdigest(), size)


def add_json(layout: Path, document: dict[str, Any]) -> Blob:
    """Store a document."""
    return add_stream(layout, io.BytesIO(json.dumps(document, sort_keys=True).encode()))


def add_folder(layout: Path, folder: Path, exclude: Iterable[str] = (), compress: bool = False) -> Blob:
    """Store a folder as a layer that belongs to root.

    A compressed layer (zstd) is worth it from some hundred megabytes on: a node stores it as it is.
    """
    command = ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    command += [f"--exclude={pattern}" for pattern in exclude]
    with subprocess.Popen([*command, "-C", str(folder), "-cf", "-", "."], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        blob = _add_compressed(layout, process.stdout) if compress else add_stream(layout, process.stdout)
    if process.returncode != 0:
        raise ClusterError(f"packing {folder} failed (tar: exit code {process.returncode})")
    return blob


def _add_compressed(layout: Path, stream: IO[bytes]) -> Blob:
    """Store the stream compressed; one thread feeds and hashes while this one takes what comes out."""
    plain = hashlib.sha256()
    with subprocess.Popen(
        ["zstd", "-1", "-T0", "-q", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as compressor:
        assert compressor.stdin is not None
        assert compressor.stdout is not None
        sink = compressor.stdin

        def feed() -> None:
            with sink:
                while chunk := stream.read(CHUNK):
                    plain.update(chunk)
                    sink.write(chunk)

        feeder = Thread(target=feed)
        feeder.start()
        blob = add_stream(layout, compressor.stdout)
        feeder.join()
    if compressor.returncode != 0:
        raise ClusterError(f"zstd failed with exit code {compressor.returncode}")
    return replace(blob, media_type=f"{LAYER}+zstd", diff_id=plain.hexdigest())


def add_files(layout: Path, files: dict[str, Path]) -> Blob:
    """Store a layer of a few executables: path in the image -> file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in sorted(files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size, entry.mode = path.stat().st_size, 0o755
            with path.open("rb") as file:
                archive.addfile(entry, file)
    buffer.seek(0)
    return add_stream(layout, buffer)


def finish(layout: Path, name: str, config: Config, layers: Sequence[Blob]) -> None:
    """Write configuration, manifest and index: the layout is then an image of this name."""
    described = add_json(layout, config.document(layers)).descriptor(CONFIG)
    manifest = add_json(
        layout,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described,
            "layers": [layer.descriptor() for layer in layers],
        },
    )
    entry = {
        **manifest.descriptor(MANIFEST),
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        },
    }
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def identity(layout: Path) -> tuple[str, str]:
    """Name and manifest digest (`sha256:...`) of the layout's image."""
    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    annotations = entry.get("annotations", {})
    name = annotations.get("io.containerd.image.name") or annotations["org.opencontainers.image.ref.name"]
    return str(name), str(entry["digest"])


def layers_of(layout: Path) -> list[Blob]:
    """Return the layers of the layout's image."""
    manifest = _document(layout, identity(layout)[1])
    diff_ids = _document(layout, manifest["config"]["digest"])["rootfs"]["diff_ids"]
    return [
        Blob(_hex(layer["digest"]), layer["size"], layer["mediaType"], _hex(diff_id))
        for layer, diff_id in zip(manifest["layers"], diff_ids, strict=True)
    ]


def _document(layout: Path, digest: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((layout / "blobs" / "sha256" / _hex(digest)).read_text())
    return document


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def link_layers(source: Path, target: Path) -> list[Blob]:
    """Put the layers of one layout under another, without a copy."""
    (target / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    layers = layers_of(source)
    for layer in layers:
        file = target / "blobs" / "sha256" / layer.digest
        if not file.exists():
            file.hardlink_to(source / "blobs" / "sha256" / layer.digest)
    return layers


def fresh(layout: Path) -> Path:
    """Return an empty folder next to the layout, to be renamed to it when the image is complete."""
    work = layout.with_name(f".{layout.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
