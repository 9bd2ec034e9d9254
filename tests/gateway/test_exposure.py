"""Objects of Gateway API on a real API server with the CRDs of Gateway API and of its inference extension."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.test_api_server import gateway_body, kube, kubectl_json, plane, server_body, status_of
from tools.harness.crds import install_http_route_crd, install_inference_pool_crd
from tools.harness.kube import Kube, condition

__all__ = ["kube", "plane"]

EXPOSURE = {
    "httpRoute": {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}, {"name": "inside"}],
        "hostnames": ["chat.example.com"],
    },
    "inferencePools": {"endpointPickerRef": {"name": "picker"}},
}


def exposed(kube: Kube, namespace: str, reason: str, name: str = "chat") -> dict[str, Any]:
    """The condition Exposed, once it has this reason."""

    def found() -> dict[str, Any]:
        status = status_of(kube, namespace, name)
        row = condition({"status": status}, "Exposed")
        assert row is not None
        assert row["reason"] == reason, row
        return row

    return kube.eventually(found, within=50, namespace=namespace)


def accept(kube: Kube, namespace: str, *rows: tuple[str, str]) -> None:
    """Play the controller of the Gateways: write the conditions of each parent."""
    route = kubectl_json(kube, namespace, "httproute", "chat-gateway")
    now, generation = "2026-01-01T00:00:00Z", route["metadata"]["generation"]
    parents = []
    for reference, (name, status) in zip(route["spec"]["parentRefs"], rows, strict=True):
        row = {"type": name, "status": status, "reason": "Judged", "message": f"{name} is {status}"}
        row |= {"lastTransitionTime": now, "observedGeneration": generation}
        parents.append({"parentRef": reference, "controllerName": "example.com/test", "conditions": [row]})
    patch = json.dumps({"status": {"parents": parents}})
    kube.kubectl(
        *("-n", namespace, "patch", "httproute", "chat-gateway", "--subresource=status", "--type=merge", "-p", patch)
    )


def test_a_gateway_is_exposed_by_gateway_api_where_it_is_installed(kube: Kube) -> None:
    with kube.namespace("exposure") as namespace:
        kube.apply(server_body("tiny"), namespace=namespace)
        kube.apply(gateway_body("chat", {"exposure": EXPOSURE}), namespace=namespace)
        # Without the CRDs everything else is there.
        row = exposed(kube, namespace, "CRDMissing")
        assert row["status"] == "False"
        assert "spec.exposure.httpRoute: the cluster has no HTTPRoute (gateway.networking.k8s.io/v1)" in row["message"]
        assert "spec.exposure.inferencePools: the cluster has no InferencePool" in row["message"]
        status = status_of(kube, namespace, "chat")
        assert condition({"status": status}, "Accepted")["status"] == "True"
        assert status["phase"] == "Pending"
        assert kubectl_json(kube, namespace, "deployment", "chat-gateway")

        install_http_route_crd(kube)
        install_inference_pool_crd(kube)
        assert exposed(kube, namespace, "WaitingForGateway")["status"] == "Unknown"
        route = kubectl_json(kube, namespace, "httproute", "chat-gateway")
        assert route["spec"]["hostnames"] == ["chat.example.com"]
        assert route["spec"]["parentRefs"][0] == {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "namespace": "gateways",
            "name": "public",
            "sectionName": "https",
        }
        [backend] = route["spec"]["rules"][0]["backendRefs"]
        assert (backend["name"], backend["port"]) == ("chat-gateway", 80)
        pool = kubectl_json(kube, namespace, "inferencepool", "chat-gateway-tiny")
        assert pool["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "tiny"
        assert pool["spec"]["targetPorts"] == [{"number": 8000}]
        assert pool["spec"]["endpointPickerRef"]["name"] == "picker"
        for child in (route, pool):
            assert child["metadata"]["ownerReferences"][0]["kind"] == "VLLMGateway"

        accept(kube, namespace, ("Accepted", "True"), ("Accepted", "True"))
        assert exposed(kube, namespace, "RouteAccepted")["message"] == "the HTTPRoute is accepted by 2 parents"
        accept(kube, namespace, ("Accepted", "True"), ("ResolvedRefs", "False"))
        # What the API server fills in by itself is no drift: nothing was written again.
        row = exposed(kube, namespace, "RouteRefused")
        assert row["message"] == "inside: Judged: ResolvedRefs is False"
        assert kubectl_json(kube, namespace, "httproute", "chat-gateway")["metadata"]["generation"] == 1
        assert kubectl_json(kube, namespace, "inferencepool", "chat-gateway-tiny")["metadata"]["generation"] == 1

        # What Gateway API itself refuses is said, and nothing else fails.
        twice = {"httpRoute": {"parentRefs": [{"name": "public"}, {"name": "public"}]}}
        kube.apply(gateway_body("twice", {"exposure": twice}), namespace=namespace)
        row = exposed(kube, namespace, "ApplyRefused", "twice")
        assert row["status"] == "False"
        assert "the API server refused the HTTPRoute twice-gateway" in row["message"]
        assert kubectl_json(kube, namespace, "deployment", "twice-gateway")
        kube.kubectl("-n", namespace, "delete", "vllmgateway", "twice", "--cascade=foreground", "--wait=false")

        patch = '[{"op": "remove", "path": "/spec/exposure"}]'
        kube.kubectl("-n", namespace, "patch", "vllmgateway", "chat", "--type=json", "-p", patch)

        def gone() -> None:
            assert not kube.kubectl("-n", namespace, "get", "httproutes,inferencepools", "-o", "name").stdout.strip()
            status = status_of(kube, namespace, "chat")
            assert "Exposed" not in {row["type"] for row in status["conditions"]}

        kube.eventually(gone, within=30, namespace=namespace)


@pytest.mark.parametrize(
    ("exposure", "message"),
    [
        ({}, "exposure needs a kind"),
        ({"httpRoute": {"parentRefs": []}}, "at least 1"),
        ({"httpRoute": {"parentRefs": [{"name": "a"}], "hostnames": ["http://x"]}}, "hostnames[0]"),
        ({"inferencePools": {}}, "endpointPickerRef: Required"),
    ],
)
def test_the_crd_refuses_bad_exposures(kube: Kube, exposure: dict[str, Any], message: str) -> None:
    answer = kube.apply(gateway_body("bad", {"exposure": exposure}), "--server-side", check=False)
    assert answer.code != 0
    assert message in answer.text
