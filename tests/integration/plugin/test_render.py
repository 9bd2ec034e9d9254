"""`kubectl vllm render` against what the operator applies."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

from tests.golden.documents import MANIFESTS
from tests.helpers.plugin import plugin
from tests.integration.plugin.world import Run
from tests.integration.servers import Servers, manifest
from tools.harness.control_plane import Plane
from tools.harness.kube import Object
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import Document
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE


def create_references(servers: Servers, body: Object) -> None:
    """Create the Secrets and claims that a manifest refers to."""
    document = Document({**body, "metadata": {**body["metadata"], "namespace": servers.namespace}})
    for note in judge(document).notes:
        if found := re.search(r"the (Secret|PersistentVolumeClaim) (\S+)(?: with the key (\S+))? must exist", note):
            kind, name, key = found.groups()
            metadata = {"name": name, "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
            body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
            if kind == "Secret":
                old = servers.kube.get("Secret", name, servers.namespace) or {}
                data = {**dict.fromkeys(old.get("data", {}), "x"), key or "k": "x"}
                servers.kube.apply({**body, "stringData": data}, namespace=servers.namespace)
            else:
                spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
                servers.kube.apply({**body, "spec": spec}, namespace=servers.namespace)


@pytest.mark.parametrize("name", sorted(path.stem for path in MANIFESTS.glob("*.yaml")))
def test_render_equals_what_the_operator_applies(name: str, plane: Plane, servers: Servers) -> None:
    body = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    body["metadata"].pop("namespace", None)
    # The operator writes no child of a paused server.
    body["spec"].pop("paused", None)
    create_references(servers, body)
    servers.kube.create(body, servers.namespace)
    server = body["metadata"]["name"]
    # The operator of these tests takes free pod templates; one of the manifests has a host path.
    options = ("render", "-f", "-", "--pod-template", "free", "-n", servers.namespace)
    options = (*options, "--kubeconfig", str(plane.kubeconfig))
    rendered = list(yaml.safe_load_all(plugin(*options, stdin=json.dumps(body)).stdout))
    assert {child["kind"] for child in rendered} >= {"Deployment", "Service"}
    if "schedule" in body["spec"].get("autoscaling", {}):
        # `render` shows the bounds outside of all windows, and `--diff` those of the present time.
        for child in (one for one in rendered if one["kind"] == "HorizontalPodAutoscaler"):
            del child["spec"]["minReplicas"], child["spec"]["maxReplicas"]

    def applied() -> None:
        accepted = servers.condition(server)
        assert accepted.get("status") == "True", accepted
        for child in rendered:
            live = servers.kube.get(child["kind"], child["metadata"]["name"], servers.namespace)
            assert live, f"no {child['kind']}"
            assert_holds(child, live, child["kind"])

    servers.kube.eventually(applied, within=30, namespace=servers.namespace)
    ended = plugin(*options, "--diff", stdin=json.dumps(body))
    assert (ended.code, ended.stdout) == (0, ""), ended.text
    changed = {**body, "spec": {**body["spec"], "sharedMemory": "17Gi"}}
    ended = plugin(*options, "--diff", stdin=json.dumps(changed))
    assert ended.code == 1
    assert "sizeLimit: 17Gi" in ended.stdout


TOKEN = re.compile("[0-9a-f]{32}")
"""The token of the draining middleware, which is made from the UID of the server."""


def assert_holds(wanted: Any, live: Any, path: str) -> None:
    """Each value of the rendered object is in the live one; quantities may be spelled in another way."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            if key in {"uid", "vllm-operator.dev/applied-hash"}:
                continue
            assert isinstance(live, dict), path
            # The API server leaves out what is empty or false.
            assert key in live or value in (None, {}, [], False), f"{path}.{key}"
            assert_holds(value, live.get(key, value), f"{path}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(live, list), path
        assert len(wanted) == len(live), path
        for number, (one, other) in enumerate(zip(wanted, live, strict=True)):
            assert_holds(one, other, f"{path}[{number}]")
    elif str(wanted) != str(live) and not TOKEN.fullmatch(str(wanted)):
        assert parse_quantity(str(wanted)) == parse_quantity(str(live)), f"{path}: {wanted} and {live}"


def test_render_diff_shows_new_and_refused_servers(run: Run) -> None:
    ended = run("render", "-f", "-", "--diff", stdin=json.dumps(manifest("new", {})))
    assert ended.code == 1
    assert "+++ manifest/Deployment/new" in ended.stdout
    ended = run("render", "-f", "-", "--diff", stdin=json.dumps(manifest("new", {"replicas": "x"})))
    assert ended.code == 1
    assert "refused: spec.replicas" in ended.stderr
