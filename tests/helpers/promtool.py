"""Fixtures that run the real promtool."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.monitored_servers import rules
from tests.helpers.paths import REPOSITORY
from tests.helpers.replica_series import INTERVAL_SECONDS
from vllm_operator.api.server import VLLMServer

RunRules = Callable[..., None]
"""(rule file, test of promtool's, evaluation_seconds=15) -> fails with promtool's own words unless the test holds.

promtool evaluates all groups at one interval, whatever interval a group has."""


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool: `$PROMTOOL`, else built once by the test cluster. Skips only where Go is missing."""
    if ready := os.environ.get("PROMTOOL"):
        return ready
    if shutil.which("go") is None:
        pytest.skip("promtool is built with Go, which is not installed")
    command = [sys.executable, "-m", "tools.localcluster", "tool", "promtool"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    path = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not Path(path).is_file():
        pytest.fail(f"promtool could not be built: {done.stderr or done.stdout}")
    return path


@pytest.fixture
def run_rules(promtool: str, tmp_path: Path) -> RunRules:
    """Run one test of `promtool test rules` over a rule file."""

    def run(body: dict[str, Any], test: dict[str, Any], evaluation_seconds: int = INTERVAL_SECONDS) -> None:
        interval = f"{INTERVAL_SECONDS}s"
        unit = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": f"{evaluation_seconds}s",
            "tests": [{"interval": interval, **test}],
        }
        (tmp_path / "rules.yaml").write_text(json.dumps(body, ensure_ascii=False))
        (tmp_path / "test.yaml").write_text(json.dumps(unit, ensure_ascii=False))
        command = [promtool, "test", "rules", "test.yaml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture
def assert_firing(run_rules: RunRules) -> Callable[..., None]:
    """Assert what fires at a time, of all alerts of some servers: server -> alert -> number of instances."""

    def check(series: list[dict[str, str]], at: str, expected: list[tuple[VLLMServer, dict[str, int]]]) -> None:
        samples = [
            {
                "labels": f'{{alertname="{alert}",namespace="{server.namespace}",vllmserver="{server.name}"}}',
                "value": count,
            }
            for server, alerts in expected
            for alert, count in alerts.items()
        ]
        query = 'count by (alertname, namespace, vllmserver) (ALERTS{alertstate="firing"})'
        expectation = {"expr": query, "eval_time": at, "exp_samples": samples}
        run_rules(
            rules(*(server for server, _ in expected)), {"input_series": series, "promql_expr_test": [expectation]}
        )

    return check
