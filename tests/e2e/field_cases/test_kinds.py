"""Two kinds of servers through the whole operator; `make engine-kinds` probes all kinds without a cluster."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import wait_ready
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Object, condition
from tools.harness.real_cluster import RealCluster, cpu_server

ALWAYS = {"syntheticCompletion": "Always"}
"""So that engines are tested while they are idle."""
WATCHED_SECONDS = 50.0
"""Two synthetic completions."""


def serve(cluster: RealCluster, inside: InCluster, name: str, spec: Object) -> None:
    whole = {"model": {"uri": "file:///models/tiny"}, "health": ALWAYS, **spec}
    inside.kube.apply(cpu_server(cluster, name, whole), namespace=inside.namespace)


def stays_serving(inside: InCluster, *names: str) -> None:
    """Check for a while that the replicas serve, and that no engine is called stalled."""

    def serving() -> None:
        for name in names:
            server = inside.kube.must_get(KIND, name, inside.namespace)
            assert {replica["phase"] for replica in server["status"]["replicaStatuses"]} == {"Serving"}
            assert condition(server, "EngineHealthy")["status"] == "True"

    inside.kube.stays(serving, seconds=WATCHED_SECONDS)


def test_pooling_server_and_one_with_several_engines_are_ready_and_never_stalled(
    cluster: RealCluster, inside: InCluster
) -> None:
    engine: dict[str, Any] = {"maxModelLen": 512, "enforceEager": True}
    pooling = {**engine, "extraArgs": ["--runner=pooling", "--convert=embed"]}
    several = {
        **engine,
        "dataParallelSize": 2,
        "extraArgs": ["--api-server-count=2", "--root-path=/team/models"],
    }
    names = ["tiny", "team/tiny"]
    serve(cluster, inside, "pooling", {"engine": pooling})
    serve(
        cluster, inside, "engines", {"engine": several, "model": {"uri": "file:///models/tiny", "servedNames": names}}
    )
    try:
        wait_ready(inside, "pooling")
        status = wait_ready(inside, "engines")["status"]
        stays_serving(inside, "pooling", "engines")
        assert status["servedModels"] == names
        answer = inside.call(f"{inside.url('pooling')}/v1/embeddings", {"model": "tiny", "input": "a"})
        assert answer[0] == 200
        for name in names:
            assert inside.chat("engines", name)[0] == 200
        capacity = status["capacity"]["kvCacheTokens"]
        metrics = str(inside.call(f"{inside.url('engines')}/metrics")[1])
        info = [line for line in metrics.splitlines() if line.startswith("vllm:cache_config_info{")]
        assert len(info) == 2
        assert capacity == sum(int(float(line.partition('kv_cache_size_tokens="')[2].split('"')[0])) for line in info)
    finally:
        kubectl = inside.kube.kubectl
        kubectl("-n", inside.namespace, "delete", "vllmserver", "pooling", "engines", "--timeout=60s", check=False)
