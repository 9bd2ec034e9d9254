"""`source: operator` and `minReplicas: 0` by an operator of one namespace, which may register no API."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.autoscaling.conftest import NAMESPACE, WITHIN, Scene
from tests.autoscaling.test_builtin import FAST_DOWN, TARGET
from tools.harness.kube import KIND


def test_builtin_names_the_ways_out(namespaced: Scene) -> None:
    namespaced.servers.create("unserved", {"autoscaling": {"maxReplicas": 2}})
    namespaced.active("unserved", "False", "MetricsAPIDisabled", "autoscaling.source to operator")


def test_operator_follows_the_load_and_the_least_loaded_replicas_go_first(namespaced: Scene) -> None:
    scaling = {"source": "operator", "maxReplicas": 6, "targetRunningRequests": TARGET, "behavior": FAST_DOWN}
    namespaced.servers.create("alone", {"autoscaling": scaling})
    namespaced.becomes("alone", 1)
    namespaced.fleet.in_flight["alone"] = 3 * TARGET - 5
    assert namespaced.highest("alone", 3, settle=12) <= 4
    namespaced.becomes("alone", 3)
    assert namespaced.kube.get("HorizontalPodAutoscaler", "alone", NAMESPACE) is None
    busiest = sorted(namespaced.ready("alone"))[1]
    namespaced.fleet.replicas[busiest].own = 30.0
    namespaced.fleet.in_flight["alone"] = 3.0
    namespaced.becomes("alone", 1)
    assert namespaced.ready("alone") == [busiest]
    answer = namespaced.kube.kubectl("-n", NAMESPACE, "get", "vllmservers", "alone", "-o", "wide", "--no-headers")
    assert {"1", "6"} <= set(answer.stdout.split())
    namespaced.active("alone", "True", "OperatorScales", "from 1 to 6 replicas")


def test_server_sleeps_and_is_woken_by_kubectl_and_by_its_annotation(namespaced: Scene) -> None:
    scaling = {"source": "operator", "minReplicas": 0, "maxReplicas": 2, "idleSeconds": 30}
    namespaced.servers.create("sleeper", {"autoscaling": scaling})
    namespaced.becomes("sleeper", 1)

    def is_idle() -> None:
        assert namespaced.servers.get("sleeper")["status"]["phase"] == "Idle"

    namespaced.becomes("sleeper", 0)
    namespaced.kube.eventually(is_idle, within=WITHIN)
    namespaced.active("sleeper", "True", "Asleep", "kubectl scale vllmserver/sleeper --replicas=1")
    namespaced.kube.kubectl("-n", NAMESPACE, "scale", "vllmserver/sleeper", "--replicas=1")
    namespaced.becomes("sleeper", 1)
    namespaced.becomes("sleeper", 0)
    wake = {"vllm-operator.dev/wake": datetime.now(UTC).isoformat()}
    namespaced.kube.patch(KIND, "sleeper", NAMESPACE, {"metadata": {"annotations": wake}})
    namespaced.becomes("sleeper", 1)
    namespaced.fleet.in_flight["sleeper"] = 1.0
    assert namespaced.highest("sleeper", 1, settle=40) == 1
    assert namespaced.wanted("sleeper") == 1, "a request runs"
