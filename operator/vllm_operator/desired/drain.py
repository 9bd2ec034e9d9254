"""The parts of a pod by which a replica stops without losing a request: `in_replica/drain.py` inside vLLM.

The pod carries the source in an annotation, and the kubelet writes it into a file of the container. So a replica needs
no ConfigMap, the operator needs no right to write one, and each revision of the Deployment has its own source.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vllm_operator.api.names import CONTAINER, GROUP
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec
from vllm_operator.in_replica import drain as middleware
from vllm_operator.kube.fields import get, get_list, get_map
from vllm_operator.validation.allowed_fields import violations
from vllm_operator.validation.pod_template import STARTS_OF_VLLM
from vllm_operator.vllm.arguments import extra_flags
from vllm_operator.vllm.known_release import nearest_release
from vllm_operator.vllm.version import vllm_version

ANNOTATION_DRAIN = f"{GROUP}/drain"
"""Annotation of a pod with the source of the middleware."""

VOLUME = "drain"
FOLDER = "/etc/vllm-operator"
MODULE = "vllm_operator_drain"
MIDDLEWARE_FLAG = "--middleware"

PLUGIN_FLAGS = ("--tool-parser-plugin", "--reasoning-parser-plugin")
"""Flags by which vLLM loads a Python file by its path, before it creates its middleware (read in 0.9.2 to 0.32.0).

PYTHONPATH would do, too, but it would replace the one that some images have (those for Gaudi and Ascend devices).
"""

CONFIG_FLAG = "--config"
"""Flag with a file of flags, which may hold those above. Arguments replace what is in the file."""

HEADER = """# vLLM loads this file by --middleware: it lets the replica stop without losing a request.
# Source and reasons: operator/vllm_operator/in_replica/drain.py and decision 0031 of vllm-operator.
"""

TOKEN_VARIABLE = "OPERATOR_DRAIN_TOKEN"
TOKEN_HEADER = "X-Drain-Token"
TOKEN_LENGTH = 32


@dataclass(frozen=True)
class DrainPlan:
    """The parts of a pod whose replica drains before it stops."""

    annotations: dict[str, str]
    arguments: tuple[str, ...]
    env: tuple[dict[str, Any], ...]
    volume: dict[str, Any]
    mount: dict[str, Any]
    pre_stop: dict[str, Any]


def drain_plan(server: VLLMServer) -> DrainPlan | None:
    """Return what the pods of a server need to drain; None where vLLM cannot load the middleware for sure."""
    plugin_flag = _plugin_flag(server.spec)
    if plugin_flag is None:
        return None
    token = hashlib.sha256(f"{ANNOTATION_DRAIN}/{server.uid}".encode()).hexdigest()[:TOKEN_LENGTH]
    path = f"{middleware.PATH}?timeout={server.spec.rollout.drain_timeout_seconds}"
    file = f"{MODULE}.py"
    return DrainPlan(
        annotations={ANNOTATION_DRAIN: source()},
        arguments=(plugin_flag, f"{FOLDER}/{file}", MIDDLEWARE_FLAG, f"{MODULE}.{middleware.Drain.__name__}"),
        env=({"name": TOKEN_VARIABLE, "value": token},),
        volume={
            "name": VOLUME,
            "downwardAPI": {
                "items": [{"path": file, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_DRAIN}']"}}]
            },
        },
        mount={"name": VOLUME, "mountPath": FOLDER, "readOnly": True},
        pre_stop={"httpGet": {"path": path, "port": "http", "httpHeaders": [{"name": TOKEN_HEADER, "value": token}]}},
    )


def keeps_drain(template: Mapping[str, Any], plan: DrainPlan, command: tuple[str, ...] | None) -> bool:
    """Return whether a pod template still has all parts of its plan, after spec.podTemplate was merged into it.

    Args:
        template: the pod template.
        plan: what it needs to drain.
        command: the command of its container before the merge.
    """
    containers = (item for item in get_list(template, "spec", "containers") if item.get("name") == CONTAINER)
    container = next(containers, {})
    parts = (
        plan.annotations.items() <= get_map(template, "metadata", "annotations").items(),
        plan.volume in get_list(template, "spec", "volumes"),
        plan.mount in get_list(container, "volumeMounts"),
        all(variable in get_list(container, "env") for variable in plan.env),
        get(container, "lifecycle", "preStop") == plan.pre_stop,
        tuple(container.get("args", ())[-len(plan.arguments) :]) == plan.arguments,
        tuple(container.get("command", ())) == (command or ()),
    )
    return all(parts)


def has_drain(deployment: Mapping[str, Any]) -> bool:
    """Return whether the pods of a live Deployment drain by the middleware."""
    volumes = get_list(deployment, "spec", "template", "spec", "volumes")
    return any(get(volume, "name") == VOLUME and get(volume, "downwardAPI") is not None for volume in volumes)


def _plugin_flag(spec: Spec) -> str | None:
    """Return the flag that loads the middleware; None where the release, a command or another flag forbids it."""
    version = vllm_version(spec)
    if version is None or (spec.engine.command and any(violations(STARTS_OF_VLLM, spec.engine.command, ""))):
        return None
    flags = nearest_release(version).flags
    given = {flag.name for flag in extra_flags(spec)}
    if MIDDLEWARE_FLAG not in flags or CONFIG_FLAG in given:
        return None
    return next((flag for flag in PLUGIN_FLAGS if flag in flags and flag not in given), None)


@functools.cache
def source() -> str:
    """Return the source of the middleware as pods carry it."""
    return HEADER + without_docstrings((resources.files("vllm_operator.in_replica") / "drain.py").read_text())


def without_docstrings(source: str) -> str:
    """Return Python source without docstrings, lines of comments and empty lines: each pod carries it.

    Lines are left out, and none is written again, so that every version of Python gives the same text.
    """
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            left_out.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    kept = (line for number, line in enumerate(source.splitlines(), 1) if number not in left_out)
    return "".join(f"{line}\n" for line in kept if line.strip() and not line.lstrip().startswith("#"))
