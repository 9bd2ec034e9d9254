"""The lines of a results file: OpenAI's batch output format, with one more field for the resumption."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

EXTRA = "vllm_operator"
"""Field of a line that other readers of the format ignore."""
START = b'{"id":"vllm-batch-'
"""The bytes that each line written here starts with: they identify a line that was cut off."""
FINGERPRINT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of one request, as it stands in the results file."""

    custom_id: str
    fingerprint: bytes
    """Digest of URL and body. Empty in a line that another program wrote."""
    is_final: bool
    """A retry gives the same: an answer, or an error that lies in the request."""
    status: int | None
    """HTTP status of the answer; None without an answer."""
    body: dict[str, Any] | None
    """The JSON of the answer."""
    error: dict[str, Any] | None = None
    """Code and message where there is no answer."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures of the client, such as the latency."""


def fingerprint(url: str, body: dict[str, Any]) -> bytes:
    """Return the digest of a request: equal for the same URL and the same JSON, whatever the order of the fields.

    Raises:
        TypeError: the body is no JSON.
    """
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    digest = hashlib.sha256(orjson.dumps([url, body], option=options))
    return digest.digest()[:FINGERPRINT_BYTES]


def as_line(record: Record) -> bytes:
    """Return the line of a record, with its newline.

    Raises:
        TypeError: it cannot be written as JSON, such as an answer with hundreds of levels.
    """
    name = hashlib.sha256(record.custom_id.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    response = None
    if record.body is not None:
        request_id = record.body.get("id")
        response = {
            "status_code": record.status,
            "request_id": request_id if isinstance(request_id, str) else "",
            "body": record.body,
        }
    line = orjson.dumps(
        {
            "id": f"vllm-batch-{name}",
            "custom_id": record.custom_id,
            "response": response,
            "error": record.error,
            EXTRA: {**record.details, "fingerprint": record.fingerprint.hex(), "final": record.is_final},
        }
    )
    return line + b"\n"


def parse_line(line: bytes) -> Record | None:
    """Return the record of a line, or None for a line that is none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    custom_id, response, error = value.get("custom_id"), value.get("response"), value.get("error")
    if not isinstance(custom_id, str) or not (isinstance(response, dict) or isinstance(error, dict)):
        return None
    answer = response if isinstance(response, dict) else {}
    status, body = answer.get("status_code"), answer.get("body")
    if not isinstance(status, int) or not isinstance(body, dict):
        status, body = None, None
    details = value.get(EXTRA)
    details = dict(details) if isinstance(details, dict) else {}
    is_final = details.pop("final", status == 200)
    return Record(
        custom_id=custom_id,
        fingerprint=_digest(details.pop("fingerprint", "")),
        is_final=is_final is True,
        status=status,
        body=body,
        error=error if isinstance(error, dict) else None,
        details=details,
    )


def _digest(text: object) -> bytes:
    """Return the digest that a line holds, or nothing where it holds none."""
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
