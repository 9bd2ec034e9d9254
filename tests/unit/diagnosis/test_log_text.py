"""Text of others in a status."""

from __future__ import annotations

import pytest

from vllm_operator.diagnosis.log_text import MESSAGE_LENGTH, most_telling_line, one_line, valid_reason
from vllm_operator.diagnosis.secrets import mask_secrets

CACHE_TOO_SMALL = """\
(EngineCore pid=98) INFO 10-02 09:11:10 [kv_cache_utils.py:1229] GPU KV cache size: 384 tokens
(EngineCore pid=98) ERROR 10-02 09:11:12 [core.py:866] EngineCore failed to start.
(EngineCore pid=98) ERROR 10-02 09:11:12 [core.py:866] Traceback (most recent call last):
(EngineCore pid=98) ERROR 10-02 09:11:12 [core.py:866]   File "/vllm/v1/engine/core.py", line 857, in run_engine_core
(EngineCore pid=98) ERROR 10-02 09:11:12 [core.py:866] ValueError: To serve at least one request with the model's max \
seq len (2000), (0.12 GiB KV cache is needed, which is larger than the available KV cache memory (0.02 GiB).
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/vllm/v1/engine/utils.py", line 732, in wait_for_engine_startup
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_engines_own_error_wins_over_its_consequence():
    assert most_telling_line(CACHE_TOO_SMALL.splitlines()).startswith("ValueError: To serve at least one request")


def test_unknown_flag_gives_argparses_line():
    log = "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --no-such-flag\n"
    assert most_telling_line(log.splitlines()) == "api_server.py: error: unrecognized arguments: --no-such-flag"


def test_error_line_wins_over_later_chatter():
    assert (
        most_telling_line(["(Worker pid=7) ERROR 10-02 09:11:12 [w.py:1] CUDA driver is too old", "bye"])
        == "CUDA driver is too old"
    )


def test_consequence_alone_is_better_than_nothing():
    assert "Engine core initialization failed" in most_telling_line(
        ["RuntimeError: Engine core initialization failed."]
    )


@pytest.mark.parametrize("log", ["", "\n\n", "   "])
def test_empty_log_has_no_telling_line(log: str):
    assert most_telling_line(log.splitlines()) == ""


@pytest.mark.parametrize(
    "text",
    [
        "token hf_AbCdEfGhIjKlMnOpQr was refused",
        "Authorization: Bearer s3cr3t-AbCdEfGh failed",
        "key sk-AbCdEfGhIjKl is wrong",
        "HF_TOKEN=AbCdEfGhIjKl",
        "--api-key AbCdEfGhIjKlMn --port 8000",
        "--api-key=AbCdEfGhIjKl",
        "{'api_key': 'AbCdEfGhIjKl'}",
        "https://user:AbCdEfGhIjKl@registry.example/v2",
    ],
)
def test_secrets_are_masked(text: str):
    assert "AbCdEfGh" not in mask_secrets(text)
    assert "***" in mask_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        'secret "hf" not found',
        "max_num_batched_tokens: 2048",
        "the API key is missing: set security.apiKeySecretRef",
        "http://mistral.llm.svc:8000/v1/models",
    ],
)
def test_ordinary_words_are_not_masked(text: str):
    assert mask_secrets(text) == text


def test_secret_across_the_cut_does_not_leak():
    text = "x" * (MESSAGE_LENGTH - 10) + " hf_AbCdEfGhIjKlMnOp"
    assert "AbC" not in one_line(text)


def test_long_text_is_cut_to_one_bounded_line():
    assert len(one_line("a\nb " * 4000)) == MESSAGE_LENGTH
    assert "\n" not in one_line("a\nb " * 4000)


def test_reason_of_others_is_kept_only_when_it_is_camel_case():
    assert valid_reason("FailedGetPodsMetric", "Other") == "FailedGetPodsMetric"
    assert valid_reason("no such metric!", "Other") == "Other"
