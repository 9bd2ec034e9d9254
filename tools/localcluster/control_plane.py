"""Run etcd, the API server, the controller manager and the scheduler as processes of the host."""

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import settings
from tools.localcluster.certificates import Authority, Identity
from tools.localcluster.ports import Ports
from tools.localcluster.processes import Processes

MAX_PROCESS_BYTES = 8 * 1024**3
"""Memory that one process of the control plane may take. The API server needs more than 3 GiB for an object of 9,990
levels, and has taken 21 GiB when several such objects were written at once."""
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""


@dataclass(frozen=True)
class ControlPlane:
    """A control plane in a folder; it listens on `address`, and its members connect there."""

    folder: Path
    programs: Path
    ports: Ports
    address: str = "127.0.0.1"
    with_scheduler: bool = True
    dies_with_caller: bool = False

    @property
    def processes(self) -> Processes:
        """Where the processes are remembered."""
        return Processes(self.folder)

    @property
    def authority(self) -> Authority:
        """The certificates."""
        return Authority(self.folder / "pki")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def identities(self) -> list[Identity]:
        """Return all identities that need a certificate."""
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        addresses = dict.fromkeys(("127.0.0.1", self.address, settings.API_SERVICE_ADDRESS))
        serves = [f"DNS:{name}" for name in ("localhost", *names)] + [f"IP:{ip}" for ip in addresses]
        return [
            Identity("apiserver", "/CN=kube-apiserver", tuple(serves)),
            Identity("admin", "/O=system:masters/CN=admin"),
            Identity("volumes", "/O=system:masters/CN=volume-provisioner"),
            Identity("controller-manager", "/CN=system:kube-controller-manager"),
            Identity("scheduler", "/CN=system:kube-scheduler"),
            Identity("proxy", "/CN=system:kube-proxy"),
            Identity("front-proxy", "/CN=front-proxy-client"),
            Identity("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        ]

    def prepare(self) -> None:
        """Write certificates and configuration files; those that exist stay."""
        self.authority.ensure(self.identities())
        server = f"https://127.0.0.1:{self.ports.api}"
        self.authority.write_kubeconfig(self.kubeconfig, "admin", server)
        for name in ("controller-manager", "scheduler"):
            self.authority.write_kubeconfig(self.folder / f"{name}.kubeconfig", name, server)
        (self.folder / "logs").mkdir(exist_ok=True)
        (self.folder / "audit-policy.yaml").write_text(AUDIT_POLICY)

    def start(self) -> None:
        """Start what does not run, and return when the API server answers."""
        self._start("etcd", self._etcd())
        self._start("kube-apiserver", self._api_server())
        self.processes.await_ready("kube-apiserver", self.ready, 90)
        self._start("kube-controller-manager", self._controller_manager())
        if self.with_scheduler:
            self._start("kube-scheduler", self._scheduler())

    def ready(self) -> bool:
        """Return whether `/readyz` of the API server answers 200."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate("ca")))
        context.load_cert_chain(self.authority.certificate("admin"), self.authority.key("admin"))
        url = f"https://127.0.0.1:{self.ports.api}/readyz"
        try:
            with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _start(self, name: str, arguments: list[str]) -> None:
        # Beyond this, the process ends by itself instead of taking the memory of the whole machine.
        command = ["prlimit", f"--data={MAX_PROCESS_BYTES}", "--", str(self.programs / name), *arguments]
        self.processes.start(name, command, dies_with_caller=self.dies_with_caller)

    def _etcd(self) -> list[str]:
        client = f"http://127.0.0.1:{self.ports.etcd}"
        peer = f"http://127.0.0.1:{self.ports.etcd_peer}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # The data is thrown away with the cluster, and never survives a reboot: durability would only cost.
            "--unsafe-no-fsync",
        ]

    def _api_server(self) -> list[str]:
        pki = self.authority
        return [
            f"--etcd-servers=http://127.0.0.1:{self.ports.etcd}",
            f"--bind-address={'127.0.0.1' if self.address == '127.0.0.1' else '0.0.0.0'}",
            *([] if self.address == "127.0.0.1" else [f"--advertise-address={self.address}"]),
            f"--secure-port={self.ports.api}",
            f"--service-cluster-ip-range={settings.SERVICE_NETWORK}",
            f"--cert-dir={pki.folder}",
            f"--tls-cert-file={pki.certificate('apiserver')}",
            f"--tls-private-key-file={pki.key('apiserver')}",
            f"--client-ca-file={pki.certificate('ca')}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki.folder / 'sa.pub'}",
            f"--service-account-signing-key-file={pki.key('sa')}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--profiling=false",
            "--allow-privileged=true",
            # Logs and exec go to the kubelets by address: their names are in no DNS.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={pki.certificate('kubelet-client')}",
            f"--kubelet-client-key={pki.key('kubelet-client')}",
            f"--kubelet-certificate-authority={pki.certificate('ca')}",
            # The host does not see Services as pods do: aggregated APIs are reached at their endpoints.
            "--enable-aggregator-routing=true",
            f"--proxy-client-cert-file={pki.certificate('front-proxy')}",
            f"--proxy-client-key-file={pki.key('front-proxy')}",
            f"--requestheader-client-ca-file={pki.certificate('ca')}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--audit-policy-file={self.folder / 'audit-policy.yaml'}",
            f"--audit-log-path={self.folder / 'logs' / 'audit.log'}",
            "--audit-log-maxsize=500",
        ]

    def _controller_manager(self) -> list[str]:
        pki = self.authority
        return [
            *self._client("controller-manager"),
            f"--service-account-private-key-file={pki.key('sa')}",
            f"--root-ca-file={pki.certificate('ca')}",
            f"--cluster-signing-cert-file={pki.certificate('ca')}",
            f"--cluster-signing-key-file={pki.key('ca')}",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=false",
            "--horizontal-pod-autoscaler-sync-period=15s",
        ]

    def _scheduler(self) -> list[str]:
        return self._client("scheduler")

    def _client(self, name: str) -> list[str]:
        kubeconfig = self.folder / f"{name}.kubeconfig"
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            # They serve nothing that anyone here asks for, and would take well-known ports.
            "--secure-port=0",
            "--leader-elect=false",
            # The default limits are what one would measure instead of the operator.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
