"""Keep the authenticated connections to the API server, which kopf and the operator's own calls share."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import kopf

from vllm_operator import __version__
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.request_metrics import OnRequest, RequestMetrics
from vllm_operator.kube.tls_errors import describe_tls_error

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
USER_AGENT = f"vllm-operator/{__version__}"
TOKEN_AGE_SECONDS = 60.0
"""Seconds after which the token is read again from its file: the kubelet replaces it about every hour."""
MIN_RENEW_INTERVAL_SECONDS = 2.0
"""Shortest time in seconds between two reads of refused credentials."""

REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
"""Codes of redirects. A 304 answers a condition, and the operator sends none."""

logger = logging.getLogger(__name__)


class LoginError(VLLMOperatorError):
    """Neither a service account nor a usable kubeconfig was found."""


@dataclass(frozen=True)
class Credentials:
    """The address of the API server and the credentials for it.

    Attributes:
        server: URL of the API server.
        context: TLS context with its CA, and with the client certificate, if there is one.
        headers: headers of every request.
        authority: where the CA of the API server comes from, for messages.
        contents: everything that was read, to detect a change.
        middlewares: aiohttp middlewares that authenticate requests.
    """

    server: str
    context: ssl.SSLContext
    headers: dict[str, str]
    authority: str
    contents: Hashable
    middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()


class Connection:
    """The connections to the API server and the session over them. Both can be replaced while in use.

    Args:
        on_request: called after every request, those of kopf included.
        availability: receives the result of every request.

    Attributes:
        server: URL of the API server.
        session: session for the calls of the operator.
    """

    def __init__(
        self,
        on_request: OnRequest,
        availability: ApiServerAvailability,
        observers: tuple[aiohttp.ClientMiddlewareType, ...] = (),
    ) -> None:
        self._observers = observers
        self._metrics = RequestMetrics(on_request, availability)
        self._streams: set[aiohttp.StreamReader] = set()
        self._use(_read_credentials())
        self._renewed = float("-inf")

    async def renew(self) -> None:
        """Read the credentials again after they were refused, or after a certificate was not trusted.

        When they have changed, calls on the old connections fail. Otherwise the connections stay: of several API
        servers, one may still present an old certificate.
        """
        now = time.monotonic()
        if now - self._renewed < MIN_RENEW_INTERVAL_SECONDS:
            return
        self._renewed = now
        try:
            credentials = _read_credentials()
        except LoginError as error:
            logger.warning("the credentials cannot be read again: %s", error)
            return
        if credentials.contents == self._credentials.contents:
            return
        logger.info("the credentials have changed: connecting again to %s", credentials.server)
        old = self.session
        self._use(credentials)
        for content in self._streams:
            content.set_exception(aiohttp.ClientConnectionError("the credentials were replaced"))
        await old.close()

    async def on_failed_call(self, error: Exception) -> str:
        """Return the message for a call without an answer; read the credentials again after a TLS error."""
        if isinstance(error, aiohttp.ClientSSLError):
            await self.renew()
        return describe_tls_error(error, self._credentials.authority)

    @contextmanager
    def stream(self, response: aiohttp.ClientResponse) -> Iterator[aiohttp.StreamReader]:
        """Return the content of a response that lasts, whose reader gets an error when the credentials are replaced.

        Without that error the reader would wait without end: a closed session of aiohttp drops the timeouts, too.
        """
        self._streams.add(response.content)
        try:
            yield response.content
        finally:
            self._streams.discard(response.content)

    def new_session(self) -> aiohttp.ClientSession:
        """Return another session over the same connections, which stay open when the session is closed."""
        return self._session(owns_connector=False)

    async def close(self) -> None:
        """Close the session and the connections."""
        await self.session.close()

    def _use(self, credentials: Credentials) -> None:
        self.server, self._credentials = credentials.server, credentials
        self._connector = aiohttp.TCPConnector(limit=0, ssl=credentials.context)
        self.session = self._session(owns_connector=True)

    def _session(self, *, owns_connector: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=owns_connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**self._credentials.headers, "User-Agent": USER_AGENT},
            middlewares=(_refuse_redirect, *self._credentials.middlewares, *self._observers, self._metrics),
        )


class RedirectError(aiohttp.ClientError):
    """The API server answered with a redirect."""


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Refuse redirects, for every call over the connections: the token and the body must not reach another host.

    The API server itself sends none; aiohttp would follow up to ten, with the token, also to plain HTTP.

    Raises:
        RedirectError: the answer is a redirect.
    """
    response = await handler(request)
    if response.status not in REDIRECTS:
        return response
    response.close()
    raise RedirectError(
        f"{request.url.origin()} answered {response.status}, a redirect, which the operator does not follow: "
        "set the address of the API server itself"
    )


def in_cluster() -> bool:
    """Return whether this process runs in a pod with a service account."""
    return (SERVICE_ACCOUNT_DIR / "token").exists()


def _read_credentials() -> Credentials:
    """Return the credentials of the service account in a pod, else of the kubeconfig.

    Raises:
        LoginError: there are none; the message says where they are expected.
    """
    return _from_service_account() if in_cluster() else _from_kubeconfig()


def _from_service_account() -> Credentials:
    # The variables rather than the name: cluster DNS may not work yet.
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://{f'[{host}]' if host and ':' in host else host or 'kubernetes.default.svc'}:{port}"
    authority = SERVICE_ACCOUNT_DIR / "ca.crt"
    try:
        # In this order: a file that is replaced in between counts as changed the next time.
        contents = (server, authority.read_bytes())
        context = ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise LoginError(f"the service account's ca.crt cannot be used: {error}") from error
    return Credentials(server, context, {}, str(authority), contents, (_TokenFile(SERVICE_ACCOUNT_DIR / "token"),))


def _from_kubeconfig() -> Credentials:
    try:
        info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
        contents = (info, _file_contents(info)) if info else None
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


def _file_contents(info: kopf.ConnectionInfo) -> tuple[bytes, ...]:
    """Return the contents of the files that a kubeconfig names."""
    paths = (info.ca_path, info.certificate_path, info.private_key_path)
    return tuple(Path(os.fsdecode(path)).read_bytes() for path in paths if path)


class _TokenFile:
    """aiohttp middleware that sends the current token of the service account."""

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
        # The kubelet replaced it since the last read.
        response.close()
        request.headers["Authorization"] = f"Bearer {newer}"
        return await handler(request)

    def current(self) -> str:
        """Return the token, read again when the last read is a minute old."""
        now = time.monotonic()
        if now - self._read_at >= TOKEN_AGE_SECONDS:
            try:
                # A few hundred bytes from tmpfs, once a minute.
                self._token = self._path.read_text().strip()
                self._read_at = now
            except OSError as error:
                logger.warning("the service account's token cannot be read: %s", error)
        return self._token
