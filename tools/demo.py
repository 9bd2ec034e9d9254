"""Run `make demo`: from an empty machine to an answer of a real vLLM, with progress that a person can follow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import yaml

from tools.localcluster import operator_image, settings
from tools.localcluster.durations import Durations
from vllm_operator.install.manifests import operator_manifests, to_yaml

NAME = "quickstart"
NAMESPACE = "default"
OPERATOR_NAMESPACE = "vllm-operator-system"
SERVING_SECONDS = 900
PUBLISHED = {"image": "vllm/vllm-openai-cpu:v0.32.0-x86_64", "model": {"uri": "hf://Qwen/Qwen3-0.6B"}}
"""Image and model for a cluster whose nodes cannot get a local image."""


def main() -> int:
    """Run the demo; return 0 if an answer came."""
    started = time.monotonic()
    try:
        cluster = bring_up()
        with Durations(settings.folders().durations).measured("quickstart"):
            install_operator(cluster)
            serve(cluster)
            answer = ask(cluster)
    except DemoError as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    show(cluster, answer, time.monotonic() - started)
    return 0


class DemoError(Exception):
    """A step failed; the message names it, and where to look."""


class Cluster:
    """kubectl against the cluster of the demo."""

    def __init__(self, kubeconfig: str, kubectl: str, is_local: bool) -> None:
        self.kubeconfig = kubeconfig
        self.is_local = is_local
        self._command = [kubectl, f"--kubeconfig={kubeconfig}"]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Return the output of one kubectl call."""
        done = subprocess.run([*self._command, *arguments], input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise DemoError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def bring_up() -> Cluster:
    """Bring up cluster and images; each step prints its own progress."""
    _tool("prepare", "demo")
    line = _tool("up").strip().splitlines()[-1]
    kubeconfig = line.partition("KUBECONFIG=")[2]
    kubectl = _tool("tool", "kubectl").strip()
    is_local = Path(kubeconfig) == settings.folders().kubeconfig
    if is_local:
        _tool("vllm-image")
    _tool("operator-image")
    return Cluster(kubeconfig, kubectl, is_local)


def _tool(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tools.localcluster", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=settings.REPOSITORY,
    )
    if done.returncode:
        raise DemoError(f"python -m tools.localcluster {' '.join(arguments)} failed: see above")
    return done.stdout


def install_operator(cluster: Cluster) -> None:
    """Apply the operator's manifests and wait until it is ready."""
    documents = operator_manifests(settings.OPERATOR_IMAGE, OPERATOR_NAMESPACE)
    # The tag of a local image stays the same when its content changes: the annotation starts new pods then.
    deployment = next(document for document in documents if document["kind"] == "Deployment")
    deployment["spec"]["template"]["metadata"]["annotations"] = {"vllm-operator.dev/image-id": operator_image.key()}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=to_yaml(documents))

    def is_ready() -> tuple[bool, str]:
        found = json.loads(
            cluster.kubectl("get", "deployment", "vllm-operator", "-n", OPERATOR_NAMESPACE, "-o", "json")
        )
        status = found.get("status", {})
        fresh = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(fresh and status.get("readyReplicas") and not status.get("unavailableReplicas")), "starting"

    wait("the operator's pod", 120, is_ready)


def serve(cluster: Cluster) -> None:
    """Apply the quickstart and wait until it serves."""
    manifest = yaml.safe_load((settings.REPOSITORY / "examples" / "quickstart.yaml").read_text())
    if cluster.is_local:
        assert manifest["spec"]["image"] == settings.VLLM_IMAGE, "examples/quickstart.yaml names another image"
    else:
        manifest["spec"].update(PUBLISHED)
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=yaml.safe_dump(manifest))

    def is_serving() -> tuple[bool, str]:
        status = json.loads(cluster.kubectl("get", "vllmserver", NAME, "-n", NAMESPACE, "-o", "json")).get("status", {})
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
        return ready, f"{status.get('phase', 'Pending')}: {status.get('message', 'not seen yet')}"

    wait(f"VLLMServer {NAME}", SERVING_SECONDS, is_serving)


def wait(subject: str, seconds: float, check: Callable[[], tuple[bool, str]]) -> None:
    """Poll `check` until it returns True; print a line when the state changes, and every ten seconds."""
    started, printed, printed_at = time.monotonic(), "", 0.0
    while True:
        is_done, state = check()
        passed = time.monotonic() - started
        if is_done:
            print(f"  {subject}: ready after {passed:.0f} s", flush=True)
            return
        if state != printed or passed - printed_at >= 10:
            print(f"  waiting for {subject}, {passed:.0f} of at most {seconds:.0f} s: {state}", flush=True)
            printed, printed_at = state, passed
        if passed > seconds:
            raise DemoError(f"{subject} was not ready after {seconds:.0f} s: {state}")
        time.sleep(0.5)


def ask(cluster: Cluster) -> dict[str, Any]:
    """Request one chat completion through the Service, by the API server's proxy, which works on every cluster."""
    served = json.loads(cluster.kubectl("get", "vllmserver", NAME, "-n", NAMESPACE, "-o", "json"))["status"][
        "servedModels"
    ]
    body = {
        "model": served[0],
        "messages": [{"role": "user", "content": "Say hello to Kubernetes."}],
        "max_tokens": 24,
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}:http/proxy/v1/chat/completions"
    api = kubernetes.config.new_client_from_config(cluster.kubeconfig)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = api.param_serialize("POST", path, header_params=headers, body=body, auth_settings=["BearerToken"])
    response = api.call_api(*request)
    text = response.read().decode()
    if response.status != 200:
        raise DemoError(f"the Service answered {response.status}: {text[:500]}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def show(cluster: Cluster, answer: dict[str, Any], seconds: float) -> None:
    """Print the answer, and commands to try next."""
    print(f"\n$ kubectl get vllmservers\n{cluster.kubectl('get', 'vllmservers', '-n', NAMESPACE)}")
    text = answer["choices"][0]["message"]["content"]
    print(f"{answer['model']} answers (a tiny random model: expect no sense):\n  {text!r}")
    print(f"\nDone in {seconds:.0f} s. Try next:\n")
    print(f"  export KUBECONFIG={cluster.kubeconfig}")
    for command in (
        f"kubectl describe vllmserver {NAME}",
        f"kubectl get deployment,service,pvc,pod -l app.kubernetes.io/instance={NAME}",
        f"kubectl delete service {NAME}   # it comes back",
        "kubectl explain vllmserver.spec.engine --recursive",
        f"kubectl delete vllmserver {NAME}",
        "make cluster-down",
    ):
        print(f"  {command}")


if __name__ == "__main__":
    sys.exit(main())
