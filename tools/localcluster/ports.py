"""Choose ports on the host, the usual ones where free, and remember them while the cluster exists."""

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.localcluster.errors import ClusterError

USUAL = {"api": 6443, "etcd": 2379, "etcd_peer": 2380}


@dataclass(frozen=True)
class Ports:
    """The ports of the control plane."""

    api: int
    etcd: int
    etcd_peer: int


def is_free(port: int) -> bool:
    """Return whether a program could listen there on all addresses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def pick(usual: dict[str, int]) -> Ports:
    """Return the usual ports, each replaced by a free one where something listens; 0 means any free one."""
    chosen: dict[str, int] = {}
    probes: list[socket.socket] = []
    for name, port in usual.items():
        if port and is_free(port):
            chosen[name] = port
            continue
        probe = socket.socket()
        probe.bind(("", 0))
        probes.append(probe)  # kept open until all are chosen, so that none is chosen twice
        chosen[name] = probe.getsockname()[1]
    for probe in probes:
        probe.close()
    return Ports(**chosen)


def remembered(folder: Path, usual: dict[str, int]) -> Ports:
    """Return the ports of the cluster in this folder; choose them at the first call."""
    path = folder / "ports.json"
    try:
        return Ports(**json.loads(path.read_text()))
    except FileNotFoundError:
        ports = pick(usual)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(ports)))
        return ports
    except (ValueError, TypeError) as error:
        raise ClusterError(f"{path} cannot be read: {error}", "Run the `down` command first.") from error
