"""References of a spec are checked; each object that was read is used for a while."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.fakes import FakeApiClient, FakeClock
from vllm_operator.controller.reference_resolver import FOUND_SECONDS, MISSING_SECONDS, ReferenceResolver
from vllm_operator.errors import ApiError
from vllm_operator.validation.references import Reference

TOKEN = Reference("Secret", "hf", "spec.model.tokenSecretRef", "token")
CLAIM = Reference("PersistentVolumeClaim", "models", "spec.model.uri")


def secret(**values: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"kind": "Secret", "metadata": {"name": "hf", "namespace": "llm"}, "data": data}


class Scene:
    def __init__(self) -> None:
        self.api, self.clock = FakeApiClient(), FakeClock()
        self.references = ReferenceResolver(self.api, self.clock)  # type: ignore[arg-type]

    async def reasons(self, *references: Reference) -> list[str]:
        return [problem.reason for problem in (await self.references.check("llm", references or (TOKEN,))).missing]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_existing_objects_are_no_problem(scene: Scene) -> None:
    scene.api.hold(secret(token="x"))
    scene.api.hold({"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}})

    assert await scene.reasons(TOKEN, CLAIM) == []


@pytest.mark.parametrize(
    ("modes", "sharing", "warnings"),
    [
        (
            ["ReadWriteOnce"],
            "it breaks",
            ("spec.model.uri: PersistentVolumeClaim models is ReadWriteOnce, so it breaks",),
        ),
        (["ReadWriteOnce", "ReadWriteMany"], "it breaks", ()),
        (["ReadWriteOnce"], "", ()),
        ([], "it breaks", ()),
    ],
)
async def test_claim_of_one_node_that_several_pods_use_is_a_warning(
    scene: Scene, modes: list[str], sharing: str, warnings: tuple[str, ...]
) -> None:
    scene.api.hold({"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": {"accessModes": modes}})

    scene.api.hold(secret(token="x"))
    checked = await scene.references.check("llm", [TOKEN, replace(CLAIM, sharing_problem=sharing)])

    assert checked.warnings == warnings


@pytest.mark.parametrize(
    ("reference", "reason", "what"),
    [
        (TOKEN, "SecretNotFound", "spec.model.tokenSecretRef: Secret hf does not exist in namespace llm"),
        (CLAIM, "PersistentVolumeClaimNotFound", "spec.model.uri: PersistentVolumeClaim models does not exist"),
    ],
)
async def test_missing_object_is_named_with_its_field(
    scene: Scene, reference: Reference, reason: str, what: str
) -> None:
    (problem,) = (await scene.references.check("llm", [reference])).missing

    assert problem.reason == reason
    assert problem.message.startswith(what)
    assert "create it" in problem.message


async def test_missing_key_is_named_with_the_existing_keys(scene: Scene) -> None:
    scene.api.hold(secret(b="hunter2", a="hunter3"))
    (problem,) = (await scene.references.check("llm", [TOKEN])).missing

    assert problem.reason == "SecretKeyNotFound"
    assert "has no key token (its keys: a, b)" in problem.message
    assert "hunter" not in problem.message


async def test_refused_read_is_a_problem_with_the_api_servers_message(scene: Scene) -> None:
    scene.api.errors["get", "Secret"] = ApiError(403, "Forbidden", "secrets is forbidden")
    (problem,) = (await scene.references.check("llm", [TOKEN])).missing

    assert problem.reason == "SecretUnreadable"
    assert "secrets is forbidden" in problem.message


async def test_missing_answer_is_an_error_and_no_problem_of_the_spec(scene: Scene) -> None:
    scene.api.errors["get", "Secret"] = ApiError(500, "InternalError", "no")

    with pytest.raises(ApiError):
        await scene.reasons()


@pytest.mark.parametrize(("held", "seconds"), [(True, FOUND_SECONDS), (False, MISSING_SECONDS)])
async def test_object_is_read_again_after_its_time(scene: Scene, held: bool, seconds: float) -> None:
    if held:
        scene.api.hold(secret(token="x"))
    asked = []
    for later in (0, seconds - 0.1, 0.1):
        scene.clock.now += later
        await scene.reasons()
        asked.append(len(scene.api.requests))

    assert asked == [1, 1, 2]


async def test_missing_key_is_read_again_at_once(scene: Scene) -> None:
    scene.api.hold(secret(other="x"))
    assert await scene.reasons() == ["SecretKeyNotFound"]
    scene.api.hold(secret(token="x"))

    assert await scene.reasons() == []


async def test_secrets_of_one_name_in_two_namespaces_are_read_separately(scene: Scene) -> None:
    await scene.references.check("llm", [TOKEN])
    await scene.references.check("other", [TOKEN])

    assert len(scene.api.requests) == 2


async def test_value_of_a_checked_secret_is_returned_without_another_read(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2"))
    await scene.reasons()

    assert await scene.references.secret_value("llm", "hf", "token") == "hunter2"
    assert await scene.references.secret_value("llm", "hf", "other") is None
    assert len(scene.api.requests) == 1


async def test_value_that_is_not_utf8_text_is_empty(scene: Scene) -> None:
    body = secret()
    body["data"] = {"token": base64.b64encode(b"\xff\xfe").decode(), "broken": "%%%"}
    scene.api.hold(body)

    assert await scene.references.secret_value("llm", "hf", "token") == ""
    assert await scene.references.secret_value("llm", "hf", "broken") == ""


async def test_no_secret_is_kept_longer_than_its_time(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2"))
    await scene.reasons()
    scene.clock.now += FOUND_SECONDS
    await scene.reasons(CLAIM)

    assert "hunter2" not in repr(vars(scene.references))
