"""A stand-in of `kubectl port-forward`, with the lines of kubectl 1.37. Its behaviour comes from a file of JSON.

It forwards connections to the port `target`. It ends with `error` at once, or after `connections` connections with the
lost connection of a deleted pod. Each start appends its arguments to the file `log`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path


def forward(source: socket.socket, target: socket.socket) -> None:
    """Copy what one side sends to the other."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> None:
    """Play kubectl."""
    plan = json.loads(Path(os.environ["FAKE_KUBECTL"]).read_text())
    with open(plan["log"], "a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    if plan.get("error"):
        sys.exit(plan["error"])
    local = int(sys.argv[-1].partition(":")[0])
    listener = socket.create_server(("127.0.0.1", local))
    print(f"Forwarding from 127.0.0.1:{local} -> 8000", flush=True)
    served = 0
    while plan.get("connections") is None or served < plan["connections"]:
        connection, _ = listener.accept()
        print(f"Handling connection for {local}", flush=True)
        served += 1
        pod = socket.create_connection(("127.0.0.1", plan["target"]))
        threading.Thread(target=forward, args=(connection, pod), daemon=True).start()
        forward(pod, connection) if plan.get("connections") else threading.Thread(
            target=forward, args=(pod, connection), daemon=True
        ).start()
    listener.close()
    print("error: lost connection to pod", flush=True)


if __name__ == "__main__":
    main()
