"""Import images into nodes, and build the small images of one static program each."""

import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import build, oci, settings
from tools.localcluster.errors import ClusterError
from tools.localcluster.node import Node
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return this machine's architecture, as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


@dataclass(frozen=True)
class ProgramImage:
    """An image of a single Go program."""

    name: str
    program: str

    def path(self, folders: Folders) -> Path:
        """Return the folder of the image in the cache, which may be missing."""
        return folders.images / build.PROGRAMS[self.program].key()

    def is_built(self, folders: Folders) -> bool:
        """Return whether the cache holds the image."""
        return self.path(folders).is_dir()

    def layout(self, folders: Folders) -> Path:
        """Return the image as a layout in the cache; build it if it is missing."""
        layout = self.path(folders)
        with locked(folders.images / f".{self.program}.lock"):
            if not layout.is_dir():
                executable = build.built(self.program, folders) / self.program
                work = oci.fresh(layout)
                layer = oci.add_files(work, {self.program: executable})
                config = oci.Config(entrypoint=(f"/{self.program}",), architecture=architecture())
                oci.finish(work, self.name, config, [layer])
                work.rename(layout)
        return layout


SYSTEM_IMAGES = (
    ProgramImage(settings.PAUSE_IMAGE, "pause"),
    ProgramImage(settings.COREDNS_IMAGE, "coredns"),
)


def system_layouts(folders: Folders) -> list[Path]:
    """Return the images that every node needs."""
    return [image.layout(folders) for image in SYSTEM_IMAGES]


def ensure_on(node: Node, layouts: list[Path], announce: bool = False) -> list[str]:
    """Import images that the node lacks or has in another version; return their names."""
    present = node.image_digests()
    imported = []
    for layout in layouts:
        name, digest = oci.identity(layout)
        if present.get(name) == digest:
            continue
        if announce:
            with step(f"import {name} into {node.name}", announce=True):
                _import(node, layout)
        else:
            _import(node, layout)
        imported.append(name)
    if imported:
        node.forget_replaced_images()
    return imported


def ensure_on_all(nodes: list[Node], layouts: list[Path]) -> list[str]:
    """Import images into several nodes at once; return the names of the imported ones."""
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda node: ensure_on(node, layouts, announce=True), nodes))
    return sorted({name for names in results for name in names})


def _import(node: Node, layout: Path) -> None:
    """Stream the layout into containerd, which unpacks it at once: the first pod need not wait for that."""
    pack = ["tar", "-C", str(layout), "-cf", "-", "oci-layout", "index.json", "blobs"]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        done = subprocess.run(
            node.ctr("images", "import", "--local", "-"),
            stdin=packing.stdout,
            capture_output=True,
            text=True,
        )
    if done.returncode != 0 or packing.returncode != 0:
        raise ClusterError(f"importing {layout.name} into {node.name} failed: {done.stderr.strip()[-800:]}")
