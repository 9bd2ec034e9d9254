"""The Grafana dashboards as ConfigMaps, which the sidecar of Grafana's chart finds by their label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.desired.rendering.templates import template_folder

LABEL = {"grafana_dashboard": "1"}
"""Label that the sidecar selects by default (chart `grafana`, `sidecar.dashboards.label`)."""

FOLDER = {"grafana_folder": "vLLM"}
"""Annotation that names the folder of the dashboards (`sidecar.dashboards.folderAnnotation`)."""

PREFIX = "vllm-"


def dashboard_texts() -> dict[str, str]:
    """Return the JSON of each dashboard by the name of its file."""
    return {path.name: path.read_text() for path in sorted((template_folder() / "dashboards").glob("*.json"))}


def dashboard_config_maps(name: str, namespace: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a ConfigMap for each dashboard.

    Args:
        name: beginning of their names.
        namespace: their namespace.
        labels: their labels, in addition to that of the sidecar.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{name}-dashboard-{file.removeprefix(PREFIX).removesuffix('.json')}",
                "namespace": namespace,
                "labels": {**labels, **LABEL},
                "annotations": dict(FOLDER),
            },
            "data": {file: text},
        }
        for file, text in dashboard_texts().items()
    ]
