"""HTTP requests to replicas: GET and POST of small bodies, without proxies, redirects, cookies or compression."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vllm_operator.probing.connections import BudgetSpentError, ReplicaSession, UnusableAddressError
from vllm_operator.probing.health import HealthReason
from vllm_operator.probing.http_answer import BodyTooLongError

_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}


class ProbeError(Exception):
    """A replica gave no usable answer.

    Args:
        reason: reason of the replica's health.
        message: one line without secrets; never text that the replica sent.
    """

    def __init__(self, reason: HealthReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class UnexpectedStatusError(ProbeError):
    """A replica answered with an HTTP status other than 200.

    Args:
        status: the HTTP status.
        path: path of the request.
    """

    def __init__(self, status: int, path: str) -> None:
        super().__init__("Unauthorized" if status == 401 else "HTTPError", f"{path} answered {status}")
        self.status = status


class AnswerTooLongError(ProbeError):
    """A replica answered with more bytes than are read.

    Args:
        message: one line without text that the replica sent.
    """

    def __init__(self, message: str) -> None:
        super().__init__("HTTPError", message)


def new_session() -> ReplicaSession:
    """Open a session for any number of replicas over plain HTTP, with one connection to each that is kept alive.

    Call it inside the event loop, and close the session at the end. The caller bounds how many requests run at once.
    """
    return ReplicaSession()


@dataclass(frozen=True, slots=True)
class Content:
    """The body of a request, and its media type."""

    data: bytes
    type: str = "application/json"


@dataclass(frozen=True, slots=True)
class ReplicaClient:
    """Sends requests to one replica.

    Attributes:
        session: the connections to the replicas.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        timeout: seconds for each whole answer.
        headers: sent with every request.
        namespace: the namespace of the replica, which shares the memory for answers with others.
    """

    session: ReplicaSession
    base_url: str
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    namespace: str = ""

    async def get(self, path: str, limit: int) -> bytes:
        """GET `path` and return the body, at most `limit` bytes, of its answer 200.

        The request is sent once more when the replica had closed the kept connection.

        Raises:
            UnexpectedStatusError: the answer has another status.
            ProbeError: there is no usable answer.
        """
        return await self._request(path, None, limit, self.timeout)

    async def post(self, path: str, content: Content, limit: int, timeout: float) -> bytes:  # noqa: ASYNC109
        """POST `content` to `path` and return the body, at most `limit` bytes, of its answer 200.

        As with `get`, a request that met a closed connection is sent once more, so it must be one that may be repeated.

        Args:
            path: path of the request.
            content: body of the request.
            limit: longest body of the answer, in bytes.
            timeout: seconds for the whole answer.

        Raises:
            UnexpectedStatusError: the answer has another status.
            ProbeError: there is no usable answer.
        """
        return await self._request(path, content, limit, timeout)

    async def _request(self, path: str, content: Content | None, limit: int, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                answer = await self.session.request(self.base_url, self._message(path, content), limit, self.namespace)
        except BodyTooLongError:
            raise AnswerTooLongError(f"{path} answered with more than {limit} bytes") from None
        except BudgetSpentError:
            message = f"{path}: not read to its end: the answers of this namespace use all the memory that it may have"
            raise AnswerTooLongError(message) from None
        except Exception as error:
            # A replica may send anything; no answer may end the prober.
            raise connection_error(error, path, seconds) from None
        if answer.status != 200:
            raise UnexpectedStatusError(answer.status, path)
        return answer.body

    def _message(self, path: str, content: Content | None) -> bytes:
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items()).encode("ascii")
        if content is None:
            return b"%b%b\r\n" % (_head("GET", self.base_url, path), headers)
        sent = f"content-type: {content.type}\r\ncontent-length: {len(content.data)}\r\n".encode("ascii")
        return b"%b%b%b\r\n%b" % (_head("POST", self.base_url, path), headers, sent, content.data)


@lru_cache(maxsize=16_384)
def _head(method: str, base_url: str, path: str) -> bytes:
    """Return the first lines of a request. No compression: a compressed answer could grow beyond any bound."""
    host = base_url.partition("//")[2]
    lines = (
        f"{method} {path} HTTP/1.1",
        f"host: {host}",
        "user-agent: vllm-operator",
        "accept: */*",
        "accept-encoding: identity",
        "",
    )
    return "\r\n".join(lines).encode("ascii")


def connection_error(error: BaseException, path: str, seconds: float) -> ProbeError:
    """Describe a failure below HTTP. The chain of causes decides, since one error may wrap that of the system.

    Args:
        error: the failure.
        path: path of the request.
        seconds: timeout of the request.
    """
    chain = list(_causes(error))
    codes = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return ProbeError("ConnectionRefused", f"{path}: connection refused")
    if codes & {errno.EMFILE, errno.ENFILE}:
        return ProbeError("Unreachable", f"{path}: not asked, the operator may open no more files: raise that limit")
    if codes & _NO_ROUTE or _includes(chain, socket.gaierror):
        return ProbeError("Unreachable", f"{path}: no route to the pod")
    if _includes(chain, TimeoutError):
        return ProbeError("Timeout", f"{path}: no answer within {seconds:g} s")
    if _includes(chain, ConnectionError):
        return ProbeError("Unreachable", f"{path}: the connection was closed without an answer")
    if isinstance(error, UnusableAddressError):
        return ProbeError("Unreachable", f"{path}: the pod has no usable address")
    return ProbeError("HTTPError", f"{path}: the answer is not HTTP")


def _includes(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in chain)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
