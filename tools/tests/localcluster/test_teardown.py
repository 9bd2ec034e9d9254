"""A tear-down finds the mounts that are the cluster's, and no others."""

from pathlib import Path

from tools.localcluster import teardown
from tools.localcluster.settings import Folders


def test_mounts_are_found_innermost_first() -> None:
    folders = Folders(cache=Path("/c"), state=Path("/s/cluster"))
    table = "\n".join(
        f"x {point} tmpfs rw 0 0"
        for point in ("/", "/s/cluster/node1/a", "/s/cluster/node1/a/b\\040c", "/s/cluster2/a", "/c/nodes/n/t")
    )
    assert teardown.mounts(folders, table) == [
        Path("/c/nodes/n/t"),
        Path("/s/cluster/node1/a/b c"),
        Path("/s/cluster/node1/a"),
    ]
