"""A gateway in front of the quickstart and the gated server: real Envoy in real pods, real vLLM behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import LOADING_SECONDS, pods, wait_ready
from tools.drain.load import Load
from tools.drain.stage import is_ready
from tools.harness.in_cluster import InCluster
from tools.harness.kube import Object, condition
from tools.harness.real_cluster import RealCluster
from vllm_operator.api.names import API_VERSION, GATEWAY_KIND, KIND
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

NAME, CHILD = "chat", "chat-gateway"
KEY = "sk-alice-of-the-tests"
READY_SECONDS = 90
ANSWER_SECONDS = (1, 1, 2)
"""How long the answers of the load take: short ones, since the gated server has a context of 512 tokens."""


@pytest.fixture(scope="module")
def gateway(cluster: RealCluster, inside: InCluster, quickstart: str, gated: str) -> Iterator[InCluster]:
    """A gateway whose spec holds nothing but the image: nodes of the local cluster have no registry."""
    spec = {"image": cluster.envoy_image} if cluster.is_local else {}
    body = {"apiVersion": API_VERSION, "kind": GATEWAY_KIND, "metadata": {"name": NAME}, "spec": spec}
    inside.kube.apply(body, namespace=inside.namespace)
    for server in (quickstart, gated):
        wait_ready(inside, server)
    yield inside
    inside.kube.kubectl("-n", inside.namespace, "delete", "vllmgateway", NAME, "--timeout=60s")


def wait_serving(inside: InCluster) -> Object:
    """Wait until the status says that pods and models are ready."""

    def serving() -> Object:
        body = inside.kube.must_get(GATEWAY_KIND, NAME, inside.namespace)
        status = body.get("status") or {}
        assert status.get("observedGeneration") == body["metadata"]["generation"], status
        assert condition(body, "Ready").get("status") == "True", status
        assert all(model["readyEndpoints"] for model in status["models"]), status
        return body

    return inside.kube.eventually(serving, within=READY_SECONDS, namespace=inside.namespace)


def chat(inside: InCluster, model: str, key: str = "") -> tuple[int, Object]:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    return inside.call(f"{inside.url(CHILD)}/v1/chat/completions", body, key)


def test_an_empty_spec_serves_all_servers_by_their_names(gateway: InCluster) -> None:
    status = wait_serving(gateway)["status"]
    assert status["phase"] == "Serving"
    assert {model["name"]: model["readyEndpoints"] for model in status["models"]} == {"tiny": 2, "gated": 1}
    code, models = gateway.call(f"{status['address']}/v1/models")
    assert (code, [model["id"] for model in models["data"]]) == (200, ["gated", "tiny"])
    # The gated server asks for a key of its own, which the gateway adds.
    for model in ("tiny", "tiny", "gated"):
        code, answer = chat(gateway, model)
        # vLLM answers with the first of its served names, whichever the request named.
        assert (code, answer["model"]) == (200, "tiny"), answer
        assert answer["usage"]["completion_tokens"] > 0
    code, answer = chat(gateway, "unknown")
    assert code == 404
    assert "tiny" in answer["error"]["message"]
    assert gateway.call(f"{status['address']}/invocations", {"model": "tiny", "prompt": "hello"})[0] == 404


def test_columns_and_security_standard(gateway: InCluster) -> None:
    wait_serving(gateway)
    kube, namespace = gateway.kube, gateway.namespace
    name, address, ready, phase, models, *_ = kube.kubectl(
        "-n", namespace, "get", "vllmgateways", NAME, "--no-headers"
    ).stdout.split()
    assert (name, address, ready) == (NAME, f"http://{CHILD}.{namespace}.svc", "2/2")
    assert (phase, models) == ("Serving", "2")
    level = "pod-security.kubernetes.io/enforce=restricted"
    answer = kube.kubectl("label", "namespace", namespace, level, "--overwrite", "--dry-run=server")
    assert [line for line in answer.stderr.splitlines() if f"{CHILD}-" in line] == []


def test_keys_are_asked_for_as_soon_as_the_spec_names_them(gateway: InCluster) -> None:
    kube, namespace = gateway.kube, gateway.namespace
    metadata = {"name": "gateway-keys", "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"alice": KEY}}, namespace)
    auth = {"auth": {"secrets": [{"name": "gateway-keys"}]}}
    kube.patch(GATEWAY_KIND, NAME, namespace, {"spec": auth})

    def closed() -> None:
        for _ in range(4):
            assert chat(gateway, "tiny")[0] == 401
            assert chat(gateway, "tiny", KEY)[0] == 200

    kube.eventually(closed, within=30, namespace=namespace)
    assert wait_serving(gateway)["status"]["keys"] == 1


def test_a_limit_counts_in_the_pods(gateway: InCluster) -> None:
    limit = {"key": "alice", "model": "gated", "requestsPerMinute": 2}
    gateway.kube.patch(GATEWAY_KIND, NAME, gateway.namespace, {"spec": {"limits": [limit]}})
    gateway.kube.eventually(
        lambda: chat(gateway, "gated", KEY)[0] == 429, within=READY_SECONDS, namespace=gateway.namespace
    )
    assert chat(gateway, "tiny", KEY)[0] == 200


def test_a_rolling_update_of_a_server_and_of_the_gateway_lose_no_request(
    cluster: RealCluster, gateway: InCluster, quickstart: str
) -> None:
    if not cluster.is_local:
        pytest.skip("the load comes from this machine, which reaches Services of the local cluster only")
    kube, namespace = gateway.kube, gateway.namespace
    address = kube.must_get("Service", CHILD, namespace)["spec"]["clusterIP"]
    replicas = {pod["metadata"]["name"] for pod in pods(gateway, quickstart)}
    gateways = {pod["metadata"]["name"] for pod in pods(gateway, CHILD)}
    with Load(f"http://{address}", seconds=ANSWER_SECONDS, key=KEY) as load:
        kube.eventually(lambda: load.answered() > 3, within=30)
        environment = {"engine": {"env": [{"name": "CHANGED", "value": "yes"}]}}
        kube.patch(KIND, quickstart, namespace, {"spec": environment})
        kube.patch(GATEWAY_KIND, NAME, namespace, {"spec": {"agentResources": {"requests": {"cpu": "30m"}}}})

        def replaced() -> None:
            for name, before in ((quickstart, replicas), (CHILD, gateways)):
                found = pods(gateway, name)
                assert not before & {pod["metadata"]["name"] for pod in found}
                assert found
                assert all(is_ready(pod) for pod in found)

        kube.eventually(replaced, within=LOADING_SECONDS, namespace=namespace)
        outcome = load.stop()
    print(outcome.describe())
    assert outcome.lost == [], outcome.describe()
    assert outcome.total > 10
