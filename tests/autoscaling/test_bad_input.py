"""Bad input of scaling: named in the status with the way out, and gone when its cause is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.autoscaling.conftest import NAMESPACE, Scene
from tools.harness.kube import Object

POLICY = {"type": "Pods", "value": 2, "periodSeconds": 60}
WINDOW = {"start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 2}

REFUSED: dict[str, tuple[Object, str, Object, tuple[str, ...]]] = {
    "target": (
        {"autoscaling": {"maxReplicas": 2}, "engine": {"extraArgs": ["--max-num-seqs=50"]}},
        "UnreachableTarget",
        {"autoscaling": {"targetRunningRequests": 40}},
        ("spec.autoscaling.targetRunningRequests", "lower the target"),
    ),
    "behavior": (
        {
            "autoscaling": {
                "maxReplicas": 2,
                "behavior": {"scaleUp": {"selectPolicy": "Disabled", "policies": [POLICY]}},
            }
        },
        "ContradictoryBehavior",
        {"autoscaling": {"behavior": {"scaleUp": {"policies": None}}}},
        ("spec.autoscaling.behavior.scaleUp", "remove one of the two"),
    ),
    "nothing-scales": (
        {
            "autoscaling": {
                "maxReplicas": 2,
                "behavior": {"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}},
            }
        },
        "ContradictoryBehavior",
        {"autoscaling": {"behavior": None}},
        ("spec.autoscaling.behavior", "autoscaling.paused"),
    ),
    "fast-path": (
        {"autoscaling": {"maxReplicas": 2, "fastPath": True, "behavior": {"scaleUp": {"selectPolicy": "Disabled"}}}},
        "ContradictoryBehavior",
        {"autoscaling": {"fastPath": False}},
        ("spec.autoscaling.fastPath", "remove one of the two"),
    ),
    "zone": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "timeZone": "Mars/Olympus"}]}},
        "InvalidSchedule",
        {"autoscaling": {"schedule": [{**WINDOW, "timeZone": "Europe/Berlin"}]}},
        ("spec.autoscaling.schedule[0].timeZone", "Europe/Berlin"),
    ),
    "cron": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [WINDOW, {**WINDOW, "start": "0 25 * * *"}]}},
        "InvalidSchedule",
        {"autoscaling": {"schedule": [WINDOW]}},
        ("spec.autoscaling.schedule[1].start", "use five fields"),
    ),
    "never": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "end": "0 8 31 4 *"}]}},
        "InvalidSchedule",
        {"autoscaling": {"schedule": None}},
        ("spec.autoscaling.schedule[0].end",),
    ),
    "never-closes": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "start": "0 * * * *", "end": "0 17 * * *"}]}},
        "InvalidSchedule",
        {"autoscaling": {"schedule": None}},
        ("spec.autoscaling.schedule[0].end", "never closes"),
    ),
}
"""Spec, reason, the change that ends it, and words of the message."""


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_operator_until_it_is_corrected(scene: Scene, name: str) -> None:
    spec, reason, change, words = REFUSED[name]
    scene.servers.create(f"bad-{name}", spec)
    scene.servers.refused(f"bad-{name}", *words, reason=reason)
    scene.active(f"bad-{name}", "False", "Missing", "when the spec is accepted")
    scene.servers.patch(f"bad-{name}", change)
    scene.servers.accepted(f"bad-{name}")
    scene.kube.eventually(lambda: scene.kube.must_get("HorizontalPodAutoscaler", f"bad-{name}", NAMESPACE), within=30)


BY_API_SERVER: dict[str, tuple[Object, tuple[str, ...]]] = {
    "crossed": ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, ("spec.autoscaling.minReplicas", "lower")),
    "crossed-window": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "minReplicas": 3}]}},
        ("spec.autoscaling.schedule", "set both in the window"),
    ),
    "target": (
        {"autoscaling": {"maxReplicas": 2}, "engine": {"maxNumSeqs": 50}},
        ("spec.autoscaling.targetRunningRequests", "must be below engine.maxNumSeqs"),
    ),
    "no-end": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{"start": "0 8 * * *", "minReplicas": 1}]}},
        ("spec.autoscaling.schedule[0]", "set one of the two"),
    ),
    "no-bounds": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{"start": "0 8 * * *", "end": "0 9 * * *"}]}},
        ("spec.autoscaling.schedule[0]", "set one of them"),
    ),
    "four-fields": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "start": "8 * * *"}]}},
        ("spec.autoscaling.schedule[0].start", "such as 0 8 * * 1-5"),
    ),
    "words": (
        {"autoscaling": {"maxReplicas": 2, "schedule": [{**WINDOW, "end": "every evening"}]}},
        ("spec.autoscaling.schedule[0].end", "such as 0 8 * * 1-5"),
    ),
    "keda-fast-path": (
        {
            "autoscaling": {
                "maxReplicas": 2,
                "source": "keda",
                "fastPath": True,
                "keda": {"serverAddress": "http://prometheus:9090"},
            }
        },
        ("spec.autoscaling.fastPath", "choose source: builtin or operator"),
    ),
    "keda-without-trigger": ({"autoscaling": {"maxReplicas": 2, "source": "keda"}}, ("keda.serverAddress",)),
}


@pytest.mark.parametrize("name", BY_API_SERVER)
def test_refused_by_the_api_server(scene: Scene, name: str) -> None:
    spec, words = BY_API_SERVER[name]
    with pytest.raises(Exception, match=r"(?i)invalid") as caught:
        scene.servers.create(f"refused-{name}", spec, settled=False)
    assert all(word in str(caught.value) for word in words), caught.value


@contextmanager
def created(scene: Scene, body: Object) -> Iterator[None]:
    scene.kube.create(body, NAMESPACE)
    try:
        yield
    finally:
        scene.kube.delete(body["kind"], body["metadata"]["name"], NAMESPACE)


def own_autoscaler(target: Object) -> Object:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"own-{target['kind'].lower()}"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": [metric]},
    }


def own_scaled_object(target: Object) -> Object:
    trigger = {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": f"own-{target['kind'].lower()}"},
        "spec": {"scaleTargetRef": target, "maxReplicaCount": 3, "triggers": [trigger]},
    }


@pytest.mark.parametrize("source", ["builtin", "operator"])
def test_autoscaler_of_the_users_own_is_named_until_it_is_gone(scene: Scene, source: str) -> None:
    name = f"shared-{source}"
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    server = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": name}
    bodies = [own_autoscaler(deployment), own_autoscaler(server), own_scaled_object(server)]
    names = [f"{body['kind']} {body['metadata']['name']}" for body in bodies]
    with created(scene, bodies[0]), created(scene, bodies[1]), created(scene, bodies[2]):
        scene.servers.create(name, {"autoscaling": {"maxReplicas": 3, "source": source}})
        scene.active(name, "False", "OtherAutoscaler", *names, "Delete it, or remove spec.autoscaling")
    scene.becomes(name, 1)
    scene.active(name, "True", "ValidMetricFound" if source == "builtin" else "OperatorScales")


def test_metrics_that_come_from_nowhere_are_named_until_they_come(scene: Scene) -> None:
    for source in ("builtin", "operator"):
        scene.servers.create(f"silent-{source}", {"autoscaling": {"maxReplicas": 3, "source": source}})
    for source in ("builtin", "operator"):
        scene.becomes(f"silent-{source}", 1)
        for pod in scene.ready(f"silent-{source}"):
            scene.fleet.replicas[pod].has_metrics = False
    scene.active("silent-operator", "False", "NoMetrics", "--disable-log-stats")
    scene.active("silent-builtin", "False", "FailedGetPodsMetric", "the replicas export no load", "--disable-log-stats")
    for source in ("builtin", "operator"):
        for pod in scene.ready(f"silent-{source}"):
            scene.fleet.replicas[pod].has_metrics = True
    scene.active("silent-operator", "True", "OperatorScales")
    scene.active("silent-builtin", "True", "ValidMetricFound")


def test_adapter_without_series_is_named_with_the_way_out(scene: Scene) -> None:
    """The operator's own API has no KV cache usage under the name that prometheus-adapter's rule gives it."""
    scaling = {"maxReplicas": 2, "source": "prometheus-adapter", "targetKVCacheUsage": 0.5}
    scene.servers.create("seriesless", {"autoscaling": scaling})
    scene.becomes("seriesless", 1)
    scene.fleet.replicas[scene.ready("seriesless")[0]].has_metrics = False
    scene.active("seriesless", "False", "FailedGetPodsMetric", "autoscaling.source to builtin")
    scene.fleet.replicas[scene.ready("seriesless")[0]].has_metrics = True
    scene.servers.patch("seriesless", {"autoscaling": {"source": "builtin", "targetKVCacheUsage": None}})
    scene.active("seriesless", "True", "ValidMetricFound")
