"""Run a cluster without Docker and registry: real Kubernetes programs, with network namespaces as nodes."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tools.localcluster import (
    build,
    envoy_image,
    images,
    network,
    operator_image,
    parts,
    preflight,
    settings,
    teardown,
    vllm_image,
)
from tools.localcluster.control_plane import COMPONENTS, ControlPlane
from tools.localcluster.errors import ClusterError
from tools.localcluster.node import ROLES, Node, Programs, process_name
from tools.localcluster.ports import USUAL, remembered
from tools.localcluster.processes import Processes, boot_id
from tools.localcluster.report import say, step
from tools.localcluster.settings import Folders, node_names
from tools.localcluster.shell import locked, run

MANIFESTS = settings.HERE / "manifests"


@dataclass
class LocalCluster:
    """The cluster in the state folder."""

    folders: Folders = field(default_factory=settings.folders)

    @cached_property
    def programs(self) -> Programs:
        """The executables; missing ones are built."""
        return Programs(build.built("kubernetes", self.folders), build.built("containerd", self.folders))

    @property
    def processes(self) -> Processes:
        """The processes that were started."""
        return Processes(self.folders.state)

    @cached_property
    def control_plane(self) -> ControlPlane:
        """The control plane, on the ports that this cluster uses."""
        return ControlPlane(
            folder=self.folders.state,
            programs=self.programs.kubernetes,
            ports=remembered(self.folders.state, USUAL),
            address=settings.HOST_ADDRESS,
        )

    def exists(self) -> bool:
        """Return whether `up` was called and `down` was not."""
        return self.folders.state.is_dir()

    def nodes(self) -> list[Node]:
        """Return the nodes of the cluster."""
        return [Node(name, self.folders, self.programs) for name in self._node_names()]

    def _node_names(self) -> list[str]:
        return sorted(path.name for path in self.folders.state.glob("node[0-9]*") if path.is_dir())

    def prepare(self, names: Sequence[str]) -> None:
        """Build the missing parts side by side, and start nothing."""
        preflight.check(self.folders)
        parts.build_missing(names, self.folders)

    def up(self, count: int) -> Path:
        """Bring up what is not up; return the path of the kubeconfig."""
        preflight.check(self.folders)
        with locked(self.folders.cache / "cluster.lock"):
            self._remove_unusable_cluster()
            layouts = self._build()
            names = sorted({*node_names(count), *(node.name for node in self.nodes())})
            nodes = [Node(name, self.folders, self.programs) for name in names]
            self._start(nodes, layouts)
            self._finish(nodes)
        return self.folders.kubeconfig

    def _remove_unusable_cluster(self) -> None:
        """Remove a cluster that cannot be repaired, or that ended as a whole."""
        reason = self._reason_to_remove() if self.exists() else ""
        if reason:
            say(f"found the remains of a cluster {reason}: clearing them away first")
            teardown.remove(self.folders)

    def _reason_to_remove(self) -> str:
        """Return why the cluster in the state folder cannot continue; empty if it can."""
        boot = self.folders.state / "boot"
        if not boot.exists() or boot.read_text() != boot_id():
            return "of another boot"
        names = self.processes.names()
        if names and not any(self.processes.alive(name) for name in names):
            return "that was ended as a whole"
        lost = [node.name for node in self.nodes() if not network.node_exists(node.addresses)]
        return f"whose {', '.join(lost)} lost the network" if lost else ""

    def _build(self) -> list[Path]:
        parts.build_missing(parts.CLUSTER, self.folders)
        layouts = images.system_layouts(self.folders)
        self.folders.state.mkdir(parents=True, exist_ok=True)
        (self.folders.state / "boot").write_text(boot_id())
        return layouts

    def _start(self, nodes: list[Node], layouts: list[Path]) -> None:
        """Start control plane and container runtimes at the same time, then the kubelets."""
        plane = self.control_plane
        with step("certificates and network"):
            plane.prepare()
            plane.authority.ensure([node.identity() for node in nodes])
            network.ensure([node.addresses for node in nodes])
            for node in nodes:
                node.prepare(plane.ports.api)
        with step("control plane and container runtimes"), ThreadPoolExecutor() as pool:
            runtimes = [pool.submit(_start_runtime, node, layouts) for node in nodes]
            _results([pool.submit(plane.start), *runtimes])
        for node in nodes:
            node.start_members()
        self._start_volumes()

    def _start_volumes(self) -> None:
        kubeconfig = self.folders.state / "volumes.kubeconfig"
        server = f"https://127.0.0.1:{self.control_plane.ports.api}"
        self.control_plane.authority.write_kubeconfig(kubeconfig, "volumes", server)
        folder = self.folders.state / "volumes"
        command = [sys.executable, "-m", "tools.localcluster.volumes", str(kubeconfig), str(folder)]
        env = {"PYTHONPATH": str(settings.REPOSITORY), "PYTHONUNBUFFERED": "1"}
        self.processes.start("volumes", command, env=env)

    def _finish(self, nodes: list[Node]) -> None:
        with step("DNS and storage applied"):
            for name in ("dns.yaml", "storage.yaml"):
                self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / name))
        with step("nodes ready"):
            for node in nodes:
                name = node.process("kubelet")
                self.processes.await_ready(name, lambda node=node: self._is_ready(node), 60)  # type: ignore[misc]
        with step("DNS ready"):
            self.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")

    def _is_ready(self, node: Node) -> bool:
        path = "{.status.conditions[?(@.type=='Ready')].status}"
        return self._answer("get", "node", node.name, "-o", f"jsonpath={path}") == "True"

    def _answer(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except ClusterError:
            return ""

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as the administrator; return its output."""
        kubectl = self.programs.kubernetes / "kubectl"
        return run([kubectl, f"--kubeconfig={self.folders.kubeconfig}", *arguments], timeout=120)

    def down(self) -> list[str]:
        """Remove every trace; return a description of each remainder."""
        if os.geteuid() != 0:
            raise ClusterError("you are not root, and the local cluster was made by root", "Run it with sudo.")
        with locked(self.folders.cache / "cluster.lock"):
            teardown.remove(self.folders)
            return teardown.left(self.folders)

    def import_vllm_image(self, names: list[str]) -> None:
        """Build the vLLM image and import it into the nodes of these names, or into all."""
        nodes = self._running_nodes()
        unknown = set(names) - {node.name for node in nodes}
        if unknown:
            raise ClusterError(f"no such node: {', '.join(sorted(unknown))}")
        chosen = [node for node in nodes if not names or node.name in names]
        images.ensure_on_all(chosen, [vllm_image.layout(self.folders)])

    def import_envoy_image(self) -> None:
        """Build the image of Envoy and import it into all nodes."""
        images.ensure_on_all(self._running_nodes(), [envoy_image.layout(self.folders)])

    def import_operator_image(self) -> None:
        """Build the operator's image and import it into all nodes."""
        nodes = self._running_nodes()
        images.ensure_on_all(nodes, [operator_image.layout(self.folders)])

    def _running_nodes(self) -> list[Node]:
        nodes = self.nodes()
        if not nodes or not all(self.processes.alive(node.process("containerd")) for node in nodes):
            raise ClusterError("the local cluster does not run", "Bring it up first: `up`.")
        return nodes

    def status(self) -> list[tuple[str, bool]]:
        """Return each process of the cluster, and whether it runs."""
        expected = [*COMPONENTS, "volumes"]
        expected += [process_name(node, role) for node in self._node_names() for role in ROLES]
        return [(name, self.processes.alive(name)) for name in expected]


def _start_runtime(node: Node, layouts: list[Path]) -> None:
    node.start_containerd()
    images.ensure_on(node, layouts)


def _results(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result()
