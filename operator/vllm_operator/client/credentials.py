"""The API key, from the configuration, a file or the environment."""

from __future__ import annotations

import os
from pathlib import Path

from vllm_operator.client.config import ClientConfig

ENVIRONMENT_VARIABLE = "VLLM_API_KEY"
"""The variable from which `vllm serve` reads its key, too."""
MAX_KEY_BYTES = 16 * 1024
"""Bytes of a file that holds a key."""


class ApiKey:
    """Gives the header with the API key. A file is read again when it changes, as a mounted Secret does."""

    def __init__(self, config: ClientConfig) -> None:
        self._file = config.api_key_file
        self._seen: tuple[int, int, int] | None = None
        self._headers: dict[str, str] = {}
        if config.api_key is not None:
            self._set(config.api_key.get_secret_value(), "api_key")
            self._file = None
        elif self._file is None:
            # A header that the configuration sets comes before the environment.
            is_set = any(name.lower() == "authorization" for name in config.headers)
            self._set("" if is_set else os.environ.get(ENVIRONMENT_VARIABLE, ""), ENVIRONMENT_VARIABLE)

    def headers(self) -> dict[str, str]:
        """Return a new dict with the header; it is empty without a key."""
        if self._file is not None:
            self._read(self._file)
        return dict(self._headers)

    def _read(self, path: Path) -> None:
        try:
            stat = path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            with path.open("rb") as file:
                data = file.read(MAX_KEY_BYTES + 1)
        except OSError as error:
            raise ValueError(f"api_key_file {path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_KEY_BYTES:
            raise ValueError(f"api_key_file {path} has more than {MAX_KEY_BYTES:,} bytes: it holds no API key")
        self._set(data.decode(errors="replace"), f"api_key_file {path}")
        self._seen = seen

    def _set(self, key: str, source: str) -> None:
        key = key.strip()
        if not key.isascii() or not key.isprintable():
            raise ValueError(f"{source} holds characters that no HTTP header takes")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
