"""Check a machine before a local cluster is tried: report every lack at once, each with its remedy."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import build, cgroups, network, packages, settings
from tools.localcluster.errors import ClusterError
from tools.localcluster.settings import Folders
from tools.localcluster.shell import succeeds

GIB = 1 << 30
# Measured: sources and build cache of all Go modules 7 GiB, the vLLM image and one node's copy of it 6 GiB.
DISK_TO_BUILD = 12 * GIB
DISK_TO_RUN = 2 * GIB
MEMORY = 2 * GIB
# The longest path of a Unix socket that a node makes, below its folder.
DEEPEST_SOCKET = "kubelet/device-plugins/kubelet.sock"


@dataclass(frozen=True)
class Shortcoming:
    """Something that the machine lacks, and its remedy."""

    what: str
    advice: str


def check(folders: Folders) -> None:
    """Install what can be installed; raise ClusterError with all that is still missing."""
    _refuse(_without_programs(folders))
    packages.ensure(packages.FOR_NODES)
    _refuse(_with_programs())


def _refuse(found: Iterator[Shortcoming]) -> None:
    lacks = list(found)
    if lacks:
        lines = "\n".join(f"- {lack.what}\n  {lack.advice}" for lack in lacks)
        raise ClusterError(f"this machine cannot run the local cluster:\n{lines}")


def _without_programs(folders: Folders) -> Iterator[Shortcoming]:
    """Yield the lacks that are visible before any package is installed."""
    if platform.system() != "Linux":
        yield Shortcoming("it does not run Linux", "Use a Linux machine, or Docker with `--backend kind`.")
        return
    if os.geteuid() != 0:
        yield Shortcoming(
            "you are not root, and nodes are network namespaces with mounts and control groups",
            "Run it with `sudo -E env PATH=$PATH`, or use Docker with `--backend kind`.",
        )
    yield from _control_groups()
    yield from _go(folders)
    yield from _room(folders)
    yield from socket_path_shortcoming(folders.node("node1"))


def _with_programs() -> Iterator[Shortcoming]:
    yield from _kernel()
    yield from _addresses()


def _control_groups() -> Iterator[Shortcoming]:
    absent = set(cgroups.NEEDED) - cgroups.current().controllers()
    if absent:
        yield Shortcoming(
            f"the control group controllers {', '.join(sorted(absent))} are not there",
            "Enable them on the kernel's command line; inside a container, pass /sys/fs/cgroup on to it.",
        )


def socket_path_shortcoming(node: Path) -> Iterator[Shortcoming]:
    """Yield a lack if a long home folder makes socket paths exceed Linux' limit."""
    longest = len(str(node / DEEPEST_SOCKET))
    if longest > settings.MAX_SOCKET_PATH:
        yield Shortcoming(
            f"socket paths below {node} would be {longest} characters long (the limit is {settings.MAX_SOCKET_PATH})",
            "Set XDG_STATE_HOME to a folder with a shorter path.",
        )


def _kernel() -> Iterator[Shortcoming]:
    if "overlay" not in Path("/proc/filesystems").read_text() and not succeeds(["modprobe", "overlay"]):
        yield Shortcoming("the kernel has no overlay file system", "Load or build the module `overlay`.")
    if not succeeds(["nft", "list", "tables"]):
        yield Shortcoming(
            "the kernel has no nf_tables, and kube-proxy needs it", "Load or build the module `nf_tables`."
        )
    if network.bridge_exists():
        return
    probe, end = "vllm-op-probe", "vllm-op-probe2"
    for kind, command in (
        ("bridge", ["ip", "link", "add", probe, "type", "bridge"]),
        ("veth", ["ip", "link", "add", probe, "type", "veth", "peer", "name", end]),
    ):
        if not succeeds(command):
            yield Shortcoming(
                f"a network device of type {kind} cannot be made",
                f"Load the kernel module `{kind}`; inside a container, it needs CAP_NET_ADMIN.",
            )
        succeeds(["ip", "link", "del", probe])


def _addresses() -> Iterator[Shortcoming]:
    for route in network.clashes(network.host_routes()):
        yield Shortcoming(
            f"the host has a route to {route.destination} through {route.interface}, and the cluster uses "
            f"{settings.NODE_NETWORK}, {settings.POD_NETWORK} and {settings.SERVICE_NETWORK}",
            f"Take that route away, or change the networks in {settings.HERE / 'settings.py'}.",
        )


def _go(folders: Folders) -> Iterator[Shortcoming]:
    needed = ("kubernetes", "containerd", "coredns", "pause")
    if all(build.is_built(build.PROGRAMS[name], folders) for name in needed):
        return
    if shutil.which("go") is None:
        yield Shortcoming("Go is not installed, and the cluster is built with it", "Install Go 1.26 or later.")


def _room(folders: Folders) -> Iterator[Shortcoming]:
    built = build.is_built(build.PROGRAMS["kubernetes"], folders)
    needed = DISK_TO_RUN if built else DISK_TO_BUILD
    folders.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folders.cache).free
    if free < needed:
        yield Shortcoming(
            f"{folders.cache} has {free / GIB:.1f} GiB free, and {needed / GIB:.0f} GiB are needed",
            "Make room, or set XDG_CACHE_HOME to a larger disk.",
        )
    available = available_memory(Path("/proc/meminfo").read_text())
    if available < MEMORY:
        yield Shortcoming(
            f"{available / GIB:.1f} GiB of memory are available, and {MEMORY / GIB:.0f} GiB are needed",
            "End something that uses much memory.",
        )


def available_memory(meminfo: str) -> int:
    """Return the bytes that can be used without swapping, from the text of /proc/meminfo."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0
