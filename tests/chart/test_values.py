"""Each value of the chart has its effect, and only that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.matrix import NAMESPACE, ONLY_CHART, VALUES
from tests.golden import documents
from tools.chart.files import OPERATOR, SERVER
from tools.chart.helm import Helm
from tools.chart.values import leaves, read_values

Object = dict[str, Any]

EXPECTED = Path(__file__).parent / "expected"

SET_BY_NOTHING = {
    "enabled",
    "global",
    "nameOverride",
    "fullnameOverride",
    "test.server",
    "test.timeoutSeconds",
    "crds.allowDowngrade",
    "dashboards.labels",
    "dashboards.annotations",
}
"""Values without an effect on the rendered objects, and some that are tested by themselves."""


def rendered(helm: Helm, values: Object, *options: str) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name."""
    objects = helm.template(OPERATOR, *options, release="vllm-operator", namespace=NAMESPACE, values=values)
    return {(body["kind"], body["metadata"]["name"]): body for body in objects}


def deployment(helm: Helm, values: Object, *options: str) -> Object:
    """Return the pod spec of the operator."""
    found = rendered(helm, values, *options)
    (body,) = [body for (kind, _), body in found.items() if kind == "Deployment"]
    spec: Object = body["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", ONLY_CHART)
def test_objects_equal_the_golden_file(helm: Helm, name: str) -> None:
    found = rendered(helm, ONLY_CHART[name])
    # The CRD and the policy have golden files of their own; here only their metadata is new.
    for kind in ("CustomResourceDefinition", "ValidatingAdmissionPolicy"):
        for (of, _), body in found.items():
            if of == kind:
                del body["spec"]

    documents.check(name, found.values(), EXPECTED)


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in EXPECTED.iterdir()} == set(ONLY_CHART)


def names(values: Object, above: str = "") -> set[str]:
    """Return the names that a set of values sets, with those of its parts."""
    found = set()
    for name, value in values.items():
        found.add(f"{above}{name}")
        if isinstance(value, dict):
            found |= names(value, f"{above}{name}.")
    return found


def test_matrix_sets_every_value() -> None:
    known = {leaf.name for leaf in leaves(read_values(OPERATOR / "values.yaml"))}
    used = set().union(*(names(values) for values in VALUES.values()))

    assert sorted(known - used - SET_BY_NOTHING) == ["image.tag", "podSecurityContext", "securityContext"]


def test_dashboards_have_the_labels_and_annotations_that_a_sidecar_selects(helm: Helm) -> None:
    values = {"enabled": True, "labels": {"dashboards": "yes"}, "annotations": {"folder": "LLM"}}

    found = rendered(helm, {"dashboards": values})

    maps = [body for (kind, _), body in found.items() if kind == "ConfigMap"]
    assert len(maps) == 3
    for body in maps:
        # Helm merges the labels with those of the chart's defaults, which null removes.
        assert body["metadata"]["labels"].items() >= {"dashboards": "yes", "grafana_dashboard": "1"}.items()
        assert body["metadata"]["annotations"] == {"folder": "LLM", "grafana_folder": "vLLM"}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"repository": "r.example/o"}, "r.example/o:0.1.0"),
        ({"repository": "r.example/o", "tag": "1.2.3"}, "r.example/o:1.2.3"),
        ({"repository": "r.example:5000/a/o", "digest": f"sha256:{'a' * 64}"}, f"r.example:5000/a/o@sha256:{'a' * 64}"),
        ({"repository": "o", "tag": "1", "digest": f"sha256:{'b' * 64}"}, f"o@sha256:{'b' * 64}"),
    ],
)
def test_digest_replaces_the_tag(helm: Helm, image: Object, expected: str) -> None:
    assert deployment(helm, {"image": image})["containers"][0]["image"] == expected


@pytest.mark.parametrize(
    ("openshift", "options", "has_user"),
    [
        ("auto", [], True),
        ("auto", ["--api-versions=security.openshift.io/v1"], False),
        (True, [], False),
        (False, ["--api-versions=security.openshift.io/v1"], True),
    ],
)
def test_openshift_chooses_the_user(helm: Helm, openshift: Any, options: list[str], has_user: bool) -> None:
    context = deployment(helm, {"openshift": openshift}, *options)["securityContext"]

    assert ("runAsUser" in context, "runAsGroup" in context) == (has_user, has_user)
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})


@pytest.mark.parametrize(
    ("release", "expected"),
    [("vllm-operator", "vllm-operator"), ("my-vllm-operator", "my-vllm-operator"), ("models", "models-vllm-operator")],
)
def test_objects_are_named_after_the_release(helm: Helm, release: str, expected: str) -> None:
    found = helm.template(OPERATOR, release=release, namespace=NAMESPACE)

    assert {body["metadata"]["name"] for body in found if body["kind"] in ("Deployment", "Service")} == {expected}
    # There is one of these in its namespace, or in the cluster: their names keep a second operator out.
    once = {body["metadata"]["name"] for body in found if body["kind"] in ("ClusterRole", "Role")}
    assert once == {"vllm-operator", f"{expected}-metrics-api"}


@pytest.mark.parametrize("values", [{}, {"nameOverride": "n" * 63}, {"fullnameOverride": "f" * 63}], ids=str)
@pytest.mark.parametrize("release", ["r" * 53, "vllm-operator" + "r" * 40])
def test_names_stay_short_enough(helm4: Helm, release: str, values: Object) -> None:
    values = {**values, "podMonitor": {"enabled": True}, "networkPolicy": {"enabled": True}, "test": {"server": {}}}
    text = helm4.run("template", release, str(OPERATOR), values=values)
    found = {(body["kind"], body["metadata"]["name"]) for body in yaml.safe_load_all(text) if body}

    # Names of Roles may have 253 characters.
    long = {(kind, name) for kind, name in found if len(name) > 63 and "Role" not in kind}
    assert long == set()
    assert all(name[-1].isalnum() for _, name in found)


@pytest.mark.parametrize(
    ("release", "values", "expected"),
    [
        ("ops", {"nameOverride": "models"}, "ops-models"),
        ("models", {"nameOverride": "models"}, "models"),
        ("ops", {"nameOverride": "models", "fullnameOverride": "mine"}, "mine"),
    ],
)
def test_overrides_name_the_objects(helm: Helm, release: str, values: Object, expected: str) -> None:
    found = helm.template(OPERATOR, release=release, namespace="elsewhere", values=values)

    for kind in ("Deployment", "Service", "ServiceAccount"):
        (body,) = [body for body in found if body["kind"] == kind]
        assert (body["metadata"]["name"], body["metadata"]["namespace"]) == (expected, "elsewhere")
    (deployment,) = [body for body in found if body["kind"] == "Deployment"]
    # The selector of a Deployment cannot change, and that of the install file is the same.
    assert set(deployment["spec"]["selector"]["matchLabels"]) == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/component",
    }
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == expected


def test_values_that_are_null_have_their_defaults(helm: Helm) -> None:
    expected = rendered(helm, {})

    assert (
        rendered(helm, dict.fromkeys(("crds", "replicas", "image", "podMonitor", "rbac", "test", "openshift")))
        == expected
    )
    assert rendered(helm, {"crds": {"enabled": None}, "service": {"annotations": None}}) == expected


def test_null_takes_a_part_of_a_value_away(helm: Helm) -> None:
    context = deployment(helm, {"podSecurityContext": {"runAsUser": None}})["securityContext"]

    assert "runAsUser" not in context
    assert context["runAsNonRoot"] is True


def test_crd_is_kept_unless_it_is_turned_off(helm: Helm) -> None:
    for keep, expected in ((True, "keep"), (False, None)):
        crd = rendered(helm, {"crds": {"keep": keep}})["CustomResourceDefinition", "vllmservers.vllm-operator.dev"]
        assert (crd["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == expected


def test_notes_name_the_next_steps_and_what_an_uninstall_does(helm4: Helm) -> None:
    def notes(**values: Any) -> str:
        # Helm 3 asks a cluster even then.
        text = helm4.run("install", "ops", str(OPERATOR), "--dry-run=client", "--namespace", "models", values=values)
        return text.partition("NOTES:")[2]

    assert "rollout status deployment/ops-vllm-operator" in notes()
    assert "keeps the CRD and every VLLMServer" in notes()
    assert "goes on serving, but nobody repairs it" in notes()
    assert "EVERY VLLMServer of the cluster" in notes(crds={"keep": False})
    assert "installs no CRD" in notes(crds={"enabled": False})
    assert "names no registry" in notes()
    assert "names no registry" not in notes(image={"repository": "r.example/o"})
    assert "the namespaces team-a, team-b" in notes(servedNamespaces=["team-a", "team-b"])
    assert "To replace one at a time" in notes(replicas=2)


def test_test_asks_a_server_where_values_name_one(helm: Helm) -> None:
    server = {"model": {"uri": "file:///models/tiny"}, "image": "localhost/vllm-cpu:0.32.0"}
    values = {"test": {"server": server}, "servedNamespaces": ["team-a"]}
    text = helm.run("template", "vllm-operator", str(OPERATOR), values=values)
    objects = [body for body in yaml.safe_load_all(text) if is_of_a_test(body)]
    (pod,) = [body for body in objects if body["kind"] == "Pod"]
    variables = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}

    assert yaml.safe_load(variables["TEST_SERVER"]) == server
    assert (variables["TEST_NAMESPACE"], variables["TEST_POLICY"]) == ("team-a", "true")
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "test", "no selector of the operator matches it"
    assert [body["kind"] for body in objects if body["metadata"]["namespace"] == "team-a"] == ["Role", "RoleBinding"]


def is_of_a_test(body: Object) -> bool:
    """Return whether Helm creates an object for `helm test` alone."""
    return bool((body["metadata"].get("annotations") or {}).get("helm.sh/hook") == "test")


def test_parent_chart_turns_charts_on_and_off(helm: Helm, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    for chart in (OPERATOR, SERVER):
        shutil.copytree(chart, parent / "charts" / chart.name)
    dependencies = [{"name": c.name, "version": "*", "condition": f"{c.name}.enabled"} for c in (OPERATOR, SERVER)]
    body = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": dependencies}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(body))
    servers = {"servers": {"mistral": {"spec": {"model": {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"}}}}}

    def kinds(operator: bool) -> set[str]:
        values = {
            "vllm-operator": {"enabled": operator},
            "vllm-server": {"enabled": True, **servers},
            "global": {"a": 1},
        }
        found = helm.template(parent, release="vllm-operator", namespace=NAMESPACE, values=values)
        return {body["kind"] for body in found}

    assert {"Deployment", "CustomResourceDefinition", "VLLMServer"} <= kinds(operator=True)
    assert kinds(operator=False) == {"VLLMServer"}
