"""The parts of a pod that let its replica drain, and the servers that cannot have them."""

from __future__ import annotations

import ast
import sys
from typing import Any

import pytest

from tests.helpers.specs import body, container, pod_template, server
from vllm_operator.desired.drain import ANNOTATION_DRAIN, drain_plan, has_drain, without_docstrings
from vllm_operator.desired.state import desired_state

KNOWN = "vllm/vllm-openai:v0.32.0"


def drains(**spec: Any) -> bool:
    template = pod_template_of(**spec)
    return has_drain({"spec": {"template": template}})


def pod_template_of(**spec: Any) -> dict[str, Any]:
    desired = desired_state(body(**{"image": KNOWN, **spec}), frozenset())
    assert desired.problems == ()
    deployment = next(manifest.body for manifest in desired.manifests if manifest.kind == "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    assert has_drain(deployment) is desired.drains
    return template


def overlay(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "vllm", **fields}]}}}


@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.9.2", KNOWN, "vllm/vllm-openai:v0.17.1"])
def test_replica_drains_also_before_vllm_does_it_itself(image: str) -> None:
    assert drains(image=image)


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "registry.example/vllm:ours"},
        {"version": "unknown"},
        {"engine": {"command": ["/opt/start.sh"]}},
        {"engine": {"extraArgs": ["--config", "/etc/vllm.yaml"]}},
        {"engine": {"extraArgs": ["--tool-parser-plugin=/a.py", "--reasoning-parser-plugin=/b.py"]}},
        {"engine": {"env": [{"name": "OPERATOR_DRAIN_TOKEN", "value": "mine"}]}},
        overlay(lifecycle={"preStop": {"exec": {"command": ["sleep", "5"]}}}),
        overlay(args=["--model", "x"]),
        overlay(command=["/opt/start.sh"]),
        overlay(env=[{"name": "OPERATOR_DRAIN_TOKEN", "value": "mine"}]),
        overlay(volumeMounts=[{"mountPath": "/etc/vllm-operator", "name": "shm"}]),
        {"podTemplate": {"spec": {"volumes": [{"name": "drain", "emptyDir": {}}]}}},
        {"podTemplate": {"metadata": {"annotations": {ANNOTATION_DRAIN: "print()"}}}},
    ],
    ids=lambda spec: str(spec)[:60],
)
def test_replica_pauses_where_the_middleware_cannot_be_loaded_for_sure(spec: dict[str, Any]) -> None:
    template = pod_template_of(**spec)

    assert not has_drain({"spec": {"template": template}}) or "volumes" in str(spec)
    assert "--middleware" not in template["spec"]["containers"][0].get("args", [])
    assert ANNOTATION_DRAIN not in template["metadata"]["annotations"] or ANNOTATION_DRAIN in str(spec)


def test_free_flag_loads_the_middleware() -> None:
    taken = {"engine": {"extraArgs": ["--tool-parser-plugin", "/mine.py"]}}

    assert "--reasoning-parser-plugin" in container(**taken)["args"]
    assert not drains(image="vllm/vllm-openai:v0.10.2", **taken), "it has no other flag"


@pytest.mark.parametrize("command", [["vllm", "serve"], ["python3", "-m", "vllm.entrypoints.openai.api_server"]])
def test_command_of_vllm_is_no_hindrance(command: list[str]) -> None:
    assert drains(engine={"command": command})


def test_middleware_is_outermost() -> None:
    """A middleware of the user's that asks for a key must not stand between the kubelet and this one."""
    arguments = container(engine={"extraArgs": ["--middleware", "mine.Auth"]})["args"]

    assert arguments.index("mine.Auth") < arguments.index("vllm_operator_drain.Drain")


def test_token_differs_from_server_to_server() -> None:
    tokens = set()
    for uid in ("a", "b"):
        plan = drain_plan(server(uid=uid))
        assert plan is not None
        tokens.add(plan.env[0]["value"])
        assert plan.env[0]["value"] == plan.pre_stop["httpGet"]["httpHeaders"][0]["value"]

    assert len(tokens) == 2


def test_source_of_the_annotation_runs_on_every_python_of_vllm() -> None:
    source = pod_template()["metadata"]["annotations"][ANNOTATION_DRAIN]
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert imported <= set(sys.stdlib_module_names)
    assert len(source) < 5500, "each pod carries it"


def test_docstrings_and_comments_are_left_out() -> None:
    function = 'def f() -> str:\n    """One.\n\n    Two.\n    """\n    # no\n    return "#"\n'
    source = f'"""Module."""\n\nimport os  # kept\n\n\n{function}'

    assert without_docstrings(source) == 'import os  # kept\ndef f() -> str:\n    return "#"\n'
