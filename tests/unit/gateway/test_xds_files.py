from __future__ import annotations

import json
import stat
from pathlib import Path

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.build import EnvoyFiles, build_files
from vllm_operator.gateway.envoy.clusters import MAX_WATCHED
from vllm_operator.gateway.envoy.names import PodLayout
from vllm_operator.gateway.snapshot import GatewayServer, GatewaySnapshot, ReplicaEndpoint
from vllm_operator.gateway.xds_files import RETIRE_SECONDS, XdsFiles, prepare_folder


def files(*names: str, port: int = 8000) -> EnvoyFiles:
    servers = tuple(GatewayServer(name, (name,), (ReplicaEndpoint("10.0.0.1", port),)) for name in names)
    return build_files(PodLayout(), GatewaySnapshot("gw", 1, GatewaySpec(), servers))


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    xds = XdsFiles(tmp_path)
    assert xds.write(files("a", "b"))[-1] == "lds/lds.json"
    assert xds.write(files("a", "b")) == []
    assert xds.write(files("a", "b", port=9000)) == ["eds-a.PrefixAware/eds.json", "eds-b.PrefixAware/eds.json"]


def test_endpoints_and_clusters_come_before_the_routes(tmp_path: Path) -> None:
    xds = XdsFiles(tmp_path)
    xds.write(files("a"))
    assert xds.write(files("a", "b")) == ["eds-b.PrefixAware/eds.json", "cds/cds.json", "rds/rds.json"]


def test_a_cluster_stays_while_streams_may_run_in_it(tmp_path: Path) -> None:
    now = [0.0]
    xds = XdsFiles(tmp_path, lambda: now[0])
    xds.write(files("a", "b"))
    xds.write(files("a"))

    def names() -> list[str]:
        return [one["name"] for one in json.loads((tmp_path / "cds" / "cds.json").read_text())["resources"]]

    assert names() == ["a.PrefixAware", "b.PrefixAware"]
    now[0] = RETIRE_SECONDS + 1
    xds.write(files("a"))
    assert names() == ["a.PrefixAware"]


def test_files_are_private_and_no_temporary_one_is_left(tmp_path: Path) -> None:
    XdsFiles(tmp_path).write(files("a"))
    for path in tmp_path.rglob("*.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list((tmp_path / ".tmp").iterdir()) == []


def test_a_prepared_folder_has_empty_files_and_keeps_those_that_are_there(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    assert json.loads((tmp_path / "lds" / "lds.json").read_text()) == {"resources": []}
    XdsFiles(tmp_path).write(files("a"))
    prepare_folder(tmp_path)
    assert json.loads((tmp_path / "cds" / "cds.json").read_text())["resources"]


def test_few_files_are_watched_however_many_servers_there_are(tmp_path: Path) -> None:
    xds = XdsFiles(tmp_path)
    for first in (0, 500):
        xds.write(files(*(f"s{number:03}" for number in range(first, first + 300))))
        clusters = json.loads((tmp_path / "cds" / "cds.json").read_text())["resources"]
        assert sum(one["type"] == "EDS" for one in clusters) == MAX_WATCHED
        for one in clusters:
            [replicas, _] = one.get("load_assignment", {"endpoints": [{"lb_endpoints": [0]}, {}]})["endpoints"]
            assert len(replicas["lb_endpoints"]) == 1
    assert len(clusters) == 600
