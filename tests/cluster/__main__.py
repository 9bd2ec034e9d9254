"""The command line: `python3 -m tests.cluster COMMAND`."""

import argparse
import os
import sys

from tests.cluster import settings
from tests.cluster.backends.local import LocalCluster
from tests.cluster.errors import ClusterError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster")
    parser.add_argument("command")
    parser.add_argument("--nodes", type=int, default=int(os.environ.get("NODES", "1")))
    a = parser.parse_args()
    c = LocalCluster()
    try:
        if a.command == "up":
            print(f"export KUBECONFIG={c.up(a.nodes)}")
        elif a.command == "down":
            left = c.down()
            print(left)
        elif a.command == "status":
            print(c.status())
    except ClusterError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
