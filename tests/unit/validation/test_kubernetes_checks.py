"""Fields that Kubernetes would refuse in a child are refused in the spec."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_problems

CLAIMS = {"spec": {"resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "gpus"}]}}


def scheduling(**fields: Any) -> dict[str, Any]:
    return {"scheduling": fields}


def constraint(**fields: Any) -> dict[str, Any]:
    return {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", **fields}


def variable(**source: Any) -> dict[str, Any]:
    return {"engine": {"env": [{"name": "A", "valueFrom": source}]}}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a key with a space", scheduling(nodeSelector={"a b": "x"}), "spec.scheduling.nodeSelector"),
    ("a key that is empty", {"service": {"labels": {"": "x"}}}, "spec.service.labels"),
    ("a key with two slashes", {"service": {"annotations": {"a/b/c": "x"}}}, "spec.service.annotations"),
    (
        "annotations beyond what an object carries",
        {"service": {"annotations": {f"a{number}": "x" * 4096 for number in range(60)}}},
        "spec.service.annotations",
    ),
    ("a resource without a domain", {"resources": {"limits": {"gpu": 1}}}, "spec.resources.limits[gpu]"),
    ("a resource of Kubernetes", {"resources": {"limits": {"kubernetes.io/x": 1}}}, "spec.resources.limits[kuber"),
    ("half a device", {"resources": {"limits": {"a.b/c": "500m"}}}, "spec.resources.limits[a.b/c]"),
    (
        "more than the limit",
        {"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1500m"}}},
        "spec.resources.requests[cpu]",
    ),
    (
        "fewer devices than the limit",
        {"resources": {"limits": {"a.b/c": 2}, "requests": {"a.b/c": 1}}},
        "spec.resources.requests[a.b/c]",
    ),
    ("devices without a limit", {"resources": {"requests": {"a.b/c": 1}}}, "spec.resources.requests[a.b/c]"),
    ("huge pages alone", {"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, "spec.resources.limits"),
    ("a device of a quota", {"accelerator": {"resourceName": "requests.a/b"}}, "spec.accelerator.resourceName"),
    ("a claim that the pod lacks", {"resources": {"claims": [{"name": "gpus"}]}}, "spec.resources.claims"),
    ("no key", scheduling(tolerations=[{"value": "x"}]), "spec.scheduling.tolerations[0]"),
    (
        "a value for any",
        scheduling(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
        "spec.scheduling.tolerations[0]",
    ),
    (
        "seconds without eviction",
        scheduling(tolerations=[{"key": "a", "tolerationSeconds": 5}]),
        "spec.scheduling.tolerations[0]",
    ),
    (
        "no number to compare",
        scheduling(tolerations=[{"key": "a", "operator": "Lt", "value": "x"}]),
        "spec.scheduling.tolerations[0]",
    ),
    (
        "a constraint twice",
        scheduling(topologySpreadConstraints=[constraint(), constraint(maxSkew=2)]),
        "spec.scheduling.topologySpreadConstraints[0]",
    ),
    (
        "domains that need not be",
        scheduling(topologySpreadConstraints=[constraint(minDomains=2)]),
        "spec.scheduling.topologySpreadConstraints[0]",
    ),
    (
        "a key that is selected already",
        scheduling(topologySpreadConstraints=[constraint(matchLabelKeys=["app.kubernetes.io/instance"])]),
        "spec.scheduling.topologySpreadConstraints[0]",
    ),
    ("no space", {"cache": {"size": "0"}}, "spec.cache.size"),
    (
        "one pod and others",
        {"cache": {"size": "1Gi", "accessModes": ["ReadWriteOncePod", "ReadWriteMany"]}},
        "spec.cache.accessModes",
    ),
    (
        "a divisor that is none",
        variable(resourceFieldRef={"resource": "limits.cpu", "divisor": "2"}),
        "spec.engine.env[A].valueFrom.resourceFieldRef.divisor",
    ),
    ("no source", variable(), "spec.engine.env[A].valueFrom"),
    (
        "two sources",
        variable(fieldRef={"fieldPath": "metadata.name"}, configMapKeyRef={"name": "a", "key": "b"}),
        "spec.engine.env[A].valueFrom",
    ),
]


@pytest.mark.parametrize(("fields", "start"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(fields: dict[str, Any], start: str) -> None:
    problem, *_ = spec_problems(spec(**fields))

    assert problem.reason == "InvalidSpec"
    assert problem.message.startswith(start)


FINE: list[dict[str, Any]] = [
    scheduling(nodeSelector={"example.org/pool": "a"}, tolerations=[{"operator": "Exists"}]),
    scheduling(tolerations=[{"key": "a", "operator": "Gt", "value": "5"}]),
    scheduling(tolerations=[{"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]),
    scheduling(topologySpreadConstraints=[constraint(), constraint(whenUnsatisfiable="DoNotSchedule", minDomains=2)]),
    {"service": {"annotations": {"Example.org/Key": "x"}}},
    {"resources": {"limits": {"cpu": 2, "hugepages-2Mi": "4Mi", "a.b/c": 1}, "requests": {"cpu": "500m", "a.b/c": 1}}},
    {"resources": {"claims": [{"name": "gpus"}]}, "podTemplate": CLAIMS},
    variable(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
    {"cache": {"size": "1Gi", "accessModes": ["ReadWriteOncePod"]}},
]


@pytest.mark.parametrize("fields", FINE)
def test_accepted(fields: dict[str, Any]) -> None:
    assert spec_problems(spec(**fields)) == ()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"metadata": {"labels": {"a b": ""}}}, "spec.metadata.labels"),
        ({"metadata": {"annotations": {"a b": ""}}}, "spec.metadata.annotations"),
        ({"metadata": {"annotations": {"a": "x" * 4000, **{f"b{n}": "y" * 4096 for n in range(60)}}}}, "spec.metadata"),
        ({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, "spec.metadata.labels[app.kubernetes.io/name]"),
        ({"monitoring": {"labels": {"app.kubernetes.io/name": "x"}}}, "spec.monitoring.labels[app.kubernetes.io/name]"),
        ({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}}, "spec.metadata.annotations[deploy"),
        ({"service": {"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8", "x"]}}}, "spec.service.spec.loadBalancerS"),
        ({"service": {"spec": {"ipFamilies": ["IPv4", "IPv4"]}}}, "spec.service.spec.ipFamilies"),
        (
            {"service": {"spec": {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"}}},
            "spec.service.spec.ipFamilies",
        ),
    ],
    ids=range(9),
)
def test_metadata_and_service_that_kubernetes_refuses_are_refused(fields: dict[str, Any], field: str) -> None:
    (message,) = [problem.message for problem in spec_problems(spec(**fields))]

    assert message.startswith(field)
    assert ": " in message


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        ({}, "not none"),
        ({"hostPath": {"path": "/a"}, "nfs": {}}, "not hostPath, nfs"),
        ({"hostPath": "/a"}, "not hostPath"),
        ({"persistentVolumeClaim": {"claimName": "a"}}, "cache.existingClaim"),
        ({"hostpath": {"path": "/a"}}, "write hostPath"),
        ({"secret": {"secretName": "a"}}, "is no source of a volume"),
    ],
)
def test_volume_of_the_cache_has_one_source_that_can_be_written(volume: dict[str, Any], text: str) -> None:
    (message,) = [problem.message for problem in spec_problems(spec(cache={"volume": volume}))]

    assert message.startswith("spec.cache.volume")
    assert text in message
