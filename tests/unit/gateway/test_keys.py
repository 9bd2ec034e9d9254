from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from vllm_operator.api.gateway_access import Auth
from vllm_operator.gateway.keys import read_keys, secret_names

DIGEST = hashlib.sha256(b"sk-alice-0001").hexdigest()


def auth(**fields: Any) -> Auth:
    return Auth.model_validate(fields)


def test_secrets_are_named_once() -> None:
    keys = [{"id": "a", "secretKeyRef": {"name": "x", "key": "k"}}]
    assert secret_names(auth(apiKeys=keys, secrets=[{"name": "x"}, {"name": "w"}])) == ("w", "x")
    assert secret_names(None) == ()


@pytest.mark.parametrize(
    "value",
    [
        "sk-alice-0001",
        "sk-alice-0001\n",
        f"sha256:{DIGEST}",
        f"sha256:{DIGEST.upper()}",
        json.dumps({"key": "sk-alice-0001"}),
        json.dumps({"sha256": DIGEST}),
    ],
)
def test_a_key_is_read_plain_hashed_or_from_json(value: str) -> None:
    reading = read_keys(auth(secrets=[{"name": "keys"}]), {"keys": {"alice": value}})
    assert [(key.id, key.digest) for key in reading.keys] == [("alice", DIGEST)]
    assert reading.problems == ()


def test_json_names_models_and_expiry() -> None:
    value = json.dumps({"key": "sk-alice-0001", "models": ["m"], "expiresAt": "2027-01-01T00:00:00Z"})
    [key] = read_keys(auth(secrets=[{"name": "keys"}]), {"keys": {"alice": value}}).keys
    assert (key.models, key.expires) == (("m",), 1798761600)


@pytest.mark.parametrize(
    "value",
    [
        "short",
        "with space in it",
        "sha256:12",
        "{",
        "{}",
        '{"key": 5}',
        '{"key": "sk-alice-0001", "models": "m"}',
        '{"key": "sk-alice-0001", "expiresAt": "soon"}',
        "k" * 70_000,
        "[" * 100_000,
        '{"a":' * 50_000,
    ],
)
def test_a_value_that_is_no_key_is_refused_without_being_shown(value: str) -> None:
    reading = read_keys(auth(secrets=[{"name": "keys"}]), {"keys": {"alice": value}})
    assert reading.keys == ()
    [problem] = reading.problems
    assert problem.startswith("Secret keys, entry alice: ")
    assert value not in problem


def test_a_listed_key_wins_over_the_entry_of_a_secret_with_its_id() -> None:
    keys = [{"id": "alice", "secretKeyRef": {"name": "one", "key": "k"}, "models": ["m"]}]
    secrets = {"keys": {"alice": "sk-other-0001"}, "one": {"k": "sk-alice-0001"}}
    [key] = read_keys(auth(apiKeys=keys, secrets=[{"name": "keys"}]), secrets).keys
    assert (key.digest, key.models) == (DIGEST, ("m",))


def test_one_key_for_two_ids_and_bad_names_are_refused() -> None:
    secrets = {"keys": {"alice": "sk-alice-0001", "bob": "sk-alice-0001", ".bad": "sk-alice-0003"}}
    reading = read_keys(auth(secrets=[{"name": "keys"}]), secrets)
    assert [key.id for key in reading.keys] == ["alice"]
    assert len(reading.problems) == 2
    assert "same key" in "\n".join(reading.problems)


def test_missing_secrets_and_entries_are_named() -> None:
    keys = [
        {"id": "a", "secretKeyRef": {"name": "one", "key": "k"}},
        {"id": "b", "secretKeyRef": {"name": "two", "key": "k"}},
    ]
    reading = read_keys(auth(apiKeys=keys, secrets=[{"name": "three"}]), {"one": {}, "two": None, "three": None})
    assert len(reading.problems) == 3


@pytest.mark.parametrize("time", ["2027-02-30T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-01T25:00:00Z"])
def test_a_key_whose_expiry_is_no_time_is_refused(time: str) -> None:
    reference = {"id": "a", "secretKeyRef": {"name": "x", "key": "k"}, "expiresAt": time}
    reading = read_keys(auth(apiKeys=[reference]), {"x": {"k": "sk-12345678"}})
    assert reading.keys == ()
    assert reading.problems == (f"spec.auth.apiKeys[a].expiresAt: there is no such time as {time}: correct the date",)


def test_a_listed_key_that_is_refused_is_not_replaced_by_the_entry_of_a_secret() -> None:
    reference = {"id": "a", "secretKeyRef": {"name": "x", "key": "a"}, "expiresAt": "2027-02-30T00:00:00Z"}
    reading = read_keys(auth(apiKeys=[reference], secrets=[{"name": "x"}]), {"x": {"a": "sk-12345678"}})
    assert reading.keys == ()


@pytest.mark.parametrize("field", ['"expires_at": "2027-01-31T00:00:00Z"', '"model": ["x"]', '"ExpiresAt": ""'])
def test_an_entry_with_a_field_that_is_unknown_is_refused(field: str) -> None:
    reading = read_keys(auth(secrets=[{"name": "x"}]), {"x": {"a": f'{{"key": "sk-12345678", {field}}}'}})
    assert reading.keys == ()
    assert "a field other than key" in reading.problems[0]
    assert "sk-1" not in reading.problems[0]
