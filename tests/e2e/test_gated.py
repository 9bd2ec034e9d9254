"""A gated model from a hub, kept in a volume, behind an API key."""

from __future__ import annotations

from tests.e2e.conftest import pods, wait_ready
from tools.harness.in_cluster import TOKEN, InCluster
from tools.harness.kube import KIND
from tools.harness.real_cluster import SYSTEM

KEY = "key-of-the-tests"


def test_clients_need_the_key_and_the_operator_has_it(inside: InCluster, gated: str) -> None:
    status = wait_ready(inside, gated)["status"]
    assert status["healthyReplicas"] == 1
    assert inside.call(f"{inside.url(gated)}/v1/models")[0] == 401
    assert inside.chat(gated, "tiny")[0] == 401
    assert inside.chat(gated, "tiny", "wrong")[0] == 401
    code, answer = inside.chat(gated, "tiny", KEY)
    assert code == 200, answer


def test_neither_token_nor_key_is_shown_anywhere(inside: InCluster, gated: str) -> None:
    wait_ready(inside, gated)
    kube, here = inside.kube, ("-n", inside.namespace)
    shown = kube.kubectl(*here, "get", "all,events", "-l", f"app.kubernetes.io/instance={gated}", "-o", "yaml").stdout
    shown += kube.kubectl(*here, "get", "vllmservers,events", "-o", "yaml").stdout
    shown += kube.kubectl("-n", SYSTEM, "logs", "deployment/vllm-operator").text
    shown += kube.kubectl(*here, "logs", f"deployment/{gated}").text
    assert "gated" in shown
    assert KEY not in shown
    assert TOKEN not in shown


def test_first_replica_downloads_every_file_once(inside: InCluster, gated: str) -> None:
    wait_ready(inside, gated)
    downloads = inside.file_downloads()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(downloads)
    assert set(downloads.values()) == {1}, downloads


def test_hub_refuses_requests_without_a_token(inside: InCluster, gated: str) -> None:
    url = f"{inside.url('hub')}/tiny-org/tiny/resolve/main/config.json"
    assert inside.call(url)[0] == 401


def test_second_replica_downloads_nothing(inside: InCluster, gated: str) -> None:
    wait_ready(inside, gated)
    before = inside.file_downloads()
    inside.kube.kubectl("-n", inside.namespace, "scale", f"vllmserver/{gated}", "--replicas=2")
    status = wait_ready(inside, gated)["status"]
    assert (status["healthyReplicas"], status["ready"]) == (2, "2/2")
    assert inside.file_downloads() == before


def test_restarted_replica_downloads_nothing(inside: InCluster, gated: str) -> None:
    wait_ready(inside, gated)
    before = inside.file_downloads()
    inside.kube.kubectl("-n", inside.namespace, "scale", f"vllmserver/{gated}", "--replicas=1")
    wait_ready(inside, gated)
    [victim] = [pod["metadata"]["name"] for pod in pods(inside, gated)]
    inside.kube.kubectl("-n", inside.namespace, "delete", "pod", victim, "--grace-period=1")
    inside.kube.eventually(
        lambda: inside.kube.must_get(KIND, gated, inside.namespace)["status"].get("healthyReplicas", 0) == 0, within=30
    )
    wait_ready(inside, gated)
    assert victim not in [pod["metadata"]["name"] for pod in pods(inside, gated)]
    assert inside.file_downloads() == before


def test_deleting_it_keeps_the_cache_and_nothing_else(inside: InCluster, gated: str) -> None:
    inside.kube.kubectl("-n", inside.namespace, "delete", "vllmserver", gated, "--timeout=60s")
    selector = f"app.kubernetes.io/instance={gated}"

    def only_the_claim() -> None:
        kinds = ("Deployment", "Service", "Pod", "PodDisruptionBudget")
        assert [kind for kind in kinds if inside.kube.list(kind, inside.namespace, selector)] == []

    inside.kube.eventually(only_the_claim, within=60, namespace=inside.namespace)
    [claim] = inside.kube.list("PersistentVolumeClaim", inside.namespace, selector)
    assert claim["metadata"]["name"] == f"{gated}-cache"
    assert claim["status"]["phase"] == "Bound"
