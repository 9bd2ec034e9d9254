"""The network: a bridge on the host, and a network namespace for each node with a cable to that bridge.

Nothing leaves the machine: no address is translated towards the outside, and the nodes' only neighbours are
each other and the host. No setting of the host is changed but the bridge and the routes behind it.
"""

import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from tools.localcluster.settings import (
    BRIDGE,
    HOST_ADDRESS,
    NAMESPACE_PREFIX,
    NODE_NETWORK,
    POD_NETWORK,
    SERVICE_NETWORK,
    NodeAddresses,
)
from tools.localcluster.shell import run, succeeds

NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Route:
    """A route of the host: where to, and through which interface."""

    destination: IPv4Network
    interface: str


def routes(text: str) -> list[Route]:
    """Parse the answer of `ip -json route`, without the default route, which covers all and clashes with none."""
    return [
        Route(IPv4Network(row["dst"]), row.get("dev", ""))
        for row in json.loads(text or "[]")
        if row["dst"] != "default"
    ]


def clashes(known: list[Route]) -> list[Route]:
    """Routes of others into the networks that the cluster uses."""
    ours = [IPv4Network(network) for network in (NODE_NETWORK, POD_NETWORK, SERVICE_NETWORK)]
    return [
        route
        for route in known
        if route.interface != BRIDGE and any(route.destination.overlaps(network) for network in ours)
    ]


def host_routes() -> list[Route]:
    """Return the routes of this machine."""
    return routes(run(["ip", "-json", "-4", "route", "show"]))


def bridge_exists() -> bool:
    """Return whether the bridge exists."""
    return Path("/sys/class/net", BRIDGE).exists()


def namespaces() -> list[str]:
    """Return the cluster's network namespaces that exist."""
    return sorted(path.name for path in NAMESPACES.glob(f"{NAMESPACE_PREFIX}node*"))


def node_exists(node: NodeAddresses) -> bool:
    """Return whether a node has its namespace and its cable; after a reboot only a file remains of a namespace."""
    return Path("/sys/class/net", node.link).exists() and succeeds(["ip", "-n", node.namespace, "link"])


def ensure(nodes: list[NodeAddresses]) -> None:
    """Create what is missing of the bridge, the nodes and the routes among them."""
    if not bridge_exists():
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    _batch([f"addr replace {HOST_ADDRESS}/24 dev {BRIDGE}", f"link set {BRIDGE} up"])
    for node in nodes:
        if not node_exists(node):
            remove_node(node)
            _add_node(node)
    _batch([f"route replace {node.pods} via {node.address}" for node in nodes])
    # The first node's kube-proxy translates the addresses of Services for the host.
    _batch([f"route replace {SERVICE_NETWORK} via {nodes[0].address}"])
    for node in nodes:
        others = [other for other in nodes if other != node]
        _batch([f"route replace {other.pods} via {other.address}" for other in others], node.namespace)


def _add_node(node: NodeAddresses) -> None:
    run(["ip", "netns", "add", node.namespace])
    _batch(
        [
            f"link add {node.link} type veth peer name eth0 netns {node.namespace}",
            f"link set {node.link} master {BRIDGE} up",
        ]
    )
    _batch(
        [
            f"addr add {node.address}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            f"route add default via {HOST_ADDRESS}",
        ],
        node.namespace,
    )
    enter = ["nsenter", f"--net={NAMESPACES / node.namespace}", "--"]
    # A strict reverse path filter would drop what comes back over another cable than it left by.
    for setting in ("ip_forward=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0"):
        key, _, value = setting.partition("=")
        run([*enter, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key.replace('.', '/')}"])


def remove_node(node: NodeAddresses) -> None:
    """Delete a node's namespace and cable, whatever of them exists."""
    if Path("/sys/class/net", node.link).exists():
        succeeds(["ip", "link", "del", node.link])
    if (NAMESPACES / node.namespace).exists():
        succeeds(["ip", "netns", "del", node.namespace])


def remove() -> None:
    """Delete all namespaces and the bridge; its routes go with it."""
    for namespace in namespaces():
        remove_node(NodeAddresses(namespace.removeprefix(NAMESPACE_PREFIX)))
    if bridge_exists():
        run(["ip", "link", "del", BRIDGE])


def _batch(commands: list[str], namespace: str = "") -> None:
    """Run several `ip` commands in one process."""
    if commands:
        where = ["-n", namespace] if namespace else []
        run(["ip", *where, "-batch", "-"], stdin="\n".join(commands) + "\n")
