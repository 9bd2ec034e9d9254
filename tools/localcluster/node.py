"""Run a node: a network namespace with its own containerd, kubelet and kube-proxy."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import cgroups, settings
from tools.localcluster.certificates import Authority, Identity
from tools.localcluster.errors import ClusterError
from tools.localcluster.packages import SEARCH_PATH, cni_folder
from tools.localcluster.processes import Processes
from tools.localcluster.settings import Folders, NodeAddresses
from tools.localcluster.shell import run, succeeds

CRI_NAMESPACE = "k8s.io"
ROLES = ("containerd", "kubelet", "kube-proxy")


def process_name(node: str, role: str) -> str:
    """Return the name under which a process of a node is remembered."""
    return f"{node}-{role}"


@dataclass(frozen=True)
class Programs:
    """The folders of the executables that a node runs."""

    kubernetes: Path
    containerd: Path


@dataclass(frozen=True)
class Node:
    """One node of the cluster."""

    name: str
    folders: Folders
    programs: Programs

    @property
    def addresses(self) -> NodeAddresses:
        """Its addresses on the network."""
        return NodeAddresses(self.name)

    @property
    def folder(self) -> Path:
        """Its state folder."""
        return self.folders.node(self.name)

    @property
    def store(self) -> Path:
        """The folder of its images."""
        return self.folders.image_store(self.name)

    @property
    def socket(self) -> Path:
        """The socket of its containerd."""
        return self.folder / "containerd.sock"

    @property
    def authority(self) -> Authority:
        """The certificates of the cluster."""
        return Authority(self.folders.state / "pki")

    @property
    def processes(self) -> Processes:
        """The processes of the cluster, this node's among them."""
        return Processes(self.folders.state)

    def process(self, role: str) -> str:
        """Return the name under which a process of this node is remembered."""
        return process_name(self.name, role)

    def identity(self) -> Identity:
        """Return the identity by which the API server recognizes the node's kubelet."""
        names = (f"DNS:{self.name}", f"IP:{self.addresses.address}")
        return Identity(self.name, f"/O=system:nodes/CN=system:node:{self.name}", names)

    def prepare(self, api_port: int) -> None:
        """Write the configuration files; kube-proxy exits when its own is written again, so only once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store.mkdir(parents=True, exist_ok=True)
        server = f"https://{settings.HOST_ADDRESS}:{api_port}"
        self.authority.write_kubeconfig(self.folder / "kubelet.kubeconfig", self.name, server)
        self.authority.write_kubeconfig(self.folder / "proxy.kubeconfig", "proxy", server)
        _write_once(self.folder / "containerd.toml", self._containerd_config())
        _write_once(self.folder / "cni" / "10-pods.conflist", json.dumps(self._cni_config(), indent=1))
        _write_once(self.folder / "kubelet.json", json.dumps(self._kubelet_config(), indent=1))
        _write_once(self.folder / "proxy.json", json.dumps(self._proxy_config(), indent=1))
        cgroups.ensure(self.name)

    def start_containerd(self) -> None:
        """Start containerd, without the containers that a torn-down cluster left in its image store."""
        if self.processes.alive(self.process("containerd")):
            return
        fresh = not (self.folder / "started").exists()
        if fresh:
            shutil.rmtree(self.store / "io.containerd.grpc.v1.cri", ignore_errors=True)
        self._run_containerd()
        if fresh and self.forget_containers():
            # The runtime read the forgotten containers when it began, and would still list them.
            self.processes.stop([self.process("containerd")])
            self._run_containerd()
        (self.folder / "started").touch()

    def _run_containerd(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._start("containerd", [self.programs.containerd / "containerd", "-c", self.folder / "containerd.toml"])
        self.processes.await_ready(self.process("containerd"), self._containerd_answers, 60)

    def _containerd_answers(self) -> bool:
        return self.socket.exists() and succeeds(self.ctr("version"), timeout=5)

    def forget_containers(self) -> bool:
        """Delete the records of all containers and sandboxes; return whether any existed."""
        found = False
        for kind in ("containers", "sandboxes"):
            rows = run(self.ctr(kind, "ls"), timeout=30).splitlines()[1:]
            names = [row.split()[0] for row in rows if row.split()]
            found = found or bool(names)
            if names:
                succeeds(self.ctr(kind, "rm", *names), timeout=30)
        return found

    def start_members(self) -> None:
        """Start kubelet and kube-proxy."""
        kubernetes = self.programs.kubernetes
        self._start(
            "kubelet",
            [
                kubernetes / "kubelet",
                f"--config={self.folder / 'kubelet.json'}",
                f"--kubeconfig={self.folder / 'kubelet.kubeconfig'}",
                f"--root-dir={self.folder / 'kubelet'}",
                f"--cert-dir={self.folder / 'pki'}",
                f"--hostname-override={self.name}",
                f"--node-ip={self.addresses.address}",
                f"--node-labels=topology.kubernetes.io/zone=zone{self.addresses.number}",
            ],
        )
        self._start("kube-proxy", [kubernetes / "kube-proxy", f"--config={self.folder / 'proxy.json'}"])

    def _start(self, role: str, command: list[str | Path]) -> None:
        path = f"{self.programs.containerd}:{SEARCH_PATH}"
        self.processes.start(self.process(role), command, namespace=self.addresses.namespace, env={"PATH": path})

    def ctr(self, *arguments: str) -> list[str | Path]:
        """Return a command line of containerd's client for this node."""
        client = self.programs.containerd / "ctr"
        return [client, "--address", self.socket, "--namespace", CRI_NAMESPACE, *arguments]

    def image_digests(self) -> dict[str, str]:
        """Return the images that the node has: name -> digest of the manifest."""
        rows = [line.split() for line in run(self.ctr("images", "ls"), timeout=60).splitlines()[1:]]
        return {row[0]: row[2] for row in rows if len(row) > 2}

    def forget_replaced_images(self) -> None:
        """Delete images that lost their name to another build; only the reference by digest still holds them."""
        digests = self.image_digests()
        named = {digest for name, digest in digests.items() if not name.startswith("sha256:")}
        replaced = [name for name, digest in digests.items() if digest not in named]
        if replaced:
            run(self.ctr("images", "rm", *replaced), timeout=60)

    def _containerd_config(self) -> str:
        restrict = "false" if cgroups.may_lower_oom_score() else "true"
        return f"""\
version = 3
root = "{self.store}"
state = "{self.folder / "containerd"}"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.socket}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{settings.PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni_folder()}"]
  conf_dir = "{self.folder / "cni"}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{self.folder / "runc"}"
"""

    def _cni_config(self) -> dict[str, object]:
        # `ptp`, not `bridge`: every packet is routed, so that kube-proxy's translation also works between two
        # pods of one node on kernels without bridge netfilter.
        ipam = {
            "type": "host-local",
            "dataDir": str(self.folder / "cni-addresses"),
            "ranges": [[{"subnet": self.addresses.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        return {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {"type": "ptp", "ipMasq": False, "ipam": ipam},
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }

    def _kubelet_config(self) -> dict[str, object]:
        pki = self.authority
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "x509": {"clientCAFile": str(pki.certificate("ca"))},
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki.certificate(self.name)),
            "tlsPrivateKeyFile": str(pki.key(self.name)),
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{settings.CGROUP}/{self.name}",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "podCIDR": self.addresses.pods,
            "clusterDNS": [settings.DNS_ADDRESS],
            "clusterDomain": "cluster.local",
            # Only the cluster's own names are served: nothing outside is to be looked up.
            "resolvConf": "",
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
                "nodefs.inodesFree": "1%",
            },
            # An image that was imported cannot be pulled again: never collect it.
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            "maxPods": 200,
            "podLogsDir": str(self.folder / "pod-logs"),
            "volumePluginDir": str(self.folder / "volume-plugins"),
        }

    def _proxy_config(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(self.folder / "proxy.kubeconfig")},
            "clusterCIDR": settings.POD_NETWORK,
            "mode": "nftables",
            # Left alone: the limit belongs to the host, not to this namespace.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "hostnameOverride": self.name,
        }


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if not path.stat().st_size:
            raise ClusterError(f"{path} could not be written", "Is the disk full?")
