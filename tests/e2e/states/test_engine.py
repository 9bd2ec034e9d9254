"""Row 2: vLLM refuses its arguments, with its own message; or the API server refuses the manifest before."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.e2e.states.case import Expected
from tests.e2e.states.conftest import Begin
from tests.e2e.states.servers import server
from tools.harness.kube import Object

GROUP = 2
NAMELESS = "public/vllm-cpu:latest"
"""An image whose tag contains no version."""


@dataclass(frozen=True)
class Refusal:
    """A spec that vLLM refuses, the expected status, and the repair."""

    name: str
    trouble: str
    spec: Object
    reason: str
    message: str
    cure: Object = field(default_factory=dict)


REFUSALS = (
    Refusal(
        "no-flag",
        "unknown flag, in an image whose version nobody knows",
        {"image": NAMELESS, "engine": {"extraArgs": ["--max-model-length", "512"]}},
        "UnknownFlag",
        r"exit code 2: this vLLM has no --max-model-length: did you mean --max-model-len\? \(engine.extraArgs\)$",
        {"engine": {"extraArgs": []}},
    ),
    Refusal(
        "too-long",
        "maxModelLen beyond the model",
        {"engine": {"maxModelLen": 100_000}},
        "ContextTooLong",
        r"exit code 1: a context of 100000 tokens is more than the model allows \(max_position_embeddings\): "
        r"set engine.maxModelLen to 2048 or less$",
        {"engine": {"maxModelLen": 2048}},
    ),
    Refusal(
        "no-room",
        "KV cache too small",
        {"engine": {"extraArgs": ["--num-gpu-blocks-override=3"]}},
        "KVCacheTooSmall",
        r"exit code 1: needs \S+ GiB of KV cache for one request of 512 tokens, and has \S+ GiB: "
        r"set engine.maxModelLen to \d+ or less, ",
        {"engine": {"extraArgs": []}},
    ),
    Refusal(
        "no-model",
        "missing model folder",
        {"model": {"uri": "file:///models/mistral"}},
        "ModelNotFound",
        r"exit code 1: there is no model at /models/mistral: correct the path in model.uri, or put the model there$",
        {"model": {"uri": "file:///models/tiny"}},
    ),
    Refusal(
        "no-parser",
        "wrong tool parser",
        {"engine": {"enableAutoToolChoice": True, "toolCallParser": "mistrall"}},
        "InvalidToolCallParser",
        r"exit code 1: this vLLM has no tool call parser mistrall: did you mean mistral\? \(engine.toolCallParser\)$",
        {"engine": {"toolCallParser": "pythonic"}},
    ),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_refusal_of_vllm_is_reported_with_its_remedy(begin: Begin, registry: str, refusal: Refusal) -> None:
    case = begin(refusal.name)
    body = server(refusal.name, **refusal.spec)
    body["spec"]["image"] = body["spec"]["image"].replace(NAMELESS, f"{registry}/{NAMELESS}")
    case.suffers(GROUP, refusal.trouble, lambda: case.applies(body))
    pattern = rf"^0/1 replicas serve; {refusal.name}-\S+: {refusal.message}"
    case.shows(
        Expected(
            "Failed", "Stuck", ("CrashLooping", refusal.reason), pattern, stalled=True,
            conditions=("Progressing=False:Stuck", f"EngineHealthy=False:{refusal.reason}", "Available=False"),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: case.changes(refusal.cure))


def test_flag_that_this_release_lacks_is_refused_before_anything_starts(begin: Begin) -> None:
    case = begin("refused")
    body = server("refused", engine={"extraArgs": ["--max-model-length", "512"]})
    case.suffers(GROUP, "unknown flag, in an image whose version is known", lambda: case.applies(body))
    case.shows(
        Expected(
            "Invalid", "UnknownFlag", None,
            r"^spec.engine.extraArgs\[0\]: vLLM 0.32.0 has no --max-model-length: did you mean --max-model-len\?",
            stalled=True, conditions=("Accepted=False:UnknownFlag",),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()


def test_token_secret_that_is_missing(begin: Begin) -> None:
    case = begin("no-token")
    model = {"uri": "file:///models/tiny", "tokenSecretRef": {"name": "hub"}}
    case.suffers(GROUP, "missing token Secret", lambda: case.applies(server("no-token", model=model)))
    case.shows(
        Expected(
            "Invalid", "SecretNotFound", None,
            r"^spec.model.tokenSecretRef: Secret hub does not exist in namespace \S+: create it, or name another",
            stalled=True, conditions=("Accepted=False:SecretNotFound",),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": "of-no-use"}}
    case.heals(lambda: case.kube.create(secret, case.namespace))
