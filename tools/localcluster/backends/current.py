"""Use the cluster of the current kubeconfig: it belongs to the user, so ask before anything changes."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.localcluster import build, settings
from tools.localcluster.errors import ClusterError
from tools.localcluster.report import say
from tools.localcluster.settings import Folders
from tools.localcluster.shell import run


@dataclass
class CurrentCluster:
    """The cluster of KUBECONFIG or ~/.kube/config."""

    folders: Folders = field(default_factory=settings.folders)
    yes: bool = False

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig in use; of a list of files, the first that exists."""
        names = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        for name in names.split(os.pathsep):
            if name and Path(name).is_file():
                return Path(name)
        raise ClusterError(f"there is no kubeconfig at {names}", "Set KUBECONFIG, or choose `--backend local`.")

    def kubectl(self, *arguments: str) -> str:
        """Run the machine's kubectl, or the built one; return its output."""
        found = shutil.which("kubectl")
        program = Path(found) if found else build.tool("kubectl", self.folders)
        return run([program, f"--kubeconfig={self.kubeconfig}", *arguments], timeout=60)

    def context(self) -> str:
        """Return the name of the context and the address of its API server."""
        name = self.kubectl("config", "current-context").strip()
        path = "{.clusters[0].cluster.server}"
        return f"{name} ({self.kubectl('config', 'view', '--minify', '-o', f'jsonpath={path}')})"

    def prepare(self, _names: Sequence[str]) -> None:
        """Do nothing: this cluster runs already."""

    def up(self, _count: int) -> Path:
        """Ask whether this cluster may be used; return the path of its kubeconfig."""
        context = self.context()
        if not self.yes:
            self._confirm(context)
        self.kubectl("get", "--raw", "/readyz")
        say(f"using the cluster {context}")
        return self.kubeconfig

    def _confirm(self, context: str) -> None:
        if not sys.stdin.isatty():
            raise ClusterError(
                f"the cluster {context} was not created by this project, and no terminal can confirm it",
                "Pass `--yes` if tests and demos may create and delete objects in it.",
            )
        print(f"Tests and demos will create and delete objects in {context}. Go on? [y/N] ", file=sys.stderr, end="")
        if input().strip().lower() not in ("y", "yes"):
            raise ClusterError("not confirmed: nothing was done")

    def down(self) -> list[str]:
        """Do nothing: this cluster was not brought up here."""
        say("this cluster was not created here: it stays as it is")
        return []

    def status(self) -> list[tuple[str, bool]]:
        """Return each node."""
        names = self.kubectl("get", "nodes", "-o", "name").split()
        return [(name, True) for name in names]

    def import_vllm_image(self, _nodes: list[str]) -> None:
        """Do nothing: its nodes pull the images."""
        say("nothing to bring: this cluster pulls the published vLLM image by itself")

    def import_envoy_image(self) -> None:
        """Do nothing: its nodes pull the images."""
        say("nothing to bring: this cluster pulls the published image of Envoy by itself")

    def import_operator_image(self) -> None:
        """Refuse: an image reaches the nodes of this cluster only by a registry of its owner."""
        raise ClusterError(
            "an image cannot be put on the nodes of this cluster",
            "Build the Dockerfile, push it to a registry that the cluster pulls from, and deploy that image.",
        )
