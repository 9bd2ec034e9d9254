from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.target_files import GOLDEN, HARD, golden, lost, order_of, render, rendered, text_of, write
from vllm_operator.targets.replica import read_replica
from vllm_operator.targets.target import TargetError

GENERATOR = next(
    (
        path
        for path in (
            os.environ.get("QUADLET", ""),
            "/usr/lib/systemd/system-generators/podman-system-generator",
            "/usr/libexec/podman/quadlet",
        )
        if path and Path(path).exists()
    ),
    None,
)
"""Podman's own generator, where it is installed: Podman 5 or later."""

CONTAINER_KEYS = frozenset(
    [
        "ContainerName",
        "Image",
        "Entrypoint",
        "Exec",
        "Environment",
        "Secret",
        "User",
        "Group",
        "DropCapability",
        "AddCapability",
        "NoNewPrivileges",
        "ReadOnly",
        "PodmanArgs",
        "AddDevice",
        "GroupAdd",
        "Volume",
        "PublishPort",
        "ShmSize",
        "RunInit",
        "HealthStartupCmd",
        "HealthStartupInterval",
        "HealthStartupTimeout",
        "HealthStartupRetries",
        "HealthStartupSuccess",
        "HealthCmd",
        "HealthInterval",
        "HealthTimeout",
        "HealthRetries",
        "HealthOnFailure",
        "Notify",
        "StopTimeout",
        "StopSignal",
        "Network",
    ]
)
"""Keys of [Container] that podman-systemd.unit(5) of Podman 5.4 and later has."""


def sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Section -> its keys and values."""
    result: dict[str, list[tuple[str, str]]] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            result[match[1]] = []
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            list(result.values())[-1].append((key, value))
    return result


def words(text: str) -> list[str]:
    """Return the words of a command line of a unit, as systemd reads them."""
    unescaped = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
    plain = [re.sub(r"\\(.)", lambda match: unescaped[match[1]], item) for item in quoted]
    return [item.replace("%%", "%").replace("$$", "$") for item in plain]


@pytest.mark.parametrize("name", GOLDEN)
def test_units_of_every_golden_manifest_have_known_keys(name: str) -> None:
    result = rendered("quadlet", golden(name), 2)
    for file in result.files:
        if file.path.endswith(".container"):
            read = sections(file.text)
            assert {key for key, _ in read["Container"]} <= CONTAINER_KEYS
            assert list(read) == ["Unit", "Container", "Service", "Install"]


@pytest.mark.parametrize("fields", HARD.values(), ids=HARD)
def test_values_reach_the_container_unchanged(fields: dict) -> None:
    from tests.helpers.specs import body

    replica = read_replica(order_of(body(**fields)))
    for file in render("quadlet", **fields).files:
        if file.path.endswith(".container") and "nginx" not in file.path:
            keys = sections(file.text)["Container"]
            assert tuple(words(dict(keys)["Exec"])) == replica.args
            env = [words(value)[0] for key, value in keys if key == "Environment"]
            assert env == [f"{name}={value}" for name, value in replica.env.items()]


@pytest.mark.skipif(GENERATOR is None, reason="Podman 5 or later is not installed, and QUADLET names no generator")
@pytest.mark.parametrize("fields", HARD.values(), ids=HARD)
def test_podmans_generator_accepts_the_units(tmp_path: Path, fields: dict) -> None:
    write(render("quadlet", **fields), tmp_path)
    done = subprocess.run(
        [str(GENERATOR), "-dryrun", "-user"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert done.stdout.count("ExecStart=/") == len(list(tmp_path.glob("*.container"))) + len(
        list(tmp_path.glob("*.volume"))
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_reads_the_service_section(tmp_path: Path) -> None:
    service = dict(sections(text_of(render("quadlet"), "mistral.container"))["Service"])
    for key in ("TimeoutStartSec", "TimeoutStopSec", "RestartSec"):
        done = subprocess.run(["systemd-analyze", "timespan", f"{service[key]}s"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert int(service["TimeoutStartSec"]) > 1800


def test_several_replicas_stand_behind_nginx_on_the_loopback() -> None:
    result = render("quadlet", replicas=2)
    ports = [dict(sections(text_of(result, f"mistral-{n}.container"))["Container"])["PublishPort"] for n in (1, 2)]
    assert ports == ["127.0.0.1:8001:8000", "127.0.0.1:8002:8000"]
    configuration = text_of(result, "mistral-nginx.conf")
    assert "server 127.0.0.1:8002 max_fails" in configuration
    assert "listen 127.0.0.1:8000;" in configuration


def test_ports_of_replicas_keep_clear_of_that_of_the_server() -> None:
    result = render("quadlet", replicas=2, service={"port": 8002})
    assert "server 127.0.0.1:9001 max_fails" in text_of(result, "mistral-nginx.conf")


def test_secrets_are_podmans() -> None:
    result = render("quadlet", **HARD["secrets"])
    assert "Secret=keys-llm,type=env,target=VLLM_API_KEY" in text_of(result, "mistral-1.container")
    assert any(step.startswith("podman secret create hf-main-the-token -") for step in result.steps)


def test_images_have_their_registry() -> None:
    assert "Image=docker.io/vllm/vllm-openai:v0.32.0" in text_of(render("quadlet"), "mistral.container")
    own = render("quadlet", image="registry.example:5000/vllm:v0.32.0")
    assert "Image=registry.example:5000/vllm:v0.32.0" in text_of(own, "mistral.container")


def test_mig_devices_must_be_named() -> None:
    mig = {"resourceName": "nvidia.com/mig-1g.10gb"}
    with pytest.raises(TargetError, match=r"--set devices: name the devices for nvidia\.com/mig-1g\.10gb"):
        render("quadlet", accelerator=mig)
    result = render("quadlet", accelerator=mig, settings={"devices": "0:1"})
    assert "AddDevice=nvidia.com/gpu=0:1" in text_of(result, "mistral.container")


def test_a_claim_becomes_a_folder() -> None:
    result = render("quadlet", **HARD["claim"], settings={"model-dir": "/data/llama"})
    assert "Volume=/data/llama:/model:ro" in text_of(result, "mistral-1.container")
    assert lost(result)["spec.model.uri"] == "copy the files of the claim models to /data/llama"
