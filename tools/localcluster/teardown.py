"""Take the local cluster down, without a trace, from any state.

Nothing here trusts that `up` came to an end. Processes are ended only when they are remembered with their start
time, belong to the cluster's control groups or namespaces, or are shims that name the state folder.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from tools.localcluster import cgroups, network
from tools.localcluster.processes import Processes, wait_until
from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import run, succeeds

SHIM = "containerd-shim"
# The shims of every containerd on a machine put their sockets here.
SHIM_SOCKETS = Path("/run/containerd/s")


def remove(folders: Folders) -> None:
    """Remove processes, mounts, namespaces, bridge, routes, control groups and the state folder."""
    with step("processes ended"):
        _end_processes(folders)
    with step("mounts, network, control groups and state removed"):
        _unmount(folders)
        network.remove()
        cgroups.remove()
        _remove_stale_sockets()
        shutil.rmtree(folders.state, ignore_errors=True)


def left(folders: Folders) -> list[str]:
    """Return a description of each remainder of the cluster; empty after a complete tear-down."""
    remains = [f"process {pid}" for pid in sorted({*cgroups.members(), *shims(folders)})]
    remains += [f"mount {path}" for path in mounts(folders, Path("/proc/mounts").read_text())]
    remains += [f"network namespace {name}" for name in network.namespaces()]
    remains += ["the bridge"] if network.bridge_exists() else []
    remains += [f"control group {path}" for path in cgroups.groups()]
    remains += [f"folder {folders.state}"] if folders.state.exists() else []
    return remains


def _end_processes(folders: Folders) -> None:
    processes = Processes(folders.state)
    names = processes.names()
    runtimes = [name for name in names if name.endswith("-containerd")]
    # First who would start containers again; SIGKILL, because nothing of them is kept.
    processes.stop(name for name in names if name not in runtimes)
    cgroups.kill_members()
    processes.stop(runtimes)
    _kill(shims(folders))
    for namespace in network.namespaces():
        with contextlib.suppress(Exception):
            _kill({int(pid) for pid in run(["ip", "netns", "pids", namespace]).split()})


def shims(folders: Folders) -> set[int]:
    """Return the ids of shims whose arguments name a socket in the state folder: they outlive their containerd."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if SHIM in words[0] and any(word.startswith(f"{folders.state}/") for word in words):
                found.add(int(path.parent.name))
    return found


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), 5)


def mounts(folders: Folders, table: str) -> list[Path]:
    """Return the cluster's mount points in the text of /proc/mounts, the innermost first."""
    ours = (f"{folders.state}/", f"{folders.cache}/nodes/")
    points = [line.split()[1].encode().decode("unicode_escape") for line in table.splitlines()]
    return [Path(point) for point in reversed(points) if point.startswith(ours)]


def _unmount(folders: Folders) -> None:
    for point in mounts(folders, Path("/proc/mounts").read_text()):
        succeeds(["umount", "--lazy", point])


def _remove_stale_sockets() -> None:
    """Delete shim sockets that no process listens on, and the folders, if that leaves them empty."""
    listening = Path("/proc/net/unix").read_text()
    for socket in SHIM_SOCKETS.glob("*"):
        if str(socket) not in listening:
            socket.unlink(missing_ok=True)
    for folder in (SHIM_SOCKETS, SHIM_SOCKETS.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()
