"""The dashboards: up to date, whole, and about metrics that somebody exports."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.operator_metrics import documented, documented_of_servers
from tests.helpers.paths import REPOSITORY
from tools.dashboards.files import DASHBOARDS, FOLDERS, dashboard_files
from tools.dashboards.model import Dashboard
from tools.dashboards.queries import fill, filled, metrics_in
from vllm_operator.install.dashboards import dashboard_texts

RELEASES = REPOSITORY / "operator" / "vllm_operator" / "vllm" / "releases"
RECORDING = REPOSITORY / "tests" / "data" / "vllm-0.32-metrics.txt"
BEFORE_0_9_2 = {"vllm:gpu_cache_usage_perc"}
OF_KUBE_STATE_METRICS = {
    "kube_deployment_spec_replicas",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_spec_target_metric",
    "kube_horizontalpodautoscaler_status_current_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
}
OF_PROMETHEUS = {"ALERTS"}
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
RECORDED_FOR_AUTOSCALERS = {"vllm_num_requests_running"}
VALUES = {"namespace": "llm", "server": "mistral"}


@pytest.fixture(params=DASHBOARDS, ids=lambda dashboard: str(dashboard.uid))
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    found = request.param
    assert isinstance(found, Dashboard)
    return found


def exported_by_vllm(paths: Iterable[Path] = tuple(RELEASES.glob("*.json"))) -> set[str]:
    """Names of the samples of measured releases; of all by default."""
    families: dict[str, str] = {}
    for path in paths:
        families |= json.loads(path.read_text())["metrics"]
    samples = {f"{name}_bucket" for name, kind in families.items() if kind == "histogram"}
    return samples | set(families) | BEFORE_0_9_2


def written(dashboard: Dashboard) -> dict[str, Any]:
    found = json.loads((FOLDERS[0] / f"{dashboard.uid}.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", dashboard_files(), ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_file_is_up_to_date(path: Any) -> None:
    assert path.read_text() == dashboard_files()[path], "run `make dashboards`"


def test_package_holds_each_dashboard() -> None:
    assert set(dashboard_texts()) == {f"{dashboard.uid}.json" for dashboard in DASHBOARDS}


def test_metrics_of_queries_are_exported(dashboard: Dashboard) -> None:
    known = exported_by_vllm() | set(documented_of_servers()) | OF_PROMETHEUS | OF_PROCESSES | RECORDED_FOR_AUTOSCALERS
    known |= {name.replace("vllm_operator_server_", "kube_vllmserver_") for name in documented_of_servers()}
    known |= OF_KUBE_STATE_METRICS | set(documented())
    known |= {f"{name}_bucket" for name, row in documented().items() if row.type == "histogram"}
    used = {name for query in filled(dashboard, VALUES, "1m") for name in metrics_in(query.expr)}
    assert used
    assert used - known == set()


@pytest.mark.parametrize("release", sorted(RELEASES.glob("*.json")), ids=lambda path: str(path.stem))
def test_each_query_about_replicas_has_a_name_of_each_release(release: Path) -> None:
    exported = exported_by_vllm([release]) - BEFORE_0_9_2
    queries = [query for one in DASHBOARDS for query in filled(one, VALUES, "1m")]
    about_vllm = [query.expr for query in queries if any(name.startswith("vllm:") for name in metrics_in(query.expr))]

    assert len(about_vllm) > 25
    assert [expr for expr in about_vllm if not metrics_in(expr) & exported] == []


def test_queries_and_variables_name_only_known_variables(dashboard: Dashboard) -> None:
    assert len(list(filled(dashboard, VALUES, "1m"))) == sum(len(panel.queries) for panel in dashboard.panels())
    before: dict[str, str] = {}
    for variable in dashboard.variables:
        # A variable may use those before it.
        fill(variable.query.replace("$1", ""), before)
        before[variable.name] = VALUES.get(variable.name, "x")


def test_titles_and_ids_are_unique_and_each_panel_is_described(dashboard: Dashboard) -> None:
    titles = [panel.title for panel in dashboard.panels()]
    assert len(titles) == len(set(titles))
    assert all(panel.description.endswith(".") for panel in dashboard.panels())
    ids = [panel["id"] for panel in written(dashboard)["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap_and_stay_on_the_grid(dashboard: Dashboard) -> None:
    places = [panel["gridPos"] for panel in written(dashboard)["panels"]]
    cells = [
        set(itertools.product(range(one["x"], one["x"] + one["w"]), range(one["y"], one["y"] + one["h"])))
        for one in places
    ]
    assert sum(map(len, cells)) == len(set().union(*cells))
    assert all(one["x"] + one["w"] <= 24 for one in places)


def test_each_query_and_variable_asks_the_chosen_data_source(dashboard: Dashboard) -> None:
    text = json.dumps(written(dashboard))
    uids = set(re.findall(r'"uid": "([^"]+)"', text))
    assert uids == {"${datasource}", dashboard.uid}
    kinds = [variable["type"] for variable in written(dashboard)["templating"]["list"]]
    assert kinds == ["datasource", *(["query"] * len(dashboard.variables))]


def test_server_dashboard_has_the_variables_of_the_replicas() -> None:
    names = [variable["name"] for variable in written(DASHBOARDS[0])["templating"]["list"]]
    assert names == ["datasource", "namespace", "server", "pod"]
