from __future__ import annotations

from tests.helpers.specs import body
from tests.helpers.target_files import golden, order_of
from vllm_operator.targets.replica import RenderedReplica, read_replica, replica_count


def replica(**fields: object) -> RenderedReplica:
    return read_replica(order_of(body(**fields)))


def test_arguments_are_those_of_the_deployment() -> None:
    order = order_of(body(engine={"maxModelLen": 8192, "chatTemplate": "costs $(X) and $5"}))
    deployment = next(item for item in order.manifests if item["kind"] == "Deployment")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert read_replica(order).args == tuple(item.replace("$$", "$") for item in args)
    assert "costs $(X) and $5" in read_replica(order).args


def test_variables_are_replaced_in_their_order() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}, {"name": "C", "value": "$(D)"}]
    one = replica(engine={"env": env, "extraArgs": ["--seed=$(B)"]})
    assert {"A": "1", "B": "12", "C": "$(D)"}.items() <= one.env.items()
    assert one.args[-1] == "--seed=12"


def test_secrets_are_named_and_never_plain() -> None:
    one = replica(security={"apiKeySecretRef": {"name": "keys", "key": "a"}})
    assert [(item.name, item.kind, item.object, item.key) for item in one.secrets] == [
        ("VLLM_API_KEY", "Secret", "keys", "a")
    ]
    assert "VLLM_API_KEY" not in one.env


def test_a_secret_in_an_argument_is_lost() -> None:
    one = replica(
        engine={
            "env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "extraArgs": ["--seed=$(S)"],
        }
    )
    assert [(item.field, item.message) for item in one.lost] == [
        ("argument --seed=$(S)", "$(S) is not replaced: the value is in a Secret")
    ]


def test_the_pod_template_counts() -> None:
    container = {"name": "vllm", "env": [{"name": "A", "value": "b"}], "workingDir": "/x"}
    template = {"spec": {"containers": [container, {"name": "side"}], "volumes": [{"name": "v", "emptyDir": {}}]}}
    one = replica(podTemplate=template)
    assert one.env["A"] == "b"
    assert {item.message for item in one.lost} == {
        "the container side is left out",
        "the volume v is left out",
        "the field workingDir of the container vllm is left out",
    }


def test_rights_resources_and_times() -> None:
    one = read_replica(order_of(golden("full")))
    assert (one.resource, one.devices, one.model_claim) == ("amd.com/gpu", 8, "models")
    assert (one.rights.user, one.rights.drop, one.rights.read_only) == (2000, ("ALL",), True)
    assert one.limits["memory"] == 512 * 1024**3
    assert one.stop_seconds == 310
    assert one.shared_memory == 32 * 1024**3


def test_profile_openshift_leaves_the_user_to_the_image() -> None:
    assert replica(security={"profile": "openshift"}).rights.user is None


def test_replicas_are_the_fewest_of_the_autoscaler() -> None:
    order = order_of(body(autoscaling={"minReplicas": 2, "maxReplicas": 5}))
    assert replica_count(order) == 2
    assert replica_count(order_of(body(replicas=0))) == 1
