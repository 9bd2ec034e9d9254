from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.documents import MANIFESTS
from tests.helpers.fake_api_server import fake_api_server
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.manifests import subjects_of_file, with_uids
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import SERVER
from vllm_operator.offline.judgement import PLACEHOLDER_UID

SMALLEST = (MANIFESTS / "smallest.yaml").read_text()


def test_subjects_have_spec_and_rendered_children() -> None:
    [(name, subject)] = subjects_of_file(f"{SMALLEST}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}", "llm")
    assert name == "llm/mistral"
    assert subject.spec.replicas == 1
    assert "Deployment" in subject.objects


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not valid YAML"),
        ("", "the file is empty"),
        ("apiVersion: v1\nkind: Secret", "must be vllm-operator.dev/v1alpha1"),
        (SMALLEST.replace("uri:", "url:"), "is refused, so there is nothing to check"),
    ],
)
def test_file_without_an_accepted_server_is_refused(text: str, words: str) -> None:
    with pytest.raises(CliError, match=words):
        list(subjects_of_file(text, None))


def test_server_of_the_cluster_gives_its_uid(tmp_path: Path) -> None:
    live: dict[str, tuple[int, Any]] = {
        f"GET {SERVER.path('llm', 'mistral')}": (200, {"metadata": {"name": "mistral", "uid": "the-uid"}})
    }
    with fake_api_server(live, tmp_path) as (_, path):
        cluster = Cluster(ClusterOptions(kubeconfig=path))
        [known] = with_uids(cluster, SMALLEST)
        [new] = with_uids(cluster, SMALLEST.replace("mistral\n", "other\n", 1))
        odd = with_uids(cluster, "kind: VLLMServer\nmetadata: 3\n---\n- 1\n---\nkind: VLLMServer\nmetadata: {name: 3}")
    assert known.body["metadata"]["uid"] == "the-uid"
    assert new.body["metadata"]["uid"] == PLACEHOLDER_UID
    assert len(odd) == 3


def test_cluster_without_the_kind_is_named(tmp_path: Path) -> None:
    no_kind = {f"GET {SERVER.path('llm', 'mistral')}": (404, b"404 page not found\n")}
    with fake_api_server(no_kind, tmp_path) as (_, path), pytest.raises(CliError, match="the cluster has no CRD"):
        with_uids(Cluster(ClusterOptions(kubeconfig=path)), SMALLEST)
