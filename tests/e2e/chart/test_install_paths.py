"""Each way to install, on a whole cluster with a real vLLM: from nothing to a completion, and back to nothing."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chart.releases import Releases, older_chart
from tests.chart.test_kustomize import overlay
from tests.e2e.chart.conftest import SECONDS
from tests.helpers.alone import CRD
from tools.chart.files import OPERATOR, SERVER
from tools.chart.olm_install import installed
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Kube, condition
from tools.harness.real_cluster import NAME, SYSTEM, RealCluster, cpu_server
from tools.localcluster import settings
from vllm_operator.install.manifests import operator_manifests, to_yaml

LLM = "llm"
TINY = "tiny"
READY_SECONDS = 600
"""Longest start of a tiny model on a busy machine; 40 s on an idle one."""
REPOSITORY, _, TAG = settings.OPERATOR_IMAGE.rpartition(":")
IMAGE = {"image": {"repository": REPOSITORY, "tag": TAG}}


class Clock:
    """The seconds of the steps of one path."""

    def __init__(self, path: str) -> None:
        self._steps = SECONDS.setdefault(path, {})
        self._start = time.monotonic()

    def step(self, name: str) -> None:
        """Note that a step is done."""
        self._steps[name] = round(time.monotonic() - self._start, 1)


def wait_ready(kube: Kube) -> None:
    """Wait until the server serves."""

    def ready() -> None:
        found = kube.must_get(KIND, TINY, LLM)
        assert condition(found, "Ready").get("status") == "True", condition(found, "Ready")

    kube.eventually(ready, within=READY_SECONDS, namespace=LLM)


def request(client: InCluster) -> tuple[int, Any]:
    """Request a completion of the server."""
    body = {"model": TINY, "prompt": "hello", "max_tokens": 4}
    return client.call(f"http://{TINY}.{LLM}.svc/v1/completions", body)


def first_completion(client: InCluster) -> None:
    """Wait until the Service answers: for a moment after Ready the node's proxy lacks the endpoint."""

    def answered() -> None:
        status, answer = request(client)
        assert status == 200, answer

    client.kube.eventually(answered, within=30)


def processes(kube: Kube) -> dict[str, int]:
    """Return the UIDs of the server's pods with their restarts."""
    pods = kube.list("Pod", LLM, f"app.kubernetes.io/instance={TINY}")
    return {
        pod["metadata"]["uid"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses") or [])
        for pod in pods
    }


@contextmanager
def load(client: InCluster) -> Iterator[Counter[int]]:
    """Send one request after the other in the background; count the answers by their status."""
    counts: Counter[int] = Counter()
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            counts[request(client)[0]] += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        ended.set()
        thread.join(60)


def test_release_lives_under_load_without_a_restart(
    releases: Releases, bare: RealCluster, client: InCluster, tmp_path: Path
) -> None:
    kube, helm = releases.kube, f"helm{releases.helm.major}"
    older = older_chart(copied(tmp_path), "0.0.9", "disruption")
    wait = ("--wait", "--timeout", "4m")
    clock = Clock(helm)

    releases.install(SYSTEM, "--create-namespace", *wait, chart=older, **IMAGE)
    clock.step("operator ready")
    spec = cpu_server(bare, TINY, {"model": {"uri": "file:///models/tiny"}})["spec"]
    # Helm 4 waits until a server is ready; Helm 3 does not know custom resources.
    releases.install(LLM, "--create-namespace", *wait, release="models", chart=SERVER, servers={TINY: {"spec": spec}})
    if releases.helm.major > 3:
        assert condition(kube.must_get(KIND, TINY, LLM), "Ready")["status"] == "True"
    wait_ready(kube)
    first_completion(client)
    clock.step("first completion")
    before = processes(kube)

    with load(client) as counts:
        kube.eventually(lambda: counts[200] > 0, within=30)
        releases.upgrade(SYSTEM, *wait, **IMAGE)
        clock.step("upgraded")
        tested = releases.helm.run("test", NAME, "--namespace", SYSTEM, "--timeout", "2m")
        assert "Succeeded" in tested
        clock.step("tested")
        releases.helm.run("rollback", NAME, "1", "--namespace", SYSTEM, *wait)
        clock.step("rolled back")
        message = releases.uninstall(SYSTEM)
        clock.step("uninstalled")
        kube.eventually(lambda: kube.list("Pod", SYSTEM) == [], within=60)
        kube.stays(lambda: processes(kube) == before, seconds=5)

    assert counts[200] > 10
    assert set(counts) == {200}, "each request was answered"
    assert processes(kube) == before
    assert CRD in message
    assert releases.leftovers() == {f"CustomResourceDefinition//{CRD}"}
    releases.uninstall(LLM, release="models")
    remove_namespaces(kube)
    assert releases.leftovers() == set()
    clock.step("back to nothing")


def test_helm_test_serves_a_tiny_model(releases: Releases, bare: RealCluster) -> None:
    spec = cpu_server(bare, TINY, {"model": {"uri": "file:///models/tiny"}})["spec"]
    releases.install(
        SYSTEM, "--create-namespace", "--wait", **IMAGE, test={"server": spec, "timeoutSeconds": READY_SECONDS}
    )

    text = releases.helm.run("test", NAME, "--namespace", SYSTEM, "--timeout", "6m")

    assert "Succeeded" in text
    assert releases.kube.list(KIND, SYSTEM) == [], "the server of the test is gone"


def copied(folder: Path) -> Path:
    """Return a copy of the chart."""
    return Path(shutil.copytree(OPERATOR, folder / "vllm-operator"))


def kubectl_file(_: Path) -> tuple[list[str], str]:
    """Return options and input of kubectl for the install file."""
    return ["-f", "-"], to_yaml(operator_manifests(settings.OPERATOR_IMAGE, SYSTEM))


def kustomization(folder: Path) -> tuple[list[str], str]:
    """Return options of kubectl for an overlay of the base."""
    place = overlay(folder, images=[{"name": "vllm-operator", "newName": REPOSITORY, "newTag": TAG}])
    return ["-k", str(place)], ""


def steps_of_olm(_: Path) -> tuple[list[str], str]:
    """Return options and input of kubectl for the objects that OLM makes of the bundle."""
    return ["-f", "-"], to_yaml(installed(SYSTEM, settings.OPERATOR_IMAGE))


@pytest.mark.parametrize(
    ("name", "source"), [("kubectl", kubectl_file), ("kustomize", kustomization), ("OLM steps", steps_of_olm)]
)
def test_objects_are_applied_and_deleted(
    bare: RealCluster, client: InCluster, tmp_path: Path, name: str, source: Callable[[Path], tuple[list[str], str]]
) -> None:
    kube = bare.kube
    options, text = source(tmp_path)
    clock = Clock(name)
    try:
        kube.kubectl("apply", "--server-side", *options, stdin=text)
        kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=180s", timeout=200)
        clock.step("operator ready")
        kube.kubectl("create", "namespace", LLM)
        kube.apply(cpu_server(bare, TINY, {"model": {"uri": "file:///models/tiny"}}), namespace=LLM)
        wait_ready(kube)
        first_completion(client)
        clock.step("first completion")
        kube.kubectl("delete", "vllmservers", "--all", "-A", "--timeout=60s")
    finally:
        kube.kubectl("delete", "--ignore-not-found", "--timeout=120s", *options, stdin=text, check=False)
        remove_namespaces(kube)
    assert leftovers(kube) == ""
    clock.step("back to nothing")


def remove_namespaces(kube: Kube) -> None:
    """Delete CRD and namespaces, and wait until they are gone."""
    kube.delete_crd(CRD)
    kube.kubectl("delete", "namespace", SYSTEM, LLM, "--ignore-not-found", "--timeout=120s")


def leftovers(kube: Kube) -> str:
    """Return the names of what still exists of the install file."""
    objects = operator_manifests(settings.OPERATOR_IMAGE, SYSTEM)
    return kube.kubectl("get", "--ignore-not-found", "-o", "name", "-f", "-", stdin=to_yaml(objects)).stdout
