"""The simplest operator that does the same writes, for comparison: kopf, a queue, Jinja, YAML, server-side apply.

It checks nothing, repairs nothing, and writes a status without information:
`BENCH_OPERATOR="python -m tools.bench.naive_loop" make bench-scale`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import jinja2
import kopf
import orjson
import yaml

from tools.bench.loop import FastClient

AGENT = "naive-loop"
WORKERS = 32
METADATA = """
metadata:
  name: {{ name }}
  namespace: {{ namespace }}
  labels: {app: {{ name }}}
  ownerReferences:
  - {apiVersion: vllm-operator.dev/v1alpha1, kind: VLLMServer, name: {{ name }}, uid: {{ uid }}, controller: true}
"""
CHILDREN = {
    "/apis/apps/v1 deployments Deployment": """
  selector: {matchLabels: {app: {{ name }}}}
  template:
    metadata: {labels: {app: {{ name }}}}
    spec:
      containers:
      - name: vllm
        image: {{ spec.image }}
        args: [--model, {{ spec.model.uri }}, --max-model-len, "{{ spec.engine.maxModelLen }}"]
""",
    "/api/v1 services Service": "\n  selector: {app: {{ name }}}\n  ports: [{port: 80, targetPort: 8000}]\n",
    "/api/v1 persistentvolumeclaims PersistentVolumeClaim": (
        "\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: {{ spec.cache.size }}}}\n"
    ),
    "/apis/monitoring.coreos.com/v1 podmonitors PodMonitor": (
        "\n  selector: {matchLabels: {app: {{ name }}}}\n  podMetricsEndpoints: [{port: http}]\n"
    ),
    "/apis/monitoring.coreos.com/v1 prometheusrules PrometheusRule": (
        "\n  groups: [{name: {{ name }}, rules: [{alert: Down, expr: 'up == 0'}]}]\n"
    ),
}
TEMPLATES = {where: jinja2.Template(f"{METADATA}spec:{text}") for where, text in CHILDREN.items()}
QUEUE: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
SEEN: dict[str, int] = {}


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    settings.posting.enabled = False
    memo.client = await FastClient(Path(os.environ["KUBECONFIG"]), AGENT).__aenter__()
    memo.tasks = [asyncio.create_task(work(memo.client)) for _ in range(WORKERS)]


@kopf.on.event("vllm-operator.dev", "v1alpha1", "vllmservers")
async def wake(body: kopf.Body, **_: Any) -> None:
    metadata = body["metadata"]
    if SEEN.get(metadata["uid"]) != metadata["generation"]:
        SEEN[metadata["uid"]] = metadata["generation"]
        QUEUE.put_nowait({"metadata": dict(metadata), "spec": dict(body["spec"])})


async def work(client: FastClient) -> None:
    while True:
        server = await QUEUE.get()
        try:
            await bring_up(client, server)
        except RuntimeError as error:
            print(error, flush=True)


async def bring_up(client: FastClient, server: dict[str, Any]) -> None:
    name, namespace = server["metadata"]["name"], server["metadata"]["namespace"]
    values = {"name": name, "namespace": namespace, "uid": server["metadata"]["uid"], "spec": server["spec"]}
    for where, template in TEMPLATES.items():
        root, plural, kind = where.split()
        child = yaml.load(template.render(values), Loader=yaml.CSafeLoader)
        child |= {"apiVersion": root.removeprefix("/apis/").removeprefix("/api/"), "kind": kind}
        await client.apply(f"{root}/namespaces/{namespace}/{plural}/{name}", orjson.dumps(child))
    path = f"/apis/vllm-operator.dev/v1alpha1/namespaces/{namespace}/vllmservers/{name}/status"
    await client.merge(path, b'{"status":{"phase":"Pending","conditions":[]}}')


if __name__ == "__main__":
    kopf.run(clusterwide=True, standalone=True)
