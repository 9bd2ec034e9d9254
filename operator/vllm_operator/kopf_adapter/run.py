"""Start kopf around the runtime, and end both together."""

from __future__ import annotations

import logging
import resource

import kopf

from vllm_operator.controller.manager import Manager
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.kopf_adapter.handlers import operator_settings, register
from vllm_operator.settings import Settings


class StoppedError(VLLMOperatorError):
    """A task of the operator ended by itself, or the lease was lost."""


logger = logging.getLogger(__name__)


def allow_connections() -> None:
    """Open as many files as the system lets this process: each replica is a connection, and many runtimes start
    containers with a soft limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.warning("at most %d connections: %s", soft, error)


async def operate(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LoginError: no credentials.
        ListenError: the address of the endpoints is taken.
        StoppedError: it cannot go on; a new process can.
    """
    allow_connections()
    runtime = Manager(settings)
    logger.info("connecting to %s", runtime.connection.server)
    try:
        await runtime.listen()
        await runtime.scope.open()
        await kopf.operator(
            registry=register(runtime),
            settings=operator_settings(runtime.scope),
            standalone=True,
            # kopf would look the user up, and a pod's user need not have a name.
            identity="vllm-operator",  # type: ignore[arg-type]  # a NewType that kopf does not export
            clusterwide=runtime.scope.is_cluster,
            namespaces=runtime.scope.namespaces,
            stop_flag=runtime.failed,
        )
    finally:
        await runtime.stop()
    if runtime.failed.is_set():
        raise StoppedError("a part of the operator ended: see above; it starts afresh when it is run again")
