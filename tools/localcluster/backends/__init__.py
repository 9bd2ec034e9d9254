"""Choose among three kinds of cluster: one that is built here, one by kind, and one that exists already."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tools.localcluster import operator_image
from tools.localcluster.backends.current import CurrentCluster
from tools.localcluster.backends.kind import KindCluster
from tools.localcluster.backends.local import LocalCluster

NAMES = ("auto", "local", "kind", "current")


class Backend(Protocol):
    """The commands that every kind of cluster supports."""

    def prepare(self, names: Sequence[str]) -> None:
        """Build what this kind of cluster needs of these parts, before anything starts."""

    def up(self, count: int) -> Path:
        """Bring it up; return the path of the kubeconfig."""

    def down(self) -> list[str]:
        """Remove it; return a description of each remainder."""

    def status(self) -> list[tuple[str, bool]]:
        """Return its parts, and for each whether it runs."""

    def import_vllm_image(self, nodes: list[str]) -> None:
        """Put the vLLM image on these nodes, or on all."""

    def import_envoy_image(self) -> None:
        """Put the image of Envoy on all nodes."""

    def import_operator_image(self) -> None:
        """Put the operator's image on all nodes."""


def choose(name: str, yes: bool = False) -> Backend:
    """Return the cluster of that kind; `auto` is a local one that exists, else kind with Docker, else a local one."""
    if name == "current":
        return CurrentCluster(yes=yes)
    local = LocalCluster()
    if name == "local" or (name == "auto" and (local.exists() or not operator_image.docker_answers())):
        return local
    return KindCluster()


def lack() -> str:
    """Return what this machine lacks to run or reach a cluster; empty when nothing is missing."""
    if os.environ.get("CLUSTER") == "current" or shutil.which("docker"):
        return ""
    if os.geteuid() != 0:
        return "no cluster: nodes are network namespaces, which need root (or Docker, or CLUSTER=current)"
    if not shutil.which("go"):
        return "no cluster: Kubernetes is built from its Go modules, and Go is not installed"
    return ""
