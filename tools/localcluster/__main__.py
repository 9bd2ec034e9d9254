"""The command line: `python3 -m tools.localcluster COMMAND`."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from tools.localcluster import backends, build, parts, settings
from tools.localcluster.apiserver import ApiServer
from tools.localcluster.backends.local import LocalCluster
from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import Processes

DESCRIPTION = """\
Brings up a Kubernetes cluster for tests and demos, and the images that run on it.
A local cluster is built from Go modules and needs Linux, root, Go and 12 GiB of disk, but no Docker.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and their options."""
    top = argparse.ArgumentParser(
        prog="python3 -m tools.localcluster",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, backend: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        if backend:
            command.add_argument(
                "--backend",
                choices=backends.NAMES,
                default=os.environ.get("CLUSTER") or "auto",
                help="kind of cluster (default: $CLUSTER, else kind where Docker runs, else local)",
            )
            command.add_argument("--yes", action="store_true", help="do not ask before using a current cluster")
        return command

    up = add("up", "bring up what is not up, and print the export line of KUBECONFIG", backend=True)
    up.add_argument(
        "--nodes",
        type=int,
        default=int(os.environ.get("NODES") or 1),
        help=f"nodes, 1 to {settings.MAX_NODES} (default: $NODES or 1); a running cluster grows, it never shrinks",
    )
    prepare = add("prepare", "build what the demo or the tests lack, side by side, and start nothing", backend=True)
    prepare.add_argument("purpose", choices=sorted(parts.PURPOSES))
    add("down", "remove every trace of the cluster, and name what could not be removed", backend=True)
    add("status", "show what runs; the exit code is 1 unless everything does", backend=True)
    vllm = add("vllm-image", f"build {settings.VLLM_IMAGE} and import it into the nodes", backend=True)
    vllm.add_argument("--node", action="append", default=[], metavar="NAME", help="only this node (repeatable)")
    add("envoy-image", f"build {settings.ENVOY_IMAGE} and import it into the nodes", backend=True)
    add("operator-image", f"build {settings.OPERATOR_IMAGE} and import it into the nodes", backend=True)
    tool = add("tool", "build a program where the cache lacks it, and print its path")
    tool.add_argument("name", choices=sorted(build.TOOLS), metavar="NAME", help=", ".join(sorted(build.TOOLS)))
    crds = add("crds", "print the folder of the CRD manifests that a published project ships")
    crds.add_argument("name", choices=sorted(build.CRD_MODULES))
    server = add("api-server", "an API server and controller manager alone, on loopback, without root")
    server.add_argument("action", choices=("up", "down"))
    server.add_argument("--name", default="default", help="several run side by side under different names")
    logs = add("logs", "print the log of a process of the local cluster; without a name, list the names")
    logs.add_argument("name", nargs="?")
    add("audit", "print the path of the local API server's audit log")
    return top


def main() -> int:
    """Run one command; an error is printed as one sentence, and sets the exit code."""
    arguments = parser().parse_args()
    try:
        return COMMANDS[arguments.command](arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _backend(arguments: argparse.Namespace) -> backends.Backend:
    return backends.choose(arguments.backend, arguments.yes)


def _print_kubeconfig(path: Path) -> int:
    print(f"export KUBECONFIG={path}")
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    backend = _backend(arguments)
    if arguments.purpose == "test" and (os.geteuid() != 0 or not isinstance(backend, LocalCluster)):
        # The tests of the API server need neither root nor a cluster; those of the cluster say what they lack.
        if shutil.which("go"):
            parts.build_missing(parts.API_TEST, settings.folders())
        return 0
    backend.prepare(parts.PURPOSES[arguments.purpose])
    return 0


def _up(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.nodes <= settings.MAX_NODES:
        raise ClusterError(f"{arguments.nodes} nodes cannot be made", f"Ask for 1 to {settings.MAX_NODES}.")
    return _print_kubeconfig(_backend(arguments).up(arguments.nodes))


def _down(arguments: argparse.Namespace) -> int:
    remains = _backend(arguments).down()
    for remain in remains:
        print(f"left behind: {remain}", file=sys.stderr)
    return 1 if remains else 0


def _status(arguments: argparse.Namespace) -> int:
    parts = _backend(arguments).status()
    for name, running in parts:
        print(f"{'runs' if running else 'DEAD':5} {name}")
    return 0 if parts and all(running for _, running in parts) else 1


def _vllm_image(arguments: argparse.Namespace) -> int:
    _backend(arguments).import_vllm_image(arguments.node)
    return 0


def _envoy_image(arguments: argparse.Namespace) -> int:
    _backend(arguments).import_envoy_image()
    return 0


def _operator_image(arguments: argparse.Namespace) -> int:
    _backend(arguments).import_operator_image()
    return 0


def _tool(arguments: argparse.Namespace) -> int:
    print(build.tool(arguments.name, settings.folders()))
    return 0


def _crds(arguments: argparse.Namespace) -> int:
    print(build.crds(arguments.name))
    return 0


def _api_server(arguments: argparse.Namespace) -> int:
    server = ApiServer(ApiServer.default_folder(arguments.name))
    if arguments.action == "up":
        return _print_kubeconfig(server.up())
    server.down()
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    processes = Processes(settings.folders().state)
    known = sorted(path.stem for path in processes.logs.glob("*.log"))
    if arguments.name is None:
        print("\n".join(known))
    elif arguments.name in known:
        sys.stdout.write((processes.logs / f"{arguments.name}.log").read_text(errors="replace"))
    else:
        raise ClusterError(f"there is no log of {arguments.name}", f"There are: {', '.join(known) or 'none'}.")
    return 0


def _audit(_arguments: argparse.Namespace) -> int:
    print(settings.folders().audit_log)
    return 0


COMMANDS = {
    "prepare": _prepare,
    "up": _up,
    "down": _down,
    "status": _status,
    "vllm-image": _vllm_image,
    "envoy-image": _envoy_image,
    "operator-image": _operator_image,
    "tool": _tool,
    "crds": _crds,
    "api-server": _api_server,
    "logs": _logs,
    "audit": _audit,
}


if __name__ == "__main__":
    sys.exit(main())
