"""The restricted mode refuses every way to more rights, names the field and the remedy, and allows the rest."""

from __future__ import annotations

import pytest

from tests.helpers.pod_templates import ALLOWED, REFUSED, Spec, pod
from tests.helpers.specs import spec
from vllm_operator.validation.pod_template import MAX_PROBLEMS, restricted_problems


@pytest.mark.parametrize("fields", ALLOWED.values(), ids=ALLOWED)
def test_spec_without_further_rights_is_allowed(fields: Spec) -> None:
    assert restricted_problems(spec(**fields)) == ()


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_spec_with_further_rights_is_refused(fields: Spec) -> None:
    problem, *_ = restricted_problems(spec(**fields))

    assert problem.reason == "PodTemplateRestricted"
    assert problem.message.startswith(("spec.podTemplate", "spec.security.", "spec.engine.command"))
    assert "vllm-operator.dev/pod-template=free" in problem.message


def test_message_names_the_field_and_what_is_allowed() -> None:
    (problem,) = restricted_problems(spec(**pod(hostNetwork=True)))

    assert problem.message.startswith("spec.podTemplate.spec.hostNetwork: only false is allowed: remove it, or let")


def test_number_and_length_of_problems_are_bounded() -> None:
    found = restricted_problems(spec(**pod(**{f"{position}{'x' * 5000}": 1 for position in range(1000)})))

    assert len(found) == MAX_PROBLEMS
    assert max(len(problem.message) for problem in found) < 300


@pytest.mark.parametrize(("volume", "allowed"), [({"emptyDir": {}}, True), ({"hostPath": {"path": "/"}}, False)])
def test_volume_of_the_cache_takes_nothing_of_the_node(volume: Spec, allowed: bool) -> None:
    found = [problem.message for problem in restricted_problems(spec(cache={"volume": volume}))]

    assert (found == []) == allowed
    assert all(message.startswith("spec.cache.volume.hostPath: is not allowed") for message in found)
