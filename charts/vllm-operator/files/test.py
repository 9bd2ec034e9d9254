"""Check an installation from inside of the cluster: API, admission, leader, and a server that the operator reconciles.

`helm test` runs it in the operator's image. The settings come from variables of the pod.
"""

from __future__ import annotations

import datetime
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
GROUP = "vllm-operator.dev/v1alpha1"
ANSWER_BYTES = 4_000_000
"""Largest answer that is read."""
CALL_SECONDS = 30
PAUSE_SECONDS = 1.0
RECONCILE_SECONDS = 60.0
"""Longest time until the operator takes up a server without replicas: it needs milliseconds, a busy cluster longer."""
COMPLETION_SECONDS = 120
LEASE_AGE_SECONDS = 60.0
"""Longest time since the leader renewed its Lease; it renews within 15 s."""
NAME = "vllm-operator-helm-test"


class CheckError(Exception):
    """A check failed; the message says what was found and what to do."""


def call(method: str, path: str, body: Any = None, url: str = "", timeout: float = CALL_SECONDS) -> tuple[int, Any]:
    """Return status and content of an answer of the API server, or of another URL."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    headers = {"Content-Type": "application/json"}
    context = None
    if not url:
        headers["Authorization"] = f"Bearer {(ACCOUNT / 'token').read_text()}"
        context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url or f"https://{host}:{port}{path}", data, headers, method=method)
    # Neither the API server nor a Service is reached by a proxy.
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read(ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        text = error.read(ANSWER_BYTES).decode(errors="replace")
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, {"message": text[:500]}


def server(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a VLLMServer."""
    return {"apiVersion": GROUP, "kind": "VLLMServer", "metadata": {"name": NAME}, "spec": spec}


def servers_path(name: str = "") -> str:
    """Return the path of the servers in the namespace of the test, or of one of them."""
    return f"/apis/{GROUP}/namespaces/{os.environ['TEST_NAMESPACE']}/vllmservers" + (f"/{name}" if name else "")


def check_api() -> str:
    """Check that the API server knows VLLMServers."""
    status, answer = call("GET", f"/apis/{GROUP}")
    if status != 200:
        raise CheckError(
            f"the API server knows no {GROUP} (HTTP {status}): install the CRD, or set crds.enabled to true"
        )
    return f"{len(answer['resources'])} resources of {GROUP}"


def check_admission() -> str:
    """Check that the API server refuses a wrong server, and accepts a right one."""
    dry = f"{servers_path()}?dryRun=All&fieldValidation=Strict"
    status, answer = call("POST", dry, server({"model": {"uri": ""}}))
    if status != 422:
        raise CheckError(f"a server without a model was answered with HTTP {status}, not 422: the CRD is an old one")
    status, answer = call("POST", dry, server({"model": {"uri": "file:///models/none"}}))
    if status != 201:
        raise CheckError(f"a server was refused with HTTP {status}: {answer.get('message')}")
    return "a wrong server is refused, a right one accepted"


def check_policy() -> str:
    """Check that the admission policy refuses a service account in a pod template, where the release has the policy."""
    if not os.environ.get("TEST_POLICY"):
        return "not part of this release"
    spec = {"model": {"uri": "file:///models/none"}, "podTemplate": {"spec": {"serviceAccountName": "admin"}}}
    status, _ = call("POST", f"{servers_path()}?dryRun=All", server(spec))
    if status == 201:
        raise CheckError(
            "a server with a service account was accepted: the admission policy is missing, or the namespace "
            "has the label vllm-operator.dev/pod-template=free"
        )
    return f"a service account in a pod template is refused (HTTP {status})"


def check_leader() -> str:
    """Check that an operator holds the Lease."""
    if not (namespace := os.environ.get("TEST_LEASE_NAMESPACE")):
        return "no leader election"
    deadline = time.monotonic() + RECONCILE_SECONDS
    while True:
        status, lease = call("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/vllm-operator")
        spec = lease.get("spec", {}) if status == 200 else {}
        if spec.get("holderIdentity") and spec.get("renewTime"):
            renewed = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
            age = (datetime.datetime.now(tz=datetime.UTC) - renewed).total_seconds()
            if age < LEASE_AGE_SECONDS:
                return f"{spec['holderIdentity']} leads"
        if time.monotonic() > deadline:
            raise CheckError(
                f"no operator holds the Lease {namespace}/vllm-operator (HTTP {status}): see the operator's log"
            )
        time.sleep(PAUSE_SECONDS)


def check_server() -> str:
    """Check that the operator reconciles a server, and that the server answers where it has replicas."""
    wanted = json.loads(os.environ.get("TEST_SERVER") or "{}")
    spec = wanted or {
        "model": {"uri": "file:///models/none"},
        "replicas": 0,
        "monitoring": {"alerts": {"enabled": False}},
    }
    call("DELETE", servers_path(NAME))
    wait_until_gone()
    status, answer = call("POST", servers_path(), server(spec))
    if status != 201:
        raise CheckError(f"the server of the test was refused with HTTP {status}: {answer.get('message')}")
    try:
        seconds = float(os.environ["TEST_TIMEOUT"]) if wanted else RECONCILE_SECONDS
        found = wait_until_ready(seconds)
        return completion(found) if wanted else "a server without replicas is reconciled"
    finally:
        call("DELETE", servers_path(NAME))


def wait_until_gone() -> None:
    """Wait until the server of an earlier test is deleted."""
    deadline = time.monotonic() + RECONCILE_SECONDS
    while call("GET", servers_path(NAME))[0] == 200:
        if time.monotonic() > deadline:
            raise CheckError(f"the server {NAME} of an earlier test cannot be deleted")
        time.sleep(PAUSE_SECONDS)


def wait_until_ready(seconds: float) -> dict[str, Any]:
    """Return the status of the server once it is ready."""
    deadline = time.monotonic() + seconds
    while True:
        _, found = call("GET", servers_path(NAME))
        status = found.get("status") or {}
        conditions = {entry["type"]: entry["status"] for entry in status.get("conditions") or []}
        current = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
        if current and conditions.get("Ready") == "True":
            return dict(status)
        if time.monotonic() > deadline or (current and conditions.get("Stalled") == "True"):
            raise CheckError(f"the server is not ready: {status.get('message') or 'the operator has not taken it up'}")
        time.sleep(PAUSE_SECONDS)


def completion(status: dict[str, Any]) -> str:
    """Return what the server answers to a request for a completion."""
    url = f"http://{NAME}.{os.environ['TEST_NAMESPACE']}.svc/v1/completions"
    body = {"model": status["servedModels"][0], "prompt": "Hello", "max_tokens": 4}
    deadline = time.monotonic() + RECONCILE_SECONDS
    while True:
        try:
            code, answer = call("POST", "", body, url, COMPLETION_SECONDS)
        except OSError as error:
            # A Service refuses connections until the proxies of the nodes have its endpoint.
            if time.monotonic() > deadline:
                raise CheckError(f"{url}: {error}") from error
            time.sleep(PAUSE_SECONDS)
            continue
        if code != 200:
            raise CheckError(f"{url}: HTTP {code}: {answer.get('message') or answer}")
        return f"a completion of {answer['usage']['completion_tokens']} tokens"


CHECKS = (check_api, check_admission, check_policy, check_leader, check_server)


def main() -> int:
    """Run the checks in order; return 1 at the first that fails."""
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            print(f"ok      {name}: {check()}", flush=True)
        except (CheckError, OSError) as error:
            print(f"FAILED  {name}: {error}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
