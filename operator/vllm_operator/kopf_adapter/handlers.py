"""The kopf edge: start, login, the watch on servers, stop. An event only puts a server into the caches and wakes it."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import kopf

from vllm_operator.api.names import GROUP
from vllm_operator.controller.gc_tuning import spare_collector
from vllm_operator.controller.manager import Manager
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.kopf_adapter.storages import NoOpDiffBaseStorage, NoOpProgressStorage
from vllm_operator.kube.kinds import SERVER

STOP_SECONDS = 10.0
"""Longest time from the cleanup to the end of the process; a clean stop takes one or two."""

logger = logging.getLogger(__name__)


def operator_settings(scope: ServedNamespaces) -> kopf.OperatorSettings:
    """kopf without its own writes: no events, no annotations."""
    settings = kopf.OperatorSettings()
    # Neither CRDs nor namespaces may be listed with the rights of a Role.
    settings.scanning.disabled = not scope.is_cluster
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoOpDiffBaseStorage()
    settings.persistence.progress_storage = NoOpProgressStorage()
    settings.persistence.finalizer = f"{GROUP}/unused"
    # The API server ends a watch after so long, with a bookmark; one that lasts longer has died with its socket open.
    settings.watching.server_timeout = 20
    settings.watching.inactivity_timeout = 25
    settings.watching.connect_timeout = 10
    settings.queueing.idle_timeout = 1
    settings.process.ultimate_exiting_timeout = 30
    return settings


def register(runtime: Manager) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own."""
    registry = kopf.OperatorRegistry()
    _register_lifecycle(registry, runtime)
    _register_servers(registry, runtime)
    return registry


def _register_lifecycle(registry: kopf.OperatorRegistry, runtime: Manager) -> None:
    # kopf would try a failed start again and again, where a new process tells more.
    @kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def start(**_: Any) -> None:
        await runtime.start()
        spare_collector()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=runtime.connection.server, aiohttp_session=runtime.session_for_kopf())

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        _end_at_the_latest()
        await runtime.stop()


def _end_at_the_latest() -> None:
    """End the process if kopf does not: a watch that failed for good can leave its other watches waiting for ever."""
    timer = threading.Timer(STOP_SECONDS, _give_up)
    timer.daemon = True
    timer.start()


def _give_up() -> None:
    logger.error("not stopped after %.0f s: ending the process", STOP_SECONDS)
    os._exit(1)


def _register_servers(registry: kopf.OperatorRegistry, runtime: Manager) -> None:
    @kopf.on.event(SERVER.group, SERVER.version, SERVER.plural, registry=registry)
    async def wake(event: kopf.RawEvent, **_: Any) -> None:
        runtime.saw(SERVER, event["type"], event["object"])
