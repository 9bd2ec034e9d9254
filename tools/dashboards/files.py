"""The generated files of the dashboards."""

from __future__ import annotations

from pathlib import Path

from tools.dashboards import fleet, operator, server
from tools.dashboards.grafana import to_json
from tools.localcluster.settings import REPOSITORY

DASHBOARDS = (server.DASHBOARD, fleet.DASHBOARD, operator.DASHBOARD)

FOLDERS = (
    REPOSITORY / "templates" / "dashboards",
    REPOSITORY / "charts" / "vllm-operator" / "files" / "dashboards",
)
"""Folders of the JSON: of the operator's package, for `manifests --dashboards`, and of the chart."""


def dashboard_files() -> dict[Path, str]:
    """Return each file with its content."""
    texts = {f"{dashboard.uid}.json": to_json(dashboard) for dashboard in DASHBOARDS}
    return {folder / name: text for folder in FOLDERS for name, text in texts.items()}
