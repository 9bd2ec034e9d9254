"""A client certificate of a kubeconfig that expires or is replaced, before a real API server."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.servers import Servers
from tools.harness.audit import Request
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

RECOVERY_SECONDS = 30.0
CALLS_A_SECOND = 2.0
SHORT_SECONDS = 45
"""Seconds that the first certificate is valid; the operator starts within them, also on a busy machine."""
DAY_SECONDS = 24 * 3600


@dataclass
class Issuer:
    """Sign certificates of administrators with the cluster's authority.

    Attributes:
        folder: where keys and certificates are kept.
        authority: the cluster's certificate; its key is in the same folder.
    """

    folder: Path
    authority: Path

    def issue(self, name: str, seconds: float) -> tuple[Path, Path]:
        """A certificate that is valid for so long, and its key."""
        key, request, certificate = (self.folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        subject = f"/O=system:masters/CN=operator-{name}"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", subject)
        config, end = self.folder / f"{name}.cnf", datetime.now(UTC) + timedelta(seconds=seconds)
        (self.folder / f"{name}.index").write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=it\n[it]\ndatabase={self.folder / name}.index\nnew_certs_dir={self.folder}\n"
            "rand_serial=yes\ndefault_md=sha256\npolicy=any\nx509_extensions=client\n"
            "[any]\norganizationName=supplied\ncommonName=supplied\n[client]\nextendedKeyUsage=clientAuth\n"
        )
        authority = ("-cert", self.authority, "-keyfile", self.authority.with_suffix(".key"))
        until = ("-enddate", end.strftime("%Y%m%d%H%M%SZ"))
        _openssl("ca", "-batch", "-notext", "-config", config, *authority, *until, "-in", request, "-out", certificate)
        return certificate, key


def _openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class User:
    """The operator, and the kubeconfig by which it is let in.

    Attributes:
        inline: whether the kubeconfig holds the certificate, instead of the paths of files.
    """

    kube: Kube
    plane: Plane
    servers: Servers
    issuer: Issuer
    operator: OperatorProcess
    inline: bool

    def give(self, name: str, seconds: float) -> float:
        """Replace the certificate by one that is valid for so long; when it expires."""
        end = time.monotonic() + seconds
        issued = self.issuer.issue(name, seconds)
        if self.inline:
            certificate, key = (base64.b64encode(path.read_bytes()).decode() for path in issued)
            self._configure({"client-certificate-data": certificate, "client-key-data": key})
            return end
        used = self.issuer.folder / "used.crt", self.issuer.folder / "used.key"
        for fresh, path in zip(issued, used, strict=True):
            fresh.replace(path)
        self._configure({"client-certificate": str(used[0]), "client-key": str(used[1])})
        return end

    def _configure(self, user: dict[str, str]) -> None:
        config = json.loads(self.plane.kubeconfig.read_text())
        config["users"][0]["user"] = user
        fresh = self.operator.kubeconfig.with_suffix(".fresh")
        fresh.write_text(json.dumps(config))
        fresh.replace(self.operator.kubeconfig)

    def refused(self, mark: int) -> list[Request]:
        """Calls of the operator that were answered with 401."""
        return [request for request in self.plane.audit.since(mark) if request.code == 401]


@pytest.fixture(params=["files", "data"])
def user(request: pytest.FixtureRequest, kube: Kube, plane: Plane) -> Iterator[User]:
    config = json.loads(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    with kube.namespace("certificates") as namespace:
        folder = plane.folder / f"{namespace}-certificates"
        folder.mkdir()
        log = plane.folder / "logs" / f"{namespace}.log"
        operator = OperatorProcess(folder / "kubeconfig", log, ["--namespace", namespace])
        issuer = Issuer(folder, Path(config["certificate-authority"]))
        try:
            yield User(kube, plane, Servers(kube, namespace), issuer, operator, request.param == "data")
            assert operator.alive(), operator.tail()
        finally:
            operator.kill()


def begun(user: User, seconds: float) -> float:
    """Start the operator with a certificate that is valid for so long; when it expires."""
    end = user.give("first", seconds)
    user.operator.start()
    user.operator.wait_ready()
    user.servers.create("before")
    return end


def test_certificate_that_expires_first_is_replaced_within_half_a_minute(user: User) -> None:
    mark, end = user.plane.audit.mark(), begun(user, SHORT_SECONDS)
    time.sleep(max(end - time.monotonic(), 0.0) + 2)
    began = time.monotonic()
    user.servers.create("meanwhile", settled=False)
    user.kube.eventually(lambda: user.refused(mark) != [], within=RECOVERY_SECONDS)
    time.sleep(10)
    user.give("second", DAY_SECONDS)
    given = time.monotonic()
    user.servers.settled("meanwhile", within=RECOVERY_SECONDS)
    refused = user.refused(mark)
    about = [one for one in refused if one.name]
    print(f"expired: recovered in {time.monotonic() - given:.1f} s; 401: {len(refused)}, single objects {len(about)}")
    assert len(about) <= CALLS_A_SECOND * 2 * (given - began)
    user.servers.create("after")


def test_certificate_replaced_in_time_causes_no_interruption(user: User) -> None:
    end = begun(user, SHORT_SECONDS)
    user.give("second", DAY_SECONDS)
    time.sleep(max(end - time.monotonic(), 0.0) + 2)
    mark, began = user.plane.audit.mark(), time.monotonic()
    user.servers.create("after", settled=False)
    user.servers.settled("after", within=RECOVERY_SECONDS)
    print(f"replaced in time: recovered in {time.monotonic() - began:.1f} s, 401: {len(user.refused(mark))}")
