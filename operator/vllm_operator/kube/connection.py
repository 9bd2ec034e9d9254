"""The authenticated connections that kopf and the operator's own calls share."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import kopf

from vllm_operator import __version__
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.request_metrics import OnRequest, RequestMetrics
from vllm_operator.kube.tls_errors import describe_tls_error

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USER_AGENT = f"vllm-operator/{__version__}"
TOKEN_AGE_SECONDS = 60.0
"""How long a token is used before its file is read again: the kubelet replaces it about every hour."""
RENEW_SECONDS = 2.0
"""Shortest time between two readings of credentials that are refused."""

logger = logging.getLogger(__name__)


class LoginError(VLLMOperatorError):
    """Neither a service account nor a usable kubeconfig was found."""


@dataclass(frozen=True)
class Credentials:
    """Where the API server is, and as whom to talk to it.

    Attributes:
        authority: where the CA stands by which the API server is known, for messages.
        contents: all that was read, to tell whether it has changed.
    """

    server: str
    context: ssl.SSLContext
    headers: dict[str, str]
    authority: str
    contents: Hashable
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()


class Connection:
    """The connections to the API server and the session that may use them. Both can be replaced while in use.

    Args:
        on_call: told of every call, those of kopf included.
        recovery: told what they say about the API server.
    """

    def __init__(self, on_call: OnRequest, recovery: ApiServerAvailability) -> None:
        self._meter = RequestMetrics(on_call, recovery)
        self._take(_credentials())
        self._renewed = float("-inf")

    async def renew(self) -> None:
        """Read the credentials again: they were refused, or the API server's certificate was not trusted.

        When they have changed, what is under way on the old connections fails. Else the connections stay: of several
        API servers, one may still show an old certificate.
        """
        now = time.monotonic()
        if now - self._renewed < RENEW_SECONDS:
            return
        self._renewed = now
        try:
            credentials = _credentials()
        except LoginError as error:
            logger.warning("the credentials cannot be read again: %s", error)
            return
        if credentials.contents == self._credentials.contents:
            return
        logger.info("the credentials have changed: connecting anew to %s", credentials.server)
        old = self.session
        self._take(credentials)
        await old.close()

    async def on_failed_call(self, error: Exception) -> str:
        """Take note that a call was not answered; returns what to say of it."""
        if isinstance(error, aiohttp.ClientSSLError):
            await self.renew()
        return describe_tls_error(error, self._credentials.authority)

    def new_session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """Another session over the same connections, which its user may close: they stay."""
        return self._session(middlewares, owns=False)

    async def close(self) -> None:
        """Close the session and the connections."""
        await self.session.close()

    def _take(self, credentials: Credentials) -> None:
        self.server, self._credentials = credentials.server, credentials
        self._connector = aiohttp.TCPConnector(limit=0, ssl=credentials.context)
        self.session = self._session((), owns=True)

    def _session(self, middlewares: Sequence[aiohttp.ClientMiddlewareType], owns: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=owns,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**self._credentials.headers, "User-Agent": USER_AGENT},
            middlewares=(*middlewares, *self._credentials.middlewares, self._meter),
        )


def in_cluster() -> bool:
    """True in a pod with a service account."""
    return (ACCOUNT / "token").exists()


def _credentials() -> Credentials:
    """By service account in a pod, else by kubeconfig.

    Raises:
        LoginError: no credentials; the message says where they are looked for.
    """
    return _from_account() if in_cluster() else _from_kubeconfig()


def _from_account() -> Credentials:
    # The variables rather than the name: cluster DNS may not work yet.
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://{f'[{host}]' if host and ':' in host else host or 'kubernetes.default.svc'}:{port}"
    authority = ACCOUNT / "ca.crt"
    try:
        # In this order: what is replaced in between is taken for changed the next time.
        contents = (server, authority.read_bytes())
        context = ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise LoginError(f"the service account's ca.crt cannot be used: {error}") from error
    return Credentials(server, context, {}, str(authority), contents, (_TokenFile(ACCOUNT / "token"),))


def _from_kubeconfig() -> Credentials:
    try:
        info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
        contents = (info, _files(info)) if info else None
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
    authority = str(info.ca_path or ("the kubeconfig" if info.ca_data else "the system's store"))
    return Credentials(info.server.rstrip("/"), context, info.as_http_headers(), authority, contents)


def _files(info: kopf.ConnectionInfo) -> tuple[bytes, ...]:
    """What the files hold that a kubeconfig names."""
    paths = (info.ca_path, info.certificate_path, info.private_key_path)
    return tuple(Path(os.fsdecode(path)).read_bytes() for path in paths if path)


class _TokenFile:
    """aiohttp middleware that sends the service account's token as it stands in its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = float("-inf")

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = self.current()
        request.headers["Authorization"] = f"Bearer {token}"
        response = await handler(request)
        if response.status != 401:
            return response
        self._read_at = float("-inf")
        if (newer := self.current()) == token:
            return response
        # It was replaced since it was last read.
        response.close()
        request.headers["Authorization"] = f"Bearer {newer}"
        return await handler(request)

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
