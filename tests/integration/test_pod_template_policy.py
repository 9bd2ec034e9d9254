"""The shipped admission policy, on a real API server: a user who may only create VLLMServers gets no further rights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.helpers.alone import install_crd, plane_or_skip
from tests.helpers.pod_templates import ALLOWED, REFUSED, pod
from tests.integration.servers import manifest
from tools.harness.kube import Answer, Kube
from vllm_operator.install.manifests import RightsOptions, operator_manifests, to_yaml
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import Document
from vllm_operator.validation.pod_template import NAMESPACE_LABEL

POLICY_KINDS = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
RESTRICTED, FREE, ELSEWHERE = "tenant", "trusted", "elsewhere"
USER = "alice"
FORBIDDEN = pod(hostNetwork=True)
ACTIVE_SECONDS = 30.0
"""The API server reads a new policy within seconds."""


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """Return a cluster with the policy in force, and a user who may write VLLMServers and nothing else."""
    with plane_or_skip() as plane:
        kube = plane.kube()
        install_crd(kube)
        for namespace, labels in ((RESTRICTED, {}), (FREE, {NAMESPACE_LABEL: "free"}), (ELSEWHERE, {})):
            metadata = {"name": namespace, "labels": labels}
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        shipped = operator_manifests("none", "vllm-operator-system", (RESTRICTED, FREE))
        policies = [body for body in shipped if body["kind"] in POLICY_KINDS]
        kube.apply(to_yaml(policies), "--server-side", "--validate=strict")
        kube.kubectl("create", "clusterrole", "author", "--verb=create,get,update,patch", "--resource=vllmservers")
        kube.kubectl("create", "clusterrolebinding", "author", "--clusterrole=author", f"--user={USER}")
        kube.eventually(lambda: create(kube, "probe", FORBIDDEN).code != 0, within=ACTIVE_SECONDS)
        yield kube


def offline(spec: Mapping[str, Any]) -> bool:
    """Return whether `render` accepts a spec in the restricted mode."""
    return judge(Document(manifest("offline", spec)), pod_template="restricted").accepted


def create(kube: Kube, name: str, spec: Mapping[str, Any], namespace: str = RESTRICTED, *options: str) -> Answer:
    """Create a server as the plain user; dry unless options say otherwise."""
    command = ["create", "-n", namespace, f"--as={USER}", "-f", "-", *(options or ["--dry-run=server"])]
    return kube.kubectl(*command, stdin=yaml.safe_dump(manifest(name, spec)), check=False)


@pytest.mark.parametrize("name", ALLOWED)
def test_spec_without_further_rights_is_created(kube: Kube, name: str) -> None:
    answer = create(kube, "allowed", ALLOWED[name])

    assert answer.code == 0, answer.text
    assert offline(ALLOWED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_spec_with_further_rights_is_refused_with_field_and_remedy(kube: Kube, name: str) -> None:
    answer = create(kube, "refused", REFUSED[name])

    assert answer.code != 0
    assert "ValidatingAdmissionPolicy" in answer.text
    assert "denied request: spec." in answer.text, answer.text
    assert NAMESPACE_LABEL in answer.text
    assert not offline(REFUSED[name])


def test_labelled_namespace_is_free(kube: Kube) -> None:
    assert create(kube, "free", FORBIDDEN, FREE).code == 0


def test_namespace_that_is_not_served_is_left_alone(kube: Kube) -> None:
    assert create(kube, "free", FORBIDDEN, ELSEWHERE).code == 0


def test_server_from_before_the_policy_can_be_changed_elsewhere_only(kube: Kube) -> None:
    kube.kubectl("label", "namespace", RESTRICTED, f"{NAMESPACE_LABEL}=free")
    kube.eventually(lambda: create(kube, "old", FORBIDDEN).code == 0, within=ACTIVE_SECONDS)
    assert create(kube, "old", FORBIDDEN, RESTRICTED, "--output=name").code == 0
    kube.kubectl("label", "namespace", RESTRICTED, f"{NAMESPACE_LABEL}-")
    kube.eventually(lambda: create(kube, "probe", FORBIDDEN).code != 0, within=ACTIVE_SECONDS)

    assert change(kube, {"spec": {"replicas": 3}}).code == 0
    assert change(kube, {"metadata": {"labels": {"a": "b"}}}).code == 0
    assert change(kube, {"spec": {"podTemplate": {"spec": {"hostPID": True}}}}).code != 0
    assert change(kube, {"spec": {"security": {"podSecurityContext": {"runAsUser": 0}}}}).code != 0
    assert change(kube, {"spec": {"podTemplate": None}}).code == 0


def change(kube: Kube, patch: Mapping[str, Any]) -> Answer:
    command = ["patch", "vllmserver", "old", "-n", RESTRICTED, f"--as={USER}", "--type=merge", "--patch"]
    return kube.kubectl(*command, json.dumps(patch), check=False)


@pytest.mark.parametrize("served", [(), (RESTRICTED,)])
def test_api_server_accepts_all_shipped_policies(kube: Kube, served: tuple[str, ...]) -> None:
    """Strictly, so that no field is unknown."""
    shipped = operator_manifests("none", "default", served, rights=RightsOptions(network_policies=True))
    policies = [body for body in shipped if body["kind"] in {*POLICY_KINDS, "NetworkPolicy"}]
    answer = kube.apply(
        to_yaml(policies), "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"
    )

    assert len(policies) == 3
    assert "Warning" not in answer.stderr
