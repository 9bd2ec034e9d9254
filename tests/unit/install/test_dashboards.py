"""Dashboards as ConfigMaps: found by the sidecar, small enough, and only where they are asked for."""

from __future__ import annotations

import json

from vllm_operator.install.dashboards import dashboard_config_maps
from vllm_operator.install.manifests import MonitoringOptions, operator_manifests

LIMIT_BYTES = 1024 * 1024
"""Largest ConfigMap (Kubernetes)."""


def test_each_dashboard_is_a_config_map_that_the_sidecar_finds() -> None:
    found = dashboard_config_maps("vllm-operator", "ops", {"team": "ml"})

    assert [body["metadata"]["name"] for body in found] == [
        "vllm-operator-dashboard-fleet",
        "vllm-operator-dashboard-operator",
        "vllm-operator-dashboard-server",
    ]
    for body in found:
        assert body["metadata"]["labels"] == {"team": "ml", "grafana_dashboard": "1"}
        assert body["metadata"]["annotations"] == {"grafana_folder": "vLLM"}
        (text,) = body["data"].values()
        assert json.loads(text)["panels"]
        assert len(text.encode()) < LIMIT_BYTES


def test_install_file_holds_dashboards_only_with_the_option() -> None:
    kinds = [
        [body["kind"] for body in operator_manifests("image", "ops", (), MonitoringOptions(dashboards=asked))]
        for asked in (False, True)
    ]
    assert kinds[0].count("ConfigMap") == 0
    assert kinds[1] == [*kinds[0], *["ConfigMap"] * 3]
