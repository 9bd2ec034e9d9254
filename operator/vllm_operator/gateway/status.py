"""Build the status of a VLLMGateway. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vllm_operator.api.gateway_status import MAX_MODELS, MAX_REFUSED
from vllm_operator.api.names import gateway_selector_labels
from vllm_operator.api.problem import Problem, problem_messages
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.gateway.exposure_state import EXPOSED, Exposed
from vllm_operator.gateway.held_reader import HeldCounts
from vllm_operator.gateway.models import Resolution
from vllm_operator.gateway.remote import NO_REMOTE_SERVERS, RemoteServers
from vllm_operator.kube.event_correlator import EventType
from vllm_operator.kube.fields import format_timestamp, get_condition, get_int, get_list, get_map, get_str
from vllm_operator.kube.types import Object


@dataclass(frozen=True)
class GatewayInputs:
    """Everything that the status of a gateway is computed from.

    Attributes:
        name: name of the gateway.
        generation: its generation.
        previous: its status in the cluster.
        problems: reasons why it is not accepted.
        refused: references that name nothing.
        resolution: its models; None while the spec is refused.
        keys: API keys that are accepted; None without auth.
        held: requests that it holds; None while that is unknown.
        remote: servers of other namespaces.
        exposed: the condition Exposed; None where nobody asks for it.
        address: its base URL; empty while the spec is refused.
        wanted: pods that the spec asks for.
        deployment: its Deployment; None while there is none.
        now: the present time.
    """

    name: str
    generation: int
    previous: Mapping[str, Any]
    now: datetime
    problems: tuple[Problem, ...] = ()
    refused: tuple[str, ...] = ()
    resolution: Resolution | None = None
    keys: int | None = None
    held: HeldCounts | None = None
    remote: RemoteServers = NO_REMOTE_SERVERS
    exposed: Exposed | None = None
    address: str = ""
    wanted: int = 0
    deployment: Object | None = field(default=None)


def build_gateway_status(inputs: GatewayInputs) -> dict[str, Any]:
    """Return the status in camelCase, without empty fields. Equal inputs give equal statuses."""
    models = list(inputs.resolution.models.values()) if inputs.resolution else []
    selector = gateway_selector_labels(inputs.name)
    status: dict[str, Any] = {
        "observedGeneration": inputs.generation,
        "phase": _phase(inputs),
        "message": _message(inputs),
        "ready": f"{_ready(inputs)}/{inputs.wanted}",
        "replicas": get_int(inputs.deployment, "status", "replicas"),
        "readyReplicas": _ready(inputs),
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        "address": inputs.address or None,
        "models": [
            {
                "name": model.name,
                "servers": list(dict.fromkeys(target.server for target in (*model.targets, *model.versions))),
                "readyEndpoints": model.ready,
            }
            for model in models[:MAX_MODELS]
        ],
        "modelCount": len(models),
        "keys": inputs.keys,
        "heldRequests": inputs.held.total if inputs.held else None,
        "held": _held(inputs.held),
        "remoteServers": list(inputs.remote.rows) or None,
        "refusedReferences": [one_line(text) for text in inputs.refused[:MAX_REFUSED]] or None,
        "conditions": _conditions(inputs),
    }
    return {name: value for name, value in status.items() if value is not None}


def _held(held: HeldCounts | None) -> list[dict[str, Any]] | None:
    rows = [{"server": name, "requests": count} for name, count in held.by_server.items()] if held else []
    return rows[:MAX_MODELS] or None


def gateway_events(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[tuple[EventType, str, str]]:
    """Return type, reason and message of the Events of a change."""
    events: list[tuple[EventType, str, str]] = []
    if (phase := current.get("phase")) != previous.get("phase"):
        kind: EventType = "Warning" if phase in {"Invalid", "Degraded"} else "Normal"
        events.append((kind, f"Gateway{phase}", str(current.get("message", ""))))
    before = set(previous.get("refusedReferences") or ())
    refused = current.get("refusedReferences") or ()
    return [*events, *(("Warning", "ReferenceRefused", text) for text in refused if text not in before)]


def _ready(inputs: GatewayInputs) -> int:
    return get_int(inputs.deployment, "status", "readyReplicas")


def _is_rolled_out(inputs: GatewayInputs) -> bool:
    deployment = inputs.deployment
    if deployment is None:
        return False
    observed = get_int(deployment, "status", "observedGeneration") >= get_int(deployment, "metadata", "generation")
    counts = (get_int(deployment, "status", name) for name in ("updatedReplicas", "replicas"))
    return observed and all(count == inputs.wanted for count in counts)


def _has_models(inputs: GatewayInputs) -> bool:
    return inputs.resolution is not None and any(model.ready for model in inputs.resolution.models.values())


def _phase(inputs: GatewayInputs) -> str:
    if inputs.problems and not _ready(inputs):
        return "Invalid"
    if not _ready(inputs):
        return "Pending"
    refused = inputs.problems or inputs.refused or (inputs.held and inputs.held.refused)
    if refused or _ready(inputs) < inputs.wanted or not _has_models(inputs):
        return "Degraded"
    return "Serving"


def _message(inputs: GatewayInputs) -> str:
    parts = [*problem_messages(inputs.problems), *inputs.refused[:3]]
    if more := len(inputs.refused) - 3:
        parts += [f"{more} further references are refused"] if more > 0 else []
    parts += [inputs.exposed.message] if inputs.exposed and inputs.exposed.status == "False" else []
    parts.append(f"{_ready(inputs)}/{inputs.wanted} pods are ready")
    if inputs.resolution is not None:
        parts.append(_models_text(inputs.resolution))
    if inputs.held and inputs.held.refused:
        parts.insert(0, _configured(inputs.held)[2])
    if inputs.held and inputs.held.total:
        names = list(inputs.held.by_server)
        others = f" and {len(names) - 3} more" if len(names) > 3 else ""
        parts.append(f"{inputs.held.total} requests wait for {', '.join(names[:3])}{others}")
    return one_line("; ".join(parts))


def _models_text(resolution: Resolution) -> str:
    if not resolution.models:
        return "no VLLMServer of this namespace is served: create one, or correct spec.servers"
    idle = [name for name, model in resolution.models.items() if not model.ready]
    if not idle:
        return f"{len(resolution.models)} models are served"
    return (
        f"{len(resolution.models) - len(idle)} of {len(resolution.models)} models have a ready replica, not {idle[0]}"
    )


def _conditions(inputs: GatewayInputs) -> list[dict[str, Any]]:
    accepted = (
        ("False", inputs.problems[0].reason, "; ".join(problem_messages(inputs.problems)))
        if inputs.problems
        else ("True", "Accepted", "the spec is valid")
    )
    references = (
        ("False", "ReferencesRefused", "; ".join(inputs.refused[:5]))
        if inputs.refused
        else ("True", "Resolved", "every reference names an object that exists")
    )
    available = (
        ("True", "PodsReady", f"{_ready(inputs)}/{inputs.wanted} pods are ready")
        if _ready(inputs)
        else ("False", "NoPodReady", _deployment_trouble(inputs.deployment))
    )
    configured = _configured(inputs.held if _ready(inputs) else None)
    complete = _is_rolled_out(inputs) and _ready(inputs) == inputs.wanted
    progressing = ("False", "Complete", "") if complete else ("True", "RollingOut", "")
    serves = complete and not inputs.problems and _has_models(inputs)
    ready = ("True", "Serving", "") if serves else ("False", "NotReady", _message(inputs))
    rows = {
        "Ready": ready,
        "Accepted": accepted,
        "ReferencesResolved": references,
        "Available": available,
        "ConfigurationApplied": configured,
        "Progressing": progressing,
    }
    if inputs.exposed:
        rows[EXPOSED] = (inputs.exposed.status, inputs.exposed.reason, inputs.exposed.message)
    return [_condition(inputs, name, *row) for name, row in rows.items()]


def _configured(held: HeldCounts | None) -> tuple[str, str, str]:
    """Return status, reason and message of ConfigurationApplied."""
    if held is None:
        return "Unknown", "NoAnswer", "no agent answers, or not all of them"
    if held.refused:
        text = f"Envoy refuses the new {', '.join(held.refused)} and keeps the former: its log names the reason"
        return "False", "ConfigurationRefused", text
    return "True", "Applied", ""


def _deployment_trouble(deployment: Object | None) -> str:
    """Return why no pod is ready, as the conditions of the Deployment say."""
    if deployment is None:
        return "there is no Deployment yet"
    messages: Sequence[str] = [
        get_str(condition, "message")
        for condition in get_list(deployment, "status", "conditions")
        if get_str(condition, "status") == "False" or get_str(condition, "type") == "ReplicaFailure"
    ]
    return "; ".join(messages) or "no pod is ready"


def _condition(inputs: GatewayInputs, name: str, status: str, reason: str, message: str) -> dict[str, Any]:
    before = get_condition({"status": get_map({"status": inputs.previous}, "status")}, name)
    changed = get_str(before, "status") != status
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": one_line(message),
        "observedGeneration": inputs.generation,
        "lastTransitionTime": format_timestamp(inputs.now) if changed else get_str(before, "lastTransitionTime"),
    }
