"""Define versions, folders and addresses: all that is fixed about the cluster."""

import os
from dataclasses import dataclass
from pathlib import Path

KUBERNETES = "1.37.2"
CONTAINERD = "2.4.2"
COREDNS = "1.15.0"
VLLM = "0.32.0"
ENVOY = "1.40.0"
PROMETHEUS = "0.316.0"
PROMETHEUS_OPERATOR = "0.85.0"
ALERTMANAGER = "0.28.1"
KUBECONFORM = "0.8.0"
HELM3 = "3.22.0"
HELM4 = "4.3.1"
KUBE_STATE_METRICS = "2.20.0"
KSTATUS = "1.2.2"
KEDA = "2.21.0"
GATEWAY_API = "1.6.3"
OLM_API = "0.34.0"
ARGOCD = "3.6.1"
# Three releases that build from their Go modules; one distribution of Flux has other combinations.
FLUX_SOURCE = "1.9.6"
FLUX_KUSTOMIZE = "1.7.3"
FLUX_HELM = "1.4.0"
KIND = "0.33.0"
ACTIONLINT = "1.7.12"
DOCKER_COMPOSE = "2.40.3"
KARPENTER = "1.15.2"
DEBIAN = "bookworm"

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# Addresses. The bridge joins the host (.1) and the nodes (.11, .12, ...); pods and Services are as usual.
HOST_ADDRESS = "10.89.0.1"
NODE_NETWORK = "10.89.0.0/24"
POD_NETWORK = "10.244.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
MAX_NODES = 9

BRIDGE = "vllm-op"
NAMESPACE_PREFIX = "vllm-operator-"
CGROUP = "vllm-operator"

# Images. "localhost" is no registry: a container runtime that lacks the image can only fail, and at once.
PAUSE_IMAGE = "localhost/pause:1"
COREDNS_IMAGE = f"localhost/coredns:{COREDNS}"
VLLM_IMAGE = f"localhost/vllm-cpu:{VLLM}"
ENVOY_IMAGE = f"localhost/envoy:{ENVOY}"
OPERATOR_IMAGE = "localhost/vllm-operator:dev"

# Linux refuses longer paths for Unix sockets.
MAX_SOCKET_PATH = 107


def _xdg(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default) / "vllm-operator"


@dataclass(frozen=True)
class Folders:
    """The folders of this user: `cache` outlives a cluster, `state` belongs to the cluster and goes with it."""

    cache: Path
    state: Path

    @property
    def programs(self) -> Path:
        """Built Go programs, a folder for each name, version and source."""
        return self.cache / "programs"

    @property
    def images(self) -> Path:
        """Image archives and their base."""
        return self.cache / "images"

    @property
    def durations(self) -> Path:
        """Times of builds and tests on this machine."""
        return self.cache / "durations"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig of the local cluster."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every request that the API server answered, one JSON object a line."""
        return self.state / "logs" / "audit.log"

    def node(self, name: str) -> Path:
        """Return the state folder of a node, which goes with the cluster."""
        return self.state / name

    def image_store(self, name: str) -> Path:
        """Return the image folder of a node, which outlives the cluster: importing vLLM takes 20 s."""
        return self.cache / "nodes" / f"{name}-containerd-{CONTAINERD}"


def folders() -> Folders:
    """Return the folders of this user, by the XDG variables."""
    return Folders(
        cache=_xdg("XDG_CACHE_HOME", ".cache"),
        state=_xdg("XDG_STATE_HOME", ".local/state") / "cluster",
    )


def node_names(count: int) -> list[str]:
    """Return the names of nodes: `node1`, `node2`, ..."""
    return [f"node{number}" for number in range(1, count + 1)]


@dataclass(frozen=True)
class NodeAddresses:
    """The addresses of one node, all derived from its number."""

    name: str

    @property
    def number(self) -> int:
        """1 for node1."""
        return int(self.name.removeprefix("node"))

    @property
    def address(self) -> str:
        """The node's own address on the bridge."""
        return f"10.89.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The network that the node's pods get their addresses from."""
        return f"10.244.{self.number}.0/24"

    @property
    def namespace(self) -> str:
        """The network namespace that is the node."""
        return f"{NAMESPACE_PREFIX}{self.name}"

    @property
    def link(self) -> str:
        """The host's end of the cable between the bridge and the node (at most 15 characters)."""
        return f"vllm-op-{self.number}"
