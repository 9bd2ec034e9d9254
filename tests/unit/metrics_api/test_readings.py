"""Which replicas count, and what the metrics of pods and servers are."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.helpers.pods import deleted_pod, loading_pod, pod, ready_pod
from tests.unit.metrics_api.fake_objects import TIME, FakeCached, FakeObjects, FakeSampler
from vllm_operator.kube.label_selector import LabelSelector, parse_selector
from vllm_operator.metrics_api import readings
from vllm_operator.metrics_api.readings import LoadReader, read_replica
from vllm_operator.probing.load_sampler import LoadSampler
from vllm_operator.probing.replica_load import RequestLoad

NOW = TIME + 5
ALL = LabelSelector()


def addressed(body: dict[str, Any]) -> dict[str, Any]:
    """Return a pod with an address."""
    body["status"]["podIP"] = "10.0.0.7"
    body["metadata"]["namespace"] = "llm"
    return body


@pytest.fixture
def objects() -> FakeObjects:
    found = FakeObjects()
    found.pods["mistral"] = [FakeCached(addressed(ready_pod(name))) for name in ("m-1", "m-2")]
    found.servers["mistral"] = {"metadata": {"name": "mistral", "labels": {"team": "a"}}}
    return found


@pytest.fixture
def sampler() -> FakeSampler:
    made = FakeSampler()
    made.loads = {"uid-of-m-1": RequestLoad(3.0, 1.0, 0.5), "uid-of-m-2": RequestLoad(5.0, 0.0, None)}
    return made


@pytest.fixture
def reader(objects: FakeObjects, sampler: FakeSampler) -> LoadReader:
    return LoadReader(objects, cast("LoadSampler", sampler))


async def numbers(reader: LoadReader, metric: str, selector: str = "", name: str = "*") -> dict[str, float]:
    values = await reader.pods("llm", name, parse_selector(selector), metric)
    assert all((value.namespace, value.time) == ("llm", TIME) for value in values)
    return {value.name: value.number for value in values}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("vllm_num_requests_running", {"m-1": 3.0, "m-2": 5.0}),
        ("vllm_num_requests_waiting", {"m-1": 1.0, "m-2": 0.0}),
        ("vllm_num_requests", {"m-1": 4.0, "m-2": 5.0}),
        ("vllm_kv_cache_usage", {"m-1": 0.5}),
    ],
)
async def test_metrics_of_pods(reader: LoadReader, metric: str, expected: dict[str, float]) -> None:
    assert await numbers(reader, metric) == expected


async def test_one_pod_by_name(reader: LoadReader) -> None:
    assert await numbers(reader, "vllm_num_requests", name="m-2") == {"m-2": 5.0}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app.kubernetes.io/instance=mistral", {"m-1", "m-2"}),
        ("app.kubernetes.io/instance=other", set()),
        ("app.kubernetes.io/instance in (mistral,other),pod-template-hash!=x", {"m-1", "m-2"}),
        ("!app.kubernetes.io/instance", set()),
    ],
)
async def test_label_selector_is_honoured(reader: LoadReader, selector: str, names: set[str]) -> None:
    assert set(await numbers(reader, "vllm_num_requests", selector)) == names


@pytest.mark.parametrize("body", [deleted_pod("m"), loading_pod("m"), pod("m")], ids=["drains", "loads", "is created"])
def test_replica_that_takes_no_requests_is_left_out(body: dict[str, Any]) -> None:
    assert read_replica(addressed(body)) is None


def test_pod_without_an_address_is_left_out() -> None:
    assert read_replica(ready_pod("m")) is None


async def test_silent_replica_is_left_out(reader: LoadReader, sampler: FakeSampler) -> None:
    sampler.loads["uid-of-m-1"] = None

    assert await numbers(reader, "vllm_num_requests") == {"m-2": 5.0}


async def test_pod_is_parsed_once_for_each_version(reader: LoadReader, objects: FakeObjects) -> None:
    first = objects.pods["mistral"][0]
    for _ in range(3):
        await numbers(reader, "vllm_num_requests")
    assert first.parsed == 1

    first.content["metadata"]["resourceVersion"] = "2"
    await numbers(reader, "vllm_num_requests")

    assert first.parsed == 2


async def test_memory_of_pods_is_bounded(reader: LoadReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "MAX_MEMO", 1)

    assert await numbers(reader, "vllm_num_requests") == {"m-1": 4.0, "m-2": 5.0}


async def server_number(reader: LoadReader, metric: str, name: str = "mistral", selector: LabelSelector = ALL) -> Any:
    values = await reader.servers("llm", name, selector, metric, NOW)
    return [(value.number, value.time) for value in values]


async def test_metrics_of_a_server(reader: LoadReader) -> None:
    assert await server_number(reader, "vllm_num_requests") == [(9.0, TIME)]
    assert await server_number(reader, "vllm_kv_cache_usage", "*") == [(0.5, TIME)]


async def test_silent_replica_counts_like_the_others(reader: LoadReader, sampler: FakeSampler) -> None:
    del sampler.loads["uid-of-m-1"]

    assert await server_number(reader, "vllm_num_requests") == [(10.0, TIME)]


async def test_server_whose_replicas_are_all_silent_has_no_value(reader: LoadReader, sampler: FakeSampler) -> None:
    sampler.loads.clear()

    assert await server_number(reader, "vllm_num_requests") == []


async def test_server_without_replicas_has_no_load(reader: LoadReader, objects: FakeObjects) -> None:
    objects.pods.clear()

    assert await server_number(reader, "vllm_num_requests") == [(0.0, NOW)]


async def test_servers_are_found_by_name_and_label(reader: LoadReader) -> None:
    assert await server_number(reader, "vllm_num_requests", "other") == []
    assert await server_number(reader, "vllm_num_requests", "*", parse_selector("team=b")) == []
    assert len(await server_number(reader, "vllm_num_requests", "*", parse_selector("team in (a)"))) == 1
