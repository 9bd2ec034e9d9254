"""Calls to the API server by the official client, with bounds on what is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from vllm_operator import __version__
from vllm_operator.cli.api_failures import CallError, refused, unreachable
from vllm_operator.cli.exits import UNAVAILABLE
from vllm_operator.cli.kubeconfig import Access, read_access
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import Kind

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from urllib3 import BaseHTTPResponse

Object = dict[str, Any]

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer that are read. A page of 250 pods of the largest size (1.5 MiB each) is larger; real ones have
about 10 KiB a pod."""

PAGE = 250
"""Objects of one page of a list."""

MOST_OBJECTS = 10_000
"""Objects of one kind that a command reads."""

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "kubectl-vllm"


class Cluster:
    """The cluster that the options of a command name.

    Args:
        options: the options.
        access: address and credentials; read from the kubeconfig unless given.
    """

    def __init__(self, options: ClusterOptions, access: Access | None = None) -> None:
        self.options = options
        self.access = access or read_access(options)
        self.access.configuration.retries = False

    @property
    def namespace(self) -> str:
        """The namespace of --namespace, else of the context."""
        return self.options.namespace or self.access.namespace

    @property
    def scope(self) -> str | None:
        """The namespace; None for all namespaces."""
        return None if self.options.all_namespaces else self.namespace

    def within(self, namespace: str) -> Cluster:
        """Return the same cluster with another namespace, over the same connections."""
        other = Cluster(replace(self.options, namespace=namespace, all_namespaces=False), self.access)
        other._client = self._client
        return other

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.access.configuration.host)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """Send a request; return the parsed answer.

        Raises:
            CallError: there is no answer, or it is no success.
        """
        with self._open(method, path, query, body, content_type) as response:
            return self._parsed(method, path, response)

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return an object.

        Args:
            kind: its kind.
            name: its name.
            namespace: its namespace; that of the options unless given, `""` for a kind without namespaces.

        Raises:
            CallError: it does not exist, or the call failed.
        """
        found = self.request("GET", kind.path(self.namespace if namespace is None else namespace or None, name))
        return found if isinstance(found, dict) else {}

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """Return an object; None if it does not exist or its kind is not served."""
        try:
            return self.get(kind, name, namespace)
        except CallError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "", most: int = MOST_OBJECTS
    ) -> list[Object]:
        """Return the objects of a kind, page by page.

        Args:
            kind: the kind.
            namespace: the namespace; None for all.
            labels: label selector.
            fields: field selector.
            most: the most objects to read.
        """
        found: list[Object] = []
        token = ""
        while len(found) < most:
            query = {"limit": str(min(PAGE, most)), "labelSelector": labels, "fieldSelector": fields, "continue": token}
            page = self.request("GET", kind.path(namespace), {name: value for name, value in query.items() if value})
            items, token = _page(page)
            # The items of a list have neither kind nor apiVersion.
            names = {"apiVersion": kind.api_version, "kind": kind.name}
            found += [{**names, **item} for item in items]
            if not token:
                break
        return found[:most]

    def patch(self, kind: Kind, name: str, body: Any, *, dry_run: bool = False) -> Object:
        """Merge `body` into an object of the namespace; return the object as it is then."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        done = self.request("PATCH", kind.path(self.namespace, name), query, body, MERGE_PATCH)
        return done if isinstance(done, dict) else {}

    def read(self, path: str, query: Mapping[str, str] | None = None, limit: int = LARGEST_ANSWER) -> bytes:
        """Return the first `limit` bytes of an answer that is no object, such as a log."""
        with self._open("GET", path, query) as response:
            if not 200 <= response.status < 300:
                self._parsed("GET", path, response)
            return response.read(limit, decode_content=True)

    @contextlib.contextmanager
    def stream(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Iterator[bytes]]:
        """Yield the chunks of an answer that lasts, such as a followed log; each has at most 64 KiB."""
        with self._open("GET", path, query, lasts=True) as response:
            if not 200 <= response.status < 300:
                self._parsed("GET", path, response)
            yield response.stream(64 * 1024, decode_content=True)

    @cached_property
    def _client(self) -> ApiClient:
        from kubernetes.client import ApiClient

        return ApiClient(self.access.configuration)

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        *,
        lasts: bool = False,
    ) -> Iterator[BaseHTTPResponse]:
        """Yield the answer to a request, whose body is not read yet."""
        import orjson
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        client, headers = self._client, {"Accept": "application/json, */*", "User-Agent": f"kubectl-vllm/{__version__}"}
        client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        if body is not None:
            headers["Content-Type"] = content_type
        seconds = self.options.request_timeout
        try:
            response = client.rest_client.pool_manager.request(
                method,
                f"{self.server.rstrip('/')}{path}{f'?{urlencode(query)}' if query else ''}",
                headers=headers,
                body=None if body is None else orjson.dumps(body),
                timeout=Timeout(connect=seconds, read=None if lasts else seconds),
                preload_content=False,
                redirect=False,
                retries=False,
            )
            try:
                yield response
            finally:
                # After the whole body was read, the connection is already back in its pool.
                response.close()
        except (HTTPError, OSError) as error:
            raise unreachable(self.server, error) from error

    def _parsed(self, method: str, path: str, response: BaseHTTPResponse) -> Any:
        """Return the JSON of an answer.

        Raises:
            CallError: the answer is no success, or too large.
        """
        import orjson

        body = response.read(LARGEST_ANSWER + 1, decode_content=True)
        if len(body) > LARGEST_ANSWER:
            raise CallError(f"the API server's answer has more than {LARGEST_ANSWER:,} bytes", UNAVAILABLE)
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = None
        if not 200 <= response.status < 300:
            raise refused(method, path, response.status, parsed)
        if parsed is None:
            raise CallError(f"{self.server} answered with no JSON: is it an API server of Kubernetes?", UNAVAILABLE)
        return parsed


def _page(page: Any) -> tuple[list[Mapping[str, Any]], str]:
    """Return the objects of a page of a list, and the token of the next page; an empty one at the end."""
    fields = page if isinstance(page, Mapping) else {}
    items, metadata = fields.get("items"), fields.get("metadata")
    objects = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    token = metadata.get("continue") if isinstance(metadata, Mapping) else None
    return objects, token if objects and isinstance(token, str) else ""
