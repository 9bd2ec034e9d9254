"""Control groups: one for the cluster, one in it for each node, on cgroup v1, v2 and the hybrid of both."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import wait_until
from tools.localcluster.settings import CGROUP

CAP_SYS_RESOURCE = 24
NEEDED = ("cpu", "cpuset", "memory", "pids")


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted: on v2 one hierarchy, on v1 one for each controller."""

    version: int
    roots: tuple[Path, ...]
    # In a hybrid, container runtimes make groups in the hierarchy for naming, too.
    others: tuple[Path, ...] = ()

    def controllers(self) -> set[str]:
        """Names of the controllers, by folder on v1 and by the kernel's list on v2."""
        if self.version == 1:
            return {name for root in self.roots for name in root.name.split(",")}
        return set((self.roots[0] / "cgroup.controllers").read_text().split())

    def folders(self, group: str) -> list[Path]:
        """Return the group's folder in every hierarchy."""
        return [root / group for root in (*self.roots, *self.others)]


def hierarchies(mounts: str) -> Hierarchies:
    """Read from the text of /proc/mounts.

    A hybrid (v1 controllers, v2 only for naming) counts as v1, since the controllers are there.
    """
    rows = [line.split() for line in mounts.splitlines()]
    first = tuple(dict.fromkeys(Path(row[1]) for row in rows if row[2] == "cgroup"))
    second = tuple(dict.fromkeys(Path(row[1]) for row in rows if row[2] == "cgroup2"))
    if first:
        return Hierarchies(1, first, second)
    if not second:
        raise ClusterError("no control groups are mounted", "Mount cgroup2 at /sys/fs/cgroup.")
    return Hierarchies(2, second[:1])


def current() -> Hierarchies:
    """Those of this machine."""
    return hierarchies(Path("/proc/mounts").read_text())


def has_capability(status: str, number: int) -> bool:
    """Return whether the effective set in the text of /proc/self/status has this capability."""
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(line.split()[1], 16) >> number & 1)


def may_lower_oom_score() -> bool:
    """Without CAP_SYS_RESOURCE containers must not ask for a lower OOM score than their runtime has."""
    return has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE)


def ensure(node: str) -> None:
    """Create the node's group, which the kubelet expects to find."""
    found = current()
    for root in found.roots:
        _create(found, root, Path(CGROUP))
        _create(found, root, Path(CGROUP) / node)


def _create(found: Hierarchies, root: Path, group: Path) -> None:
    folder = root / group
    if found.version == 2:
        try:
            (folder.parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in NEEDED))
        except OSError as error:
            raise ClusterError(
                f"the controllers {', '.join(NEEDED)} cannot be enabled in {folder.parent}: {error}",
                "Inside a container, give it its own cgroup namespace with no process in its root.",
            ) from error
    folder.mkdir(exist_ok=True)
    if found.version == 1:
        # A new cpuset is empty, and no process may join it until it has CPUs and memory.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists() and not (folder / file).read_text().strip():
                (folder / file).write_text((folder.parent / file).read_text())


def groups() -> Iterator[Path]:
    """Every group of the cluster, the innermost first."""
    for top in current().folders(CGROUP):
        for folder, _, _ in os.walk(top, topdown=False):
            yield Path(folder)


def members() -> set[int]:
    """Return the ids of all processes in the cluster's groups: those of its containers."""
    found: set[int] = set()
    for group in groups():
        try:
            found.update(map(int, (group / "cgroup.procs").read_text().split()))
        except OSError:
            continue
    return found


def kill_members() -> None:
    """End every process in the cluster's groups; again while they still fork."""

    def none_left() -> bool:
        pids = members()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    wait_until(none_left, 10, every=0.02)


def remove() -> None:
    """Remove all groups of the cluster; the kernel may need a moment after the last process."""

    def gone() -> bool:
        for group in groups():
            try:
                group.rmdir()
            except OSError:
                continue
        return not any(top.exists() for top in current().folders(CGROUP))

    wait_until(gone, 5)
