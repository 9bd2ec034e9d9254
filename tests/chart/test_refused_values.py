"""Wrong values are refused before anything is sent, with a message that names the value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.matrix import NAMESPACE
from tools.chart.files import OPERATOR, SERVER
from tools.chart.helm import Helm, HelmError

Object = dict[str, Any]
MODEL = {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"}

OF_THE_OPERATOR: dict[str, tuple[Object, str]] = {
    "unknown": ({"replcias": 2}, "'replcias'"),
    "unknown-below": ({"crds": {"enable": True}}, "'enable'"),
    "text-for-number": ({"replicas": "two"}, "replicas"),
    "fraction": ({"replicas": 1.5}, "replicas"),
    "negative": ({"replicas": -1}, "replicas"),
    "text-for-boolean": ({"podMonitor": {"enabled": "yes"}}, "podMonitor"),
    "choice": ({"podTemplate": "loose"}, "podTemplate"),
    "log-level": ({"logLevel": "trace"}, "logLevel"),
    "digest": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "image-with-spaces": ({"image": {"repository": "a b"}}, "repository"),
    "pull-policy": ({"image": {"pullPolicy": "always"}}, "pullPolicy"),
    "pull-secret-as-text": ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
    "namespace": ({"servedNamespaces": ["Team_A"]}, "servedNamespaces"),
    "namespace-twice": ({"servedNamespaces": ["a", "a"]}, "servedNamespaces"),
    "namespace-pattern": ({"servedNamespaces": ["team-*"]}, "servedNamespaces"),
    "runbook-url-without-placeholder": ({"runbookUrl": "https://wiki.example/"}, "runbookUrl"),
    "runbook-url-of-another-scheme": ({"runbookUrl": "file:///%s"}, "runbookUrl"),
    "runbook-url-with-two-placeholders": ({"runbookUrl": "https://w.example/%s/%s"}, "runbookUrl"),
    "quantity": ({"resources": {"limits": {"memory": "512 MB"}}}, "resources"),
    "requests-misspelled": ({"resources": {"request": {}}}, "'request'"),
    "variable-without-name": ({"extraEnv": [{"value": "x"}]}, "extraEnv"),
    "variable-with-a-number": ({"extraEnv": [{"name": "A", "value": 1}]}, "extraEnv"),
    "variables-as-a-map": ({"extraEnv": {"A": "1"}}, "extraEnv"),
    "label-value": ({"podLabels": {"team": "a b"}}, "podLabels"),
    "label-name": ({"commonLabels": {"a b": "c"}}, "commonLabels"),
    "annotation-as-number": ({"podAnnotations": {"a": 1}}, "podAnnotations"),
    "toleration": ({"tolerations": [{"key": "a", "effect": "Never"}]}, "tolerations"),
    "spread": ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "topologySpreadConstraints"),
    "openshift": ({"openshift": "yes"}, "openshift"),
    "interval": ({"podMonitor": {"interval": "15 seconds"}}, "interval"),
    "share": ({"podDisruptionBudget": {"maxUnavailable": "150%"}}, "maxUnavailable"),
    "name": ({"fullnameOverride": "My_Operator"}, "fullnameOverride"),
    "null-for-object": ({"crds": None, "replicas": None, "resources": []}, "resources"),
    "no-leader": ({"replicas": 2, "leaderElection": {"enabled": False}}, "leaderElection.enabled: true"),
    "no-account": ({"serviceAccount": {"create": False}}, "serviceAccount.name: name the ServiceAccount"),
}

OF_A_SERVER: dict[str, tuple[Object, str]] = {
    "unknown": ({"server": {}}, "'server'"),
    "no-model": ({"servers": {"a": {"spec": {}}}}, "servers.a.spec.model.uri: name a model"),
    "empty": ({"servers": {"a": {}}}, "servers.a.spec.model.uri: name a model"),
    "spec-at-the-top": ({"servers": {"a": {"model": MODEL}}}, "'model'"),
    "unknown-field": ({"servers": {"a": {"spec": {"model": MODEL, "replica": 2}}}}, "'replica'"),
    "unknown-flag": ({"servers": {"a": {"spec": {"model": MODEL, "engine": {"maxModelLength": 1}}}}}, "maxModelLength"),
    "wrong-type": ({"servers": {"a": {"spec": {"model": MODEL, "replicas": "2"}}}}, "replicas"),
    "out-of-range": ({"servers": {"a": {"spec": {"model": MODEL, "replicas": -1}}}}, "replicas"),
    "in-defaults": ({"defaults": {"engine": {"dtype": 16}}}, "dtype"),
    "name": ({"servers": {"My_Model": {"spec": {"model": MODEL}}}}, "My_Model"),
    "as-a-list": ({"servers": [{"name": "a"}]}, "servers"),
    "variable-without-name": ({"servers": {"a": {"spec": {"model": MODEL, "engine": {"env": [{}]}}}}}, "name"),
    "proxy": ({"proxy": {"https": "proxy:3128"}}, "https"),
}


@pytest.mark.parametrize(("values", "named"), OF_THE_OPERATOR.values(), ids=OF_THE_OPERATOR)
def test_operator_values_are_refused(helm: Helm, values: Object, named: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(OPERATOR, release="vllm-operator", namespace=NAMESPACE, values=values)

    assert named in str(refused.value)


@pytest.mark.parametrize(("values", "named"), OF_A_SERVER.values(), ids=OF_A_SERVER)
def test_server_values_are_refused(helm: Helm, values: Object, named: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(SERVER, release="models", namespace="llm", values=values)

    assert named in str(refused.value)


def test_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(
        HelmError, match=r"requires kubeVersion: >=1\.30\.0-0 which is incompatible with Kubernetes v1\.29"
    ):
        helm.template(OPERATOR, "--kube-version=1.29.6", release="vllm-operator", namespace=NAMESPACE)
