"""What a VLLMServer asks for, worked out once per generation: parsed, checked, planned and rendered."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.observed import Object, Problem
from vllm_operator.api.server import VLLMServer, parse
from vllm_operator.errors import InvalidSpecError
from vllm_operator.plan.cache import claim_problems
from vllm_operator.plan.checks import notes, problems
from vllm_operator.plan.manifest import Manifest
from vllm_operator.plan.references import Reference, references
from vllm_operator.plan.server import ServerPlan, build_plan
from vllm_operator.render import render_all


@dataclass(frozen=True)
class Desired:
    """The answer to a manifest. With problems there is no plan: the children stay as they are.

    Attributes:
        server: the parsed resource; None when it cannot be parsed.
        problems: why it is refused, as far as the manifest itself tells.
        notes: remarks on an accepted manifest.
        references: what must exist in the cluster.
        plan: the plan; None with problems.
        manifests: the rendered children, in the order in which they are applied.
    """

    server: VLLMServer | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    plan: ServerPlan | None = None
    manifests: tuple[Manifest, ...] = ()


def desired_state(body: Mapping[str, Any], installed: frozenset[str], claim: Object | None) -> Desired:
    """Work out what `body` asks for; user errors become problems.

    Args:
        body: the VLLMServer as the API server sends it.
        installed: optional kinds that the cluster has.
        claim: the cache's claim, if it exists.
    """
    try:
        server = parse(body)
    except InvalidSpecError as error:
        return Desired(None, (Problem(error.reason, error.message),))
    found = problems(server.spec) + claim_problems(server, claim)
    if found:
        return Desired(server, found, references=references(server))
    try:
        plan = build_plan(server, installed, claim)
        manifests = render_all(server, plan)
    except InvalidSpecError as error:
        return Desired(server, (Problem(error.reason, error.message),), references=references(server))
    return Desired(server, (), notes(server.spec), references(server), plan, manifests)


class DesiredStates:
    """Remembers the last answer per server: a pass on an unchanged server renders nothing."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[Any, ...], Desired]] = {}

    def of(self, key: Hashable, body: Mapping[str, Any], installed: frozenset[str], claim: Object | None) -> Desired:
        """The desired state of `body`, worked out again only when something that it depends on changed."""
        metadata, spec = body["metadata"], (claim or {}).get("spec", {})
        cause = (
            metadata["uid"],
            metadata.get("generation"),
            installed,
            tuple(spec.get("accessModes") or ()),
            spec.get("storageClassName"),
        )
        known = self._known.get(key)
        if known is None or known[0] != cause:
            known = self._known[key] = (cause, desired_state(body, installed, claim))
        return known[1]

    def forget(self, key: Hashable) -> None:
        """Drop what is remembered of a server that is gone."""
        self._known.pop(key, None)
