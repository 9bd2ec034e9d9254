"""The commands of a gateway's pod: `gateway-prepare`, `gateway-agent` and `gateway-drain`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import click

from vllm_operator.gateway.envoy.names import PodLayout

PORTS = PodLayout()


@click.command("gateway-agent")
@click.option("--namespace", required=True, envvar="POD_NAMESPACE", help="Namespace of the VLLMGateway.")
@click.option("--name", required=True, help="Name of the VLLMGateway.")
@click.option("--listen-address", default="0.0.0.0", show_default=True, help="Address that Envoy and agent bind.")
@click.option("--pod-address", default="", envvar="POD_IP", help="Address of this pod, for the other replicas.")
@click.option("--port", default=PORTS.port, show_default=True, help="Port of the gateway for clients.")
@click.option(
    "--health-port", default=PORTS.health_port, show_default=True, help="Port of Envoy's /ready and /metrics."
)
@click.option("--metrics-port", default=8082, show_default=True, help="Port of the agent's /healthz and /metrics.")
@click.option("--peer-port", default=8083, show_default=True, help="Port on which other replicas let this one count.")
@click.option("--xds", default=PORTS.xds, show_default=True, help="Folder of the files that Envoy watches.")
@click.option("--run", "run_folder", default=PORTS.run, show_default=True, help="Folder of the Unix sockets.")
@click.option("--tls", default=PORTS.tls, show_default=True, help="Folder of tls.crt and tls.key.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest severity that is logged.",
)
def gateway_agent(
    namespace: str,
    name: str,
    listen_address: str,
    pod_address: str,
    port: int,
    health_port: int,
    metrics_port: int,
    peer_port: int,
    xds: str,
    run_folder: str,
    tls: str,
    log_level: str,
) -> None:
    """Write the configuration of Envoy, count requests and hold them: the second container of a gateway's pod."""
    import uvloop

    from vllm_operator.gateway.agent import Agent, AgentSettings
    from vllm_operator.log_setup import configure

    configure("auto", log_level)
    layout = PodLayout(listen_address, port, health_port, xds, run_folder, tls)
    settings = AgentSettings(namespace, name, layout, listen_address, pod_address, metrics_port, peer_port)

    async def run() -> None:
        agent = asyncio.create_task(Agent(settings).run())
        # The first process of a container ignores a SIGTERM that it does not handle, and the kubelet waits.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await agent

    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    logging.getLogger(__name__).info("stopped")


@click.command("gateway-drain")
@click.option("--run", "run_folder", default=PORTS.run, show_default=True, help="Folder of the Unix sockets.")
@click.option("--seconds", default=300.0, show_default=True, type=float, help="Longest wait for open requests.")
def gateway_drain(run_folder: str, seconds: float) -> None:
    """Let Envoy end its open requests: the preStop hook of a gateway's pod."""
    from vllm_operator.gateway.drain import drain

    done = asyncio.run(drain(PodLayout(run=run_folder).admin_socket, seconds))
    click.echo("no request is open" if done else "the time is over, and requests are open")


@click.command("gateway-prepare")
@click.option("--xds", default=PORTS.xds, show_default=True, help="Folder of the files that Envoy watches.")
def gateway_prepare(xds: str) -> None:
    """Write the files without which Envoy does not start: the first container of a gateway's pod."""
    from vllm_operator.gateway.xds_files import prepare_folder

    prepare_folder(Path(xds))
