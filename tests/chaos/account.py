"""The operator as in a pod: with a service account's folder instead of a kubeconfig."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tools.harness.operator_process import OperatorProcess, die_with_parent

LAUNCH = """
import os, pathlib
from vllm_operator.kube import connection
connection.SERVICE_ACCOUNT_DIR = pathlib.Path(os.environ["ACCOUNT_OF_THE_TEST"])
from vllm_operator.__main__ import main
main()
"""
"""The operator as in a pod, where only the account's folder is another one."""


@dataclass
class OperatorOfAccount(OperatorProcess):
    """The operator with a service account's folder instead of a kubeconfig.

    Attributes:
        account: folder with `token` and `ca.crt`, which the kubelet keeps fresh in a pod.
        server: URL of the API server.
    """

    account: Path = field(default_factory=Path)
    server: str = ""

    def start(self) -> None:
        address = urlsplit(self.server)
        command = [sys.executable, "-c", LAUNCH, "run", "--log-format", "text", "--listen", f"127.0.0.1:{self.port}"]
        environment = {
            "ACCOUNT_OF_THE_TEST": str(self.account),
            "KUBERNETES_SERVICE_HOST": str(address.hostname),
            "KUBERNETES_SERVICE_PORT": str(address.port),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                preexec_fn=die_with_parent,
            )
