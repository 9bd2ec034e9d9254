"""Does what a manifest refers to exist? Each answer is believed for a while."""

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

    async def reasons(self, *asked: Reference) -> list[str]:
        return [problem.reason for problem in await self.references.problems("llm", asked or (TOKEN,))]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_what_exists_is_no_problem(scene: Scene) -> None:
    scene.api.hold(secret(token="x"))
    scene.api.hold({"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}})

    assert await scene.reasons(TOKEN, CLAIM) == []


@pytest.mark.parametrize(
    ("modes", "sharing", "notes"),
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
async def test_claim_of_one_node_that_several_pods_use_is_remarked(
    scene: Scene, modes: list[str], sharing: str, notes: tuple[str, ...]
) -> None:
    scene.api.hold({"kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": {"accessModes": modes}})

    assert await scene.references.notes("llm", [TOKEN, replace(CLAIM, sharing_problem=sharing)]) == notes


@pytest.mark.parametrize(
    ("reference", "reason", "what"),
    [
        (TOKEN, "SecretNotFound", "spec.model.tokenSecretRef: Secret hf does not exist in namespace llm"),
        (CLAIM, "PersistentVolumeClaimNotFound", "spec.model.uri: PersistentVolumeClaim models does not exist"),
    ],
)
async def test_what_is_missing_is_named_with_its_field(
    scene: Scene, reference: Reference, reason: str, what: str
) -> None:
    (problem,) = await scene.references.problems("llm", [reference])

    assert problem.reason == reason
    assert problem.message.startswith(what)
    assert "create it" in problem.message


async def test_missing_key_is_named_with_the_keys_that_there_are(scene: Scene) -> None:
    scene.api.hold(secret(b="hunter2", a="hunter3"))
    (problem,) = await scene.references.problems("llm", [TOKEN])

    assert problem.reason == "SecretKeyNotFound"
    assert "has no key token (its keys: a, b)" in problem.message
    assert "hunter" not in problem.message


async def test_what_may_not_be_read_is_said_in_the_api_servers_words(scene: Scene) -> None:
    scene.api.errors["get", "Secret"] = ApiError(403, "Forbidden", "secrets is forbidden")
    (problem,) = await scene.references.problems("llm", [TOKEN])

    assert problem.reason == "SecretUnreadable"
    assert "secrets is forbidden" in problem.message


async def test_no_answer_is_no_problem_of_the_manifest(scene: Scene) -> None:
    scene.api.errors["get", "Secret"] = ApiError(500, "InternalError", "no")

    with pytest.raises(ApiError):
        await scene.reasons()


@pytest.mark.parametrize(("held", "seconds"), [(True, FOUND_SECONDS), (False, MISSING_SECONDS)])
async def test_answer_is_believed_for_its_time(scene: Scene, held: bool, seconds: float) -> None:
    if held:
        scene.api.hold(secret(token="x"))
    asked = []
    for later in (0, seconds - 0.1, 0.1):
        scene.clock.now += later
        await scene.reasons()
        asked.append(len(scene.api.requests))

    assert asked == [1, 1, 2]


async def test_missing_key_is_looked_for_at_once_again(scene: Scene) -> None:
    scene.api.hold(secret(other="x"))
    assert await scene.reasons() == ["SecretKeyNotFound"]
    scene.api.hold(secret(token="x"))

    assert await scene.reasons() == []


async def test_secrets_of_one_name_in_two_namespaces_are_two(scene: Scene) -> None:
    await scene.references.problems("llm", [TOKEN])
    await scene.references.problems("other", [TOKEN])

    assert len(scene.api.requests) == 2


async def test_prober_gets_the_value_and_asks_no_second_time(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2"))
    await scene.reasons()

    assert await scene.references.secret_value("llm", "hf", "token") == "hunter2"
    assert await scene.references.secret_value("llm", "hf", "other") is None
    assert len(scene.api.requests) == 1


async def test_value_that_is_no_text_is_none_that_could_be_sent(scene: Scene) -> None:
    body = secret()
    body["data"] = {"token": base64.b64encode(b"\xff\xfe").decode(), "broken": "%%%"}
    scene.api.hold(body)

    assert await scene.references.secret_value("llm", "hf", "token") == ""
    assert await scene.references.secret_value("llm", "hf", "broken") == ""


async def test_nothing_secret_is_kept_longer_than_it_is_believed(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2"))
    await scene.reasons()
    scene.clock.now += FOUND_SECONDS
    await scene.reasons(CLAIM)

    assert "hunter2" not in repr(vars(scene.references))
