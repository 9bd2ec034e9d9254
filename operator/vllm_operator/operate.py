"""Start kopf around the runtime, and end both together."""

from __future__ import annotations

import logging

import kopf

from vllm_operator.handlers import operator_settings, register
from vllm_operator.runtime import Runtime
from vllm_operator.settings import Settings

logger = logging.getLogger(__name__)


async def operate(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LoginError: no credentials.
        ListenError: the address of the endpoints is taken.
    """
    runtime = Runtime(settings)
    logger.info("connecting to %s", runtime.connection.server)
    try:
        await kopf.operator(
            registry=register(runtime),
            settings=operator_settings(),
            standalone=True,
            clusterwide=settings.namespace is None,
            namespaces=[settings.namespace] if settings.namespace else [],
        )
    finally:
        await runtime.stop()
