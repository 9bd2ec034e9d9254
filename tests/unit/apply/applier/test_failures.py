"""Test an apply that fails: refusals, failures that a retry may overcome, and a server that is gone."""

from __future__ import annotations

import itertools

import pytest

from tests.helpers.specs import body
from tests.unit.apply.scene import Json, Scene
from vllm_operator.apply import write_backoff
from vllm_operator.desired.state import desired_state
from vllm_operator.errors import ApiError


async def write_times(scene: Scene, seconds: float) -> list[float]:
    """Return the times at which the Service is sent, while its server is reconciled every half second."""
    times, end = [], scene.clock.now + seconds
    began = scene.clock.now
    while scene.clock.now < end:
        scene.api.requests.clear()
        try:
            await scene.apply()
        except ApiError:
            pass
        if ("apply", "Service", "mistral") in scene.api.requests:
            times.append(scene.clock.now - began)
        scene.clock.now += 0.5
    return times


@pytest.mark.parametrize(
    ("status", "first"),
    [
        (422, write_backoff.FIRST_REFUSAL_DELAY_SECONDS),
        (500, write_backoff.FIRST_FAILURE_DELAY_SECONDS),
        (None, write_backoff.FIRST_FAILURE_DELAY_SECONDS),
    ],
)
async def test_failed_write_is_repeated_after_growing_delays_however_often_its_server_is_reconciled(
    scene: Scene, status: int | None, first: float
) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(status, "Invalid", "spec.ports[0]: no")
    times = await write_times(scene, 1800)
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]

    assert len(pauses) > 5
    for number, pause in enumerate(pauses):
        planned = min(first * 2**number, write_backoff.MAX_DELAY_SECONDS)
        assert 0.6 * planned <= pause <= 0.8 * planned + 1.0


async def test_refusal_is_reported_while_its_repetition_is_delayed(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    first = await scene.apply()
    scene.api.requests.clear()

    assert (await scene.apply()).problems == first.problems
    assert scene.api.requests == []


async def test_failed_write_that_took_effect_is_no_failure(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(504, "Timeout", "no answer")
    with pytest.raises(ApiError):
        await scene.apply()
    scene.store.put("Service", scene.api.hold(scene.manifests["Service"].body))

    assert (await scene.apply()).problems == ()


async def test_conflict_with_an_absent_object_is_read_every_second_time(scene: Scene) -> None:
    scene.api.errors["apply", "Service"] = ApiError(409, "Conflict", "injected")
    reads = []
    for _ in range(4):
        scene.api.requests.clear()
        with pytest.raises(ApiError):
            await scene.apply()
        reads.append(("get", "Service", "mistral") in scene.api.requests)
        scene.clock.now += 60

    assert reads == [True, False, True, False]


async def test_failed_write_is_repeated_at_once_after_retry_failed(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    await scene.apply()
    scene.history.retry_failed()
    scene.api.errors.clear()

    assert (await scene.apply()).written == ("Service",)


async def test_changed_manifest_is_sent_at_once_after_a_refusal(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    await scene.apply()
    scene.set_spec(service={"port": 81})
    scene.api.requests.clear()
    await scene.apply()

    assert ("apply", "Service", "mistral") in scene.api.requests


@pytest.mark.parametrize("status", [400, 403, 405, 413, 422])
async def test_refusal_is_a_problem_that_names_the_field(scene: Scene, status: int) -> None:
    scene.api.errors["apply", "Service"] = ApiError(status, "Invalid", "spec.ports[0]: no")

    outcome = await scene.apply()

    assert [problem.reason for problem in outcome.problems] == ["ChildRefused"]
    assert outcome.problems[0].message == "spec.service.port: the API server refuses Service mistral: spec.ports[0]: no"
    assert outcome.written == ("Deployment",)


@pytest.mark.parametrize("status", [None, 409, 429, 500, 503])
async def test_failure_is_returned_when_all_other_children_are_written(scene: Scene, status: int | None) -> None:
    scene.api.errors["apply", "Service"] = ApiError(status, "Later", "not now")

    with pytest.raises(ApiError, match="not now"):
        await scene.apply()

    assert ("apply", "Deployment", "mistral") in scene.api.requests


@pytest.mark.parametrize("change", ["gone", "replaced", "deleted"])
async def test_nothing_is_written_for_a_server_that_is_gone(scene: Scene, change: str) -> None:
    successor: Json = body(uid="another")
    scene.store.remove("VLLMServer", body())
    if change == "replaced":
        scene.store.put("VLLMServer", successor)
    if change == "deleted":
        scene = Scene()
        dying = body()
        dying["metadata"].update(resourceVersion="2", deletionTimestamp="2026-03-02T08:00:00Z")
        scene.store.put("VLLMServer", dying)

    assert (await scene.apply()).owner_gone

    assert scene.api.writes == []


async def test_nothing_more_is_written_once_the_server_goes(scene: Scene) -> None:
    scene.api.before_write = lambda _: scene.store.remove("VLLMServer", body())

    assert (await scene.apply()).owner_gone

    assert len(scene.api.writes) == 1


async def delete_service(scene: Scene) -> None:
    """Create all children, and delete the Service as another writer does."""
    await scene.apply()
    scene.store.remove("Service", scene.api.objects.pop(("Service", "mistral")))
    scene.api.requests.clear()


async def test_deleted_child_is_created_again_after_one_read_of_its_owner(scene: Scene) -> None:
    scene.api.hold(body())
    await delete_service(scene)

    assert (await scene.apply()).written == ("Service",)
    assert scene.api.requests == [("get", "VLLMServer", "mistral"), ("apply", "Service", "mistral")]


@pytest.mark.parametrize("successor", [None, body(uid="another")])
async def test_no_child_is_created_again_for_a_server_whose_deletion_no_watch_event_reported(
    scene: Scene, successor: Json | None
) -> None:
    """The garbage collector deletes the children while the watch on servers is interrupted."""
    if successor:
        scene.api.hold(successor)
    await delete_service(scene)

    assert (await scene.apply()).owner_gone
    assert scene.api.writes == []


@pytest.mark.parametrize("cached", [None, body(uid="former")])
async def test_server_is_not_forgotten_when_the_cache_of_the_api_server_lags(scene: Scene, cached: Json | None) -> None:
    scene.api.hold(body())
    scene.api.behind["VLLMServer", "mistral"] = cached
    await delete_service(scene)

    assert (await scene.apply()).written == ("Service",)


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
async def test_optional_child_whose_name_is_taken_is_a_problem_of_monitoring_alone(kind: str) -> None:
    scene = Scene()
    desired = desired_state(body(), frozenset({"PodMonitor", "PrometheusRule"}))
    scene.manifests = {manifest.kind: manifest for manifest in desired.manifests}
    scene.hold(kind, labels={}, annotations={}, ownerReferences=[])
    outcome = await scene.apply()

    assert outcome.problems == ()
    assert [problem.reason for problem in outcome.monitoring_problems] == ["NameTaken"]
    assert outcome.needs_recheck
