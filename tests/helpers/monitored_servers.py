"""Servers and their rendered rules, for the tests of this folder."""

from typing import Any

from vllm_operator.api.server import VLLMServer, parse_server
from vllm_operator.desired.monitoring import prometheus_rule_plan
from vllm_operator.desired.rendering.templates import render_template


def server(name: str = "mistral", namespace: str = "llm", **spec: Any) -> VLLMServer:
    """A server whose spec is the smallest one and `spec`."""
    metadata = {"name": name, "namespace": namespace, "uid": "4a1f0e7e"}
    return parse_server(
        {"metadata": metadata, "spec": {"model": {"uri": "mistralai/Mistral-7B-Instruct-v0.3"}, **spec}}
    )


def rules(*servers: VLLMServer, runbooks: str = "") -> dict[str, Any]:
    """A Prometheus rule file with the rules of these servers, as the template renders them."""
    return {"groups": [group for one in servers for group in _groups(one, runbooks)]}


def _groups(one: VLLMServer, runbooks: str) -> list[dict[str, Any]]:
    plan = prometheus_rule_plan(one, runbooks=runbooks)
    assert plan is not None
    groups: list[dict[str, Any]] = render_template("monitoring/prometheusrule", plan)["spec"]["groups"]
    # A rule file, unlike a PrometheusRule in its own namespace, takes a group's name only once.
    return [{**group, "name": f"{one.namespace}.{group['name']}"} for group in groups]
