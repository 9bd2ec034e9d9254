"""Send a sample of the manifests, and of their children, to a real API server as dry runs."""

from __future__ import annotations

import asyncio
import copy
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.pipeline import Json, body, desired, parses
from tests.helpers.random_specs.hostile import OPEN
from tests.helpers.raw_api import APPLY, RawApi
from vllm_operator.api.crd import crd
from vllm_operator.kube.kinds import CHILD_KINDS, SERVER
from vllm_operator.kube.manifest import Manifest

DRY_RUN = "dryRun=All&fieldManager=fuzz"
OWN_LIMITS = ("levels deep", "beyond 64 bits")
"""Refusals of the operator that a schema cannot express."""


def rule_messages(node: Any) -> list[str]:
    """Return the messages of all rules between fields: only the API server evaluates them."""
    if isinstance(node, list):
        return [message for item in node for message in rule_messages(item)]
    if not isinstance(node, dict):
        return []
    own = [rule["message"] for rule in node.get("x-kubernetes-validations", ())]
    return own + [message for item in node.values() for message in rule_messages(item)]


RULES = rule_messages(crd())


@dataclass
class Verdict:
    """The results of the sample.

    Attributes:
        outcomes: how many manifests of which kind there were.
        documents: children that were applied as dry runs.
        open_refusals: children refused for a part that Kubernetes alone validates.
        faults: disagreements and refused children.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    open_refusals: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Judge:
    """Send one manifest after another to the API server."""

    api: RawApi
    namespace: str
    seed: int
    verdict: Verdict = field(default_factory=Verdict)

    async def manifest(self, number: int) -> None:
        """Compare the judgement of CRD and operator about a manifest, then send the children if both accept it."""
        sent = body(self.seed, number, self.namespace)
        bare = {**sent, "metadata": {"name": sent["metadata"]["name"]}}
        path = SERVER.path(self.namespace)
        reply = await self.api.call("POST", f"{path}?{DRY_RUN}&fieldValidation=Strict", bare)
        if reply.ok:
            return await self._stored(number, {**sent, "spec": reply.body["spec"]})
        reason = parses(sent)
        if reason:
            self.verdict.outcomes["refused by both"] += 1
        elif any(message in reply.message for message in RULES):
            self.verdict.outcomes["refused by a rule between fields"] += 1
        else:
            self._fault(number, f"the operator parses what the CRD refuses: {reply.status} {reply.message}")
        return None

    async def _stored(self, number: int, stored: Json) -> None:
        reason = parses(stored)
        if reason and not any(limit in reason for limit in OWN_LIMITS):
            return self._fault(number, f"the CRD takes what the operator cannot parse: {reason}")
        found = desired(stored)
        self.verdict.outcomes["refused by the operator" if found.problems else "accepted by both"] += 1
        await asyncio.gather(*(self._child(number, stored, child) for child in found.manifests))
        return None

    async def _child(self, number: int, stored: Json, child: Manifest) -> None:
        kind, document = CHILD_KINDS[child.kind], copy.deepcopy(child.body)
        # The owner does not exist: a dry run stored nothing.
        document["metadata"].pop("ownerReferences", None)
        path = kind.path(self.namespace, child.name)
        reply = await self.api.call("PATCH", f"{path}?{DRY_RUN}&force=true", document, APPLY)
        self.verdict.documents += 1
        if reply.ok:
            return
        if child.kind == "Deployment" and _is_open(stored["spec"], reply.message):
            self.verdict.open_refusals += 1
            return
        self._fault(number, f"the API server refuses {child.kind}: {reply.status} {reply.message[:600]}")

    def _fault(self, number: int, text: str) -> None:
        self.verdict.faults.append(f"manifest {number}: {text}")


def _is_open(spec: Json, message: str) -> bool:
    """Return whether the spec has a part that only Kubernetes validates, which may be the cause of a refusal."""
    places = {
        "affinity": "affinity",
        "podTemplate": "",
        "SecurityContext": "securityContext",
        "cache.volume": "spec.template.spec.volumes",
    }
    for path in OPEN:
        place: Any = spec
        for step in path.split("."):
            place = (place or {}).get(step)
        if place and any(name in path and word in message for name, word in places.items()):
            return True
    constraints = spec.get("scheduling", {}).get("topologySpreadConstraints") or ()
    return any(item.get("labelSelector") for item in constraints) and bool(re.search("labelSelector", message))


async def judge(kubeconfig: Path, namespace: str, seed: int, numbers: list[int]) -> Verdict:
    """Send the manifests with these numbers, sixteen at a time."""
    async with RawApi(kubeconfig, limit=32) as api:
        one = Judge(api, namespace, seed)
        left = iter(numbers)

        async def worker() -> None:
            for number in left:
                await one.manifest(number)

        await asyncio.gather(*(worker() for _ in range(16)))
        return one.verdict
