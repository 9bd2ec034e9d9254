from __future__ import annotations

import pytest

from tests.helpers.specs import spec
from vllm_operator.targets.coverage import Coverage, is_set, spec_paths
from vllm_operator.targets.registry import TARGETS


def test_paths_cover_every_field_of_a_spec() -> None:
    paths = spec_paths()
    assert {"model.uri", "cache.size", "engine", "autoscaling", "imagePullSecrets", "podTemplate"} <= set(paths)
    assert len(paths) == len(set(paths)) > 50


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_each_target_says_what_happens_to_every_field(target) -> None:
    assert target.coverage.unknown() == ()


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_no_target_lists_a_field_that_does_not_exist(target) -> None:
    tops = {path.partition(".")[0] for path in spec_paths()}
    assert set(target.coverage.lost) | target.coverage.carried <= tops | set(spec_paths())


def test_only_fields_with_another_value_than_the_default_are_lost() -> None:
    coverage = Coverage(frozenset({"model", "cache.size"}), {"cache": "gone", "paused": "gone", "replicas": "gone"})
    losses = dict(coverage.losses(spec(cache={"size": "1Gi", "retain": False}, replicas=1)))
    assert losses == {"spec.cache.retain": "gone"}


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        ("cache.size", {}, False),
        ("cache.size", {"cache": {"size": "1Gi"}}, True),
        ("service.port", {"service": {"port": 80}}, False),
        ("service.port", {"service": {"port": 81}}, True),
        ("autoscaling", {"autoscaling": {"maxReplicas": 2}}, True),
        ("metadata.labels", {"metadata": {"labels": {"a": "b"}}}, True),
    ],
)
def test_is_set(path: str, fields: dict, expected: bool) -> None:
    assert is_set(spec(**fields), path) is expected
