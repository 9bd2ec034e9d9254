"""References of a spec are checked; each object that was read is used for a while."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.fakes import FakeApiClient, FakeClock
from vllm_operator.api.problem import Problem
from vllm_operator.controller.reference_cache import FOUND_SECONDS, MISSING_SECONDS
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.tenant_rules import TenantRules
from vllm_operator.desired.state import RightsClaimed
from vllm_operator.errors import ApiError
from vllm_operator.validation.references import Reference
from vllm_operator.validation.secret_references import MAX_SECRETS, SecretReference

TOKEN = Reference("Secret", "hf", "spec.model.tokenSecretRef", "token")
API_KEY = Reference("Secret", "hf", "spec.security.apiKeySecretRef", "token", keep_value=True)
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


async def test_missing_key_is_reported_without_the_names_of_other_keys(scene: Scene) -> None:
    scene.api.hold(secret(b="hunter2", a="hunter3"))
    (problem,) = (await scene.references.check("llm", [TOKEN])).missing

    assert problem.reason == "SecretKeyNotFound"
    assert problem.message == ("spec.model.tokenSecretRef: Secret hf has no key token: add it, or name another key")


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
    await scene.reasons(API_KEY)

    assert await scene.references.secret_value("llm", "hf", "token") == "hunter2"
    assert len(scene.api.requests) == 1
    assert await scene.references.secret_value("llm", "hf", "other") is None


async def test_value_that_is_not_utf8_text_is_empty(scene: Scene) -> None:
    body = secret()
    body["data"] = {"token": base64.b64encode(b"\xff\xfe").decode(), "broken": "%%%"}
    scene.api.hold(body)

    assert await scene.references.secret_value("llm", "hf", "token") == ""
    assert await scene.references.secret_value("llm", "hf", "broken") == ""


async def test_no_secret_is_kept_longer_than_its_time(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2"))
    await scene.reasons(API_KEY)
    assert "hunter2" in repr(vars(scene.references._cache))
    scene.clock.now += FOUND_SECONDS
    await scene.reasons(CLAIM)

    assert "hunter2" not in repr(vars(scene.references._cache))


async def test_only_the_value_of_an_api_key_is_kept(scene: Scene) -> None:
    scene.api.hold(secret(token="hunter2", other="hunter3"))
    await scene.reasons(TOKEN)

    assert "hunter" not in repr(vars(scene.references._cache))
    await scene.reasons(API_KEY)

    assert "hunter3" not in repr(vars(scene.references._cache))


async def test_keys_of_one_secret_are_read_together(scene: Scene) -> None:
    scene.api.hold(secret(a="x", b="y"))

    assert await scene.reasons(replace(TOKEN, key="a"), replace(TOKEN, key="b")) == []
    assert len(scene.api.requests) == 1


async def test_servers_with_different_keys_of_one_secret_do_not_displace_each_other(scene: Scene) -> None:
    scene.api.hold(secret(a="x", b="y"))
    for _ in range(3):
        for key in "ab":
            assert await scene.reasons(replace(TOKEN, key=key)) == []

    assert len(scene.api.requests) == 2


class TestLabels:
    """With `run --secrets=labelled --pod-template=restricted`."""

    PROBLEM = Problem("PodTemplateRestricted", "spec.podTemplate.spec.hostNetwork: only false is allowed")
    SECRET = SecretReference("hf", "spec.model.tokenSecretRef")

    @pytest.fixture
    def scene(self) -> Scene:
        scene = Scene()
        scene.references = ReferenceResolver(scene.api, scene.clock, TenantRules(True, True))  # type: ignore[arg-type]
        return scene

    async def problems(self, scene: Scene, **claimed: Any) -> list[Problem]:
        return list((await scene.references.check("llm", (TOKEN,), RightsClaimed(**claimed))).missing)

    def hold(self, scene: Scene, kind: str, name: str, **labels: str) -> None:
        values = secret(token="x") if kind == "Secret" else {"kind": kind}
        scene.api.hold({**values, "metadata": {"name": name, "labels": labels}})

    async def test_secret_without_the_label_is_refused_with_the_command_that_releases_it(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf")
        (problem,) = await self.problems(scene, secrets=(self.SECRET,))

        assert problem.reason == "SecretNotAllowed"
        assert problem.message.startswith("spec.model.tokenSecretRef: Secret hf is not released")
        assert "kubectl -n llm label secret hf vllm-operator.dev/allow-reference=true" in problem.message

    async def test_labelled_secret_is_accepted_by_one_read_without_that_of_the_namespace(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf", **{"vllm-operator.dev/allow-reference": "true"})
        for _ in range(3):
            assert await self.problems(scene, secrets=(self.SECRET,)) == []

        assert scene.api.requests == [("get", "Secret", "hf")]

    async def test_label_is_noticed_soon(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf")
        assert await self.problems(scene, secrets=(self.SECRET,)) != []
        self.hold(scene, "Secret", "hf", **{"vllm-operator.dev/allow-reference": "true"})
        scene.clock.now += MISSING_SECONDS

        assert await self.problems(scene, secrets=(self.SECRET,)) == []

    @pytest.mark.parametrize("value", ["false", "", "True"])
    async def test_label_with_another_value_releases_nothing(self, scene: Scene, value: str) -> None:
        self.hold(scene, "Secret", "hf", **{"vllm-operator.dev/allow-reference": value})

        assert [one.reason for one in await self.problems(scene, secrets=(self.SECRET,))] == ["SecretNotAllowed"]

    async def test_namespace_releases_all_its_secrets(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf")
        self.hold(scene, "Namespace", "llm", **{"vllm-operator.dev/secrets": "all"})

        assert await self.problems(scene, secrets=(self.SECRET,)) == []

    async def test_keys_of_a_secret_that_is_not_released_are_not_reported(self, scene: Scene) -> None:
        scene.api.hold(secret(other="x"))
        found = await self.problems(scene, secrets=(self.SECRET,))

        assert [one.reason for one in found] == ["SecretNotAllowed"]

    async def test_missing_secret_is_reported_once(self, scene: Scene) -> None:
        assert [one.reason for one in await self.problems(scene, secrets=(self.SECRET,))] == ["SecretNotFound"]

    async def test_optional_secret_that_is_missing_is_no_problem(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf", **{"vllm-operator.dev/allow-reference": "true"})
        optional = SecretReference("absent", "spec.imagePullSecrets")

        assert await self.problems(scene, secrets=(self.SECRET, optional)) == []

    async def test_more_secrets_than_are_checked_are_refused_without_a_read(self, scene: Scene) -> None:
        many = tuple(SecretReference(f"s{number}", "spec.engine.env") for number in range(MAX_SECRETS + 1))
        found = await self.problems(scene, secrets=many)

        assert found[0].reason == "TooManySecrets"
        assert len(scene.api.requests) == 1

    @pytest.mark.parametrize(("label", "refused"), [("free", False), ("restricted", True), ("", True)])
    async def test_namespace_label_frees_the_pod_template(self, scene: Scene, label: str, refused: bool) -> None:
        self.hold(scene, "Secret", "hf", **{"vllm-operator.dev/allow-reference": "true"})
        self.hold(scene, "Namespace", "llm", **{"vllm-operator.dev/pod-template": label})

        assert await self.problems(scene, pod_template=(self.PROBLEM,)) == ([self.PROBLEM] if refused else [])

    async def test_namespace_that_may_not_be_read_frees_nothing(self, scene: Scene) -> None:
        self.hold(scene, "Secret", "hf")
        scene.api.errors["get", "Namespace"] = ApiError(403, "Forbidden", "no")
        found = await self.problems(scene, secrets=(self.SECRET,), pod_template=(self.PROBLEM,))

        assert [one.reason for one in found] == ["PodTemplateRestricted", "SecretNotAllowed"]

    async def test_without_the_rules_nothing_is_read_for_them(self) -> None:
        scene = Scene()
        self.hold(scene, "Secret", "hf")

        assert await self.problems(scene, secrets=(self.SECRET,), pod_template=(self.PROBLEM,)) == []
        assert [kind for _, kind, _ in scene.api.requests] == ["Secret"]
