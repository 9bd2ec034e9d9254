from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.go_tools import go_tool, succeeded
from tests.helpers.target_files import GOLDEN, HARD, golden, lost, object_of, order_of, render, rendered, text_of, write
from vllm_operator.targets.compose import escape
from vllm_operator.targets.replica import read_replica


def config(folder: Path, result) -> dict:
    """Return the file as Docker compose reads it."""
    write(result, folder)
    example = folder / ".env.example"
    if example.exists():
        (folder / ".env").write_text(example.read_text().replace("=\n", "=/given\n"))
    text = succeeded(go_tool("docker-compose"), "config", "--format", "json", cwd=folder)
    # The output is a compose file again, in which a dollar sign is doubled.
    return json.loads(text.replace("$$", "$"))


def services(read: dict) -> dict:
    return {name: item for name, item in read["services"].items() if not name.endswith(("-cache-owner", "-nginx"))}


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("name", GOLDEN)
def test_docker_compose_accepts_every_golden_manifest(tmp_path: Path, name: str, replicas: int) -> None:
    order = order_of(golden(name))
    replica = read_replica(order)
    read = config(tmp_path, rendered("compose", golden(name), replicas))
    assert len(services(read)) == replicas
    for service in services(read).values():
        assert tuple(service["command"]) == replica.args
        assert replica.env.items() <= service["environment"].items()


@pytest.mark.parametrize("fields", HARD.values(), ids=HARD)
def test_values_reach_the_container_unchanged(tmp_path: Path, fields: dict) -> None:
    from tests.helpers.specs import body

    replica = read_replica(order_of(body(**fields)))
    for service in services(config(tmp_path, render("compose", **fields))).values():
        assert tuple(service["command"]) == replica.args
        assert replica.env.items() <= service["environment"].items()
        assert service["healthcheck"]["test"][0] == "CMD"


def test_a_missing_secret_stops_compose_with_its_name(tmp_path: Path) -> None:
    write(render("compose", security={"apiKeySecretRef": {"name": "keys", "key": "llm"}}), tmp_path)
    import subprocess

    done = subprocess.run([go_tool("docker-compose"), "config", "-q"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "from key llm of Secret keys" in done.stderr


def test_one_gpu_is_any_and_several_replicas_have_separate_ones() -> None:
    def devices(result) -> list:
        parts = services(object_of(result, "compose.yaml")).values()
        return [item["deploy"]["resources"]["reservations"]["devices"][0] for item in parts]

    assert [item["count"] for item in devices(render("compose", engine={"tensorParallelSize": 2}))] == [2]
    two = devices(render("compose", replicas=2, engine={"tensorParallelSize": 2}))
    assert [item["device_ids"] for item in two] == [["0", "1"], ["2", "3"]]


def test_several_replicas_stand_behind_nginx() -> None:
    result = render("compose", replicas=2)
    read = object_of(result, "compose.yaml")
    assert read["services"]["mistral-nginx"]["ports"] == ["127.0.0.1:8000:80"]
    assert all("ports" not in item for item in services(read).values())
    assert "server mistral-2:8000" in text_of(result, "nginx.conf")


def test_the_cache_belongs_to_the_user_of_vllm() -> None:
    read = object_of(render("compose"), "compose.yaml")
    owner = read["services"]["mistral-cache-owner"]
    assert owner["command"] == ["1000:1000", "/volumes/cache"]
    assert read["services"]["mistral"]["depends_on"] == {
        "mistral-cache-owner": {"condition": "service_completed_successfully"}
    }
    openshift = object_of(render("compose", security={"profile": "openshift"}), "compose.yaml")
    assert list(openshift["services"]) == ["mistral"]


def test_what_is_lost_stands_in_the_file_and_in_the_result() -> None:
    result = render("compose", autoscaling={"minReplicas": 2, "maxReplicas": 4}, monitoring={"scrape": "none"})
    assert {"spec.autoscaling", "spec.monitoring.scrape", "spec.health"} <= lost(result).keys()
    assert "# - spec.autoscaling: the number of replicas is fixed" in text_of(result, "compose.yaml")


def test_secrets_are_no_part_of_any_file() -> None:
    result = render("compose", **HARD["secrets"])
    assert text_of(result, ".env.example").count("=\n") == 2
    assert "VLLM_API_KEY: ${VLLM_API_KEY:?" in text_of(result, "compose.yaml")


def test_mig_slices_are_named_by_the_user() -> None:
    read = object_of(render("compose", accelerator={"resourceName": "nvidia.com/mig-1g.10gb"}), "compose.yaml")
    (device,) = read["services"]["mistral"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"][0].startswith("${MIG_DEVICE_1:?")


def test_dollar_signs_are_escaped() -> None:
    assert escape("$a $$b") == "$$a $$$$b"
