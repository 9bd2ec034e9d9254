"""Field cases on the real cluster: each is served as its owner means it, and its point is seen in what stands there."""

from __future__ import annotations

from tests.e2e.field_cases.cases import CASES, HOST_FOLDER, judged
from tests.e2e.field_cases.serving import check_metadata, check_names, served_case, serving
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Object
from tools.harness.real_cluster import RealCluster
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

NODE_ADDRESS = "10.89.0.11"
"""Address of the first node of the local cluster (`tools/localcluster/README.md`)."""
OPENSHIFT_UID = 1_000_800_000
"""A UID from the range of an OpenShift namespace."""


def test_product_of_another_version_is_served_without_a_guess(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-01", cluster, inside) as served:
        status = served.ready()["status"]
        assert status["version"] == "0.32.0", "as /version answers"
        assert "--shutdown-timeout" not in served.container()["args"]
        assert served.chat("granite-3-1-8b-instruct") == 200


def test_server_that_listens_on_all_families_is_served(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-03", cluster, inside) as served:
        served.ready()
        assert served.chat("tiny") == 200


def test_user_ids_of_the_namespace_are_kept(cluster: RealCluster, inside: InCluster) -> None:
    """A policy gives pods a UID, as the admission of OpenShift does."""
    policy = uid_policy(inside.namespace)
    inside.kube.apply(policy, "--server-side")
    try:
        with serving("case-06", cluster, inside) as served:
            served.ready()
            [pod] = served.pods
            assert pod["spec"]["securityContext"]["runAsUser"] == OPENSHIFT_UID
            assert "runAsUser" not in served.child("Deployment")["spec"]["template"]["spec"]["securityContext"]
            answer = inside.kube.kubectl("-n", inside.namespace, "exec", pod["metadata"]["name"], "--", "id", "-u")
            assert int(answer.stdout) == OPENSHIFT_UID
            assert served.chat("tiny") == 200
    finally:
        for body in policy["items"]:
            inside.kube.kubectl("delete", body["kind"], body["metadata"]["name"])


def uid_policy(namespace: str) -> Object:
    """Return a policy that gives new pods of a namespace a UID where they have none."""
    name, version = "field-case-uid", "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    context = f"Object.spec.securityContext{{runAsUser: {OPENSHIFT_UID}, fsGroup: {OPENSHIFT_UID}}}"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "no-uid", "expression": "!has(object.spec.securityContext.runAsUser)"}],
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": f"Object{{spec: Object.spec{{securityContext: {context}}}}}"},
            }
        ],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {"policyName": name, "matchResources": {"namespaceSelector": selector}}
    kinds = {"MutatingAdmissionPolicy": spec, "MutatingAdmissionPolicyBinding": binding}
    items = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": body} for kind, body in kinds.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def test_folder_of_the_node_is_the_cache(cluster: RealCluster, inside: InCluster, free: InCluster) -> None:
    case = CASES["case-07"]
    server = case.server(cluster.vllm_image)
    assert [problem.field for problem in judged(server, "restricted").problems] == [
        "spec.podTemplate.spec.volumes[0].hostPath"
    ]
    [volume] = server["spec"]["podTemplate"]["spec"]["volumes"]
    volume["hostPath"] = {"path": HOST_FOLDER, "type": "Directory"}
    with served_case(case, inside, free, server) as served:
        served.ready()
        [pod] = served.pods
        [mounted] = [item for item in pod["spec"]["volumes"] if item["name"] == "model-cache"]
        assert mounted == {"name": "model-cache", "hostPath": volume["hostPath"]}
        assert served.chat("tiny") == 200


def test_start_command_of_the_user_is_used(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-08b", cluster, inside) as served:
        served.ready()
        assert served.container()["command"] == ["python3", "-m", "vllm.entrypoints.openai.api_server"]
        assert served.chat("tiny") == 200


def test_typed_field_takes_the_place_of_a_switch_with_a_value(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-14", cluster, inside) as served:
        served.ready()
        assert "--no-enable-chunked-prefill" in served.container()["args"]
        assert served.chat("tiny") == 200


def test_suggested_spelling_of_json_reaches_vllm(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-17", cluster, inside) as served:
        served.ready()
        assert served.chat("tiny") == 200
        status, metrics = inside.call(f"{served.there.url(served.case.name)}/metrics")
        assert status == 200
        assert "vllm:spec_decode_num_drafts_total" in str(metrics), "speculative decoding is on"


def test_prometheus_finds_its_objects_by_their_label(cluster: RealCluster, inside: InCluster, monitoring: None) -> None:
    with serving("case-23", cluster, inside) as served:
        served.ready()

        def labelled() -> None:
            for kind in ("PodMonitor", "PrometheusRule"):
                assert served.child(kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"

        inside.kube.eventually(labelled, within=120, namespace=inside.namespace)


def test_metadata_of_the_user_arrives(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-24", cluster, inside) as served:
        served.ready()
        check_metadata(served)


def test_image_that_needs_root_is_served_with_permission(
    cluster: RealCluster, inside: InCluster, free: InCluster
) -> None:
    with serving("case-27b", cluster, inside, free) as served:
        served.ready()
        [pod] = served.pods
        answer = free.kube.kubectl("-n", free.namespace, "exec", pod["metadata"]["name"], "--", "id", "-u")
        assert int(answer.stdout) == 0
        assert served.chat("tiny") == 200


def test_server_is_scaled_by_hand_from_zero_and_back(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-28", cluster, inside) as served:
        scale = ("-n", inside.namespace, "scale", f"vllmserver/{served.case.name}")
        inside.kube.kubectl(*scale, "--replicas=1")

        def scaled() -> None:
            status = inside.kube.must_get(KIND, served.case.name, inside.namespace)["status"]
            assert status.get("readyReplicas") == 1

        inside.kube.eventually(scaled, within=240, namespace=inside.namespace)
        assert served.chat("tiny") == 200
        inside.kube.kubectl(*scale, "--replicas=0")
        inside.kube.eventually(lambda: served.pods == [], within=60, namespace=inside.namespace)


def test_each_replica_has_its_own_claim(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-33", cluster, inside) as served:
        served.ready()
        names = {pod["metadata"]["name"] for pod in served.pods}
        claims = {
            claim["metadata"]["name"]: claim for claim in inside.kube.list("PersistentVolumeClaim", inside.namespace)
        }
        assert {f"{name}-model-cache" for name in names} <= set(claims)
        assert len(names) == 2
        for name in names:
            claim = claims[f"{name}-model-cache"]
            assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
            assert claim["status"]["phase"] == "Bound"
        assert served.chat("tiny") == 200
    inside.kube.eventually(
        lambda: (
            not [
                claim
                for claim in inside.kube.list("PersistentVolumeClaim", inside.namespace)
                if claim["metadata"]["name"].startswith("case-33")
            ]
        ),
        within=60,
        namespace=inside.namespace,
    )


def test_service_answers_at_the_port_of_its_nodes(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-35", cluster, inside) as served:
        served.ready()
        spec = served.child("Service")["spec"]
        assert spec["externalTrafficPolicy"] == "Local"
        assert spec["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
        assert [(port["port"], port["nodePort"]) for port in spec["ports"]] == [(80, 30080)]
        assert served.chat("tiny") == 200
        if cluster.is_local:
            assert served.chat("tiny", f"http://{NODE_ADDRESS}:30080") == 200


def test_annotations_for_a_mesh_reach_a_server_with_a_key(cluster: RealCluster, inside: InCluster) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "vllm-api-key", "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}},
        "stringData": {"VLLM_API_KEY": "key-of-the-case"},
    }
    inside.kube.apply(secret, namespace=inside.namespace)
    case = CASES["case-37"]
    server = case.server(cluster.vllm_image)
    server["spec"]["security"]["apiKeySecretRef"] = {"name": "vllm-api-key", "key": "VLLM_API_KEY"}
    with served_case(case, inside, inside, server) as served:
        served.ready()
        [pod] = served.pods
        assert pod["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"] == "8000"
        assert pod["spec"]["securityContext"]["supplementalGroups"] == [4000]
        assert served.chat("tiny") == 401
        assert inside.chat(case.name, "tiny", "key-of-the-case")[0] == 200


def test_both_names_of_a_model_are_served(cluster: RealCluster, inside: InCluster) -> None:
    with serving("case-41", cluster, inside) as served:
        check_names(served)
