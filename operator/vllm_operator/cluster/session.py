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
from vllm_operator.cluster.calls import Meter, OnCall
from vllm_operator.errors import VLLMOperatorError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USER_AGENT = f"vllm-operator/{__version__}"
TOKEN_AGE_SECONDS = 60.0
"""How long a token is used before its file is read again: the kubelet replaces it about every hour."""

logger = logging.getLogger(__name__)


class LoginError(VLLMOperatorError):
    """Neither a service account nor a usable kubeconfig was found."""


OpenSession = Callable[[tuple[aiohttp.ClientMiddlewareType, ...]], aiohttp.ClientSession]


class Connection:
    """Where the API server is, and the session that may talk to it. The session can be replaced while in use.

    Args:
        on_call: told of every call, those of kopf included.
    """

    def __init__(self, on_call: OnCall) -> None:
        self._middlewares = (Meter(on_call),)
        self.server, self._open = _credentials()
        self.session = self._open(self._middlewares)

    async def renew(self) -> None:
        """Read the credentials again and open a new session: kopf closes one that was answered with 401."""
        old = self.session
        self.server, self._open = _credentials()
        self.session = self._open(self._middlewares)
        await old.close()

    async def close(self) -> None:
        """Close the session."""
        await self.session.close()


def in_cluster() -> bool:
    """True in a pod with a service account."""
    return (ACCOUNT / "token").exists()


def _credentials() -> tuple[str, OpenSession]:
    """Address of the API server and how to open a session: by service account in a pod, else by kubeconfig.

    Raises:
        LoginError: no credentials; the message says where they are looked for.
    """
    return _from_account() if in_cluster() else _from_kubeconfig()


def _from_account() -> tuple[str, OpenSession]:
    # The variables rather than the name: cluster DNS may not work yet.
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://{f'[{host}]' if host and ':' in host else host or 'kubernetes.default.svc'}:{port}"
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    token = _TokenFile(ACCOUNT / "token")
    return server, lambda middlewares: _session(context, {}, (token, *middlewares))


def _from_kubeconfig() -> tuple[str, OpenSession]:
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
    return info.server.rstrip("/"), lambda middlewares: _session(context, headers, middlewares)


def _session(
    context: ssl.SSLContext, headers: dict[str, str], middlewares: tuple[aiohttp.ClientMiddlewareType, ...]
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        headers={**headers, "User-Agent": USER_AGENT},
        middlewares=middlewares,
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
