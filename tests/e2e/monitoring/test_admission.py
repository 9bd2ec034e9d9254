"""The admission webhook of the real prometheus-operator accepts every rule that this project renders."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import REPOSITORY
from tools.harness.kube import Object
from tools.harness.operator_process import die_with_parent, free_port
from tools.harness.real_cluster import tool

GOLDEN = REPOSITORY / "tests" / "golden" / "expected"
START_SECONDS = 30.0


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    """The URL of the webhook, as a process that listens on a loopback address."""
    port = free_port()
    command = [tool("tool", "admission-webhook"), "--web.enable-tls=false", f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, "the webhook ended"
                assert time.monotonic() < deadline, "the webhook does not answer"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/admission-prometheusrules/validate"
    finally:
        process.terminate()
        process.wait(10)


def review(url: str, rule: Object) -> dict[str, Any]:
    """Return the answer of the webhook to the creation of an object."""
    kind = {"group": "monitoring.coreos.com", "version": "v1"}
    request = {
        "uid": "1", "kind": {**kind, "kind": "PrometheusRule"}, "resource": {**kind, "resource": "prometheusrules"},
        "name": rule["metadata"]["name"], "namespace": "llm", "operation": "CREATE", "object": rule,
    }  # fmt: skip
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    sent = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())["response"]
        return found


def rules(path: Path) -> list[Object]:
    """Return the PrometheusRules of a golden file."""
    return [body for body in yaml.safe_load_all(path.read_text()) if body and body["kind"] == "PrometheusRule"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_golden_rules_are_accepted(path: Path, webhook: str) -> None:
    for rule in rules(path):
        answer = review(webhook, rule)
        assert answer["allowed"], answer


def test_wrong_expression_is_refused(webhook: str) -> None:
    [rule] = rules(GOLDEN / "objectives.yaml")
    rule["spec"]["groups"][0]["rules"][0]["expr"] += " and ("

    assert not review(webhook, rule)["allowed"]
