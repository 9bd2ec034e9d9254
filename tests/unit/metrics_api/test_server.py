"""The HTTPS server, called as the API server calls it: with its client certificate and the name of the user."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.helpers.pods import ready_pod
from tests.unit.metrics_api.fake_objects import FakeCached, FakeObjects, FakeSampler
from tools.localcluster.certificates import Authority, Identity
from vllm_operator.errors import ApiError
from vllm_operator.metrics_api import server as module
from vllm_operator.metrics_api.access import AccessReviews
from vllm_operator.metrics_api.certificates import issue, server_context
from vllm_operator.metrics_api.front_proxy import FrontProxy
from vllm_operator.metrics_api.readings import LoadReader
from vllm_operator.metrics_api.server import MetricsServer
from vllm_operator.probing.load_sampler import LoadSampler
from vllm_operator.probing.replica_load import RequestLoad

HOST = "vllm-operator.ns.svc"
PODS = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm/pods"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the front proxy, and another certificate that it signed."""
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.ensure([Identity("front-proxy", "/CN=front-proxy-client"), Identity("kubelet", "/CN=kubelet")])
    return made


@dataclass
class FakeApiServer:
    """Calls the metrics API as the API server does."""

    server: MetricsServer
    authorities: str
    authority: Authority
    allowed: bool = True
    review_error: ApiError | None = None

    async def review(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.review_error is not None:
            raise self.review_error
        return {**body, "status": {"allowed": self.allowed}}

    async def get(
        self, path: str, user: str = "hpa", certificate: str = "front-proxy", groups: Iterable[str] = ()
    ) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cadata=self.authorities)
        if certificate:
            context.load_cert_chain(self.authority.certificate(certificate), self.authority.key(certificate))
        named = {"X-Remote-User": user} if user else {}
        headers = CIMultiDict([*named.items(), *(("X-Remote-Group", group) for group in groups)])
        url = f"https://127.0.0.1:{self.server.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=context, server_hostname=HOST) as answer,
        ):
            return answer.status, await answer.json()


@pytest.fixture
async def api(authority: Authority) -> AsyncIterator[FakeApiServer]:
    objects, sampler = FakeObjects(), FakeSampler()
    body = ready_pod("m-1")
    body["status"]["podIP"] = "10.0.0.7"
    objects.pods["mistral"] = [FakeCached(body)]
    objects.servers["mistral"] = {"metadata": {"name": "mistral"}}
    sampler.loads["uid-of-m-1"] = RequestLoad(3.0, 1.0, 0.5)
    serving = issue(HOST, datetime.now(UTC))
    caller = FakeApiServer(cast("MetricsServer", None), serving.authorities, authority)
    reader = LoadReader(objects, cast("LoadSampler", sampler))
    caller.server = MetricsServer(reader, AccessReviews(lambda body: caller.review(body)))
    ca = authority.certificate("ca").read_text()
    await caller.server.serve(
        "127.0.0.1", 0, server_context(serving, ca), FrontProxy(ca, allowed_names=("front-proxy-client",))
    )
    yield caller
    await caller.server.close()


@pytest.mark.parametrize(
    "path",
    [
        "/apis",
        "/apis/custom.metrics.k8s.io",
        "/apis/custom.metrics.k8s.io/v1beta1",
        "/apis/custom.metrics.k8s.io/v1beta2",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/custom.metrics.k8s.io/v1beta2",
    ],
)
async def test_documents_are_answered(api: FakeApiServer, path: str) -> None:
    assert (await api.get(path))[0] == 200


async def test_value_of_pods_and_servers(api: FakeApiServer) -> None:
    _, pods = await api.get(f"{PODS}/*/vllm_num_requests?labelSelector=app.kubernetes.io%2Fname%3Dvllm")
    servers = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/llm/vllmservers.vllm-operator.dev"
    _, server = await api.get(f"{servers}/mistral/vllm_kv_cache_usage")

    assert [(item["describedObject"]["name"], item["value"]) for item in pods["items"]] == [("m-1", "4")]
    assert server["items"][0]["value"] == "500m"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{PODS}/*/vllm_num_requests?labelSelector=app.kubernetes.io%2Fname%3Dother", 200),
        (f"{PODS}/*/vllm_num_requests?metricLabelSelector=model%3Dx", 200),
        (f"{PODS}/other/vllm_num_requests", 404),
        (f"{PODS}/*/cpu_usage", 404),
        (f"{PODS.replace('pods', 'jobs.batch')}/*/vllm_num_requests", 404),
        (f"{PODS}/*/vllm_num_requests?labelSelector=a%20b", 400),
        ("/apis/custom.metrics.k8s.io/v1/namespaces/llm/pods/*/vllm_num_requests", 404),
        ("/secret", 404),
    ],
)
async def test_what_is_not_there(api: FakeApiServer, path: str, code: int) -> None:
    status, body = await api.get(path)

    assert status == code
    assert body.get("items", []) == []
    assert code == 200 or body["code"] == code


async def test_user_without_the_right_is_refused(api: FakeApiServer) -> None:
    api.allowed = False

    status, body = await api.get(f"{PODS}/*/vllm_num_requests")

    assert (status, body["reason"]) == (403, "Forbidden")
    assert "user hpa cannot get pods/vllm_num_requests" in body["message"]


async def test_user_in_hundreds_of_groups_is_answered(api: FakeApiServer) -> None:
    groups = [f"team-{number}" for number in range(500)]

    assert (await api.get(f"{PODS}/*/vllm_num_requests", groups=groups))[0] == 200


async def test_failed_review_is_no_answer(api: FakeApiServer) -> None:
    api.review_error = ApiError(500, "InternalError", "etcd")

    assert (await api.get(f"{PODS}/*/vllm_num_requests"))[0] == 503


async def test_only_the_front_proxy_may_call(api: FakeApiServer) -> None:
    assert (await api.get("/apis", certificate="kubelet"))[0] == 401
    assert (await api.get("/apis", user=""))[0] == 401
    with pytest.raises((aiohttp.ClientError, OSError)):
        await api.get("/apis", certificate="")


async def test_silent_connections_are_few_and_keep_nobody_away(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HANDSHAKES", 4)
    silent = [await asyncio.open_connection("127.0.0.1", api.server.port) for _ in range(12)]

    assert (await api.get("/apis"))[0] == 200

    ended = [reader for reader, _ in silent if reader.at_eof() or reader.exception()]
    assert len(ended) >= 8
    for _, writer in silent:
        writer.close()


async def test_other_methods_are_refused(api: FakeApiServer, authority: Authority) -> None:
    context = ssl.create_default_context(cadata=api.authorities)
    context.load_cert_chain(authority.certificate("front-proxy"), authority.key("front-proxy"))
    url = f"https://127.0.0.1:{api.server.port}/apis"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers={"X-Remote-User": "x"}, ssl=context, server_hostname=HOST) as answer,
    ):
        assert answer.status == 405


async def test_a_new_certificate_takes_the_place_of_the_old(api: FakeApiServer, authority: Authority) -> None:
    renewed = issue(HOST, datetime.now(UTC))
    ca = authority.certificate("ca").read_text()
    port = api.server.port

    await api.server.serve("127.0.0.1", port, server_context(renewed, ca), FrontProxy(ca))
    renewed_api = replace(api, authorities=renewed.authorities)

    assert (await renewed_api.get("/apis"))[0] == 200
