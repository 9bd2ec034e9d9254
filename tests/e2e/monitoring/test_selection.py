"""The real prometheus-operator selects our objects by `monitoring.labels`, and configures the two real programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.monitoring import alertmanager, generated, stack
from tests.e2e.monitoring.generated import RELEASE
from tests.e2e.monitoring.prometheus import Prometheus
from tools.harness.control_plane import control_plane
from tools.harness.kube import Kube, Object
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

OBJECTIVES = {"availability": {"objective": 0.999}, "latency": {"objective": 0.99, "thresholdSeconds": 30}}
ALERT_SECONDS = 120.0
"""Longest time until a rule was taken up, evaluated and sent on: each program has intervals of up to 30 s."""


def probe_rule(expr: str) -> Object:
    """Return a rule whose alert fires at once where the expression has a value."""
    rule = {"alert": "Probe", "expr": expr}
    return {
        "apiVersion": f"{generated.GROUP}/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "probe", "labels": RELEASE},
        "spec": {"groups": [{"name": "probe", "interval": "2s", "rules": [rule]}]},
    }


def monitoring_objects(name: str, **monitoring: Any) -> list[Object]:
    """Return the PodMonitor and the PrometheusRule of a server."""
    spec = {"model": {"uri": "file:///models/tiny"}, "monitoring": monitoring}
    body = {"metadata": {"name": name, "namespace": "default", "uid": "4a1f0e7e"}, "spec": spec}
    manifests = desired_state(body, MONITORING_KINDS).manifests
    return [dict(manifest.body) for manifest in manifests if manifest.body["kind"] in MONITORING_KINDS]


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """An API server with the CRDs of prometheus-operator, and the objects of two servers."""
    with control_plane() as plane:
        kube = plane.kube()
        for file in generated.crd_files():
            kube.kubectl("apply", "--server-side", "-f", str(file))
        kube.wait_for_crds(*(f"{plural}.{generated.GROUP}" for plural in ("prometheuses", "prometheusrules")))
        labelled = monitoring_objects("wanted", labels=RELEASE, slo=OBJECTIVES)
        for body in (*labelled, *monitoring_objects("other")):
            body["metadata"].pop("ownerReferences", None)
            kube.apply(body, "--server-side")
            if body["kind"] == "PodMonitor":
                run_pod(kube, body["metadata"]["name"], body["spec"]["selector"]["matchLabels"])
        yield kube


def run_pod(kube: Kube, name: str, labels: Object) -> None:
    """Create a pod, and write the status that a kubelet would."""
    container = {"name": "vllm", "image": "any", "ports": [{"name": "http", "containerPort": 8000}]}
    metadata = {"name": name, "labels": labels}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    kube.eventually(lambda: kube.get("ServiceAccount", "default", "default") is not None, within=60)
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, "--server-side")
    address = "127.0.0.1"
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    kube.patch("Pod", name, "default", {"status": status}, status=True)


@pytest.fixture(scope="module")
def receiver() -> Iterator[alertmanager.Receiver]:
    with alertmanager.receiver() as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(
    kube: Kube, receiver: alertmanager.Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    with stack.monitored(kube, receiver.url, tmp_path_factory.mktemp("prometheus")) as found:
        yield found


def test_objects_with_the_label_are_selected_and_others_are_not(kube: Kube, prometheus: Prometheus) -> None:
    kube.eventually(lambda: prometheus.has_rules_of("wanted"), within=generated.SYNC_SECONDS)
    kube.eventually(lambda: bool(prometheus.get("scrape_pools")["scrapePools"]), within=generated.SYNC_SECONDS)

    assert prometheus.get("scrape_pools")["scrapePools"] == ["podMonitor/default/wanted/0"]
    kube.eventually(lambda: bool(prometheus.get("targets")["activeTargets"]), within=generated.SYNC_SECONDS)
    [target] = prometheus.get("targets")["activeTargets"]
    labels = {"namespace": "default", "pod": "wanted", "container": "vllm", "job": "default/wanted"}
    assert labels.items() <= target["labels"].items()
    groups = {group["name"] for group in prometheus.get("rules")["groups"]}
    assert groups == {"vllmserver.wanted", "vllmserver.wanted.slo"}
    assert (prometheus.refused, prometheus.sick_rules()) == ([], [])


def test_alert_reaches_the_receiver_and_so_does_its_end(
    kube: Kube, prometheus: Prometheus, receiver: alertmanager.Receiver
) -> None:
    start = time.time()
    kube.apply(probe_rule("vector(1)"), "--server-side")
    kube.eventually(lambda: receiver.first("Probe", "firing", start, {}) is not None, within=ALERT_SECONDS)

    # Prometheus keeps the state of an alert of the same name; a rule that is deleted ends it after minutes only.
    kube.apply(probe_rule("vector(1) > 1"), "--server-side")
    kube.eventually(lambda: receiver.first("Probe", "resolved", start, {}) is not None, within=ALERT_SECONDS)
