"""Run a cluster in Docker containers, by kind: for machines with a Docker engine."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.localcluster import build, operator_image, settings
from tools.localcluster.errors import ClusterError
from tools.localcluster.report import say, step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import run

NAME = "vllm-operator"
CONFIG = settings.HERE / "kind.yaml"
# What kind cannot load from here: it pulls the CPU image that the vLLM project publishes.
VLLM_IMAGE = f"vllm/vllm-openai-cpu:v{settings.VLLM}"


@dataclass
class KindCluster:
    """The kind cluster of this project's name."""

    folders: Folders = field(default_factory=settings.folders)

    @property
    def kubeconfig(self) -> Path:
        """A separate file: the user's own kubeconfig and its context stay as they are."""
        return self.folders.state.with_name("kind") / "kubeconfig"

    def kind(self, *arguments: str | Path) -> str:
        """Run the machine's kind, or the built one; return its output."""
        found = shutil.which("kind")
        program = Path(found) if found else build.tool("kind", self.folders)
        return run([program, *arguments], timeout=900)

    def exists(self) -> bool:
        """Return whether the cluster exists."""
        return NAME in self.kind("get", "clusters").split()

    def prepare(self, _names: Sequence[str]) -> None:
        """Build kind where the machine has none; everything else is in kind's node image."""
        self.kind("version")

    def up(self, count: int) -> Path:
        """Create the cluster unless it exists; return the path of the kubeconfig."""
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        if self.exists():
            self.kind("export", "kubeconfig", "--name", NAME, "--kubeconfig", self.kubeconfig)
            return self.kubeconfig
        config = self.kubeconfig.with_name("kind.yaml")
        config.write_text(CONFIG.read_text() + "- role: worker\n" * (count - 1))
        with step(f"kind cluster {NAME}", announce=True):
            self.kind("create", "cluster", "--name", NAME, "--config", config,
                      "--kubeconfig", self.kubeconfig, "--wait", "120s")  # fmt: skip
        return self.kubeconfig

    def down(self) -> list[str]:
        """Delete it."""
        if self.exists():
            self.kind("delete", "cluster", "--name", NAME, "--kubeconfig", self.kubeconfig)
        shutil.rmtree(self.kubeconfig.parent, ignore_errors=True)
        return []

    def status(self) -> list[tuple[str, bool]]:
        """Return each node."""
        return [(name, True) for name in self.kind("get", "nodes", "--name", NAME).split()]

    def import_vllm_image(self, _nodes: list[str]) -> None:
        """Load the published image."""
        with step(f"load {VLLM_IMAGE}", announce=True):
            run(["docker", "pull", VLLM_IMAGE], timeout=3600)
            self.kind("load", "docker-image", VLLM_IMAGE, "--name", NAME)
        say(f"use image {VLLM_IMAGE} in your VLLMServers")

    def import_envoy_image(self) -> None:
        """Do nothing: the nodes pull the published image."""
        say("nothing to bring: the nodes pull the published image of Envoy by themselves")

    def import_operator_image(self) -> None:
        """Build with Docker and load it."""
        if not operator_image.docker_answers():
            raise ClusterError("no Docker engine answers", "Start it, and run this again.")
        with step(f"image {settings.OPERATOR_IMAGE}", announce=True):
            operator_image.build_with_docker()
            self.kind("load", "docker-image", settings.OPERATOR_IMAGE, "--name", NAME)
