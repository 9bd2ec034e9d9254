"""What a VLLMServer asks for, worked out once per generation: parsed, checked, planned and rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.problem import Problem
from vllm_operator.api.server import parse_server
from vllm_operator.desired.children import plan_children
from vllm_operator.desired.rendering import render_children
from vllm_operator.desired.server_summary import ServerSummary, summarize
from vllm_operator.errors import InvalidSpecError
from vllm_operator.kube.manifest import Manifest
from vllm_operator.validation.checks import spec_problems, spec_warnings
from vllm_operator.validation.claim_checks import DesiredClaim, desired_claim
from vllm_operator.validation.references import Reference, references


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The answer to a manifest. One that is refused has no manifests: the children stay as they are.

    Every server keeps its answer for as long as it lives, so neither spec nor plan is kept in it.

    Attributes:
        server: the server in short.
        problems: why it is refused, as far as the manifest itself tells.
        warnings: remarks on an accepted manifest.
        references: what must exist in the cluster.
        claim: what is asked of the cache's claim that is there already.
        served_names: names that the replicas are told to serve.
        manifests: the rendered children, in the order in which they are applied.
    """

    server: ServerSummary
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    claim: DesiredClaim | None = None
    served_names: tuple[str, ...] = ()
    manifests: tuple[Manifest, ...] = ()


def desired_state(body: Mapping[str, Any], installed: frozenset[str], runbooks: str = "") -> DesiredState:
    """Work out what `body` asks for; user errors become problems.

    Args:
        body: the VLLMServer as the API server sends it.
        installed: optional kinds that the cluster has.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert.
    """
    try:
        server = parse_server(body)
    except InvalidSpecError as error:
        metadata = body["metadata"]
        nobody = ServerSummary(metadata["namespace"], metadata["name"], metadata["uid"])
        return DesiredState(nobody, (Problem(error.reason, error.message),))
    short, wanted = summarize(server, installed), references(server)
    found = spec_problems(server.spec)
    if found:
        return DesiredState(short, found, references=wanted)
    try:
        plan = plan_children(server, installed, runbooks)
        manifests = render_children(server, plan)
    except InvalidSpecError as error:
        return DesiredState(short, (Problem(error.reason, error.message),), references=wanted)
    return DesiredState(
        short, (), spec_warnings(server.spec), wanted, desired_claim(server), plan.served_names, manifests
    )
