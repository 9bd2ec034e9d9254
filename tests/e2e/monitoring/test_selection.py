"""The real prometheus-operator selects our objects by `monitoring.labels`, and its Prometheus accepts the result."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.monitoring import generated
from tests.e2e.monitoring.prometheus import RELEASE
from tools.harness.control_plane import control_plane
from tools.harness.kube import Object
from tools.harness.real_cluster import tool
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

OBJECTIVES = {"availability": {"objective": 0.999}, "latency": {"objective": 0.99, "thresholdSeconds": 30}}


def monitoring_objects(name: str, **monitoring: Any) -> list[Object]:
    """Return the PodMonitor and the PrometheusRule of a server."""
    spec = {"model": {"uri": "file:///models/tiny"}, "monitoring": monitoring}
    body = {"metadata": {"name": name, "namespace": "default", "uid": "4a1f0e7e"}, "spec": spec}
    manifests = desired_state(body, MONITORING_KINDS).manifests
    return [dict(manifest.body) for manifest in manifests if manifest.body["kind"] in MONITORING_KINDS]


def test_objects_with_the_label_are_selected_and_others_are_not(tmp_path: Path) -> None:
    wanted = monitoring_objects("wanted", labels=RELEASE, slo=OBJECTIVES)
    other = monitoring_objects("other")
    with control_plane() as plane:
        kube = plane.kube()
        for file in generated.crd_files():
            kube.kubectl("apply", "--server-side", "-f", str(file))
        kube.wait_for_crds(f"prometheuses.{generated.GROUP}", f"prometheusrules.{generated.GROUP}")
        for body in (*wanted, *other):
            body["metadata"].pop("ownerReferences", None)
            kube.apply(body, "--server-side")
        with generated.prometheus_operator(kube, tmp_path / "operator.log"):
            kube.eventually(lambda: bool(generated.rule_files(kube)), within=generated.SYNC_SECONDS)
            kube.eventually(
                lambda: bool((generated.configuration(kube) or {}).get("scrape_configs")), within=generated.SYNC_SECONDS
            )
            found, files = generated.configuration(kube), generated.rule_files(kube)

        assert found is not None
        assert [job["job_name"] for job in found["scrape_configs"]] == ["podMonitor/default/wanted/0"]
        groups = {group["name"] for content in files.values() for group in content["groups"]}
        assert groups == {"vllmserver.wanted", "vllmserver.wanted.slo"}
        folder = tmp_path / "rules"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(yaml.safe_dump(content))
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(generated.for_a_process(found, kube, folder)))
        promtool = tool("tool", "promtool")
        done = subprocess.run(
            [promtool, "check", "config", str(tmp_path / "prometheus.yaml")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
