"""Addresses are planned from the node's number, and clashes with the host's routes are seen."""

import json
import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from tools.localcluster import network, ports, preflight, settings
from tools.localcluster.settings import NodeAddresses


def test_nodes_get_addresses_of_their_own_inside_the_networks() -> None:
    nodes = [NodeAddresses(name) for name in settings.node_names(settings.MAX_NODES)]
    assert len({node.address for node in nodes}) == len({node.pods for node in nodes}) == settings.MAX_NODES
    assert all(IPv4Address(node.address) in IPv4Network(settings.NODE_NETWORK) for node in nodes)
    assert all(IPv4Network(node.pods).subnet_of(IPv4Network(settings.POD_NETWORK)) for node in nodes)
    assert all(len(node.link) <= 15 for node in nodes)  # the kernel's limit for names of interfaces


def test_foreign_route_into_the_clusters_networks_clashes() -> None:
    table = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": "10.96.0.0/16", "dev": settings.BRIDGE},
        {"dst": "10.0.0.0/8", "dev": "tun0"},
    ]
    assert [route.interface for route in network.clashes(network.routes(json.dumps(table)))] == ["tun0"]


def test_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = ports.pick({"api": port, "etcd": 0, "etcd_peer": 0})
    assert chosen.api != port
    assert len({chosen.api, chosen.etcd, chosen.etcd_peer}) == 3


def test_ports_are_remembered(tmp_path: Path) -> None:
    free = dict.fromkeys(ports.USUAL, 0)
    assert ports.remembered(tmp_path, free) == ports.remembered(tmp_path, free)


@pytest.mark.parametrize(("length", "lacks"), [(40, 0), (90, 1)])
def test_long_home_folder_is_refused_before_a_socket_fails(length: int, lacks: int) -> None:
    assert len(list(preflight.socket_path_shortcoming(Path("/" + "x" * length)))) == lacks


def test_available_memory_is_read_in_bytes() -> None:
    assert preflight.available_memory("MemTotal: 8 kB\nMemAvailable:       4 kB\n") == 4096
