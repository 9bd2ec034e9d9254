"""Identify the callers, which the API server passes on: it proves itself by a client certificate, and names the user.

The API server publishes how in a ConfigMap (kubernetes `authenticationrequest/headerrequest`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson

from vllm_operator.errors import VLLMOperatorError
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

CONFIG_NAMESPACE = "kube-system"
CONFIG_NAME = "extension-apiserver-authentication"
MAX_GROUPS = 512
"""Groups of one user that are passed to the access review."""


class FrontProxyError(VLLMOperatorError):
    """The cluster's front proxy is not configured, so no caller can be identified."""


@dataclass(frozen=True)
class FrontProxy:
    """How the API server proves itself and names the user.

    Attributes:
        ca: certificates that sign the client certificate of the API server (PEM).
        allowed_names: common names of that certificate; empty for any.
        user_headers: headers with the name of the user; the first that is set counts.
        group_headers: headers with the groups of the user.
        extra_prefixes: prefixes of the headers with further properties of the user.
    """

    ca: str
    allowed_names: tuple[str, ...] = ()
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


@dataclass(frozen=True)
class User:
    """The user of a request, as the API server names it."""

    name: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[Any, ...]:
        """All that the access review depends on, hashable."""
        return self.name, self.groups, tuple(sorted(self.extra.items()))


def read_front_proxy(config: Object | None) -> FrontProxy:
    """Return the front proxy of the ConfigMap `kube-system/extension-apiserver-authentication`.

    Raises:
        FrontProxyError: it does not exist, or names no certificate authority.
    """
    ca = get_str(config, "data", "requestheader-client-ca-file")
    if not ca.strip():
        raise FrontProxyError(
            f"ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME} holds no requestheader-client-ca-file: the API server has no "
            "front proxy (--requestheader-client-ca-file), so it cannot pass on requests"
        )
    default = FrontProxy(ca)
    return FrontProxy(
        ca,
        _names(config, "requestheader-allowed-names"),
        _names(config, "requestheader-username-headers") or default.user_headers,
        _names(config, "requestheader-group-headers") or default.group_headers,
        _names(config, "requestheader-extra-headers-prefix") or default.extra_prefixes,
    )


def _names(config: Object | None, key: str) -> tuple[str, ...]:
    try:
        names = orjson.loads(get_str(config, "data", key) or "[]")
    except orjson.JSONDecodeError as error:
        raise FrontProxyError(f"ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME}: {key} is no JSON list: {error}") from error
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def is_front_proxy(certificate: Mapping[str, Any] | None, proxy: FrontProxy) -> bool:
    """Return whether a verified client certificate, as `ssl` decodes it, is the front proxy's."""
    if not certificate:
        return False
    if not proxy.allowed_names:
        return True
    names = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return not names.isdisjoint(proxy.allowed_names)


def read_user(headers: Iterable[tuple[str, str]], proxy: FrontProxy) -> User | None:
    """Return the user that the headers name; None without a name."""
    fields = [(name.lower(), value) for name, value in headers]
    names = [value for header in proxy.user_headers for value in _values(fields, header) if value]
    if not names:
        return None
    groups = [value for header in proxy.group_headers for value in _values(fields, header)]
    return User(names[0], tuple(groups[:MAX_GROUPS]), _extra(fields, proxy))


def _values(fields: list[tuple[str, str]], header: str) -> list[str]:
    return [value for name, value in fields if name == header.lower()]


def _extra(fields: list[tuple[str, str]], proxy: FrontProxy) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for prefix in proxy.extra_prefixes:
        for name, value in fields:
            if name.startswith(prefix.lower()):
                found.setdefault(unquote(name[len(prefix) :]), []).append(value)
    return {key: tuple(values) for key, values in found.items()}
