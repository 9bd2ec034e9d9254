"""Build the operator's image from the Dockerfile: by buildah for the local cluster, by Docker for kind."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from tools.localcluster import debian, oci, packages, settings
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run, succeeds

SOURCES = (
    "Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock", "build-requirements.txt", "README.md", "LICENSE",
    "operator", "templates", "crds",
)  # fmt: skip
# Settings of package managers that a build behind a proxy or a mirror needs.
PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")
# Every build leaves its layers for the next one; above this many, one build from the start is the better deal.
MOST_LAYERS = 400
CERTIFICATES_INSIDE = "/etc/ssl/certs/of-the-host.crt"


def key(repository: Path = settings.REPOSITORY) -> str:
    """Return the name of the image in the cache: it holds a hash of all sources."""
    digest = hashlib.sha256(debian.key().encode())
    for path in sources(repository):
        digest.update(f"{path.relative_to(repository)}\0".encode() + path.read_bytes())
    return f"operator-{digest.hexdigest()[:12]}"


def sources(repository: Path) -> list[Path]:
    """Return the files that reach the image."""
    found: list[Path] = []
    for name in SOURCES:
        path = repository / name
        found += path.rglob("*") if path.is_dir() else [path]
    return sorted(p for p in found if p.is_file() and "__pycache__" not in p.parts)


def docker_answers() -> bool:
    """Return whether a Docker engine answers, not only its client."""
    return shutil.which("docker") is not None and succeeds(["docker", "info"], timeout=10)


def is_built(folders: Folders) -> bool:
    """Return whether the cache holds the image of these sources."""
    return (folders.images / key()).is_dir()


def layout(folders: Folders) -> Path:
    """Return the image in the cache; build it if its sources changed."""
    target = folders.images / key()
    with locked(folders.images / ".operator.lock"):
        if not target.is_dir():
            work = oci.fresh(target)
            with step(f"image {settings.OPERATOR_IMAGE}", announce=True):
                Buildah(folders).build(work)
                _name(work)
            for older in folders.images.glob("operator-*"):
                shutil.rmtree(older)
            work.rename(target)
    return target


def build_with_docker() -> None:
    """Build with the default base image, and leave the image in the engine."""
    run(["docker", "build", "--tag", settings.OPERATOR_IMAGE, settings.REPOSITORY], timeout=1800)


class Buildah:
    """buildah with a separate storage in the cache, for machines without an engine."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.storage = folders.cache / "buildah"

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """Return a command line of buildah for this storage."""
        where: list[str | Path] = ["--root", self.storage / "root", "--runroot", self.storage / "run"]
        return ["buildah", *where, "--storage-driver", "overlay", *arguments]

    def build(self, work: Path) -> None:
        """Build the Dockerfile on the local Debian base, and write the image to the layout `work`."""
        packages.ensure(packages.FOR_DOCKERFILES)
        try:
            base = self._base()
            build = self.command("bud", "--isolation", "chroot", "--layers", "--pull-never", "--quiet")
            build += ["--build-arg", f"BASE_IMAGE={base}", *_host_settings()]
            run([*build, "--tag", settings.OPERATOR_IMAGE, settings.REPOSITORY], timeout=1800)
            push = self.command("push", "--quiet", "--disable-compression", settings.OPERATOR_IMAGE)
            run([*push, f"oci:{work}:{settings.OPERATOR_IMAGE}"])
        finally:
            succeeds(["umount", self.storage / "root" / "overlay"])

    def _base(self) -> str:
        name = f"localhost/{debian.key()}:base"
        kept = run(self.command("images", "--all", "--quiet")).split()
        if len(kept) > MOST_LAYERS or not succeeds(self.command("inspect", "--type", "image", name)):
            # Layers of a former base, or of very many former builds, are worth nothing now.
            run(self.command("rmi", "--all", "--force"))
            base = debian.layout(self.folders)
            layer = base / "blobs" / "sha256" / oci.layers_of(base)[0].digest
            container = run(self.command("from", "scratch")).strip()
            run(self.command("add", "--quiet", container, layer, "/"))
            run(self.command("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container))
            run(self.command("commit", "--quiet", "--rm", container, name))
        return name


def _host_settings() -> list[str]:
    """Return options that pass on the mirrors of this shell and the certificates of the host."""
    arguments = []
    for variable in PASSED_ON:
        if os.environ.get(variable):
            arguments += ["--build-arg", f"{variable}={os.environ[variable]}"]
    certificates = os.environ.get("SSL_CERT_FILE", "")
    if Path(certificates).is_file():
        arguments += ["--volume", f"{Path(certificates).resolve()}:{CERTIFICATES_INSIDE}:ro"]
        for variable in ("SSL_CERT_FILE", "PIP_CERT"):
            arguments += ["--build-arg", f"{variable}={CERTIFICATES_INSIDE}"]
    return arguments


def _name(work: Path) -> None:
    """Write the image's full name into both annotations that tools read."""
    path = work / "index.json"
    index = json.loads(path.read_text())
    index["manifests"][0]["annotations"] = {
        "io.containerd.image.name": settings.OPERATOR_IMAGE,
        "org.opencontainers.image.ref.name": settings.OPERATOR_IMAGE,
    }
    path.write_text(json.dumps(index))
