"""The shape of the policy; tests/integration/test_pod_template_policy.py judges specs with it on an API server."""

from __future__ import annotations

from vllm_operator.install.admission_policy import pod_template_binding, pod_template_policy

LARGEST_POLICY_BYTES = 100_000
"""A policy is one object of the API server, which is compiled as a whole."""


def test_policy_refuses_on_failure_and_judges_servers_alone() -> None:
    spec = pod_template_policy("p", {})["spec"]

    assert spec["failurePolicy"] == "Fail"
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["apiGroups"], rule["resources"]) == (["vllm-operator.dev"], ["vllmservers"])
    assert rule["operations"] == ["CREATE", "UPDATE"]


def test_every_message_names_field_and_remedy() -> None:
    messages = [rule["message"] for rule in pod_template_policy("p", {})["spec"]["validations"]]

    assert [
        text
        for text in messages
        if not text.startswith(("spec.cache.volume", "spec.podTemplate", "spec.security.", "spec.engine.command"))
    ] == []
    assert [text for text in messages if "vllm-operator.dev/pod-template=free" not in text] == []
    assert [text for text in messages if "\n" in text] == []


def test_expressions_are_few_and_short() -> None:
    policy = pod_template_policy("p", {})

    assert len(str(policy)) < LARGEST_POLICY_BYTES
    assert len({rule["expression"] for rule in policy["spec"]["validations"]}) == len(policy["spec"]["validations"])


def test_binding_leaves_out_free_namespaces_and_those_that_are_not_served() -> None:
    everywhere = pod_template_binding("b", {}, ())["spec"]["matchResources"]["namespaceSelector"]
    some = pod_template_binding("b", {}, ("a", "b"))["spec"]["matchResources"]["namespaceSelector"]
    free = {"key": "vllm-operator.dev/pod-template", "operator": "NotIn", "values": ["free"]}

    assert everywhere == {"matchExpressions": [free]}
    assert some["matchExpressions"] == [
        free,
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]},
    ]
