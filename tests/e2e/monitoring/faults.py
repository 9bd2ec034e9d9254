"""Faults between an operator and its API server, each with the alert about the operator that they cause."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.proxy import Answer, Call, Fault
from tools.harness.kube import KIND, Kube, Object
from vllm_operator.api.names import API_VERSION

MANY = 24
"""Servers that wait for one worker, which gives up a call after 20 s: the last one waits for eight minutes."""
SHARE = 4
"""One call in so many fails: more than twice the share that the alert allows."""


@dataclass
class Erring(Fault):
    """An overloaded API server: every fourth call ends in 503."""

    _number: itertools.count[int] = field(default_factory=itertools.count)

    async def before(self, call: Call) -> Answer | None:
        return Answer.error(503, "ServiceUnavailable") if next(self._number) % SHARE == 0 else None


class Refusing(Fault):
    """An API server that does not know the operator's token any more."""

    async def before(self, call: Call) -> Answer | None:
        return Answer.error(401, "Unauthorized")


class Failing(Fault):
    """An API server that cannot write Deployments, as with a broken webhook for them."""

    async def before(self, call: Call) -> Answer | None:
        if call.is_write and "/deployments" in call.path:
            return Answer.error(500, "InternalError")
        return None


class Silent(Fault):
    """An API server that answers no write of a Deployment."""

    async def before(self, call: Call) -> Answer | None:
        if call.is_write and "/deployments" in call.path:
            await asyncio.Event().wait()
        return None


@dataclass(frozen=True)
class Scenario:
    """An operator for a namespace, and what happens to it.

    Attributes:
        name: of the scenario, for MONITORING_ONLY.
        alert: the alert that must fire.
        cause: what is done, for the table.
        fault: how calls fail.
        arguments: further ones of the operator.
        also: alerts that may follow.
        servers: number of its servers.
    """

    name: str
    alert: str
    cause: str
    fault: Fault
    arguments: Sequence[str] = ()
    also: Sequence[str] = ()
    servers: int = 3


SCENARIOS = (
    Scenario("erring", "VLLMOperatorApiErrors", "every fourth call to the API server ends in 503", Erring(),
             also=("VLLMOperatorPassesFailing",)),
    Scenario("refusing", "VLLMOperatorCredentialsRefused", "the API server answers 401", Refusing(),
             also=("VLLMOperatorPassesFailing",)),
    Scenario("failing", "VLLMOperatorPassesFailing", "writes of Deployments end in 500", Failing(),
             also=("VLLMOperatorApiErrors",)),
    Scenario("silent", "VLLMOperatorQueueStuck", "writes of Deployments get no answer; `--workers=1`, 24 servers",
             Silent(), arguments=("--workers=1",), also=("VLLMOperatorPassesFailing", "VLLMOperatorApiErrors"),
             servers=MANY),
)  # fmt: skip


def names(scenario: Scenario) -> list[str]:
    """Return the names of the servers of a scenario."""
    return [f"server-{number}" for number in range(scenario.servers)]


def server(name: str, turn: int) -> Object:
    """Return a server; another turn changes its Deployment, and no pod."""
    labels = {"metadata": {"labels": {"turn": str(turn)}}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"model": {"uri": "file:///models/tiny"}, "replicas": 0, **labels},
    }


def change(kube: Kube, namespace: str, servers: Sequence[str], turn: int) -> None:
    """Change servers, so that their operator has something to write."""
    for name in servers:
        kube.patch(KIND, name, namespace, {"spec": server(name, turn)["spec"]})
