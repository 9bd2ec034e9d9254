"""Find programs of the distribution, or install them with apt where possible."""

import os
import shutil
import threading
from pathlib import Path

from tools.localcluster.errors import ClusterError
from tools.localcluster.report import step
from tools.localcluster.shell import run

# Program -> Debian package. A program with a slash is a file that no PATH leads to.
FOR_NODES = {
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "cni": "containernetworking-plugins",
}
FOR_API_SERVER = {"openssl": "openssl", "prlimit": "util-linux"}
FOR_IMAGES = {"debootstrap": "debootstrap", "chroot": "coreutils", "tar": "tar"}
FOR_DOCKERFILES = {**FOR_IMAGES, "buildah": "buildah"}

LOCK_SECONDS = 300
"""Longest wait for another apt on this machine."""
_INSTALLING = threading.Lock()
"""Builds side by side may each lack packages, and apt runs once at a time."""

CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def cni_folder() -> Path | None:
    """Return the folder of the CNI plugins, which differs by distribution; None if they are missing."""
    for folder in map(Path, CNI_FOLDERS):
        if all((folder / plugin).exists() for plugin in ("ptp", "host-local", "portmap", "loopback")):
            return folder
    return None


def missing(wanted: dict[str, str]) -> list[str]:
    """Return the packages whose program is missing."""
    return sorted({package for program, package in wanted.items() if not _present(program)})


def ensure(wanted: dict[str, str]) -> None:
    """Install what is missing.

    Raises:
        ClusterError: it cannot be installed here; the message names the packages.
    """
    with _INSTALLING:
        _ensure(missing(wanted))


def _ensure(packages: list[str]) -> None:
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"these are missing: {names}", "Install them (these are Debian's names for them).")
    if os.geteuid() != 0:
        raise ClusterError(f"these are missing: {names}", f"Run as root: apt-get install {names}")
    with step(f"install {names}", announce=True):
        _apt_install(packages)


def _present(program: str) -> bool:
    if program == "cni":
        return cni_folder() is not None
    return shutil.which(program, path=SEARCH_PATH) is not None


def _apt_install(packages: list[str]) -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    install += ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    try:
        run(install, env=env)
    except ClusterError:
        # A machine that never fetched the package lists, or whose lists are old.
        run(["apt-get", "update"], env=env)
        run(install, env=env)
