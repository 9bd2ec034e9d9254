"""Test an API server whose certificate another CA signed, over real TLS on loopback."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from tools.localcluster.certificates import Authority, Identity
from vllm_operator.errors import ApiError
from vllm_operator.kube import connection as module
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

HERE = Identity("here", "/CN=here", ("IP:127.0.0.1",))
ELSEWHERE = Identity("elsewhere", "/CN=elsewhere", ("IP:127.0.0.2",))


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """Return two CAs of the same name with different keys, as after a cluster replaced its CA."""
    made = Authority(tmp_path_factory.mktemp("old")), Authority(tmp_path_factory.mktemp("new"))
    for authority in made:
        authority.ensure([HERE, ELSEWHERE])
    return made


@dataclass
class Scene:
    """An API server, and the file of the CA that the operator trusts."""

    old: Authority
    new: Authority
    file: Path
    context: ssl.SSLContext

    def trust(self, authority: Authority) -> None:
        shutil.copy(authority.certificate("ca"), self.file)

    def present(self, authority: Authority, name: str = "here") -> None:
        """Present another certificate to new connections."""
        self.context.load_cert_chain(authority.certificate(name), authority.key(name))


@pytest.fixture(params=["kubeconfig", "account"])
async def scene(
    request: pytest.FixtureRequest,
    authorities: tuple[Authority, Authority],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    """Yield an API server that is trusted, by a kubeconfig or by a service account."""
    found = Scene(*authorities, tmp_path / "ca.crt", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    found.trust(found.old)
    found.present(found.old)
    runner = web.ServerRunner(web.Server(answer, keepalive_timeout=0.0), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=found.context).start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(module, "MIN_RENEW_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(module, "SERVICE_ACCOUNT_DIR", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    if request.param == "account":
        (tmp_path / "token").write_text("token")
    (tmp_path / "kubeconfig").write_text(kubeconfig(f"https://127.0.0.1:{port}", found.file))
    yield found
    await runner.cleanup()


async def answer(_: web.BaseRequest) -> web.Response:
    return web.Response(text="{}", headers={"Connection": "close"})


def kubeconfig(server: str, authority: Path) -> str:
    return json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "u", "user": {"token": "token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    })  # fmt: skip


@pytest.fixture
async def connection(scene: Scene) -> AsyncIterator[Connection]:
    made = Connection(lambda *_: None, ApiServerAvailability())
    yield made
    await made.close()


async def call_error(connection: Connection) -> str:
    """Return the message of a failed call; empty after a response."""
    try:
        await ApiClient(connection).get_path("/version")
    except ApiError as error:
        return error.message
    return ""


async def test_ca_that_is_replaced_after_the_certificate_is_read_again(scene: Scene, connection: Connection) -> None:
    assert await call_error(connection) == ""
    scene.present(scene.new)
    for _ in range(2):
        message = await call_error(connection)
        assert "its certificate is not trusted (" in message
        assert f"not signed by the CA in {scene.file}, which is read again until it is" in message
    scene.trust(scene.new)
    await call_error(connection)
    assert await call_error(connection) == ""


async def test_ca_that_is_replaced_before_the_certificate_is_read_when_it_is_needed(
    scene: Scene, connection: Connection
) -> None:
    scene.trust(scene.new)
    assert await call_error(connection) == ""
    scene.present(scene.new)
    assert "its certificate is not trusted" in await call_error(connection)
    assert await call_error(connection) == ""


async def test_certificate_of_another_address_does_not_blame_the_ca(scene: Scene, connection: Connection) -> None:
    scene.present(scene.old, "elsewhere")
    message = await call_error(connection)
    assert "(IP address mismatch, certificate is not valid for '127.0.0.1'.)" in message
    assert "signed" not in message


async def test_incomplete_ca_file_is_read_again_later(
    scene: Scene, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    scene.present(scene.new)
    scene.file.write_text("-----BEGIN CERTIFICATE-----\nMII")
    assert "its certificate is not trusted" in await call_error(connection)
    assert "the credentials cannot be read again" in caplog.text
    scene.trust(scene.new)
    await call_error(connection)
    assert await call_error(connection) == ""
