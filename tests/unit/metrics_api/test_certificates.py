"""Issue certificates, and judge them as a caller would."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vllm_operator.metrics_api.certificates import VALID_DAYS, expiry, issue, server_context

HOST = "vllm-operator.vllm-operator-system.svc"
NOW = datetime.now(UTC)


def test_issued_certificate_is_accepted_until_its_end() -> None:
    ends = expiry(issue(HOST, NOW), HOST)

    assert timedelta(days=VALID_DAYS - 1) < ends - NOW <= timedelta(days=VALID_DAYS)


def test_long_names_have_a_certificate_too() -> None:
    host = f"{'a' * 63}.{'b' * 63}.svc"

    assert expiry(issue(host, NOW), host) > NOW


def test_former_authority_stays_trusted_for_one_renewal() -> None:
    first = issue(HOST, NOW)
    second = issue(HOST, NOW, first.authorities)
    third = issue(HOST, NOW, second.authorities)

    assert expiry(replace(first, authorities=second.authorities), HOST) > NOW
    assert third.authorities.count("BEGIN CERTIFICATE") == 2
    with pytest.raises(ValueError, match="callers would refuse"):
        expiry(replace(first, authorities=third.authorities), HOST)


def test_certificate_of_another_host_is_refused() -> None:
    with pytest.raises(ValueError, match="callers would refuse"):
        expiry(issue("other.llm.svc", NOW), HOST)


def test_expired_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="callers would refuse"):
        expiry(issue(HOST, NOW - timedelta(days=VALID_DAYS + 1)), HOST)


@pytest.mark.parametrize("part", ["certificate", "key", "authorities"])
@pytest.mark.parametrize("text", ["", "junk"])
def test_unreadable_part_is_refused(part: str, text: str) -> None:
    broken = replace(issue(HOST, NOW), **{part: text})

    with pytest.raises(ValueError, match=r"."):
        expiry(broken, HOST)


def test_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        server_context(replace(issue(HOST, NOW), key=issue(HOST, NOW).key), "")


def test_server_asks_for_a_client_certificate() -> None:
    serving = issue(HOST, NOW)

    assert server_context(serving, serving.authorities).verify_mode.name == "CERT_REQUIRED"
    with pytest.raises(ValueError, match="cannot be read"):
        server_context(serving, "junk")
