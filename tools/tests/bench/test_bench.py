"""What the benchmark makes of its figures."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import orjson
import pytest

from tools.bench import reflex
from tools.bench.breakdown import shares
from tools.bench.growth import exponent
from tools.bench.latency import EDITED, spreads
from tools.bench.loop import FastClient
from tools.bench.pacing import until_silent
from tools.bench.table import table
from tools.harness.audit import Request, by_target


@pytest.mark.parametrize("power", [0.5, 1.0, 1.15, 2.0])
def test_exponent_is_that_of_the_power(power: float) -> None:
    sizes = [100, 500, 1000, 5000]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=0.01)


def test_one_size_tells_no_growth() -> None:
    assert exponent([100, 100], [1.0, 2.0]) is None


def test_sample_belongs_to_its_innermost_frame() -> None:
    samples = "run (vllm_operator/__main__.py:1);loads (json/__init__.py:3) 3\nworker (kopf/_core/queueing.py:1) 1\n"
    assert shares(samples) == {"JSON and compression": 75.0, "kopf": 25.0}


def test_no_samples_have_no_shares() -> None:
    assert shares("") == {}


@pytest.mark.parametrize(("counts", "most", "windows"), [([3, 1, 0], 0, 3), ([3, 1, 0], 1, 2), ([0], 0, 1)])
def test_silence_is_the_first_window_with_few_writes(counts: list[int], most: int, windows: int) -> None:
    marks = itertools.count()
    asyncio.run(until_silent(lambda: next(marks), lambda mark: counts[mark], 0.001, 60, most))
    assert next(marks) == windows


def test_who_never_stops_to_write_is_not_waited_for() -> None:
    marks = itertools.count()
    asyncio.run(until_silent(lambda: next(marks), lambda _: 1, 60, 0.01))
    assert next(marks) == 1


def test_writes_are_told_by_their_target() -> None:
    found = [_write("deployments"), _write("vllmservers", "status"), _write("vllmservers", "status")]
    assert list(by_target(found).items()) == [("vllmservers/status", 2), ("deployments", 1)]


class Recorded(FastClient):
    """A client whose API server has these paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.posted: list[str] = []

    async def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if method == "POST":
            self.posted.append(path)
        elif path not in self.paths:
            raise FileNotFoundError(path)
        return {}


@pytest.mark.parametrize(("there", "posts"), [((), 1), (("/api/v1/namespaces/scale",), 0)])
def test_namespace_of_the_setup_is_left_as_it_is(there: tuple[str, ...], posts: int) -> None:
    client = Recorded(*there)
    asyncio.run(client.namespace("scale"))
    assert client.posted == ["/api/v1/namespaces"] * posts


def test_table_tells_what_is_written_at_rest_and_after_a_restart() -> None:
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 7, "writes_by_target": {"leases": 5, "pods": 2}}
    restart = {"watched_seconds": 55, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, "rest": rest, "restart": restart}).splitlines()
    at_rest = "| unchanged for 60 s | 0 writes, 0 lists, 1 % of a core "
    assert f"{at_rest}| 7 writes (leases 5, pods 2), 0 lists, 1.5 % of a core |" in rows
    assert "| restart | 0 writes, 10 s | 0 writes in 55 s |" in rows


def test_table_tells_when_this_operator_was_ready() -> None:
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 0, "writes_by_target": {}}
    restart = {"ready_seconds": 2.8, "watched_seconds": 53, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, "rest": rest, "restart": restart}).splitlines()
    assert "| restart | 0 writes, 10 s | 0 writes in 53 s, ready after 2.8 s |" in rows


def test_reflex_stands_beside_what_it_is_the_floor_of() -> None:
    measured, floor = {"p50": 48, "max": 70}, {"p50": 30, "max": 41}
    latencies = {"latency_ms_alone": {"edit_reverted": measured}, "latency_ms_reflex": {"edit_reverted": floor}}
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 0, "writes_by_target": {}}
    restart = {"watched_seconds": 53, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, **latencies, "rest": rest, "restart": restart}).splitlines()
    at = rows.index("| edit reverted, alone (ms) | p50 20, max 1000 | p50 48, max 70 |")
    assert rows[at + 1] == "| the same by a reflex, alone (ms) |  | p50 30, max 41 |"


def test_samples_become_a_spread_a_row() -> None:
    samples = [{"back": 0.010, "reverted": 0.020}, {"back": 0.030, "reverted": 0.020}, {"back": 0.011, "reverted": 0.5}]
    assert spreads(samples) == {"back": {"p50": 11, "max": 30}, "reverted": {"p50": 20, "max": 500}}


def test_reflex_writes_what_the_operator_applied_and_nothing_else() -> None:
    service = {
        "metadata": {
            "name": "s",
            "namespace": "n",
            "uid": "u",
            "labels": {"app": "s"},
            "annotations": {"hash": "1", "of": "another"},
            "ownerReferences": [{"kind": "VLLMServer", "uid": "o"}],
            "managedFields": [_entry("Update", {"f:spec": {"f:type": {}}}), _entry("Apply", APPLIED)],
        },
        "spec": {"clusterIP": "10.0.0.1", "type": "ClusterIP", "ports": [PORT, {**PORT, "port": 9}]},
        "status": {},
    }
    bodies = reflex.recorded({"apiVersion": "v1", "kind": "ServiceList", "items": [service]})
    metadata = {"name": "s", "namespace": "n", "labels": {"app": "s"}, "annotations": {"hash": "1"}}
    metadata["ownerReferences"] = [{"kind": "VLLMServer", "uid": "o"}]
    spec = {"ports": [{"port": 80, "targetPort": "http"}]}
    assert orjson.loads(bodies["s"]) == {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


PORT = {"port": 80, "protocol": "TCP", "targetPort": "http"}
APPLIED = {
    "f:metadata": {
        "f:labels": {"f:app": {}},
        "f:annotations": {".": {}, "f:hash": {}},
        "f:ownerReferences": {'k:{"uid":"o"}': {}},
    },
    "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:targetPort": {}}}},
}


@pytest.mark.parametrize(
    ("kind", "event", "deadline", "is_asked"),
    [
        ("Service", "DELETED", None, True),
        ("Service", "ADDED", None, False),
        ("Deployment", "MODIFIED", EDITED, True),
        ("Deployment", "MODIFIED", 600, False),
    ],
)
def test_reflex_answers_what_the_bench_does(kind: str, event: str, deadline: int | None, is_asked: bool) -> None:
    spec = {"progressDeadlineSeconds": deadline}
    assert reflex.asks({"type": event, "object": {"kind": kind, "spec": spec}}) is is_asked


CONVERGED = {
    "servers": 1,
    "children_per_server": 1,
    "pods": "pending",
    "converge_seconds": 1.0,
    "operator_cpu_ms_per_server": 1.0,
    "operator_rss_mib": 1,
    "writes_per_server": 2.0,
    "reads_per_server": 0.0,
}


def _entry(operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": "vllm-operator", "operation": operation, "fieldsV1": fields}


def _write(resource: str, subresource: str = "") -> Request:
    return Request("patch", "", resource, subresource, "scale", "s00000", 200, "", "", "", is_denied=False)
