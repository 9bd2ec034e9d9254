"""The program of the Lua filter in LuaJIT, as Envoy has it, with a stand-in of Envoy's objects."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import lupa.luajit21 as lupa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.lua import lua_program, lua_source, to_lua
from vllm_operator.gateway.models import resolve_models
from vllm_operator.gateway.snapshot import GatewayServer, GatewaySnapshot, KeyEntry

LOCALS = ("sha256", "scan", "form_model", "unescape", "quoted", "without_usage", "read_usage")


@pytest.fixture(scope="module")
def lua() -> Any:
    """The functions of the program by name."""
    runtime = lupa.LuaRuntime(encoding=None)
    table = ", ".join(f"{name} = {name}" for name in LOCALS)
    return runtime.execute(f"local config = {{}}\n{lua_source()}\nreturn {{{table}}}".encode())


@given(st.binary(max_size=200))
def test_hashes_are_those_of_sha256(lua: Any, text: bytes) -> None:
    assert lua[b"sha256"](text) == hashlib.sha256(text).hexdigest().encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("model"), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), VALUES, max_size=5),
    st.text(max_size=20),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_the_model_is_found_as_a_json_parser_finds_it(
    lua: Any, other: dict[str, Any], model: str, stream: bool, ascii_only: bool, indent: int
) -> None:
    body = {**other, "model": model, "stream": stream, "tail": other}
    text = json.dumps(body, ensure_ascii=ascii_only, indent=indent or None).encode("utf-8", "surrogatepass")
    found = lua[b"scan"](text)
    assert found[b"model"].decode("utf-8", "surrogatepass") == model
    assert found[b"stream"] is stream
    assert json.loads(text[found[b"first"] - 1 : found[b"last"]]) == model
    changed = text[: found[b"first"] - 1] + b'"new"' + text[found[b"last"] : found[b"close"] - 1] + b',"x":1}'
    assert json.loads(changed) == {**body, "model": "new", "x": 1}


@given(st.binary(max_size=120))
def test_no_body_fails(lua: Any, text: bytes) -> None:
    lua[b"scan"](text)
    lua[b"scan"](b"{" + text)
    lua[b"form_model"](text, b"multipart/form-data; boundary=a")


def test_the_last_of_equal_models_counts(lua: Any) -> None:
    assert lua[b"scan"](b'{"model":"a","model":"b"}')[b"model"] == b"b"
    assert lua[b"scan"](b'{"model":"a","model":5}')[b"model"] is None


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (b"plain", "plain"),
        (b"a\\\\b", "a\\b"),
        (b'\\"\\/\\b\\f\\n\\r\\t', '"/\b\f\n\r\t'),
        (b"t\\u0069ny", "tiny"),
        (b"\\u00e9\\u20ac", "é€"),
        (b"\\uD83D\\uDE00 and \\ud83d\\ude00", "😀 and 😀"),
        (b"\\\\u0069", "\\u0069"),
        (b"\\u0000", "\0"),
        ("ü\\n".encode(), "ü\n"),
    ],
)
def test_escapes_of_json_are_read(lua: Any, escaped: bytes, text: str) -> None:
    assert lua[b"unescape"](escaped) == text.encode()
    assert json.loads(b'"' + escaped + b'"') == text


@given(st.text(max_size=30), st.booleans())
def test_every_text_survives_its_escapes(lua: Any, text: str, ascii_only: bool) -> None:
    inner = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass")
    assert lua[b"unescape"](inner).decode("utf-8", "surrogatepass") == text


@pytest.mark.parametrize(
    "escaped", [b"\\", b"\\u", b"\\u12", b"\\uzzzz", b"\\ud83d", b"\\ude00\\ud83d", b"\\ud83d\\u0041"]
)
def test_broken_escapes_end(lua: Any, escaped: bytes) -> None:
    assert isinstance(lua[b"unescape"](escaped), bytes)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-16", "utf-8-sig"])
def test_other_encodings_are_refused(lua: Any, encoding: str) -> None:
    # vLLM's parser reads them, and would find another model than a reader of UTF-8.
    found = lua[b"scan"]('{"model": "tiny"}'.encode(encoding))
    assert found[0] is None
    assert b"no JSON object" in found[1]


@pytest.mark.parametrize(
    ("value", "streams"),
    [
        (b"true", True),
        (b'"true"', True),
        (b"1", True),
        (b"1.0", True),
        (b'"yes"', True),
        (b'"On"', True),
        (b"false", False),
        (b"null", False),
        (b"0", False),
        (b'"False"', False),
        (b'"off"', False),
    ],
)
def test_a_stream_is_found_in_every_spelling_that_vllm_takes(lua: Any, value: bytes, streams: bool) -> None:
    assert lua[b"scan"](b'{"model":"m","stream": ' + value + b"}")[b"stream"] is streams


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (b'{"model":"m","stream_options":null,"x":{"include_usage":true}}', b""),
        (b'{"stream_options":{"include_usage":true},"stream_options":null,"x":[{"include_usage":true}]}', b""),
        (b'{"stream_options": {"a":{"b":[1]}} , "x":{"include_usage":true}}', b'{"a":{"b":[1]}}'),
    ],
)
def test_only_the_own_stream_options_are_read(lua: Any, text: bytes, options: bytes) -> None:
    assert lua[b"scan"](text)[b"options"] == options


PART = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n'
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\nContent-Type: audio/wav\r\n\r\n%s\r\n'
FORM = b"multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("form", "model"),
    [
        (PART % b"tiny" + b"--b--\r\n", b"tiny"),
        (FILE % b"\x00\x01" + PART % b"tiny" + b"--b--", b"tiny"),
        (b"preamble\r\n" + PART % b"tiny" + b"--b--", b"tiny"),
        (PART % b"tiny" + FILE % (PART % b"other" + b"--bx") + b"--b--", None),
        (PART % b"" + b"--b--", b""),
        (PART % b"tiny" + PART % b"other" + b"--b--", None),
        (FILE % (b"x" + PART % b"other") + b"--b--", None),
        (PART.replace(b'name="model"', b"name=model") % b"tiny" + b"--b--", b"tiny"),
        (b'--b\r\nX: name="model"\r\n\r\ntiny\r\n--b--', None),
        (b'--b\r\nContent-Disposition: form-data; a=1; name="model"\r\n\r\ntiny\r\n--b--', None),
        (PART % (b"m" * 400) + b"--b--", None),
        (PART % b"tiny", None),
        (b"", None),
    ],
)
def test_a_form_names_one_model(lua: Any, form: bytes, model: bytes | None) -> None:
    found = lua[b"form_model"](form, FORM)
    if model is None:
        assert found is None or found[0] is None
    else:
        assert found[0] == model
        assert form[found[1] - 1 : found[2]] == model


@given(st.text())
def test_quoted_texts_are_json(lua: Any, text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    assert json.loads(lua[b"quoted"](raw)) == raw.decode("latin-1")


def test_events_with_the_usage_alone_are_taken_out(lua: Any) -> None:
    first = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[]"}}],"usage":null}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"total_tokens":7,"completion_tokens":2}}\n\n'
    end = b"data: [DONE]\n\n"
    assert lua[b"without_usage"](first + usage + end) == first + end
    assert lua[b"read_usage"](usage, usage.index(b'"usage"') + 1) == (5, 2, 7)


@given(VALUES)
def test_values_become_expressions_of_lua(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    runtime = lupa.LuaRuntime(encoding=None)
    raw = text.encode("utf-8", "surrogatepass")
    if raw.decode("utf-8", "ignore") == text:
        assert runtime.eval(to_lua(text).encode()) == raw


def test_a_program_holds_hashes_and_no_key() -> None:
    digest = hashlib.sha256(b"sk-alice").hexdigest()
    spec = GatewaySpec.model_validate({"auth": {"secrets": [{"name": "k"}]}})
    servers = (GatewayServer('we"ird', ('m"\\]]', "n"), ()),)
    keys = (KeyEntry("alice", digest, ("n",), 5),)
    snapshot = GatewaySnapshot("gw", 1, spec, servers, keys)
    program = lua_program(snapshot, resolve_models(spec, servers))
    assert digest in program
    assert "sk-alice" not in program
    lupa.LuaRuntime().compile(program)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        to_lua(1.5)
