"""The desired state of a VLLMServer, computed once per generation: parsed, checked, planned, rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vllm_operator.api.problem import Problem
from vllm_operator.api.replica_bounds import BoundsInForce, bounds_in_force
from vllm_operator.api.server import VLLMServer, parse_server
from vllm_operator.api.spec import Spec
from vllm_operator.desired.children import ChildrenPlan, plan_children
from vllm_operator.desired.drain import keeps_drain
from vllm_operator.desired.memory import UNKNOWN, Memory, memory_of
from vllm_operator.desired.rendering import render_children
from vllm_operator.desired.server_summary import ServerSummary, summarize
from vllm_operator.errors import InvalidSpecError
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.kube.manifest import Manifest
from vllm_operator.validation.checks import spec_problems, spec_warnings
from vllm_operator.validation.claim_checks import DesiredClaim, desired_claim
from vllm_operator.validation.pod_template import restricted_problems
from vllm_operator.validation.references import Reference, references
from vllm_operator.validation.secret_references import SecretReference, secret_references
from vllm_operator.vllm.version import follows_report, reported_version


@dataclass(frozen=True, slots=True)
class RightsClaimed:
    """Parts of a spec that give rights which its author may lack; the labels of the namespace decide.

    Attributes:
        pod_template: the problems of the spec in the restricted mode.
        secrets: the Secrets that it refers to.
    """

    pod_template: tuple[Problem, ...] = ()
    secrets: tuple[SecretReference, ...] = ()


NO_RIGHTS_CLAIMED = RightsClaimed()


@dataclass(frozen=True, slots=True)
class DesiredState:
    """The desired state of one server. A refused server has no manifests: its children stay as they are.

    It lives as long as its server, so it holds neither the spec nor the plans.

    Attributes:
        server: summary of the server.
        problems: the reasons why the spec is refused, as far as the spec alone shows them.
        warnings: parts of an accepted spec that could not be checked.
        references: objects that must exist in the cluster.
        claim: requirements on an existing claim of the cache.
        served_names: names that the replicas serve.
        manifests: the rendered children, in the order in which they are applied.
        memory: computed memory of the model.
        rights_claimed: parts of the spec that the rules of the operator may refuse.
        drains: the replicas drain by the middleware.
        is_held: a change of the pods waits until the replica is idle.
    """

    server: ServerSummary
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    claim: DesiredClaim | None = None
    served_names: tuple[str, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    memory: Memory = UNKNOWN
    follows_report: bool = False
    rights_claimed: RightsClaimed = NO_RIGHTS_CLAIMED
    drains: bool = False
    is_held: bool = False


def desired_state(
    body: Mapping[str, Any],
    installed: frozenset[str],
    runbooks: str = "",
    *,
    drains: bool = True,
    now: datetime | None = None,
) -> DesiredState:
    """Return the desired state of a VLLMServer; mistakes of its user become problems.

    Args:
        body: the VLLMServer as the API server sends it.
        installed: optional kinds that the cluster has.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert.
        drains: the replicas drain by the middleware, where their vLLM can load it.
        now: the present time, for the schedule of the bounds; None for the bounds outside of all windows.
    """
    try:
        server = parse_server(body)
    except InvalidSpecError as error:
        metadata = body["metadata"]
        identity = ServerSummary(metadata["namespace"], metadata["name"], metadata["uid"])
        return DesiredState(identity, (Problem(error.reason, error.message),))
    required = references(server)
    if problems := spec_problems(server.spec):
        return DesiredState(summarize(server, installed), problems, references=required)
    bounds = _bounds(server.spec, now)
    server = replace(server, scheduled=bounds.bounds if bounds else None)
    summary = summarize(server, installed, bounds)
    reported = reported_version(server.status) if follows_report(server.spec) else None
    try:
        plan, manifests = _render(server, installed, runbooks, drains=drains)
        secrets = secret_references(server.spec)
    except InvalidSpecError as error:
        return DesiredState(summary, (Problem(error.reason, error.message),), references=required)
    memory = memory_of(server.spec)
    return DesiredState(
        server=summary,
        warnings=spec_warnings(server.spec, str(reported or "")) + memory.notes,
        memory=memory,
        follows_report=follows_report(server.spec),
        references=required,
        claim=desired_claim(server),
        served_names=plan.served_names,
        manifests=manifests,
        rights_claimed=RightsClaimed(restricted_problems(server.spec), secrets),
        drains=plan.deployment.drain is not None,
    )


def _bounds(spec: Spec, now: datetime | None) -> BoundsInForce | None:
    """Return the bounds in force; None without autoscaling, and where no time is known."""
    return bounds_in_force(spec.autoscaling, now) if spec.autoscaling is not None and now is not None else None


def _render(
    server: VLLMServer, installed: frozenset[str], runbooks: str, *, drains: bool
) -> tuple[ChildrenPlan, tuple[Manifest, ...]]:
    """Plan and render the children, without the middleware where spec.podTemplate replaces a part that it needs."""
    plan = plan_children(server, installed, runbooks, drains=drains)
    manifests = render_children(server, plan)
    deployment = plan.deployment
    if deployment.drain is not None and (server.spec.pod_template or server.spec.engine.env):
        template = next(one.body for one in manifests if one.kind == DEPLOYMENT.name)["spec"]["template"]
        if not keeps_drain(template, deployment.drain, deployment.command):
            return _render(server, installed, runbooks, drains=False)
    return plan, manifests
