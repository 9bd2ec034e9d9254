"""The one authenticated session that kopf and the operator's own calls share."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import kopf

from vllm_operator import __version__
from vllm_operator.errors import VLLMOperatorError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USER_AGENT = f"vllm-operator/{__version__}"
TOKEN_AGE_SECONDS = 60.0
"""How long a token is used before its file is read again: the kubelet replaces it about every hour."""

logger = logging.getLogger(__name__)


class LoginError(VLLMOperatorError):
    """Neither a service account nor a usable kubeconfig was found."""


class Connection:
    """Where the API server is, and the session that may talk to it. The session can be replaced while in use."""

    def __init__(self) -> None:
        self.server, self._open = _credentials()
        self.session = self._open()

    async def renew(self) -> None:
        """Read the credentials again and open a new session: kopf closes one that was answered with 401."""
        old = self.session
        self.server, self._open = _credentials()
        self.session = self._open()
        await old.close()

    async def close(self) -> None:
        """Close the session."""
        await self.session.close()


def in_cluster() -> bool:
    """True in a pod with a service account."""
    return (ACCOUNT / "token").exists()


def _credentials() -> tuple[str, Callable[[], aiohttp.ClientSession]]:
    """Address of the API server and how to open a session: by service account in a pod, else by kubeconfig.

    Raises:
        LoginError: no credentials; the message says where they are looked for.
    """
    return _from_account() if in_cluster() else _from_kubeconfig()


def _from_account() -> tuple[str, Callable[[], aiohttp.ClientSession]]:
    # The variables rather than the name: cluster DNS may not work yet.
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://{f'[{host}]' if host and ':' in host else host or 'kubernetes.default.svc'}:{port}"
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return server, lambda: _session(context, {}, _TokenFile(ACCOUNT / "token"))


def _from_kubeconfig() -> tuple[str, Callable[[], aiohttp.ClientSession]]:
    try:
        info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
        context = info.as_ssl_context() if info else None
    except Exception as error:
        # kopf reads the file without checks: a broken one fails in any way.
        raise LoginError(
            f"the kubeconfig cannot be used: {type(error).__name__}: {error}: set KUBECONFIG to a kubeconfig file"
        ) from error
    if info is None or context is None or not info.server:
        raise LoginError(
            "no cluster: set KUBECONFIG to a kubeconfig file (or write ~/.kube/config), or run in a pod "
            "with a service account"
        )
    headers = info.as_http_headers()
    return info.server.rstrip("/"), lambda: _session(context, headers, None)


def _session(context: ssl.SSLContext, headers: dict[str, str], token: _TokenFile | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        headers={**headers, "User-Agent": USER_AGENT},
        middlewares=(token,) if token else (),
    )


class _TokenFile:
    """aiohttp middleware that sends the service account's token as it stands in its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = -TOKEN_AGE_SECONDS

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers["Authorization"] = f"Bearer {self.current()}"
        response = await handler(request)
        if response.status == 401:
            self._read_at = -TOKEN_AGE_SECONDS
        return response

    def current(self) -> str:
        """The token, read again when the last reading is a minute old."""
        now = time.monotonic()
        if now - self._read_at >= TOKEN_AGE_SECONDS:
            try:
                # A few hundred bytes from tmpfs, once a minute.
                self._token = self._path.read_text().strip()
                self._read_at = now
            except OSError as error:
                logger.warning("the service account's token cannot be read: %s", error)
        return self._token
