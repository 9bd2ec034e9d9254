"""Autoscalers of other people on the pods of a server: found, reported, and looked for again."""

from __future__ import annotations

from typing import Any

from tests.helpers.fakes import FakeClock
from tests.helpers.pods import condition
from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.errors import ApiError
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.investigation.other_autoscalers import (
    FOUND_SECONDS,
    LIST_SECONDS,
    OtherAutoscalers,
    failures_by_server,
    is_scaled_by_others,
    others_by_server,
)
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import Kind

KEY = Key("llm", "mistral")


def autoscaler(name: str, target: str, kind: str | None = "Deployment", owner: str = "") -> dict[str, Any]:
    owners = [{"kind": owner, "controller": True}] if owner else []
    reference = {"name": target, **({"kind": kind} if kind else {})}
    return {"metadata": {"name": name, "ownerReferences": owners}, "spec": {"scaleTargetRef": reference}}


def test_autoscalers_are_matched_by_deployment_and_by_server() -> None:
    bodies = [
        autoscaler("ours", "mistral", owner="VLLMServer"),
        autoscaler("keda-hpa-web", "mistral", owner="ScaledObject"),
        autoscaler("web", "mistral"),
        autoscaler("server", "mistral", "VLLMServer"),
        autoscaler("default", "mistral", None),
        autoscaler("other", "mistral", "StatefulSet"),
        autoscaler("elsewhere", "llama"),
        {"metadata": {"name": "broken"}, "spec": {"scaleTargetRef": 3}},
    ]

    found = others_by_server("ScaledObject", bodies, "llm")

    assert found[KEY] == ["ScaledObject web", "ScaledObject server", "ScaledObject default"]
    assert set(found) == {KEY, Key("llm", "llama")}


class Scene:
    """The autoscalers of a namespace, and who was told of them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.lists: list[str] = []
        self.changed: list[Key] = []
        self.errors: dict[str, ApiError] = {}
        self.others = OtherAutoscalers(self.list_objects, lambda: True, self.changed.append, self.clock)

    async def list_objects(self, kind: Kind, namespace: str) -> list[dict[str, Any]]:
        self.lists.append(namespace)
        if kind.name in self.errors:
            raise self.errors[kind.name]
        return self.objects.get(kind.name, [])

    async def look(self, seconds: float = 0.0, *, is_suspected: bool = False) -> tuple[str, ...]:
        self.clock.now += seconds
        self.others.of(KEY, is_suspected=is_suspected)
        await self.others.look_due()
        return self.others.of(KEY)


async def test_other_autoscaler_is_found_and_its_end_too() -> None:
    scene = Scene()
    scene.objects["HorizontalPodAutoscaler"] = [autoscaler("web", "mistral")]
    scene.objects["ScaledObject"] = [autoscaler("mine", "mistral", "VLLMServer")]

    assert await scene.look() == ("HorizontalPodAutoscaler web", "ScaledObject mine")
    assert scene.changed == [KEY]

    scene.objects = {}
    assert await scene.look(FOUND_SECONDS) == ()
    assert scene.changed == [KEY, KEY]


async def test_namespace_without_findings_is_listed_once_a_minute() -> None:
    scene = Scene()
    for _ in range(int(LIST_SECONDS) - 1):
        await scene.look(1)

    assert scene.lists == ["llm", "llm"], "one list of each kind"
    await scene.look(2)
    assert len(scene.lists) == 4


async def test_suspicion_lists_earlier() -> None:
    scene = Scene()
    await scene.look()
    await scene.look(FOUND_SECONDS, is_suspected=True)

    assert len(scene.lists) == 4


async def test_new_server_of_a_known_namespace_is_looked_at_soon() -> None:
    scene = Scene()
    await scene.look()
    scene.others.of(Key("llm", "llama"))
    await scene.look(FOUND_SECONDS)

    assert len(scene.lists) == 4


async def test_failed_list_keeps_what_is_known() -> None:
    scene = Scene()
    scene.objects["HorizontalPodAutoscaler"] = [autoscaler("web", "mistral")]
    await scene.look()
    scene.errors["HorizontalPodAutoscaler"] = ApiError(403, "Forbidden", "no")

    assert await scene.look(FOUND_SECONDS) == ("HorizontalPodAutoscaler web",)


async def test_autoscalers_are_found_where_scaled_objects_are_forbidden() -> None:
    scene = Scene()
    scene.objects["HorizontalPodAutoscaler"] = [autoscaler("web", "mistral")]
    scene.errors["ScaledObject"] = ApiError(403, "Forbidden", "no")

    assert await scene.look() == ("HorizontalPodAutoscaler web",)


async def test_failure_of_the_autoscaler_that_keda_made_is_told_until_it_ends() -> None:
    failing = condition("ScalingActive", "False", "", "FailedGetExternalMetric", "no metrics server answers")
    made = autoscaler("keda-hpa-mistral", "mistral", owner="ScaledObject")
    scene = Scene()
    scene.objects["HorizontalPodAutoscaler"] = [{**made, "status": {"conditions": [failing]}}]

    assert await scene.look() == ()
    assert scene.others.failure(KEY) == "FailedGetExternalMetric: no metrics server answers"
    assert scene.changed == [KEY]

    scene.objects["HorizontalPodAutoscaler"] = [made]
    await scene.look(FOUND_SECONDS)
    assert scene.others.failure(KEY) == ""
    assert scene.changed == [KEY, KEY]


def test_autoscaler_that_keda_paused_has_not_failed() -> None:
    disabled = condition("ScalingActive", "False", "", "ScalingDisabled", "scaling is disabled")
    made = autoscaler("keda-hpa-mistral", "mistral", owner="ScaledObject")

    assert failures_by_server([{**made, "status": {"conditions": [disabled]}}], "llm") == {}


async def test_namespace_of_a_forgotten_server_is_not_listed() -> None:
    scene = Scene()
    scene.others.of(KEY)
    scene.others.forget(KEY)
    await scene.others.look_due()

    assert scene.lists == []


def test_another_writer_of_the_replicas_is_suspected() -> None:
    builtin = Autoscaling.model_validate({"maxReplicas": 4})
    operator = Autoscaling.model_validate({"maxReplicas": 4, "source": "operator"})
    ambiguous = {"status": {"conditions": [condition("ScalingActive", "False", "", "AmbiguousSelector", "")]}}
    scaled = {"metadata": {"scaledBy": ["kube-controller-manager"]}}

    assert is_scaled_by_others(builtin, Snapshot(autoscaler=ambiguous))
    assert not is_scaled_by_others(builtin, Snapshot(deployment=scaled)), "that is our own autoscaler"
    assert is_scaled_by_others(operator, Snapshot(deployment=scaled))
    assert is_scaled_by_others(operator, Snapshot(server=scaled))
    assert not is_scaled_by_others(operator, Snapshot(server={"metadata": {"scaledBy": ["kubectl"]}}))
