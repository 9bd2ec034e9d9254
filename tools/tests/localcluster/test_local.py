"""The remains of an earlier cluster decide whether `up` continues it or removes it first."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tools.localcluster.backends.local import LocalCluster
from tools.localcluster.processes import Record, boot_id, running_since
from tools.localcluster.settings import Folders

PARENT = 1


@pytest.fixture
def cluster(tmp_path: Path) -> LocalCluster:
    folders = Folders(cache=tmp_path / "cache", state=tmp_path / "state")
    (folders.state / "processes").mkdir(parents=True)
    (folders.state / "boot").write_text(boot_id())
    return LocalCluster(folders)


def remember(cluster: LocalCluster, name: str, started: int) -> None:
    record = Record(PARENT, started, boot_id())
    (cluster.processes.folder / f"{name}.json").write_text(json.dumps(asdict(record)))


def test_cluster_with_one_living_process_is_repaired(cluster: LocalCluster) -> None:
    remember(cluster, "etcd", running_since(PARENT) or 0)
    remember(cluster, "kube-apiserver", -1)
    assert cluster._reason_to_remove() == ""


def test_cluster_without_a_living_process_is_removed(cluster: LocalCluster) -> None:
    remember(cluster, "etcd", -1)
    assert "ended as a whole" in cluster._reason_to_remove()


def test_cluster_of_another_boot_is_removed(cluster: LocalCluster) -> None:
    (cluster.folders.state / "boot").write_text("another")
    assert "another boot" in cluster._reason_to_remove()


def test_interrupted_first_start_is_continued(cluster: LocalCluster) -> None:
    assert cluster._reason_to_remove() == ""


def test_status_of_no_cluster_builds_nothing(cluster: LocalCluster) -> None:
    assert not any(running for _, running in cluster.status())
    assert not cluster.folders.programs.exists()
