"""Operator, agent and Envoy against a real API server: from an empty VLLMGateway to a request that is answered."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.gateway.gateway_process import GatewayProcess, free_port
from tests.gateway.requests import bearer, chat, get, post
from tests.helpers.alone import plane_or_skip
from tests.integration.replica import fake_replica
from tests.integration.stalled_replica import run_pod
from tools.harness import rights
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube, condition
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.api.names import ANNOTATION_WAKE, API_VERSION, child_name, recommended_labels
from vllm_operator.gateway.agent import Agent, AgentSettings
from vllm_operator.gateway.envoy import clusters
from vllm_operator.gateway.held_reader import AGENT_PORT
from vllm_operator.gateway.observe import SERVICE_LABEL
from vllm_operator.install.manifests import RightsOptions, operator_manifests

ADDRESS, SLICE_ADDRESS = "127.66.31.7", "10.66.31.7"
OTHER_ADDRESS = "127.66.31.9"
POD_ADDRESS = "127.66.31.8"
"""Address of the pod of a gateway."""
socket_of = clusters._socket
IMAGE = "operator:test"


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with plane_or_skip() as running:
        yield running


@pytest.fixture(scope="module")
def kube(plane: Plane) -> Iterator[Kube]:
    """A cluster with both CRDs, and an operator with the rights that ship."""
    kube = plane.kube()
    for body in (crd(), gateway_crd()):
        kube.apply(body, "--server-side")
    kube.wait_for_crds("vllmservers.vllm-operator.dev", "vllmgateways.vllm-operator.dev")
    shipped = operator_manifests(IMAGE, rights.SYSTEM, rights=RightsOptions(gateways=True))
    kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig", shipped)
    arguments = ["--gateway-agent-image", IMAGE, "--no-leader-elect"]
    process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", arguments)
    kube.reports.append(process.tail)
    process.start()
    try:
        process.wait_ready()
        yield kube
    finally:
        process.stop()
    denied = rights.denied(rights.requests(plane.audit))
    assert denied == [], denied


def gateway_body(name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "VLLMGateway", "metadata": {"name": name}}
    return body if spec is None else {**body, "spec": spec}


def server_body(name: str, **fields: Any) -> dict[str, Any]:
    spec = {"model": {"uri": f"hf://tiny-org/{name}"}, "accelerator": {"resourceName": ""}, **fields}
    return {"apiVersion": API_VERSION, "kind": "VLLMServer", "metadata": {"name": name}, "spec": spec}


def kubectl_json(kube: Kube, namespace: str, *arguments: str) -> dict[str, Any]:
    found = yaml.safe_load(kube.kubectl("-n", namespace, "get", *arguments, "-o", "yaml").stdout)
    assert isinstance(found, dict)
    return found


def status_of(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    """The status, once it is of the present generation."""

    def judged() -> dict[str, Any]:
        body = kubectl_json(kube, namespace, "vllmgateway", name)
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"], body["status"]
        status: dict[str, Any] = body["status"]
        return status

    return kube.eventually(judged, within=20, namespace=namespace)


def secret(kube: Kube, namespace: str, name: str, **data: str) -> None:
    encoded = {key.replace("__", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
    kube.apply(body, namespace=namespace)


def serve_replica(kube: Kube, namespace: str, server: str) -> None:
    """Play the kubelet and the EndpointSlice controller: let the only pod of a server be ready.

    The API server takes no loopback address in an EndpointSlice, so it holds SLICE_ADDRESS, which stands for ADDRESS.
    """
    pod = run_pod(kube, namespace, server, ADDRESS)
    target = {"kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"]}
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        # The controller copies the labels of the Service.
        "metadata": {
            "name": f"{server}-test",
            "labels": {**recommended_labels(server), SERVICE_LABEL: child_name(server)},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": [{"addresses": [SLICE_ADDRESS], "conditions": {"ready": True}, "targetRef": target}],
    }
    kube.apply(body, namespace=namespace)


def reach_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Envoy find SLICE_ADDRESS at ADDRESS."""
    monkeypatch.setattr(clusters, "_socket", lambda endpoint: socket_of(replace(endpoint, address=ADDRESS)))


def test_an_empty_gateway_gets_children_and_a_status(kube: Kube) -> None:
    with kube.namespace("gateway") as namespace:
        kube.apply(gateway_body("chat"), namespace=namespace)
        status = status_of(kube, namespace, "chat")
        assert status["phase"] == "Pending"
        assert status["address"] == f"http://chat-gateway.{namespace}.svc"
        assert status["ready"] == "0/2"
        assert "no VLLMServer of this namespace" in status["message"]
        for kind in (
            "deployment",
            "service",
            "configmap",
            "serviceaccount",
            "role",
            "rolebinding",
            "poddisruptionbudget",
        ):
            child = kubectl_json(kube, namespace, kind, "chat-gateway")
            assert child["metadata"]["ownerReferences"][0]["kind"] == "VLLMGateway"
        deployment = kubectl_json(kube, namespace, "deployment", "chat-gateway")
        [agent] = deployment["spec"]["template"]["spec"]["containers"]
        assert agent["image"] == IMAGE
        output = kube.kubectl("-n", namespace, "get", "vllmgateways").stdout
        assert output.splitlines()[0].split() == ["NAME", "ADDRESS", "READY", "PHASE", "MODELS", "AGE", "MESSAGE"]
        # A change of the spec, drift and a second look: the children follow, and nothing else is written.
        kube.kubectl("-n", namespace, "patch", "vllmgateway", "chat", "--type=merge", "-p", '{"spec":{"replicas":3}}')

        def scaled() -> None:
            assert kubectl_json(kube, namespace, "deployment", "chat-gateway")["spec"]["replicas"] == 3

        kube.eventually(scaled, within=20, namespace=namespace)
        kube.kubectl("-n", namespace, "delete", "vllmgateway", "chat")

        def gone() -> None:
            assert not kube.list("Deployment", namespace)

        # The garbage collector looks for new kinds every 30 s.
        kube.eventually(gone, within=90, namespace=namespace)


def test_refused_references_and_foreign_children_are_named(kube: Kube) -> None:
    with kube.namespace("gateway") as namespace:
        secret(kube, namespace, "keys", alice="sk-alice-0001", bob="short")
        foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taken-gateway"}, "data": {"a": "b"}}
        kube.apply(foreign, namespace=namespace)
        spec = {
            "auth": {
                "secrets": [{"name": "keys"}, {"name": "missing"}],
                "apiKeys": [{"id": "carol", "secretKeyRef": {"name": "keys", "key": "carol"}}],
            },
            "models": [{"name": "chat", "servers": [{"name": "nobody"}], "fallbacks": ["nothing"]}],
            "servers": {"names": ["absent"]},
        }
        kube.apply(gateway_body("chat", spec), namespace=namespace)
        status = status_of(kube, namespace, "chat")
        assert status["keys"] == 1
        refused = "\n".join(status["refusedReferences"])
        for part in (
            "spec.auth.secrets[missing]: the Secret does not exist",
            "Secret keys, entry bob: the key needs 8 to 512 printable characters",
            "spec.auth.apiKeys[carol]: the Secret keys has no entry carol",
            "chat: the server nobody is not among those of the gateway",
            "the fallback nothing is no model of this gateway",
            "there is no server absent",
        ):
            assert part in refused
        assert "sk-alice" not in yaml.safe_dump(status)
        assert condition({"status": status}, "ReferencesResolved")["status"] == "False"
        rule = kubectl_json(kube, namespace, "role", "chat-gateway")["rules"][2]
        assert rule["resourceNames"] == ["keys"]
        assert rule["verbs"] == ["get"]
        kube.apply(gateway_body("taken"), namespace=namespace)
        status = status_of(kube, namespace, "taken")
        assert condition({"status": status}, "Accepted")["reason"] == "NameTaken"
        assert kubectl_json(kube, namespace, "configmap", "taken-gateway")["data"] == {"a": "b"}
        events = kube.kubectl("-n", namespace, "get", "events").stdout
        assert "ReferenceRefused" in events


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"routing": "Random"}, "Unsupported value"),
        ({"auth": {}}, "auth needs a source of keys"),
        ({"auth": {"jwt": {"issuer": "https://x", "audiences": ["a"]}}}, "set jwksUri or jwks"),
        ({"auth": {"jwt": {"issuer": "https://x", "audiences": [], "jwks": "{}"}}}, "at least 1"),
        ({"limits": [{"key": "alice"}]}, "a limit needs a number"),
        ({"limits": [{"key": "alice", "concurrent": 3}]}, "limits of a key need spec.auth"),
        ({"models": [{"name": "m", "servers": [{"name": "a", "weight": 0}]}]}, "a weight above 0"),
        ({"models": [{"name": "m", "servers": []}]}, "at least 1"),
        ({"replicas": 101}, "less than or equal to 100"),
        ({"tls": {}}, "secretName: Required"),
        ({"unknown": 1}, ".spec.unknown: field not declared in schema"),
    ],
)
def test_the_crd_refuses_bad_specs(kube: Kube, spec: dict[str, Any], message: str) -> None:
    answer = kube.apply(gateway_body("bad", spec), "--server-side", "--validate=strict", check=False)
    assert answer.code != 0
    assert message in answer.text


class GatewayWithAgent(GatewayProcess):
    """Envoy with the whole agent, which reads a real API server with the rights of its ServiceAccount."""

    def __init__(self, namespace: str, name: str) -> None:
        super().__init__()
        # The operator asks the agent at the port that it has in a pod.
        self._settings = AgentSettings(namespace, name, self.layout, POD_ADDRESS, POD_ADDRESS, AGENT_PORT, free_port())
        self._task: asyncio.Task[None] | None = None

    def publish(self) -> list[str]:
        return []

    async def start_agent(self) -> None:
        agent = Agent(self._settings)
        self.holder = agent.holder
        self._task = asyncio.create_task(agent.run())

    async def stop_agent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def __aexit__(self, *error: object) -> None:
        await self.stop_agent()
        await super().__aexit__(*error)


def lend_agent(kube: Kube, namespace: str, account: str, path: Path) -> None:
    token = kube.kubectl("-n", namespace, "create", "token", account).stdout.strip()
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))


async def test_the_agent_serves_what_the_cluster_holds(
    kube: Kube, plane: Plane, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kube.namespace("gateway") as namespace, fake_replica(ADDRESS) as replica:
        secret(kube, namespace, "keys", alice="sk-alice-0001")
        secret(kube, namespace, "engine", token="sk-of-the-engine")
        kube.apply(server_body("tiny", security={"apiKeySecretRef": {"name": "engine"}}), namespace=namespace)
        kube.apply(gateway_body("chat", {"auth": {"secrets": [{"name": "keys"}]}}), namespace=namespace)
        status_of(kube, namespace, "chat")
        kubeconfig = plane.folder / f"{namespace}.kubeconfig"
        lend_agent(kube, namespace, "chat-gateway", kubeconfig)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        reach_on_loopback(monkeypatch)

        run_gateway_pod(kube, namespace, "chat")
        async with GatewayWithAgent(namespace, "chat") as gateway:
            assert (await get(session, gateway, "/v1/models", bearer("sk-alice-0001"))).json["data"][0]["id"] == "tiny"
            # No replica is ready: the request waits, and the server is asked to start.
            waiting = asyncio.create_task(post(session, gateway, headers=bearer("sk-alice-0001")))
            await asyncio.sleep(2)
            assert gateway.holder.held == {"tiny": 1}
            assert await asyncio.to_thread(held_requests, kube, namespace, 1) == (1, 1)
            body = await asyncio.to_thread(kubectl_json, kube, namespace, "vllmserver", "tiny")
            assert body["metadata"]["annotations"][ANNOTATION_WAKE].startswith("20")
            await asyncio.to_thread(serve_replica, kube, namespace, "tiny")
            assert (await asyncio.wait_for(waiting, 20)).status == 200
            assert replica.completions[-1]["model"] == "tiny"
            assert await asyncio.to_thread(held_requests, kube, namespace, 0) == (0, None)
            # A new key counts within seconds, and the old one no longer.
            await asyncio.to_thread(secret, kube, namespace, "keys", alice="sk-alice-0002")
            async with asyncio.timeout(15):
                while (await get(session, gateway, "/v1/models", bearer("sk-alice-0002"))).status != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.3)
            assert (await get(session, gateway, "/v1/models", bearer("sk-alice-0001"))).status == 401
            # The status counts what the operator itself has probed.
            assert await asyncio.to_thread(ready_models, kube, namespace) == {"tiny": 1}


async def test_a_server_of_another_namespace_is_served_while_its_label_allows_it(
    kube: Kube, plane: Plane, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_socket", lambda endpoint: socket_of(replace(endpoint, address=OTHER_ADDRESS)))
    label = "gateways.vllm-operator.dev/"
    with (
        kube.namespace("gateway") as namespace,
        kube.namespace("research") as other,
        fake_replica(OTHER_ADDRESS) as replica,
    ):
        secret(kube, namespace, "llama-key", token="sk-of-the-engine")
        secret(kube, other, "engine", token="sk-of-the-engine")
        kube.apply(server_body("tiny", security={"apiKeySecretRef": {"name": "engine"}}), namespace=other)
        reference = {"namespace": other, "name": "tiny", "apiKeySecretRef": {"name": "llama-key", "key": "token"}}
        models = [{"name": "big", "servers": [{"name": f"{other}/tiny"}]}]
        spec = {"servers": {"references": [reference]}, "models": models}
        kube.apply(gateway_body("chat", spec), namespace=namespace)
        refused = "\n".join(status_of(kube, namespace, "chat")["refusedReferences"])
        assert f"{other}/tiny: there is no such server that allows this namespace" in refused
        kube.kubectl("-n", other, "label", "vllmserver", "tiny", f"{label}{namespace}=true")

        def allowed(endpoints: int) -> None:
            rows = kubectl_json(kube, namespace, "vllmgateway", "chat")["status"].get("remoteServers", [])
            assert [len(row["endpoints"]) for row in rows] == [endpoints]

        await asyncio.to_thread(kube.eventually, lambda: allowed(0), within=20, namespace=namespace)
        kubeconfig = plane.folder / f"{namespace}.kubeconfig"
        lend_agent(kube, namespace, "chat-gateway", kubeconfig)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        run_gateway_pod(kube, namespace, "chat")
        async with GatewayWithAgent(namespace, "chat") as gateway:
            waiting = asyncio.create_task(post(session, gateway, chat(model="big")))

            def woken() -> None:
                # By the operator: the agent has no rights there.
                body = kubectl_json(kube, other, "vllmserver", "tiny")
                assert ANNOTATION_WAKE in body["metadata"].get("annotations", {})
                assert body["status"].get("heldRequests") == 1

            await asyncio.to_thread(kube.eventually, woken, within=45, namespace=other)
            await asyncio.to_thread(run_pod, kube, other, "tiny", OTHER_ADDRESS)
            assert (await asyncio.wait_for(waiting, 30)).status == 200
            assert replica.completions[-1]["model"] == "tiny"
            await asyncio.to_thread(kube.kubectl, "-n", other, "label", "vllmserver", "tiny", f"{label}{namespace}-")
            async with asyncio.timeout(20):
                while (await post(session, gateway, chat(model="big"))).status != 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.3)


def run_gateway_pod(kube: Kube, namespace: str, gateway: str) -> None:
    """Play the kubelet: let a pod of a gateway run at POD_ADDRESS."""
    label = f"app.kubernetes.io/instance={gateway}-gateway"
    pod = kube.eventually(lambda: kube.list("Pod", namespace, label) or False, within=20)[0]["metadata"]["name"]
    status = {"phase": "Running", "podIP": POD_ADDRESS, "podIPs": [{"ip": POD_ADDRESS}]}
    kube.patch("Pod", pod, namespace, {"status": status}, status=True)


def held_requests(kube: Kube, namespace: str, wanted: int) -> tuple[int, int | None]:
    """The held requests in the statuses of the gateway and of the server, once the gateway's is the wanted number."""

    def found() -> tuple[int, int | None]:
        of_gateway = kubectl_json(kube, namespace, "vllmgateway", "chat")["status"].get("heldRequests")
        of_server = kubectl_json(kube, namespace, "vllmserver", "tiny")["status"].get("heldRequests")
        assert of_gateway == wanted, (of_gateway, of_server)
        assert of_server == (wanted or None), (of_gateway, of_server)
        return of_gateway, of_server

    return kube.eventually(found, within=45, namespace=namespace)


def ready_models(kube: Kube, namespace: str) -> dict[str, int]:
    """Models of the status with their ready endpoints, once one is ready."""

    def found() -> dict[str, int]:
        models = {one["name"]: one["readyEndpoints"] for one in status_of(kube, namespace, "chat")["models"]}
        assert any(models.values()), models
        return models

    return kube.eventually(found, within=60, namespace=namespace)
