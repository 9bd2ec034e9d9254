"""The manifests of `tests/data/field_cases` that a CPU can serve: each with a tiny model, and as its owner means it.

Model, image, devices and amounts become those of a CPU. All other fields are those of the file, or those that the
product names for its need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.helpers.paths import DATA
from tools.harness.kube import Object
from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.offline.judgement import Judgement, judge
from vllm_operator.offline.manifest_file import Document

FOLDER = DATA / "field_cases"
MODEL = "file:///models/tiny"

SMALL: Object = {
    "accelerator": {"resourceName": ""},
    "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
    "sharedMemory": "256Mi",
    "rollout": {"drainTimeoutSeconds": 5},
}
"""Amounts of a server without devices."""


@dataclass(frozen=True)
class FieldCase:
    """One manifest that people need.

    Attributes:
        file: name of the file.
        spec: fields that the product names for the need, in place of those of the file; None removes one.
        engine: the same, below `spec.engine`.
        free: it needs a namespace whose pod templates are free.
    """

    file: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)
    free: bool = False

    @property
    def name(self) -> str:
        """Name of the server: that of the file."""
        return f"case-{self.file.partition('-')[0]}"

    def server(self, image: str) -> Object:
        """Return the VLLMServer that a CPU can serve.

        Args:
            image: image of vLLM for CPUs.
        """
        spec: Object = yaml.safe_load((FOLDER / f"{self.file}.yaml").read_text())["spec"]
        names = spec["model"].get("servedNames")
        model = {"uri": MODEL, **({"servedNames": names} if names else {})}
        engine = {"maxModelLen": 512, "enforceEager": True, **self.engine}
        whole = {**spec, "model": model, "image": image, "engine": engine, **SMALL, **self.spec}
        kept = {name: value for name, value in whole.items() if value is not None}
        return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": self.name}, "spec": kept}


def judged(server: Object, pod_template: str) -> Judgement:
    """Return the verdict of `render` about a server."""
    return judge(Document(server), pod_template=pod_template)


def suggested_spelling() -> str:
    """Return the spelling of JSON that the product suggests for the item with shell quotes of the file 17."""
    written = """--speculative-config '{"method":"ngram","num_speculative_tokens":2,"prompt_lookup_max":2}'"""
    case = FieldCase("17-json-quotes", engine={"extraArgs": [written]})
    (problem,) = judged(case.server("vllm/vllm-openai:v0.32.0"), "restricted").problems
    (item,) = yaml.safe_load(f"[{problem.message.rpartition(': write ')[2]}]")
    return str(item)


CASES = {
    case.name: case
    for case in (
        FieldCase("01-rhaiis-tag", {"version": "unknown", "cache": None, "imagePullSecrets": None}),
        FieldCase("03-ipv6", engine={"extraArgs": ["--host", "::"]}),
        FieldCase("06-openshift-uid", {"security": {"profile": "openshift"}}),
        FieldCase("07-hostpath-cache", free=True),
        FieldCase("08b-amd-no-command", engine={"command": ["python3", "-m", "vllm.entrypoints.openai.api_server"]}),
        FieldCase(
            "14-kubeai-405b",
            {"autoscaling": None},
            engine={"enableChunkedPrefill": False, "extraArgs": ["--max-num-seqs=8", "--max-num-batched-tokens=512"]},
        ),
        FieldCase(
            "17-json-quotes",
            engine={"extraArgs": [suggested_spelling(), "--hf-overrides", '{"max_position_embeddings":1024}']},
        ),
        FieldCase("23-podmonitor-labels"),
        FieldCase(
            "24-deployment-annotations",
            {"metadata": {"labels": {"team": "ml"}, "annotations": {"lingo.substratus.ai/models": "m"}}},
        ),
        FieldCase(
            "27b-root-only-uid",
            {"security": {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": False}}},
            free=True,
        ),
        FieldCase("28-keda", {"cache": {"size": "1Gi", "perReplica": True}}),
        FieldCase("33-rwo-replicas", {"cache": {"size": "1Gi", "perReplica": True}}),
        FieldCase(
            "35-service",
            {
                "service": {
                    "type": "LoadBalancer",
                    "port": 80,
                    "annotations": {"metallb.universe.tf/address-pool": "address-pool"},
                    "nodePort": 30080,
                    "spec": {
                        "sessionAffinity": "None",
                        "externalTrafficPolicy": "Local",
                        "loadBalancerSourceRanges": ["10.0.0.0/8"],
                    },
                }
            },
        ),
        FieldCase("37-istio", {"security": {"podSecurityContext": {"supplementalGroups": [4000]}}}),
        FieldCase(
            "41-served-name",
            {"model": {"uri": MODEL, "servedNames": ["ibm-granite/granite-4.2-8b", "granite-4.2-8b"]}},
        ),
    )
}
"""The cases by the name of their server."""

HOST_FOLDER = "/var/tmp"
"""Folder of the node for the case with a hostPath: it exists, and every user may write to it."""
