"""The condition Exposed of a gateway: what the controllers of Gateway API say about its route. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_operator.kube.fields import get, get_list, get_str
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.types import Object

EXPOSED = "Exposed"
"""Name of the condition."""
PARENT_CONDITIONS = ("Accepted", "ResolvedRefs")
MAX_MESSAGES = 5


@dataclass(frozen=True)
class Exposed:
    """The condition Exposed.

    Attributes:
        status: True, False or Unknown.
        reason: its cause in one word.
        message: its cause as a sentence.
    """

    status: str
    reason: str
    message: str


def missing_crds(kind: Kind) -> tuple[str, str]:
    """Return reason and message for a kind that the cluster lacks."""
    field = {"HTTPRoute": "httpRoute", "InferencePool": "inferencePools"}[kind.name]
    return (
        "CRDMissing",
        f"spec.exposure.{field}: the cluster has no {kind.name} ({kind.api_version}): install its CRD, or remove the "
        "field; the gateway serves at its Service all the same",
    )


def not_exposed(problems: Sequence[tuple[str, str]]) -> Exposed:
    """Return the condition for refusals and missing CRDs."""
    return Exposed("False", problems[0][0], "; ".join(message for _, message in problems[:MAX_MESSAGES]))


def route_state(route: Mapping[str, Any] | None, parents: int, pools: str) -> Exposed:
    """Return the condition for objects that the API server has taken.

    Args:
        route: the HTTPRoute; None where there is none.
        parents: Gateways that it names.
        pools: kind of the pools; empty without any.
    """
    if route is None:
        return Exposed("True", "Applied", f"each {pools} is applied; whoever routes by it reports in its status")
    generation = get(route, "metadata", "generation")
    refused, accepted = [], 0
    for parent in get_list(route, "status", "parents"):
        problems = list(_problems(parent, generation))
        refused += problems
        accepted += not problems and _is_accepted(parent, generation)
    if refused:
        return Exposed("False", "RouteRefused", "; ".join(refused[:MAX_MESSAGES]))
    if accepted < parents:
        return Exposed(
            "Unknown",
            "WaitingForGateway",
            f"{accepted} of {parents} parents have accepted the HTTPRoute: check that they exist, allow routes of this "
            "namespace, and that a controller runs for their class",
        )
    return Exposed("True", "RouteAccepted", f"the HTTPRoute is accepted by {accepted} parents")


def _problems(parent: Object, generation: Any) -> Iterator[str]:
    name = get_str(parent, "parentRef", "name")
    for condition in get_list(parent, "conditions"):
        is_refused = get_str(condition, "type") in PARENT_CONDITIONS and get_str(condition, "status") == "False"
        if is_refused and get(condition, "observedGeneration") in (None, generation):
            yield f"{name}: {get_str(condition, 'reason')}: {get_str(condition, 'message')}"


def _is_accepted(parent: Object, generation: Any) -> bool:
    return any(
        get_str(condition, "type") == "Accepted"
        and get_str(condition, "status") == "True"
        and get(condition, "observedGeneration") in (None, generation)
        for condition in get_list(parent, "conditions")
    )
