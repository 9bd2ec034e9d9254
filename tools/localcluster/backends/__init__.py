"""The three kinds of cluster: one that is built here, one by kind, and one that is there already."""

from pathlib import Path
from typing import Protocol

from tools.localcluster import operator_image
from tools.localcluster.backends.current import CurrentCluster
from tools.localcluster.backends.kind import KindCluster
from tools.localcluster.backends.local import LocalCluster

NAMES = ("auto", "local", "kind", "current")


class Backend(Protocol):
    """What every kind of cluster can do."""

    def up(self, count: int) -> Path:
        """Bring it up; the path of the kubeconfig."""

    def down(self) -> list[str]:
        """Remove it; what remains, in words."""

    def status(self) -> list[tuple[str, bool]]:
        """Its parts, and whether each runs."""

    def bring_vllm(self, nodes: list[str]) -> None:
        """Put the vLLM image on these nodes, or on all."""

    def bring_operator(self) -> None:
        """Put the operator's image on all nodes."""


def choose(name: str, yes: bool = False) -> Backend:
    """The cluster of that kind; `auto` is a local one that exists, else kind with Docker, else a local one."""
    if name == "current":
        return CurrentCluster(yes=yes)
    local = LocalCluster()
    if name == "local" or (name == "auto" and (local.exists() or not operator_image.docker_answers())):
        return local
    return KindCluster()
