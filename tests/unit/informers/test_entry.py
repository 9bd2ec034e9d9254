"""Pack one object for the cache."""

from __future__ import annotations

from tests.unit.informers.objects import child
from vllm_operator.informers.store import Store


def test_managed_fields_are_kept_only_of_foreign_managers_of_the_spec(store: Store) -> None:
    own = {"manager": "vllm-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}}
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:type": {}}}}
    body = child()
    body["metadata"]["managedFields"] = [own, edit]
    store.put("Service", body)

    assert store.get("Service", "llm", "mistral")["metadata"]["managedFields"] == [edit]  # type: ignore[index]
    assert body["metadata"]["managedFields"] == [own, edit]
