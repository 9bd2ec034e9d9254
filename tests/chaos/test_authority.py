"""An API server that begins to show a certificate of another CA, which the operator gets to know sooner or later."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.account import OperatorOfAccount
from tests.chaos.endurance import CALLS_A_SECOND, RECOVERY_SECONDS, SERVERS, Operator, endure, stage
from tests.chaos.proxy import Fault, Proxy
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from tools.localcluster.certificates import Authority, Identity

PROXY = Identity("proxy", "/CN=kube-apiserver", ("IP:127.0.0.1",))
WRONG_SECONDS = 8.0
NOT_TRUSTED = "the API server cannot be reached: its certificate is not trusted"


@dataclass
class Trust:
    """The API server behind TLS, and an operator that knows it by a file.

    Attributes:
        proxy: shows a certificate of the old CA so far.
        file: where the operator finds the CA; it holds the old one so far.
        operator: makes the operator.
    """

    proxy: Proxy
    old: Authority
    new: Authority
    file: Path
    operator: Operator

    def replace_file(self) -> None:
        """Put the new CA into the file, in one step as the kubelet does."""
        fresh = self.file.with_suffix(".fresh")
        shutil.copy(self.new.certificate("ca"), fresh)
        fresh.replace(self.file)

    def replace_certificate(self) -> None:
        """Restart the API server with a certificate of the new CA."""
        self.proxy.show(shown_by(self.new))


def shown_by(authority: Authority) -> tuple[Path, Path]:
    return authority.certificate(PROXY.name), authority.key(PROXY.name)


numbers = itertools.count()


@pytest.fixture(params=["kubeconfig", "account"])
def trust(request: pytest.FixtureRequest, plane: Plane) -> Iterator[Trust]:
    folder = plane.folder / f"authorities-{next(numbers)}"
    old, new = Authority(folder / "old"), Authority(folder / "new")
    for authority in (old, new):
        authority.ensure([PROXY])
    account = folder / "account"
    account.mkdir()
    (account / "token").write_text("unused")
    shutil.copy(old.certificate("ca"), account / "ca.crt")
    with Proxy(plane.kubeconfig, folder, certificate=shown_by(old), authority=account / "ca.crt") as proxy:

        def operator(log: Path, arguments: Sequence[str]) -> OperatorProcess:
            if request.param == "account":
                return OperatorOfAccount(Path(), log, arguments, account=account, server=proxy.url)
            return OperatorProcess(proxy.kubeconfig, log, arguments)

        yield Trust(proxy, old, new, account / "ca.crt", operator)


def test_certificate_that_is_replaced_before_the_ca_file(
    kube: Kube, plane: Plane, trust: Trust, undisturbed: tuple[str, int]
) -> None:
    with stage(kube, plane, trust.proxy, Fault(), trust.operator) as found:
        trust.replace_certificate()
        began = time.monotonic()
        summary = endure(found, undisturbed, trust.replace_file, WRONG_SECONDS)
        process = found.kubelet.process
        tries = [moment - began for moment in trust.proxy.hellos if 0 <= moment - began < WRONG_SECONDS]
        print(f"certificate first: {summary}; {len(tries)} handshakes in the {WRONG_SECONDS:g} s before")
        assert found.kubelet.ends == [], process.tail(80)
        assert tries, "the fault did not happen"
        assert len(tries) <= CALLS_A_SECOND * len(SERVERS) * WRONG_SECONDS
        assert NOT_TRUSTED in process.log.read_text()
        assert f"it is not signed by the CA in {trust.file}" in process.log.read_text()


def test_ca_file_that_is_replaced_before_the_certificate(
    kube: Kube, plane: Plane, trust: Trust, undisturbed: tuple[str, int]
) -> None:
    with stage(kube, plane, trust.proxy, Fault(), trust.operator) as found:
        trust.replace_file()
        time.sleep(WRONG_SECONDS / 2)
        assert NOT_TRUSTED not in found.kubelet.process.log.read_text()
        trust.replace_certificate()
        began = time.monotonic()
        summary = endure(found, undisturbed, lambda: None, 0)
        tries = [moment for moment in trust.proxy.hellos if moment >= began]
        print(f"CA file first: {summary}; {len(tries)} handshakes")
        assert found.kubelet.ends == [], found.kubelet.process.tail(80)


def test_operator_started_between_both_replacements_waits_for_the_ca_file(
    kube: Kube, plane: Plane, trust: Trust
) -> None:
    trust.replace_certificate()
    with kube.namespace("bad") as namespace:
        process = trust.operator(plane.folder / "logs" / f"{namespace}.log", ["--namespace", namespace])
        process.start()
        try:
            kube.eventually(lambda: NOT_TRUSTED in process.log.read_text(), within=RECOVERY_SECONDS)
            time.sleep(WRONG_SECONDS)
            trust.replace_file()
            replaced = time.monotonic()
            process.wait_ready(RECOVERY_SECONDS)
            print(f"started meanwhile: ready {time.monotonic() - replaced:.1f} s after the file was right")
            assert len(trust.proxy.hellos) > 0
        finally:
            process.kill()
