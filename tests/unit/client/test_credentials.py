from __future__ import annotations

import os
from pathlib import Path

import pytest

from vllm_operator.client import ClientConfig
from vllm_operator.client.credentials import ApiKey


def headers(config: ClientConfig) -> dict[str, str]:
    return ApiKey(config).headers()


def test_key_comes_from_the_configuration_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "from-environment")

    assert headers(ClientConfig(api_key="given")) == {"Authorization": "Bearer given"}
    assert headers(ClientConfig()) == {"Authorization": "Bearer from-environment"}
    assert headers(ClientConfig(api_key="")) == {}


def test_no_key_sends_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)

    assert headers(ClientConfig()) == {}


def test_file_is_read_again_after_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    key = ApiKey(ClientConfig(api_key_file=file))
    assert key.headers() == {"Authorization": "Bearer first"}

    file.write_text("second-key\n")
    os.utime(file, (1, 1))

    assert key.headers() == {"Authorization": "Bearer second-key"}


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"api_key_file .*missing cannot be read: No such file"):
        headers(ClientConfig(api_key_file=tmp_path / "missing"))
    large = tmp_path / "large"
    large.write_bytes(b"x" * 20_000)
    with pytest.raises(ValueError, match=r"large has more than 16,384 bytes"):
        headers(ClientConfig(api_key_file=large))


def test_key_that_would_split_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="api_key holds characters") as caught:
        ApiKey(ClientConfig(api_key="secret\r\nX: 1"))

    assert "secret" not in str(caught.value)
