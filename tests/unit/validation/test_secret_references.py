"""Every place of a spec that names a Secret is found, with its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, spec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.validation.secret_references import MAX_PARTS, secret_references

ENV = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}]


def volume(**source: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"volumes": [{"name": "v", **source}]}}}


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "token": ({"model": {**MODEL, "tokenSecretRef": {"name": "s"}}}, "spec.model.tokenSecretRef"),
    "API key": ({"security": {"apiKeySecretRef": {"name": "s"}}}, "spec.security.apiKeySecretRef"),
    "optional variable": ({"engine": {"env": ENV}}, "spec.engine.env[A].valueFrom.secretKeyRef"),
    "pull secret": ({"imagePullSecrets": [{"name": "s"}]}, "spec.imagePullSecrets"),
    "pull secret of the template": (
        {"podTemplate": {"spec": {"imagePullSecrets": [{"name": "s"}]}}},
        "spec.podTemplate.spec.imagePullSecrets",
    ),
    "variable of a container": (
        {"podTemplate": {"spec": {"containers": [{"name": "vllm", "env": ENV}]}}},
        "spec.podTemplate.spec.containers[0].env[0].valueFrom.secretKeyRef",
    ),
    "variables of an init container": (
        {"podTemplate": {"spec": {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]}}},
        "spec.podTemplate.spec.initContainers[0].envFrom[0].secretRef",
    ),
    "volume": (volume(secret={"secretName": "s"}), "spec.podTemplate.spec.volumes[0].secret.secretName"),
    "projected volume": (
        volume(projected={"sources": [{"secret": {"name": "s"}}]}),
        "spec.podTemplate.spec.volumes[0].projected.sources[0].secret",
    ),
    "CSI": (
        volume(csi={"driver": "d", "nodePublishSecretRef": {"name": "s"}}),
        "spec.podTemplate.spec.volumes[0].csi.nodePublishSecretRef",
    ),
    "CephFS": (
        volume(cephfs={"monitors": [], "secretRef": {"name": "s"}}),
        "spec.podTemplate.spec.volumes[0].cephfs.secretRef",
    ),
    "Azure": (volume(azureFile={"secretName": "s"}), "spec.podTemplate.spec.volumes[0].azureFile.secretName"),
}


@pytest.mark.parametrize(("fields", "field"), ROWS.values(), ids=ROWS)
def test_secret_is_found_with_its_field(fields: dict[str, Any], field: str) -> None:
    assert [(one.name, one.field) for one in secret_references(spec(**fields))] == [("s", field)]


@pytest.mark.parametrize("template", [{}, {"spec": None}, {"spec": {"volumes": "x"}}, {"spec": {"secret": 1}}])
def test_template_of_any_shape_is_searched(template: dict[str, Any]) -> None:
    assert secret_references(spec(podTemplate=template)) == ()


def test_template_too_large_to_search_is_refused() -> None:
    template = {"spec": {"tolerations": [[]] * MAX_PARTS}}

    with pytest.raises(InvalidSpecError, match=r"podTemplate\.spec: has more than 20000 parts"):
        secret_references(spec().model_copy(update={"pod_template": template}))


def test_secret_of_the_cache_volume_is_found() -> None:
    volume = {"csi": {"driver": "x", "nodePublishSecretRef": {"name": "disk"}}}
    (found,) = secret_references(spec(cache={"volume": volume}))

    assert (found.name, found.field) == ("disk", "spec.cache.volume.csi.nodePublishSecretRef")
