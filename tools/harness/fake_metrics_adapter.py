"""Stand in for prometheus-adapter: serve vLLM's own metrics of pods in the custom metrics API of Kubernetes.

It is one file and needs the standard library only, because it runs as a script in a pod. It reads `/metrics` of the
pods of a label selector at each request, so that a HorizontalPodAutoscaler sees what the engines report now.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

GROUP = "custom.metrics.k8s.io"
VERSION = "v1beta2"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
METRIC = re.compile(rf"^/apis/{GROUP}/{VERSION}/namespaces/([^/]+)/pods/\*/vllm_([a-z_]+)$")
SERIES = "num_requests_running", "kv_cache_usage_perc"
SECONDS = 3.0
"""Seconds for one read of a pod, and of the API server."""


def pods(namespace: str, selector: str) -> list[dict[str, Any]]:
    """Return the running pods of a namespace that a selector matches."""
    token, context = (ACCOUNT / "token").read_text(), ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    query = urlencode({"labelSelector": selector})
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods?{query}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:
        items = json.load(answer)["items"]
    return [item for item in items if item["status"].get("phase") == "Running" and item["status"].get("podIP")]


def value(address: str, series: str) -> float | None:
    """Return the sum of a series of vLLM in a pod; None for a pod that does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}:8000/metrics", timeout=SECONDS) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"vllm:{series}{{")]
    return sum(map(float, found)) if found else None


def metric_list(namespace: str, series: str, selector: str) -> dict[str, Any]:
    """Return a MetricValueList."""
    found = pods(namespace, selector)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda pod: value(pod["status"]["podIP"], series), found))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    items = [
        {
            "describedObject": {
                "kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"], "apiVersion": "/v1"
            },
            "metric": {"name": f"vllm_{series}"},
            "timestamp": now,
            "value": f"{round(number * 1000)}m",
        }
        for pod, number in zip(found, values, strict=True)
        if number is not None
    ]  # fmt: skip
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def resource_list() -> dict[str, Any]:
    """Return the metrics that there are, as discovery wants them."""
    common = {"singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
    resources = [{"name": f"pods/vllm_{name}", **common} for name in SERIES]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": resources}


class Handler(BaseHTTPRequestHandler):
    """Answers discovery, and one metric of all pods of a selector."""

    def do_GET(self) -> None:
        """Answer."""
        parts = urlsplit(self.path)
        # An autoscaler writes the star as %2A.
        found = METRIC.fullmatch(unquote(parts.path))
        if parts.path == f"/apis/{GROUP}/{VERSION}":
            return self._send(200, resource_list())
        if found and found[2] in SERIES:
            selector = parse_qs(parts.query).get("labelSelector", [""])[0]
            return self._send(200, metric_list(found[1], found[2], selector))
        return self._send(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve with TLS until the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=6443)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    server = ThreadingHTTPServer(("0.0.0.0", options.port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
