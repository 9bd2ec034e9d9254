"""Run a pod in the cluster that stands in for the Hugging Face hub, and that clients call from."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.harness import hf_hub
from tools.harness.kube import Kube, Object

HUB = "hub"
REPOSITORY = "tiny-org/tiny"
TOKEN = "hub-token-of-the-tests"
PROXY_SECONDS = 10.0

CALL = """
import json, sys, urllib.error, urllib.request
asked = json.loads(sys.argv[1])
body = json.dumps(asked["body"]).encode() if asked["body"] is not None else None
request = urllib.request.Request(asked["url"], data=body, headers=asked["headers"])
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@dataclass(frozen=True)
class InCluster:
    """The pod, and calls from inside it."""

    kube: Kube
    namespace: str

    def call(self, url: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Return HTTP status and JSON content of an answer; status 0 when nothing answers."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        asked = json.dumps({"url": url, "body": body, "headers": headers})
        answer = self.kube.kubectl("-n", self.namespace, "exec", HUB, "--", "python3", "-c", CALL, asked)
        status, text = json.loads(answer.stdout)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def chat(self, server: str, model: str, key: str = "") -> tuple[int, Any]:
        """Request a chat completion through the server's Service, once this node's proxy has its endpoint.

        A pod is Ready before the proxies of the nodes are updated: for about a second its Service refuses connections.
        """
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
        deadline = time.monotonic() + PROXY_SECONDS
        while True:
            answer = self.call(f"{self.url(server)}/v1/chat/completions", body, key)
            if answer[0] or time.monotonic() > deadline:
                return answer
            time.sleep(0.2)

    def url(self, server: str) -> str:
        """Return the URL of a server's Service, by its name in the cluster's DNS."""
        return f"http://{server}.{self.namespace}.svc"

    def file_downloads(self) -> dict[str, int]:
        """Return how often each file of the model was downloaded from the hub."""
        status, counts = self.call(f"{self.url(HUB)}/counts")
        assert status == 200, counts
        files = {name.removeprefix("GET "): count for name, count in counts.items() if name.startswith("GET ")}
        return {name: count for name, count in files.items() if not name.startswith("/")}


def start(kube: Kube, namespace: str, image: str) -> InCluster:
    """Create the pod and its Service, without waiting."""
    script = Path(hf_hub.__file__).read_text()
    for body in (_script(script), _pod(image), _service()):
        kube.create(body, namespace)
    return InCluster(kube, namespace)


def wait(inside: InCluster) -> None:
    """Wait until the pod answers."""
    inside.kube.kubectl("-n", inside.namespace, "wait", f"pod/{HUB}", "--for=condition=Ready", "--timeout=90s")


def _script(text: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": HUB}, "data": {"hf_hub.py": text}}


def _service() -> Object:
    spec = {"selector": {"app": HUB}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": HUB}, "spec": spec}


def _pod(image: str) -> Object:
    command = ["python3", "/hub/hf_hub.py", "--repo", REPOSITORY, "--folder", "/models/tiny", "--token", TOKEN]
    container = {
        "name": HUB,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*command, "--host", "0.0.0.0", "--port", "8080"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "script", "mountPath": "/hub"}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "runAsUser": 1000},
    }
    volume = {"name": "script", "configMap": {"name": HUB}}
    metadata = {"name": HUB, "labels": {"app": HUB}}
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
