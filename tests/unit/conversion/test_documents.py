from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.conversion.samples import DEPLOYMENT, KSERVE, KUBEAI, PRODUCTION_STACK
from vllm_operator.conversion.documents import convert_documents
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import Document

SAMPLES = {"deployment": DEPLOYMENT, "kubeai": KUBEAI, "kserve": KSERVE, "production stack": PRODUCTION_STACK}


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_every_converted_server_is_accepted(text: str) -> None:
    found = convert_documents(list(yaml.safe_load_all(text)))
    servers = [one.server for one in found if one.server is not None]
    assert servers
    for server in servers:
        assert judge(Document(server)).problems == ()
    assert all(one.unconverted for one in found if one.server is None)


def test_lists_are_opened_and_other_objects_left_out() -> None:
    items = [*yaml.safe_load_all(DEPLOYMENT), {"kind": "ConfigMap"}, None, "text"]
    (one,) = convert_documents([{"apiVersion": "v1", "kind": "List", "items": items}])
    assert one.source == "Deployment mistral-7b"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=8)
    | st.sampled_from(["vllm serve x", "--model=a"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_any_value_in_any_place_is_read(name: str, data: st.DataObject) -> None:
    """Replace one value of a sample by anything: a conversion never fails, it converts or names a reason."""
    documents = list(yaml.safe_load_all(SAMPLES[name]))
    places = [(parent, key) for document in documents for parent, key in _places(document)]
    parent, key = data.draw(st.sampled_from(places))
    parent[key] = data.draw(JSON)
    for one in convert_documents(documents):
        assert one.server is not None or one.unconverted
        if one.server is not None:
            judge(Document(one.server))


def _places(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield value, key
            yield from _places(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index
            yield from _places(item)
