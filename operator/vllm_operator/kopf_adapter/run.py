"""Run the manager inside of kopf, and end both together."""

from __future__ import annotations

import logging
import resource

import kopf

from vllm_operator.controller.manager import Manager
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.kopf_adapter.handlers import operator_settings, register
from vllm_operator.settings import Settings
from vllm_operator.telemetry.spans import Spans


class StoppedError(VLLMOperatorError):
    """A task of the operator ended by itself, or the Lease was lost."""


logger = logging.getLogger(__name__)


def raise_file_limit() -> None:
    """Allow the process as many open files as the system permits.

    Each replica is a connection, and many container runtimes start with a soft limit of 1,024 files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.warning("at most %d connections: %s", soft, error)


async def operate(settings: Settings, spans: Spans | None = None) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Args:
        settings: the settings.
        spans: makes and sends spans; None without tracing.

    Raises:
        LoginError: there are no credentials.
        ListenError: the address of the HTTP endpoints is taken.
        StoppedError: the process cannot continue, and a new one can.
    """
    raise_file_limit()
    manager = Manager(settings, spans)
    logger.info("connecting to %s", manager.connection.server)
    try:
        await manager.listen()
        await manager.namespaces.wait_until_readable()
        await run_kopf(manager)
    finally:
        await manager.stop()
    if manager.failed:
        raise StoppedError("a part of the operator ended, see the error above: start the operator again")


async def run_kopf(manager: Manager) -> None:
    """Let kopf start the manager, and stop it at a signal or when its stop flag is set."""
    await kopf.operator(
        registry=register(manager),
        settings=operator_settings(),
        standalone=True,
        # kopf would look up the user, and the user of a pod need not have a name.
        identity="vllm-operator",  # type: ignore[arg-type]  # a NewType that kopf does not export
        # kopf watches nothing, so it needs no namespaces, and no rights in the cluster.
        clusterwide=True,
        # The manager sets this flag when it has stopped, too: kopf waits 5 s for its own task that waits for the flag.
        stop_flag=manager.stop_flag,
    )
