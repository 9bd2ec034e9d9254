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
