from __future__ import annotations

import pytest

from vllm_operator.client import ClientConfig
from vllm_operator.client.options import ChatOptions, CompletionOptions, body_of


def test_zero_is_sent_and_none_is_not() -> None:
    config = ClientConfig(temperature=0.7, max_tokens=100)

    assert body_of(ChatOptions, {"temperature": 0.0, "max_tokens": None}, config) == {"temperature": 0.0}


def test_defaults_of_the_configuration_are_sent() -> None:
    assert body_of(ChatOptions, {}, ClientConfig(temperature=0.0, top_p=0.9)) == {"temperature": 0.0, "top_p": 0.9}


def test_options_of_the_call_are_not_in_the_body() -> None:
    options = {"timeout": 3, "extra_headers": {"a": "b"}, "extra_body": {"c": 1}, "model": "m", "seed": 1}

    assert body_of(ChatOptions, options) == {"seed": 1}


def test_unknown_option_is_named_with_the_closest_one() -> None:
    with pytest.raises(TypeError, match="'temprature': did you mean 'temperature'"):
        body_of(ChatOptions, {"temprature": 0})
    with pytest.raises(TypeError, match="extra_body"):
        body_of(CompletionOptions, {"zzz": 0})
