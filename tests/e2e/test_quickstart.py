"""The quickstart on a real cluster, from `kubectl apply` to its end."""

from __future__ import annotations

import time

from tests.e2e.conftest import LOADING_SECONDS, pods, wait_ready
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, condition, essence
from tools.harness.real_cluster import NAME, SYSTEM


def test_quickstart_answers_a_chat_completion_through_its_service(inside: InCluster, quickstart: str) -> None:
    namespace = inside.namespace
    inside.kube.kubectl(
        "-n", namespace, "wait", f"vllmserver/{quickstart}", "--for=condition=Ready",
        f"--timeout={LOADING_SECONDS}s", timeout=LOADING_SECONDS + 10,
    )  # fmt: skip
    status, answer = inside.chat(quickstart, "tiny")
    assert status == 200, answer
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == "tiny"


def test_kubectl_get_shows_ready_phase_and_version(inside: InCluster, quickstart: str) -> None:
    wait_ready(inside, quickstart)
    answer = inside.kube.kubectl("-n", inside.namespace, "get", "vllmservers", quickstart, "--no-headers")
    name, model, ready, phase, version, *_ = answer.stdout.split()
    assert (name, model, ready, phase, version) == (quickstart, "file:///models/tiny", "1/1", "Serving", "0.32.0")


def test_status_shows_the_facts_of_the_replica(inside: InCluster, quickstart: str) -> None:
    status = wait_ready(inside, quickstart)["status"]
    assert (status["replicas"], status["readyReplicas"], status["healthyReplicas"]) == (1, 1, 1)
    assert status["servedModels"] == ["tiny"]
    assert status["endpoint"] == inside.url(quickstart)
    assert status["capacity"]["kvCacheTokens"] > 0
    assert status["capacity"]["maxModelLen"] == 2048
    [replica] = status["replicaStatuses"]
    assert replica["phase"] == "Serving"
    assert replica["node"]
    assert {entry["type"]: entry["status"] for entry in status["conditions"]}.items() >= {
        "Ready": "True", "Accepted": "True", "Available": "True", "EngineHealthy": "True", "CacheReady": "True",
        "Progressing": "False", "Stalled": "False",
    }.items()  # fmt: skip


def test_kubectl_rollout_status_succeeds(inside: InCluster, quickstart: str) -> None:
    wait_ready(inside, quickstart)
    answer = inside.kube.kubectl("-n", inside.namespace, "rollout", "status", f"deployment/{quickstart}")
    assert "successfully rolled out" in answer.stdout


def test_pods_run_under_the_restricted_security_standard(inside: InCluster, quickstart: str) -> None:
    wait_ready(inside, quickstart)
    level = "pod-security.kubernetes.io/enforce=restricted"
    answer = inside.kube.kubectl("label", "namespace", inside.namespace, level, "--overwrite", "--dry-run=server")
    blamed = [line for line in answer.stderr.splitlines() if f"{quickstart}-" in line]
    assert blamed == []


def test_killed_operator_changes_neither_status_nor_pods(inside: InCluster, quickstart: str) -> None:
    kube = inside.kube
    before = wait_ready(inside, quickstart)
    children = essence(kube.must_get("Deployment", quickstart, inside.namespace))
    kube.kubectl("-n", SYSTEM, "delete", "pods", "--all", "--force", "--grace-period=0")

    def still_ready() -> None:
        server = kube.must_get(KIND, quickstart, inside.namespace)
        assert condition(server, "Ready") == condition(before, "Ready")
        assert server["status"]["healthyReplicas"] == 1

    kube.stays(still_ready, seconds=3)
    kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=60s")
    kube.stays(still_ready, seconds=5)
    assert essence(kube.must_get("Deployment", quickstart, inside.namespace)) == children
    [pod] = pods(inside, quickstart)
    assert [container["restartCount"] for container in pod["status"]["containerStatuses"]] == [0]


def test_changed_model_is_rolled_out_and_then_answers(inside: InCluster, quickstart: str) -> None:
    kube = inside.kube
    wait_ready(inside, quickstart)
    former = pods(inside, quickstart)[0]["metadata"]["name"]
    kube.patch(KIND, quickstart, inside.namespace, {"spec": {"model": {"uri": "file:///models/tiny-b"}}})

    def rolling() -> None:
        server = kube.must_get(KIND, quickstart, inside.namespace)
        assert condition(server, "Progressing")["status"] == "True"
        assert condition(server, "Ready")["status"] == "False"

    kube.eventually(rolling, within=20, namespace=inside.namespace)
    server = wait_ready(inside, quickstart)
    assert server["status"]["servedModels"] == ["tiny-b"]
    assert former not in [pod["metadata"]["name"] for pod in pods(inside, quickstart)]
    assert inside.chat(quickstart, "tiny-b")[0] == 200
    assert inside.chat(quickstart, "tiny")[0] == 404


def test_missing_image_is_named_and_can_be_reverted(inside: InCluster, quickstart: str) -> None:
    kube = inside.kube
    wait_ready(inside, quickstart)
    patch = {"spec": {"image": "localhost/no-such-image:1", "version": "0.32.0"}}
    former = kube.must_get(KIND, quickstart, inside.namespace)["spec"]["image"]
    kube.patch(KIND, quickstart, inside.namespace, patch)

    def is_reported() -> None:
        server = kube.must_get(KIND, quickstart, inside.namespace)
        assert condition(server, "Ready")["status"] == "False"
        assert "no-such-image" in server["status"]["message"], server["status"]["message"]

    kube.eventually(is_reported, within=60, namespace=inside.namespace)
    kube.patch(KIND, quickstart, inside.namespace, {"spec": {"image": former, "version": None}})
    wait_ready(inside, quickstart)


def test_deleting_the_server_leaves_nothing(inside: InCluster, quickstart: str) -> None:
    kube = inside.kube
    began = time.monotonic()
    kube.kubectl("-n", inside.namespace, "delete", "vllmserver", quickstart, "--timeout=60s")
    kinds = ("Deployment", "ReplicaSet", "Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "Pod")

    def gone() -> None:
        left = [
            (kind, body["metadata"]["name"])
            for kind in kinds
            for body in kube.list(kind, inside.namespace, f"app.kubernetes.io/instance={quickstart}")
        ]
        assert left == []

    kube.eventually(gone, within=150, namespace=inside.namespace)
    print(f"everything of the server was gone {time.monotonic() - began:.0f} s after its deletion")
