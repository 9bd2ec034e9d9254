"""Control groups are found from the mount table, and capabilities from the process status."""

from pathlib import Path

import pytest

from tools.localcluster import cgroups
from tools.localcluster.errors import ClusterError

UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n"
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


def test_unified_hierarchy_is_version_two() -> None:
    found = cgroups.hierarchies(UNIFIED)
    assert (found.version, found.roots, found.others) == (2, (Path("/sys/fs/cgroup"),), ())


def test_hybrid_counts_as_version_one_and_is_cleaned_everywhere() -> None:
    found = cgroups.hierarchies(HYBRID)
    assert found.version == 1
    assert found.roots == (Path("/sys/fs/cgroup/cpu,cpuacct"), Path("/sys/fs/cgroup/memory"))
    assert Path("/sys/fs/cgroup/unified/x") in found.folders("x")


def test_no_control_groups_is_explained() -> None:
    with pytest.raises(ClusterError, match="Mount cgroup2"):
        cgroups.hierarchies("proc /proc proc rw 0 0\n")


@pytest.mark.parametrize(("mask", "expected"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_capability_is_read_from_the_effective_set(mask: str, expected: bool) -> None:
    status = f"Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t{mask}\n"
    assert cgroups.has_capability(status, cgroups.CAP_SYS_RESOURCE) is expected
