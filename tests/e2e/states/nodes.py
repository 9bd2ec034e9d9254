"""Change a node of the local cluster: its devices, labels, images, processes and network."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from tools.harness.kube import Kube, Object
from tools.harness.pod_processes import processes
from tools.harness.real_cluster import tool
from tools.localcluster.backends.local import LocalCluster
from tools.localcluster.node import Node

SERVING = "node1"
"""The node that the replicas run on; the operator lives on the other one."""

OTHER = "node2"
GPU = "nvidia.com/gpu"
TABLE = "vllm-operator-fault"


def serving_node() -> Node:
    """The node of the replicas."""
    return next(node for node in LocalCluster().nodes() if node.name == SERVING)


@contextlib.contextmanager
def back_as_it_was(kube: Kube) -> Iterator[None]:
    """Whatever was done to the node, undo it."""
    try:
        yield
    finally:
        remove_gpus(kube)
        kube.kubectl("label", "node", SERVING, "disk-")
        let_through()
        start_kubelet()


def add_gpus(kube: Kube, count: int) -> None:
    """Give the node devices, as a device plugin does."""
    kube.patch("Node", SERVING, None, {"status": {"capacity": {GPU: str(count)}}}, status=True)


def remove_gpus(kube: Kube) -> None:
    """Take the devices away again."""
    for field in ("capacity", "allocatable"):
        if GPU in kube.must_get("Node", SERVING)["status"][field]:
            kube.patch("Node", SERVING, None, {"status": {field: {GPU: None}}}, status=True)


def untag(beginning: str) -> None:
    """Take all names that begin so away from their images."""
    node = serving_node()
    names = [name for name in node.image_digests() if name.startswith(beginning)]
    if names:
        subprocess.run([os.fspath(word) for word in node.ctr("images", "rm", *names)], check=True, capture_output=True)


def stop_kubelet() -> None:
    """End the kubelet; the containers go on."""
    node = serving_node()
    node.processes.stop([node.process("kubelet")])


def start_kubelet() -> None:
    """Start the kubelet where it does not run."""
    if not serving_node().processes.alive(f"{SERVING}-kubelet"):
        tool("up")


def cut_off(address: str) -> None:
    """Block traffic from other nodes to a pod; the kubelet of the pod's node still reaches it."""
    rules = f"""
        table inet {TABLE} {{
            chain forward {{
                type filter hook forward priority -10; policy accept;
                ip daddr {address} drop
            }}
        }}
    """
    _in_node(["nft", "-f", "-"], rules)


def let_through() -> None:
    """Take the firewall away."""
    with contextlib.suppress(subprocess.CalledProcessError):
        _in_node(["nft", "delete", "table", "inet", TABLE])


def in_node(command: list[str]) -> list[str]:
    """A command line that runs in the network of the node."""
    return ["nsenter", f"--net=/run/netns/{serving_node().addresses.namespace}", "--", *command]


def _in_node(command: list[str], text: str = "") -> None:
    subprocess.run(in_node(command), input=text, text=True, check=True, capture_output=True)


def engine(pod: Object) -> int:
    """The process of vLLM's engine."""
    return _only(pod, "VLLM::EngineCore")


def api_server(pod: Object) -> int:
    """The process that answers vLLM's clients."""
    return _only(pod, "vllm.entrypoints.openai.api_server")


def _only(pod: Object, what: str) -> int:
    found = [pid for pid, words in processes(pod).items() if what in words]
    assert len(found) == 1, f"{len(found)} processes are {what}: {processes(pod)}"
    return found[0]


def suspend(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
