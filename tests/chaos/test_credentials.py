"""A service account's token that is replaced, or that expires first, before a real API server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.account import OperatorOfAccount
from tests.integration.servers import Servers
from tools.harness.audit import Request
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube

RECOVERY_SECONDS = 30.0
CALLS_A_SECOND = 2.0


@dataclass
class Account:
    """The operator's service account, whose tokens last as long as a Secret each."""

    kube: Kube
    plane: Plane
    namespace: str
    operator: OperatorOfAccount

    @property
    def servers(self) -> Servers:
        return Servers(self.kube, self.namespace)

    def issue(self, secret: str) -> None:
        """Put a new token into the account's folder, in one step as the kubelet does."""
        body = self.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}}, self.namespace)
        bound = ["--bound-object-kind=Secret", f"--bound-object-name={secret}"]
        bound.append(f"--bound-object-uid={body['metadata']['uid']}")
        token = self.kube.kubectl("-n", self.namespace, "create", "token", "operator", *bound).stdout
        fresh = self.operator.account / "fresh"
        fresh.write_text(token)
        fresh.replace(self.operator.account / "token")

    def revoke(self, secret: str) -> None:
        """End a token: the API server refuses it after 10 s at the latest."""
        self.kube.delete("Secret", secret, self.namespace)

    def refused(self, mark: int) -> list[Request]:
        """Calls of the operator that were answered with 401."""
        return [request for request in self.plane.audit.since(mark) if request.code == 401]


@pytest.fixture
def account(kube: Kube, plane: Plane) -> Iterator[Account]:
    config = json.loads(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    with kube.namespace("account") as namespace:
        folder = plane.folder / f"{namespace}-account"
        folder.mkdir()
        shutil.copy(config["certificate-authority"], folder / "ca.crt")
        log = plane.folder / "logs" / f"{namespace}.log"
        operator = OperatorOfAccount(Path(), log, ["--namespace", namespace], account=folder, server=config["server"])
        kube.kubectl("-n", namespace, "create", "serviceaccount", "operator")
        binding = ["--clusterrole=cluster-admin", f"--serviceaccount={namespace}:operator"]
        kube.kubectl("create", "clusterrolebinding", namespace, *binding)
        found = Account(kube, plane, namespace, operator)
        found.issue("first")
        operator.start()
        try:
            operator.wait_ready()
            yield found
            assert operator.alive(), operator.tail()
        finally:
            operator.kill()
            kube.kubectl("delete", "clusterrolebinding", namespace)


def test_token_replaced_in_time_causes_no_interruption(account: Account) -> None:
    account.servers.create("before")
    account.issue("second")
    account.revoke("first")
    mark, began = account.plane.audit.mark(), time.monotonic()
    for number in range(12):
        account.servers.create(f"after-{number}")
        time.sleep(1)
    print(f"replaced in time: 12 servers in {time.monotonic() - began:.0f} s, 401: {len(account.refused(mark))}")
    assert account.operator.process is not None
    assert "the reconcile failed" not in account.operator.log.read_text()


def test_token_that_expires_first_is_replaced_within_half_a_minute(account: Account) -> None:
    account.servers.create("before")
    account.revoke("first")
    time.sleep(11)
    mark, began = account.plane.audit.mark(), time.monotonic()
    account.servers.create("meanwhile", settled=False)
    account.kube.eventually(lambda: account.refused(mark) != [], within=30)
    time.sleep(10)
    account.issue("second")
    issued = time.monotonic()
    account.servers.settled("meanwhile", within=RECOVERY_SECONDS)
    print(f"expired: recovered {time.monotonic() - issued:.1f} s after the next token")
    refused = account.refused(mark)
    about = [request for request in refused if request.name]
    print(f"401: {len(refused)}, about single objects {len(about)}, in {issued - began:.0f} s")
    assert len(about) <= CALLS_A_SECOND * 2 * (issued - began)
    account.servers.create("after")
