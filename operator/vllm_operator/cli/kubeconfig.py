"""Read the kubeconfig as kubectl does, with the official client."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_operator.cli.exits import UNAVAILABLE, CliError
from vllm_operator.cli.group import nearest
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.cli.sanitize import clean

if TYPE_CHECKING:
    from kubernetes.client import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LARGEST_FILE = 8 * 1024 * 1024
"""Bytes of a kubeconfig file that are read. Files with certificates of a hundred clusters have less than 1 MiB."""

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Access:
    """The address of a cluster and how to log in.

    Attributes:
        configuration: configuration of the official client.
        namespace: namespace of the context.
        context: name of the context; empty in a pod.
    """

    configuration: Configuration
    namespace: str
    context: str


def read_access(options: ClusterOptions) -> Access:
    """Return the access that the options, the kubeconfig and the environment name; in a pod its service account.

    Raises:
        CliError: there is no kubeconfig, or it cannot be used.
    """
    existing = _existing_files(_paths(options.kubeconfig))
    if existing is None:
        if options.kubeconfig is None and options.context is None and (SERVICE_ACCOUNT / "token").exists():
            return _service_account()
        searched = ", ".join(map(str, _paths(options.kubeconfig)))
        raise _unusable(f"no cluster: {searched} does not exist: set KUBECONFIG or --kubeconfig to a kubeconfig file")
    try:
        return _load(existing, options.context)
    except CliError:
        raise
    except Exception as error:
        # The official client reads the file without checks: a broken one fails in any way.
        text = clean(f"{type(error).__name__}: {error}", 300)
        raise _unusable(f"the kubeconfig {existing[0]} cannot be used: {text}") from error


def _paths(given: str | None) -> list[Path]:
    """Return the files in the order of kubectl: --kubeconfig, then KUBECONFIG, then ~/.kube/config."""
    named = [given] if given else [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part).expanduser() for part in named] or [Path.home() / ".kube" / "config"]


def _existing_files(paths: list[Path]) -> list[Path] | None:
    """Return the paths that exist; None if none does."""
    existing = [path for path in paths if path.exists()]
    for path in existing:
        if path.is_dir() or path.stat().st_size > LARGEST_FILE:
            raise _unusable(f"{path} is no kubeconfig file: set KUBECONFIG or --kubeconfig to one")
    return existing or None


def _load(paths: list[Path], context: str | None) -> Access:
    from kubernetes.client import Configuration
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    merged = KubeConfigMerger(os.pathsep.join(map(str, paths))).config
    if merged is None or not isinstance(merged.value, dict):
        raise _unusable(f"the kubeconfig {paths[0]} is empty: set KUBECONFIG or --kubeconfig to another file")
    name = _context_name(merged.value, context, paths[0])
    loader = KubeConfigLoader(merged, active_context=name)
    configuration = Configuration()
    with _failures_of_the_client() as failures:
        loader.load_and_set(configuration)
    if failures:
        # A credential plugin that fails is only logged, and the calls would go out without credentials.
        raise _unusable(f"the kubeconfig {paths[0]}: no credentials for context {clean(name, 253)}: {failures[0]}")
    settings = loader.current_context["context"]
    return Access(configuration, settings.get("namespace") or DEFAULT_NAMESPACE, name)


@contextlib.contextmanager
def _failures_of_the_client() -> Iterator[list[str]]:
    """Yield what the official client logs as an error in the block, instead of printing it."""
    failures: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failures.append(clean(record.getMessage(), 300))

    logger, collector = logging.getLogger(), Collector(logging.ERROR)
    logger.addHandler(collector)
    try:
        yield failures
    finally:
        logger.removeHandler(collector)


def _context_name(merged: Mapping[str, Any], wanted: str | None, path: Path) -> str:
    known = [str(entry.value.get("name")) for entry in merged.get("contexts") or () if isinstance(entry.value, Mapping)]
    name = wanted or merged.get("current-context")
    if not isinstance(name, str) or not name:
        remedy = f"use --context with one of {_listed(known)}" if known else "it has no contexts: use another file"
        raise _unusable(f"the kubeconfig {path} has no current context: {remedy}")
    if name not in known:
        hint = nearest(name, known) or f": it has {_listed(known)}"
        raise _unusable(f"the kubeconfig {path} has no context {clean(name, 253)!r}{hint}")
    return name


def _listed(names: list[str]) -> str:
    return ", ".join(clean(name, 253) for name in names[:20]) or "none"


def _service_account() -> Access:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_incluster_config

    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, OSError) as error:
        raise _unusable(f"the service account of this pod cannot be used: {clean(error, 300)}") from error
    return Access(configuration, namespace or DEFAULT_NAMESPACE, "")


def _unusable(message: str) -> CliError:
    return CliError(message, UNAVAILABLE)
