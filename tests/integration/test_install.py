"""The output of `manifests`, applied to a real API server."""

from __future__ import annotations

from tools.harness.kube import Kube
from vllm_operator.install.manifests import MonitoringOptions, operator_manifests, to_yaml

NAMESPACE = "vllm-operator-system"


def test_api_server_stores_every_object_unchanged(kube: Kube) -> None:
    """With the monitoring of the operator itself; strictly, so that no field is dropped or unknown."""
    watching = MonitoringOptions(pod_monitor=True, rules=True, runbooks="https://wiki.example/%s")
    objects = operator_manifests("registry.example/vllm-operator:1.2.3", NAMESPACE, (), watching)
    first = [body for body in objects if body["kind"] == "Namespace"]
    kube.apply(to_yaml(first), "--server-side")
    options = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    answer = kube.apply(to_yaml(objects), *options, namespace=NAMESPACE)
    taken = [line for line in answer.stdout.splitlines() if line.endswith("(server dry run)")]
    assert len(taken) == len(objects), answer.stdout
    assert "Warning" not in answer.stderr
    assert {"PodMonitor", "PrometheusRule"} <= {body["kind"] for body in objects}
