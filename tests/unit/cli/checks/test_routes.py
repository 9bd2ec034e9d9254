from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.fake_api_server import fake_api_server, status_object
from vllm_operator.cli.checks.routes import HTTP_ROUTE, INGRESS, routes_to
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.options import ClusterOptions


def routes(folder: Path, ingresses: tuple[int, Any], http_routes: list[Any] | None = None) -> tuple[str, ...] | None:
    answers: dict[str, tuple[int, Any]] = {f"GET {INGRESS.path('llm')}": ingresses}
    if http_routes is not None:
        answers[f"GET {HTTP_ROUTE.path('llm')}"] = (200, {"items": http_routes})
    with fake_api_server(answers, folder) as (_, path):
        return routes_to(Cluster(ClusterOptions(kubeconfig=path)), "mistral")


def ingress(name: str, service: str, **spec: Any) -> dict[str, Any]:
    path = {"backend": {"service": {"name": service}}}
    return {"metadata": {"name": name}, "spec": {"rules": [{"http": {"paths": [path]}}], **spec}}


def test_ingresses_of_the_service_are_found_with_their_tls(tmp_path: Path) -> None:
    items = [ingress("a", "mistral", tls=[{}]), ingress("b", "mistral"), ingress("c", "other")]
    default = {"metadata": {"name": "d"}, "spec": {"defaultBackend": {"service": {"name": "mistral"}}}}
    found = routes(tmp_path, (200, {"items": [*items, default]}))
    assert found == ("Ingress a (TLS)", "Ingress b", "Ingress d")


def test_http_routes_of_the_service_are_found(tmp_path: Path) -> None:
    rule = {"backendRefs": [{"name": "mistral"}]}
    other = {"backendRefs": [{"name": "mistral", "kind": "VLLMGateway"}]}
    items = [
        {"metadata": {"name": "r"}, "spec": {"rules": [rule]}},
        {"metadata": {"name": "s"}, "spec": {"rules": [other]}},
    ]
    assert routes(tmp_path, (200, {"items": []}), items) == ("HTTPRoute r (TLS by its Gateway)",)


def test_cluster_without_a_gateway_api_has_no_http_routes(tmp_path: Path) -> None:
    assert routes(tmp_path, (200, {"items": []})) == ()


def test_missing_right_is_unknown(tmp_path: Path) -> None:
    assert routes(tmp_path, (403, status_object(403, "Forbidden", "no"))) is None
