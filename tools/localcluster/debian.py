"""Build the base of all larger images: a minimal Debian with Python, from Debian's packages."""

import hashlib
import shutil
from pathlib import Path

from tools.localcluster import oci, packages, settings
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run

NAME = "localhost/debian-python:bookworm"
PACKAGES = ("ca-certificates", "python3-venv", "libnuma1")
NOT_IN_IMAGE = (
    "./proc/*", "./sys/*", "./dev/*", "./tmp/*", "./run/*",
    "./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*",
    "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*",
)  # fmt: skip


def key() -> str:
    """Return the name of the base: another release or choice of packages is another base."""
    parts = (settings.DEBIAN, PACKAGES, NOT_IN_IMAGE)
    return f"debian-{settings.DEBIAN}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def root(folders: Folders) -> Path:
    """Return the base as a folder to chroot into."""
    return folders.images / key() / "root"


def layout(folders: Folders) -> Path:
    """Return the base as an image; build it if the cache lacks it."""
    target = folders.images / key()
    with locked(folders.images / ".debian.lock"):
        if not target.is_dir():
            packages.ensure(packages.FOR_IMAGES)
            with step(f"Debian base image ({settings.DEBIAN}, Python)", announce=True):
                _make(target)
    return target / "layout"


def _make(target: Path) -> None:
    work = oci.fresh(target)
    tree = work / "root"
    # Outlives an interrupted run, so that the next one downloads only what is missing; debootstrap checks the digests.
    downloads = target.with_name("debian-packages")
    downloads.mkdir(exist_ok=True)
    try:
        run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", f"--cache-dir={downloads}",
             settings.DEBIAN, tree],
        )  # fmt: skip
        shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)
        layer = oci.add_folder(work / "layout", tree, NOT_IN_IMAGE)
    finally:
        # debootstrap mounts these, and leaves them behind when it is interrupted.
        for folder in ("proc", "sys"):
            run(["sh", "-c", f"umount {tree / folder} 2>/dev/null || true"])
    config = oci.Config(entrypoint=(), env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
    oci.finish(work / "layout", NAME, config, [layer])
    work.rename(target)
    shutil.rmtree(downloads)


def run_inside(folders: Folders, command: list[str], binds: dict[Path, str], timeout: float = 1800) -> str:
    """Run a command in the base as root, with folders of the host bound into it.

    Its mount namespace ends with the command, and all mounts with it.
    """
    tree = root(folders)
    mounts = [f"mount --bind /dev {tree}/dev", f"mount -t proc proc {tree}/proc", f"mount -t tmpfs tmp {tree}/tmp"]
    mounts += [f"mkdir -p {tree}{inside} && mount --bind {outside} {tree}{inside}" for outside, inside in binds.items()]
    script = " && ".join([*mounts, f'exec chroot {tree} env -i PATH=/usr/bin:/bin HOME=/tmp "$@"'])
    return run(["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", *command], timeout=timeout)
