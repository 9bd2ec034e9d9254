"""Whatever a manifest holds is data: it arrives as it was written or is refused, and others are served on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import UnprocessibleEntityError

from tests.integration.fields import flag
from tests.integration.servers import MODEL, Servers
from tools.harness.kube import KIND, Object, essence
from tools.harness.operator_process import OperatorProcess

STRINGS = {
    "jinja expression": "{{ 7 * 7 }}",
    "jinja statement": "{% raw %}{{ x }}{% endraw %}",
    "jinja undefined": "{{ undefined_name.attribute }}",
    "open jinja": "{{",
    "comment": "a # b {# c #}",
    "double quotes": 'say "hello"',
    "single quotes": "it's",
    "backslashes": "C:\\new\\table",
    "newlines": "first\nsecond: third\n- fourth",
    "document end": "a\n---\nkind: Secret\n",
    "yaml boolean": "on",
    "yaml null": "~",
    "hexadecimal": "0x1f",
    "octal": "0o17",
    "number": "1e3",
    "sexagesimal": "12:30:45",
    "anchor": "&anchor *alias",
    "tag": "!!python/object/apply:os.system ['true']",
    "merge key": "<<",
    "emoji": "🦙 läuft — 模型",
    "right to left": "\u202eabc",
    "line separator": "a\u2028b\u0085c",
    "zero width": "a\u200bb",
    "tab and bell": "a\tb\x07c",
    "variable": "$(HOME) $HOME ${HOME}",
    "spaces": "  padded  ",
    "very long": "x" * 1000,
}

Put = Callable[[str], Object]
Look = Callable[[Object], Any]

# Kubernetes expands $(NAME) in arguments and variables: what stands in the Deployment is still what was written.
FIELDS: dict[str, tuple[Put, Look]] = {
    "model.revision": (lambda text: {"model": {**MODEL, "revision": text}}, flag("--revision")),
    "model.servedNames": (
        lambda text: {"model": {**MODEL, "servedNames": [text[:256]]}},
        flag("--served-model-name"),
    ),
    "engine.quantization": (lambda text: {"engine": {"quantization": text}}, flag("--quantization")),
    "engine.dtype": (lambda text: {"engine": {"dtype": text}}, flag("--dtype")),
    "engine.kvCacheDtype": (lambda text: {"engine": {"kvCacheDtype": text}}, flag("--kv-cache-dtype")),
    "engine.loadFormat": (lambda text: {"engine": {"loadFormat": text}}, flag("--load-format")),
    "engine.chatTemplate": (lambda text: {"engine": {"chatTemplate": text}}, flag("--chat-template")),
    "engine.toolCallParser": (lambda text: {"engine": {"toolCallParser": text}}, flag("--tool-call-parser")),
    "engine.reasoningParser": (lambda text: {"engine": {"reasoningParser": text}}, flag("--reasoning-parser")),
    "engine.speculativeConfig": (
        lambda text: {"engine": {"speculativeConfig": {text: text}}},
        lambda children: json.loads(flag("--speculative-config")(children)),
    ),
    "engine.extraArgs": (
        lambda text: {"engine": {"extraArgs": ["--some-flag", text]}},
        lambda children: container(children)["args"][-1],
    ),
    "engine.env": (
        lambda text: {"engine": {"env": [{"name": "HOSTILE", "value": text}]}},
        lambda children: next(entry["value"] for entry in container(children)["env"] if entry["name"] == "HOSTILE"),
    ),
    "service.annotations": (
        lambda text: {"service": {"annotations": {"example.com/hostile": text}}},
        lambda children: children["Service"]["metadata"]["annotations"]["example.com/hostile"],
    ),
    "podTemplate": (
        lambda text: {"podTemplate": {"metadata": {"annotations": {"example.com/hostile": text}}}},
        lambda children: pod(children)["metadata"]["annotations"]["example.com/hostile"],
    ),
}
"""Every field that may hold any text, how to put one in, and where it must come out."""


AS_WRITTEN = ("engine.extraArgs", "engine.env", "service.annotations", "podTemplate")
"""Fields that mean what Kubernetes makes of them, $(NAME) too."""


def pod(children: Object) -> Object:
    return children["Deployment"]["spec"]["template"]


def container(children: Object) -> Object:
    return pod(children)["spec"]["containers"][0]


def written(field: str, text: str) -> Any:
    """Return the part of a text that must be found."""
    if field in AS_WRITTEN:
        return text
    # Kubernetes turns $$ into $ and would otherwise replace $(NAME).
    escaped = (text[:256] if field == "model.servedNames" else text).replace("$", "$$")
    return {escaped: escaped} if field == "engine.speculativeConfig" else escaped


@pytest.mark.parametrize("kind", STRINGS)
def test_hostile_string_in_every_free_field_arrives_unchanged(shared_servers: Servers, kind: str) -> None:
    text, name = STRINGS[kind], f"hostile-{list(STRINGS).index(kind)}"
    # Of an image of unknown version no flag is known, so that none is refused for its value.
    spec: Object = {"model": MODEL, "image": "registry.example/vllm:custom"}
    for put, _ in FIELDS.values():
        for key, value in put(text).items():
            spec[key] = {**spec.get(key, {}), **value}
    shared_servers.create(name, spec)
    shared_servers.accepted(name)
    children = shared_servers.children(name)
    found = {field: look(children) for field, (_, look) in FIELDS.items()}
    assert found == {field: written(field, text) for field in FIELDS}


STRICT_FIELDS: dict[str, Put] = {
    "model.uri": lambda text: {"model": {"uri": text}},
    "image": lambda text: {"image": text},
    "version": lambda text: {"version": text},
    "imagePullSecrets": lambda text: {"imagePullSecrets": [{"name": text}]},
    "model.tokenSecretRef": lambda text: {"model": {**MODEL, "tokenSecretRef": {"name": text, "key": text}}},
    "apiKeySecretRef": lambda text: {"security": {"apiKeySecretRef": {"name": text, "key": text}}},
    "env name": lambda text: {"engine": {"env": [{"name": text, "value": "x"}]}},
    "env secret": lambda text: {
        "engine": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": text, "key": text}}}]}
    },
    "env field": lambda text: {"engine": {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": text}}}]}},
    "resourceName": lambda text: {"accelerator": {"resourceName": text}},
    "product": lambda text: {"accelerator": {"product": text}},
    "limits": lambda text: {"resources": {"limits": {text: "1"}}},
    "sharedMemory": lambda text: {"sharedMemory": text},
    "nodeSelector": lambda text: {"scheduling": {"nodeSelector": {text: text[:63]}}},
    "tolerations": lambda text: {"scheduling": {"tolerations": [{"key": text, "value": text}]}},
    "affinity": lambda text: {"scheduling": {"affinity": {text: text}}},
    "priorityClassName": lambda text: {"scheduling": {"priorityClassName": text}},
    "runtimeClassName": lambda text: {"scheduling": {"runtimeClassName": text}},
    "schedulerName": lambda text: {"scheduling": {"schedulerName": text}},
    "storageClassName": lambda text: {"cache": {"size": "1Gi", "storageClassName": text}},
    "existingClaim": lambda text: {"cache": {"existingClaim": text}},
    "cache.size": lambda text: {"cache": {"size": text}},
    "service.labels": lambda text: {"service": {"labels": {text: text[:63]}}},
    "alert labels": lambda text: {"monitoring": {"alerts": {"labels": {text[:60]: text[:63]}}}},
    "alert label value": lambda text: {"monitoring": {"alerts": {"labels": {"team": text[:63]}}}},
    "maxSurge": lambda text: {"rollout": {"maxSurge": text}},
    "disruption": lambda text: {"replicas": 2, "disruption": {"maxUnavailable": text}},
    "podSecurityContext": lambda text: {"security": {"podSecurityContext": {text: text}}},
    "containerSecurityContext": lambda text: {"security": {"containerSecurityContext": {text: text}}},
    "podTemplate key": lambda text: {"podTemplate": {text: text}},
    "podTemplate spec": lambda text: {"podTemplate": {"spec": {text: {text: [text]}}}},
    "podTemplate container": lambda text: {"podTemplate": {"spec": {"containers": [{"name": text}]}}},
    "podTemplate containers": lambda text: {"podTemplate": {"spec": {"containers": text}}},
    "podTemplate patch": lambda text: {"podTemplate": {"spec": {"containers": [{"name": "vllm", "$patch": text}]}}},
    "podTemplate labels": lambda text: {"podTemplate": {"metadata": {"labels": {text: text}}}},
}
"""Fields that Kubernetes restricts further: a hostile string is refused by the API server or in the status."""

SHORT = ["{{ 7 * 7 }}", "a\nb", "on", "x" * 300]


@pytest.mark.parametrize("field", STRICT_FIELDS)
def test_hostile_string_in_a_strict_field_is_refused_or_arrives(shared_servers: Servers, field: str) -> None:
    put = STRICT_FIELDS[field]
    for position, text in enumerate(SHORT):
        name = f"strict-{list(STRICT_FIELDS).index(field)}-{position}"
        body = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": KIND, "metadata": {"name": name}}
        answer = created(shared_servers, {**body, "spec": {"model": MODEL, **put(text)}})
        if answer:
            assert "Invalid" in answer or "invalid" in answer, answer
            continue
        server = shared_servers.settled(name)
        accepted = shared_servers.condition(name)
        assert accepted["status"] in ("True", "False"), server
        assert len(accepted["message"]) > 10 or accepted["status"] == "True", accepted
        assert "49" not in json.dumps(essence_of_pod(shared_servers, name)), "a template was interpreted"


def created(servers: Servers, body: Object) -> str:
    """Create a server; what the API server said where it refused."""
    try:
        servers.kube.create(body, servers.namespace)
    except UnprocessibleEntityError as error:
        return str(error.body)
    return ""


def essence_of_pod(servers: Servers, name: str) -> Object:
    deployment = servers.find_child("Deployment", name)
    return (
        essence(deployment)["spec"]["template"]["spec"].get("containers", [{}])[0].get("args", []) if deployment else {}
    )


def nested_text(name: str, depth: int, spec: str) -> str:
    """A manifest as JSON text with `spec` holding a template that deep; written by hand, to any depth."""
    deep = '{"a":' * depth + '"x"' + "}" * depth
    return (
        '{"apiVersion":"vllm-operator.dev/v1alpha1","kind":"VLLMServer",'
        f'"metadata":{{"name":"{name}"}},"spec":{{"model":{{"uri":"org/name"}},{spec.replace("DEEP", deep)}}}}}'
    )


PLACES = {
    "podTemplate": '"podTemplate":{"metadata":{"annotations":DEEP}}',
    "podTemplate spec": '"podTemplate":{"spec":{"affinity":DEEP}}',
    "affinity": '"scheduling":{"affinity":DEEP}',
    "speculativeConfig": '"engine":{"speculativeConfig":DEEP}',
    "securityContext": '"security":{"podSecurityContext":DEEP}',
}


DEPTHS = [50, 500, 2000, 9000]


DEEP = [("podTemplate", depth) for depth in DEPTHS] + [(place, depth) for place in PLACES for depth in (500, 9000)][2:]


@pytest.mark.parametrize(("place", "depth"), DEEP)
def test_deep_nesting_is_refused_or_reconciled(
    shared_servers: Servers, operator: OperatorProcess, place: str, depth: int
) -> None:
    name = f"deep-{list(PLACES).index(place)}-{depth}"
    text = nested_text(name, depth, PLACES[place])
    answer = shared_servers.kube.apply(text, namespace=shared_servers.namespace, check=False)
    if answer.code == 0:
        judged(shared_servers, name)
    else:
        assert answer.stderr
        assert "panic" not in answer.stderr
    assert operator.alive(), operator.tail()


def test_deeply_nested_servers_delay_no_other(servers: Servers, operator: OperatorProcess) -> None:
    texts = [nested_text(f"deep-{depth}", depth, PLACES["podTemplate"]) for depth in DEPTHS]
    for text in texts:
        servers.kube.apply(text, namespace=servers.namespace, check=False)
    still_serving(servers, operator, "before")
    operator.stop()
    operator.start()
    operator.wait_ready()
    still_serving(servers, operator, "after")


def judged(servers: Servers, name: str) -> None:
    """Wait until a server is accepted or refused with a message; read by kubectl, which takes any depth."""
    path = "{range .status.conditions[?(@.type=='Accepted')]}{.status} {.message}{end}"

    def check() -> None:
        words = servers.kube.kubectl("-n", servers.namespace, "get", KIND, name, "-o", f"jsonpath={path}").stdout
        assert words.startswith(("True", "False ")), words
        assert words.startswith("True") or len(words) > 20, words

    servers.kube.eventually(check, within=10)


def still_serving(servers: Servers, operator: OperatorProcess, name: str) -> None:
    """Check that the operator is alive and applies another server's change at once."""
    assert operator.alive(), operator.tail()
    assert operator.answers("/healthz")
    servers.create(name)
    servers.accepted(name, within=5)
    assert servers.find_child("Deployment", name) is not None


def test_pod_template_near_the_size_limit_is_reconciled(servers: Servers, operator: OperatorProcess) -> None:
    annotations = {f"example.com/a{number}": "x" * 1000 for number in range(250)}
    servers.create("wide", {"podTemplate": {"metadata": {"annotations": annotations}}}, settled=False)
    judged(servers, "wide")
    still_serving(servers, operator, "other")


def test_template_too_large_to_store_is_refused_with_a_message(servers: Servers, operator: OperatorProcess) -> None:
    env = [{"name": f"E{number}", "value": "y" * 9000} for number in range(120)]
    answer = created(servers, {
        "apiVersion": "vllm-operator.dev/v1alpha1", "kind": KIND, "metadata": {"name": "heavy"},
        "spec": {"model": MODEL, "engine": {"env": env}},
    })  # fmt: skip
    if not answer:
        judged(servers, "heavy")
    still_serving(servers, operator, "other")


OVERLAYS: dict[str, Any] = {
    "no containers": {"spec": {"containers": []}},
    "containers is a string": {"spec": {"containers": "x"}},
    "containers of numbers": {"spec": {"containers": [1, 2]}},
    "container without name": {"spec": {"containers": [{"image": "x"}]}},
    "replace everything": {"spec": {"$patch": "replace"}},
    "delete the container": {"spec": {"containers": [{"name": "vllm", "$patch": "delete"}]}},
    "retain keys": {"spec": {"volumes": [{"name": "shm", "$retainKeys": ["name"]}]}},
    "null spec": {"spec": None},
    "spec is a list": {"spec": []},
    "metadata is a string": {"metadata": "x"},
    "selector labels changed": {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}},
    "unknown field": {"spec": {"noSuchField": 1}},
    "another kind": {"kind": "Secret", "spec": {}},
    "owner references": {"metadata": {"ownerReferences": [{"kind": "x"}], "name": "x", "namespace": "kube-system"}},
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_impossible_pod_template_is_refused_and_named(
    shared_servers: Servers, operator_session: OperatorProcess, name: str
) -> None:
    server = f"overlay-{list(OVERLAYS).index(name)}"
    shared_servers.create(server, {"podTemplate": OVERLAYS[name]})
    accepted = shared_servers.condition(server)
    deployment = shared_servers.find_child("Deployment", server)
    if accepted["status"] == "False":
        assert "podTemplate" in accepted["message"] or "spec.template" in accepted["message"], accepted
    else:
        assert deployment is not None
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == server
        assert "vllm" in [entry["name"] for entry in deployment["spec"]["template"]["spec"]["containers"]]
    assert operator_session.alive()
