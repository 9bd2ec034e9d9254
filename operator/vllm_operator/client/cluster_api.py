"""Reads from a Kubernetes API server with the official client, which the extra `discovery` installs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from vllm_operator.client.errors import DiscoveryFailed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Folder in which Kubernetes mounts the token of a pod's service account."""
IN_CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Environment variable that Kubernetes sets in every pod."""
TIMEOUT_SECONDS = 15.0
"""Seconds for one call of the API server."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of one answer: 500 objects of a kind take less."""


class NotFound(Exception):
    """The API server answers 404.

    Attributes:
        is_object: the kind exists, and the object does not.
    """

    def __init__(self, path: str, is_object: bool) -> None:
        super().__init__(path)
        self.is_object = is_object


class Forbidden(Exception):
    """The API server answers 401 or 403; the message is its own."""


class ClusterApi:
    """An API server, and how to call it.

    Attributes:
        configuration: address and credentials.
        namespace: namespace of names without one.
        inside: this process runs in a pod of the cluster.
    """

    def __init__(self, configuration: Configuration, namespace: str, *, inside: bool) -> None:
        self.configuration = configuration
        self.namespace = namespace
        self.inside = inside
        self._client: ApiClient | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return an object or a list.

        Raises:
            NotFound: it does not exist.
            Forbidden: the user may not read it.
            DiscoveryFailed: there is no usable answer.
        """
        from urllib3.exceptions import HTTPError

        if self._client is None:
            from kubernetes.client import ApiClient

            self._client = ApiClient(self.configuration)
        try:
            response = self._client.rest_client.pool_manager.request(
                "GET", self.configuration.host + path, fields=query, headers=self.headers(), redirect=False,
                preload_content=False, timeout=TIMEOUT_SECONDS, retries=False,
            )  # fmt: skip
            try:
                body = response.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            finally:
                response.close()
        except HTTPError as error:
            raise DiscoveryFailed(
                f"no cluster answers at {self.configuration.host}: {error}"[:600]
                + "; check the current context with: kubectl cluster-info"
            ) from error
        return self._checked(path, response.status, body)

    def headers(self) -> dict[str, str]:
        """Return the headers of a call, with its credentials."""
        found: Iterable[Any] = self.configuration.auth_settings().values()
        return {"Accept": "application/json"} | {
            entry["key"]: entry["value"] for entry in found if entry["in"] == "header" and entry["value"]
        }

    def _checked(self, path: str, status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = orjson.loads(body) if len(body) <= MAX_ANSWER_BYTES else None
        except orjson.JSONDecodeError:
            answer = None
        fields = answer if isinstance(answer, dict) else {}
        if status == 404:
            # A group that is not served is answered with plain text, an object that does not exist with a Status.
            missing_kind = "could not find the requested resource" in str(fields.get("message", ""))
            raise NotFound(path, fields.get("kind") == "Status" and not missing_kind)
        if status in (401, 403):
            raise Forbidden(str(fields.get("message", f"HTTP {status}"))[:400])
        if status != 200 or not fields:
            raise DiscoveryFailed(
                f"{self.configuration.host}{path} answers {status} "
                f"with {len(body):,} bytes that are no object: is this a Kubernetes API server?"
            )
        return fields


def connect(kubeconfig: str | Path | None = None, context: str | None = None) -> ClusterApi:
    """Return the cluster of this pod, of a kubeconfig, or of the current context.

    Raises:
        DiscoveryFailed: there is none, or the extra is not installed.
    """
    try:
        from kubernetes import config
        from kubernetes.client import Configuration
    except ImportError:
        raise DiscoveryFailed(
            "for_server needs the Kubernetes client: pip install 'vllm-operator[client,discovery]'"
        ) from None
    configuration = Configuration()
    if kubeconfig is None and context is None and is_inside():
        config.load_incluster_config(client_configuration=configuration)
        return ClusterApi(configuration, (SERVICE_ACCOUNT / "namespace").read_text().strip(), inside=True)
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        config.load_kube_config(config_file=file, context=context, client_configuration=configuration)
        contexts, active = config.list_kube_config_contexts(config_file=file)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DiscoveryFailed(
            f"no cluster: {error}; set KUBECONFIG, or pass kubeconfig=FILE and context=NAME"[:600]
        ) from error
    chosen = next((entry for entry in contexts if entry["name"] == context), active)
    return ClusterApi(configuration, chosen.get("context", {}).get("namespace") or "default", inside=False)


def is_inside() -> bool:
    """Return whether this process runs in a pod that may call the API server."""
    return IN_CLUSTER_VARIABLE in os.environ and (SERVICE_ACCOUNT / "token").is_file()
