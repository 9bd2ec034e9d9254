"""A VLLMServer behind a VLLMGateway with a certificate and API keys, and the questions that the events ask."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.drain.stage import ServerStage, is_ready
from tools.harness.kube import Object, condition
from tools.harness.pod_processes import processes
from vllm_operator.api.names import API_VERSION, GATEWAY_KIND, gateway_child_name, gateway_selector_labels
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

GATEWAY = "chat"
CHILD = gateway_child_name(GATEWAY)
SELECTOR = ",".join(f"{key}={value}" for key, value in gateway_selector_labels(GATEWAY).items())
KEYS, CERTIFICATE = "gateway-keys", "gateway-tls"
FIRST_KEY = "sk-first-key-of-the-tests"
READY_SECONDS = 180.0
GATEWAY_DRAIN_SECONDS = 120
"""Longer than any request here."""
DAYS = "2"
"""Life of a certificate."""


@dataclass
class GatewayStage(ServerStage):
    """A server and a gateway.

    Attributes:
        notes: figures of the present event, by name.
    """

    notes: dict[str, float] = field(default_factory=dict)

    def url(self) -> str:
        """Return the URL of the gateway at its cluster address."""
        return f"https://{self.kube.must_get('Service', CHILD, self.namespace)['spec']['clusterIP']}"

    def serve(self, replicas: int, *, surge: bool = False) -> None:
        """Bring server and gateway to their numbers of pods, and wait until all serve."""
        if self.kube.get(GATEWAY_KIND, GATEWAY, self.namespace) is None:
            self.set_keys(first=FIRST_KEY)
            self.set_certificate("first")
            self.kube.apply(self._gateway(), namespace=self.namespace)
        super().serve(replicas, surge=surge)
        self.settle_gateway(2)

    def _gateway(self) -> Object:
        spec = {
            "image": self.cluster.envoy_image,
            "tls": {"secretName": CERTIFICATE},
            "auth": {"secrets": [{"name": KEYS}]},
            "drainTimeoutSeconds": GATEWAY_DRAIN_SECONDS,
        }
        return {"apiVersion": API_VERSION, "kind": GATEWAY_KIND, "metadata": {"name": GATEWAY}, "spec": spec}

    def change_gateway(self, spec: Object) -> None:
        """Merge into the spec of the gateway, and do not wait."""
        self.kube.patch(GATEWAY_KIND, GATEWAY, self.namespace, {"spec": spec})

    def gateway_pods(self) -> list[Object]:
        """Return the pods of the gateway, also those that stop."""
        return self.kube.list("Pod", self.namespace, SELECTOR)

    def gateway_names(self) -> set[str]:
        """Return the names of the pods of the gateway, also of those that stop."""
        return {str(pod["metadata"]["name"]) for pod in self.gateway_pods()}

    def settle_gateway(self, replicas: int) -> None:
        """Wait until this number of pods of the gateway exists, all are ready, and the status says so."""
        self.until(lambda: self._is_gateway_settled(replicas), READY_SECONDS)

    def _is_gateway_settled(self, replicas: int) -> bool:
        pods = self.gateway_pods()
        body = self.kube.must_get(GATEWAY_KIND, GATEWAY, self.namespace)
        is_current = (body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"]
        available = condition(body, "Available").get("status") == "True"
        return len(pods) == replicas and all(is_ready(pod) for pod in pods) and is_current and available

    def set_keys(self, **keys: str) -> None:
        """Replace the API keys of the clients: id -> key."""
        self._secret(KEYS, keys)

    def set_certificate(self, name: str) -> None:
        """Replace the certificate by one of this common name."""
        with TemporaryDirectory() as folder:
            paths = {"tls.key": Path(folder, "key"), "tls.crt": Path(folder, "crt")}
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            command += ["-nodes", "-keyout", str(paths["tls.key"]), "-out", str(paths["tls.crt"])]
            subprocess.run([*command, "-days", DAYS, "-subj", f"/CN={name}"], check=True, capture_output=True)
            self._secret(CERTIFICATE, {file: path.read_text() for file, path in paths.items()}, "kubernetes.io/tls")

    def _secret(self, name: str, data: dict[str, str], kind: str = "Opaque") -> None:
        metadata = {"name": name, "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
        # A dropped entry of stringData would stay.
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        body: Object = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": encoded}
        self.kube.apply(body, "--server-side", "--force-conflicts", namespace=self.namespace)


def processes_of(pod: Object, words: str) -> list[int]:
    """Return the processes of a pod on this machine whose command line holds these words."""
    return [pid for pid, line in processes(pod).items() if words in line]
