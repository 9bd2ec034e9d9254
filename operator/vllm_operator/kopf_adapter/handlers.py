"""Register the start, the login and the cleanup with kopf; the operator's own reflectors watch all objects."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from typing import Any

import kopf

from vllm_operator.controller import gc_tuning
from vllm_operator.controller.manager import Manager

STOP_SECONDS = 10.0
"""Longest time from the cleanup to the end of the process; a clean stop takes one or two seconds."""
SCAN_RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


def operator_settings() -> kopf.OperatorSettings:
    """Return settings with which kopf neither watches nor writes anything."""
    settings = kopf.OperatorSettings()
    # Without this, kopf watches CRDs and namespaces, which the rights of a Role do not allow.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # At its start kopf reads the list of API groups. A failure must not end the operator.
    settings.networking.error_backoffs = itertools.repeat(SCAN_RETRY_SECONDS)
    settings.networking.request_timeout = 20
    settings.process.ultimate_exiting_timeout = 30
    return settings


def register(manager: Manager) -> kopf.OperatorRegistry:
    """Return a registry with the start, the login and the cleanup of the manager."""
    registry = kopf.OperatorRegistry()

    # By default kopf repeats a failed start without end; a new process shows the error.
    @kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def start(**_: Any) -> None:
        await manager.start()
        gc_tuning.tune()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        connection = manager.connection
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.new_session())

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        _limit_stop()
        await manager.stop()

    return registry


def _limit_stop() -> None:
    """End the process if the stop takes too long: a call that the API server does not answer takes 20 s."""
    timer = threading.Timer(STOP_SECONDS, _exit)
    timer.daemon = True
    timer.start()


def _exit() -> None:
    logger.error("not stopped after %.0f s: ending the process", STOP_SECONDS)
    os._exit(1)
