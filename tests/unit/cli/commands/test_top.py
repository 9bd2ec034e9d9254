from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.helpers.plugin import plugin
from tests.unit.cli.commands.conftest import Run
from vllm_operator.cli.commands.top import cache_bar, look


def test_table_has_a_row_for_each_replica(run: Run) -> None:
    lines = run("top").stdout.splitlines()
    assert lines[0].split()[:3] == ["SERVER", "REPLICA", "PHASE"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert set(rows) == {"mistral", "crashed", "refused"}
    assert "%" in rows["mistral"]
    assert "CrashLooping" in rows["crashed"]


def test_wide_table_has_node_and_image(run: Run) -> None:
    lines = run("top", "mistral", "-o", "wide").stdout.splitlines()
    assert lines[0].split()[-2:] == ["NODE", "IMAGE"]
    assert "gpu-3" in lines[1]
    assert yaml.safe_load(run("top", "mistral", "-o", "yaml").stdout)[0]["node"] == "gpu-3"


def test_data_has_the_load(run: Run) -> None:
    lines = json.loads(run("top", "mistral", "-o", "json").stdout)
    assert lines[0]["load"]["running"] is not None


def test_screen_shows_rates_from_the_second_look_on(
    run: Run, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [0]
    path = "GET /api/v1/namespaces/llm/pods/mistral-5f9c6d7b8-aaaaa:8000/proxy/metrics"
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def sleep(seconds: float) -> None:
        looks[0] += 1
        clock[0] += 2.0
        api.answers[path] = (200, b"vllm:generation_tokens_total %d\n" % (1000 * looks[0]))
        if looks[0] == 3:
            raise KeyboardInterrupt

    api.answers[path] = (200, b"vllm:generation_tokens_total 0\n")
    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("top", "mistral", terminal=True, environment={"TERM": "xterm", "COLUMNS": "200"})
    assert ended.code == 130
    assert "500 generated tokens/s" in ended.stdout
    assert "\x1b[?1049h" in ended.stdout
    assert "\x1b[?1049l" in ended.stdout


def test_missing_metrics_are_said(run: Run, api: FakeApiServer) -> None:
    path = "GET /api/v1/namespaces/llm/pods/mistral-5f9c6d7b8-aaaaa:8000/proxy/metrics"
    api.answers[path] = (503, status_object(503, "ServiceUnavailable", "error trying to reach service"))
    assert "error trying to reach service" in run("top", "mistral").stdout


@pytest.mark.parametrize(
    ("used", "bar"),
    [(None, "-"), (0.0, ".......... " + " 0.0%"), (0.5, "#####..... 50.0%"), (1.0, "########## 100.0%")],
)
def test_cache_is_a_bar(used: float | None, bar: str) -> None:
    assert cache_bar(used) == bar


def test_names_with_all_namespaces_are_a_usage_error() -> None:
    assert plugin("top", "a", "-A").code == 2


def test_counter_that_starts_again_has_no_rate() -> None:
    from vllm_operator.cli.commands import top

    assert look is top.look
    assert top._rate(1.0, 5.0, 2.0) is None
    assert top._rate(5.0, 1.0, 2.0) == 2.0


def test_failed_look_is_noted_and_the_last_numbers_stay(
    run: Run, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [0]

    def sleep(seconds: float) -> None:
        looks[0] += 1
        if looks[0] == 1:
            api.answers["GET /apis/vllm-operator.dev/v1alpha1/namespaces/llm/vllmservers"] = (503, {})
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("top", terminal=True, environment={"TERM": "xterm", "COLUMNS": "200"})
    assert ended.code == 130
    assert "not current: the API server answered 503" in ended.stdout
