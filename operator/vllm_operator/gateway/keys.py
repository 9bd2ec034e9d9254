"""Read API keys from Secrets. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vllm_operator.api.gateway_access import Auth
from vllm_operator.gateway.snapshot import KeyEntry

SecretData = Mapping[str, str]
"""The values of a Secret, decoded."""

MAX_VALUE_BYTES = 65_536
"""Bytes of one entry of a Secret."""
MAX_KEYS = 10_000
"""Keys of one gateway."""
FIELDS = frozenset({"key", "sha256", "models", "expiresAt"})
"""Fields of an entry that is a JSON object."""
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_KEY = re.compile(r"[!-~]{8,512}")


@dataclass(frozen=True)
class KeyReading:
    """The keys that were found, and the reason for each that was not.

    Attributes:
        keys: the keys, sorted by id.
        problems: one sentence for each key that is refused. None holds a key.
    """

    keys: tuple[KeyEntry, ...]
    problems: tuple[str, ...] = ()


def secret_names(auth: Auth | None) -> tuple[str, ...]:
    """Return the Secrets that hold API keys."""
    if auth is None:
        return ()
    return tuple(sorted({entry.name for entry in auth.secrets} | {key.secret_key_ref.name for key in auth.api_keys}))


def read_keys(auth: Auth | None, secrets: Mapping[str, SecretData | None]) -> KeyReading:
    """Return the API keys of a gateway.

    An entry of `apiKeys` wins over one of `secrets` with the same id, also one that is refused.

    Args:
        auth: spec.auth.
        secrets: the Secrets by name; None for one that is missing.
    """
    if auth is None:
        return KeyReading(())
    problems: list[str] = []
    found: dict[str, KeyEntry] = {}
    listed = {key.id for key in auth.api_keys}
    for field, entry in _from_secrets(auth, secrets):
        if isinstance(entry, str):
            problems.append(f"{field}: {entry}")
        elif entry.id not in listed:
            found[entry.id] = entry
    for field, entry in _from_references(auth, secrets):
        if isinstance(entry, str):
            problems.append(f"{field}: {entry}")
        else:
            found[entry.id] = entry
    digests: dict[str, str] = {}
    for entry in list(found.values())[:MAX_KEYS]:
        if other := digests.get(entry.digest):
            problems.append(f"spec.auth: {entry.id} and {other} are the same key: give each its own")
            del found[entry.id]
        digests.setdefault(entry.digest, entry.id)
    if len(found) > MAX_KEYS:
        problems.append(f"spec.auth: more than {MAX_KEYS} keys: use several gateways")
    return KeyReading(tuple(sorted(found.values(), key=lambda key: key.id)[:MAX_KEYS]), tuple(problems))


def _from_secrets(auth: Auth, secrets: Mapping[str, SecretData | None]) -> Iterator[tuple[str, KeyEntry | str]]:
    for reference in auth.secrets:
        data = secrets.get(reference.name)
        if data is None:
            yield f"spec.auth.secrets[{reference.name}]", "the Secret does not exist: create it"
            continue
        for name, value in sorted(data.items()):
            field = f"Secret {reference.name}, entry {name[:128]}"
            if not _ID.fullmatch(name):
                yield field, "the name of an entry is the id of its key: use letters, digits and . _ @ -"
            else:
                yield field, _read_value(name, value)


def _from_references(auth: Auth, secrets: Mapping[str, SecretData | None]) -> Iterator[tuple[str, KeyEntry | str]]:
    for key in auth.api_keys:
        field, place = f"spec.auth.apiKeys[{key.id}]", key.secret_key_ref
        data = secrets.get(place.name)
        if data is None:
            yield field, f"the Secret {place.name} does not exist: create it"
        elif place.key not in data:
            yield field, f"the Secret {place.name} has no entry {place.key}: add it"
        else:
            entry = _read_value(key.id, data[place.key])
            expires = _unix_time(key.expires_at) if key.expires_at else None
            if isinstance(entry, str):
                yield field, entry
            elif key.expires_at and expires is None:
                # Without a time the key would never expire.
                yield f"{field}.expiresAt", f"there is no such time as {key.expires_at}: correct the date"
            else:
                limit = entry.expires if expires is None else expires
                yield field, KeyEntry(key.id, entry.digest, tuple(key.models) or entry.models, limit)


def _read_value(identity: str, value: str) -> KeyEntry | str:
    """Return the key of one entry, or the reason against it."""
    text = value.strip()
    if len(text) > MAX_VALUE_BYTES:
        return f"the entry has more than {MAX_VALUE_BYTES} bytes: shorten it"
    if text.startswith("{"):
        return _read_object(identity, text)
    digest = _digest(text)
    return digest if digest.startswith("the ") else KeyEntry(identity, digest)


def _digest(text: str) -> str:
    """Return the SHA-256 of a key, or the reason against it, which starts with `the`."""
    if text.startswith("sha256:"):
        digest = text.removeprefix("sha256:")
        return digest.lower() if _DIGEST.fullmatch(digest) else "the value after sha256: needs 64 hexadecimal digits"
    if not _KEY.fullmatch(text):
        return "the key needs 8 to 512 printable characters without spaces"
    return hashlib.sha256(text.encode()).hexdigest()


def _read_object(identity: str, text: str) -> KeyEntry | str:
    try:
        value: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return "the entry is no valid JSON: correct it, or write the key alone"
    if problem := _object_problem(value):
        return problem
    models, expires = value.get("models", []), value.get("expiresAt")
    given = f"sha256:{value['sha256']}" if "sha256" in value else value.get("key")
    if not isinstance(given, str):
        return "the entry needs key or sha256"
    digest = _digest(given)
    if digest.startswith("the "):
        return digest
    return KeyEntry(identity, digest, tuple(models), _unix_time(expires) if expires else None)


def _object_problem(value: dict[str, Any]) -> str:
    """Return the reason against the fields of an entry other than the key itself; empty without one."""
    if set(value) - FIELDS:
        # A field such as expires_at must not be passed over: the key would have no end.
        return "the entry has a field other than key, sha256, models and expiresAt: correct or remove it"
    models, expires = value.get("models", []), value.get("expiresAt")
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        return "the field models needs a list of names"
    if expires is not None and (not isinstance(expires, str) or _unix_time(expires) is None):
        return "the field expiresAt needs a time such as 2027-01-31T00:00:00Z"
    return ""


def _unix_time(timestamp: str) -> int | None:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
