"""Every row of the tables of causes, against the log of a vLLM that really failed so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.paths import DATA
from tests.helpers.pods import crashed_pod, deployment, loading_pod, rolling, termination
from tests.helpers.status_inputs import REFUSED, inputs, status_of
from vllm_operator.diagnosis.causes import CAUSES, diagnose_log, log_diagnosis_from_status
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.log_text import MESSAGE_LENGTH

LOGS = DATA / "logs"
ROWS = {row.log: row for row in CAUSES}
CONSEQUENCE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)

TEXTS = {
    "unknown-flag": "this vLLM has no --max-model-length: did you mean --max-model-len?",
    "invalid-value": "--max-num-seqs: invalid int value: 'many'",
    "context-too-long": "a context of 100000 tokens is more than the model allows (max_position_embeddings): "
    "set engine.maxModelLen to 2048 or less",
    "kv-cache-too-small": "set engine.maxModelLen to 256 or less",
    "gpu-memory-no-cache": "raise engine.gpuMemoryUtilization",
    "gpu-memory-taken": "only 59.32 of 79.15 GiB of the GPU are free",
    "gpu-memory-warm-up": "out of GPU memory during the warm-up with 1024 requests: lower engine.maxNumSeqs",
    "gpu-memory-load": "896.00 MiB more were needed, 739.81 MiB of 93.09 GiB are free",
    "driver-too-old": "too old for this image (it offers CUDA 12080)",
    "driver-mismatch": "Error 804: forward compatibility was attempted on non supported HW",
    "gpu-architecture": "no code for the node's GPU",
    "no-device": "vLLM found no accelerator",
    "tensor-parallel-size": "4 attention heads cannot be divided among 3 GPUs",
    "trust-remote-code": "set engine.trustRemoteCode: true",
    "quantization-card": "fp8 needs a GPU of compute capability 90 or more, this one has 86",
    "quantization-scheme": "compute capability 80 or more, this one has 75",
    "quantization-unsupported": "experts_int8 does not run on ROCm",
    "quantization-unknown": "this vLLM has no quantization method bitsandbytes",
    "quantization-mismatch": "the checkpoint is quantized with gptq, not awq",
    "unsupported-architecture": "does not support the architecture 'FooForCausalLM'",
    "unknown-model-type": "does not know the model type foo",
    "tool-parser": "this vLLM has no tool call parser mistrall: did you mean mistral?",
    "reasoning-parser": "this vLLM has no reasoning parser deepseek: did you mean deepseek",
    "chat-template": "the chat template /templates/mistral.jinja is not in the image",
    "missing-lora": "there is no LoRA adapter at /adapters/sql",
    "missing-model": "/models/mistral",
    "gated-401": "vLLM sent no valid token (401)",
    "gated-403": "the token may not read this gated model (403)",
    "revision-404": "the model has no revision v9 (404)",
    "repository-404": "the hub has no model acme/tiny",
    "rate-limited-429": "too many requests (429)",
    "hub-unreachable": "vLLM cannot reach the hub https://huggingface.co",
    "disk-full": "the disk is full",
    "cache-permission": "/cache/huggingface",
    "shared-memory": "raise sharedMemory",
    "shared-memory-nccl": "raise sharedMemory",
    "no-command": "set engine.command, such as [vllm, serve]",
    "no-command-shell": "set engine.command, such as [vllm, serve]",
    "port-in-use": "the port is taken already",
    "service-link": "VLLM_PORT=tcp://10.96.21.103:80",
    "engine-died": "most often because the kernel killed it for lack of memory",
}
"""Row -> text that its message must hold."""


def recorded(name: str) -> str:
    """Return a recorded log without its first line, which names its source."""
    origin, _, log = (LOGS / f"{name}.log").read_text().partition("\n")
    assert origin.startswith(("# vLLM ", "# Quoted from https://"))
    return log


@pytest.mark.parametrize("name", ROWS)
def test_recorded_log_gives_its_cause_and_remedy(name: str) -> None:
    found = diagnose_log(recorded(name))

    assert found
    assert found.reason == ROWS[name].reason
    assert TEXTS[name] in found.message


@pytest.mark.parametrize("name", ROWS)
def test_engines_own_line_wins_over_its_consequence(name: str) -> None:
    assert diagnose_log(f"{recorded(name)}\n(APIServer pid=1) {CONSEQUENCE}\n") == diagnose_log(recorded(name))


def test_colours_hide_nothing() -> None:
    log = "\x1b[1;36m(EngineCore_DP0 pid=9)\x1b[0;0m ERROR 11-05 12:19:32 [core.py:708] ValueError: boom\x1b[0m"

    assert diagnose_log(log) == Diagnosis("", "ValueError: boom")


def test_every_log_has_its_row() -> None:
    assert {path.stem for path in LOGS.glob("*.log")} == {*ROWS, "unknown-cause"}


def test_unknown_cause_gives_its_last_error() -> None:
    found = diagnose_log(recorded("unknown-cause"))

    assert found
    assert found.reason == ""
    assert "no_such_function" in found.message


def test_error_of_the_engine_wins_over_engine_died() -> None:
    fatal = "(EngineCore pid=9) ERROR 11-24 15:21:57 [core.py:1133] "
    log = f"{fatal}EngineCore encountered a fatal error.\n{fatal}ValueError: boom\n{recorded('engine-died')}"

    found = diagnose_log(log)

    assert found
    assert (found.reason, found.message) == ("", "ValueError: boom")


def test_empty_log_gives_no_diagnosis() -> None:
    assert diagnose_log("") is None
    assert diagnose_log("\n \n") is None


SECRETS = [
    f"error: unrecognized arguments: --api-keyy sk-{'a' * 30} hf_{'b' * 34} --token=hunter2hunter2",
    f"ValueError: HF_TOKEN=hf_{'b' * 34} is wrong",
    f"OSError: https://user:hunter2hunter2@hub.example/x with Bearer hf_{'b' * 34}",
    "RuntimeError: non-default args: {'api_key': ['hunter2hunter2'], 'model': 'x'}",
    "ValueError: password: hunter2hunter2",
]


@pytest.mark.parametrize("log", SECRETS)
def test_secrets_are_masked(log: str) -> None:
    found = diagnose_log(log)

    assert found
    assert "hunter2" not in found.message
    assert "bbb" not in found.message
    assert "aaa" not in found.message


@given(st.text(max_size=2000) | st.sampled_from([row.pattern for row in CAUSES]))
def test_any_log_can_be_read(log: str) -> None:
    found = diagnose_log(log)

    assert found is None or (len(found.message) < MESSAGE_LENGTH and "\n" not in found.message)


def test_long_log_is_read_from_its_end() -> None:
    assert diagnose_log("\n".join([recorded("context-too-long"), *["INFO: x"] * 300])) == Diagnosis("", "INFO: x")


POD = crashed_pod(termination(1, CONSEQUENCE))
NAME = POD["metadata"]["name"]


def replica(**more: object) -> dict[str, object]:
    """Return the entry of a pod that crashed."""
    return status_of(inputs(POD, **more))["replicaStatuses"][0]  # type: ignore[no-any-return]


def test_log_wins_over_the_termination_message() -> None:
    entry = replica(log_diagnoses={NAME: Diagnosis("ContextTooLong", "too long: lower it")})

    assert (entry["phase"], entry["reason"]) == ("CrashLooping", "ContextTooLong")
    assert entry["message"] == "exit code 1: too long: lower it"


def test_unknown_cause_keeps_the_exit_code_as_its_reason() -> None:
    entry = replica(log_diagnoses={NAME: Diagnosis("", "KeyError: 'x'")})

    assert (entry["reason"], entry["message"]) == ("ExitCode1", "exit code 1: KeyError: 'x'")


def test_diagnosis_stays_until_the_next_log_is_read() -> None:
    before = {"replicaStatuses": [replica(log_diagnoses={NAME: Diagnosis("ContextTooLong", "too long: lower it")})]}

    assert replica(previous=before) == before["replicaStatuses"][0]
    assert replica(previous=before, log_diagnoses={NAME: Diagnosis("", "")})["reason"] == "ExitCode1"


def test_only_diagnoses_of_the_tables_are_read_from_the_status() -> None:
    assert (
        log_diagnosis_from_status({"phase": "CrashLooping", "reason": "ExitCode1", "message": "exit code 1: x"}, True)
        is None
    )
    assert log_diagnosis_from_status({"phase": "Serving", "reason": "ContextTooLong", "message": "x: y"}, True) is None
    assert log_diagnosis_from_status(None, True) is None


def test_engine_is_unhealthy_for_the_cause() -> None:
    status = status_of(inputs(POD, log_diagnoses={NAME: Diagnosis("ContextTooLong", "too long: lower it")}))
    condition = next(one for one in status["conditions"] if one["type"] == "EngineHealthy")

    assert (condition["status"], condition["reason"]) == ("False", "ContextTooLong")
    assert condition["message"] == f"{NAME}: exit code 1: too long: lower it"
    assert "too long: lower it" in status["message"]


def late(**more: object) -> dict[str, object]:
    """Return the entry of a pod that did not start within the progress deadline."""
    stuck = deployment(1, conditions=[rolling("ProgressDeadlineExceeded")], readyReplicas=0, availableReplicas=0)
    given = inputs(LOADING, deployment=stuck, health={LOADING["metadata"]["name"]: REFUSED}, **more)
    return status_of(given)["replicaStatuses"][0]  # type: ignore[no-any-return]


LOADING = loading_pod()


def test_replica_that_does_not_start_has_the_diagnosis_of_its_log() -> None:
    name = LOADING["metadata"]["name"]
    entry = late(log_diagnoses={name: Diagnosis("RateLimited", "too many requests (429): wait")})

    assert (entry["phase"], entry["reason"]) == ("Loading", "RateLimited")
    assert str(entry["message"]).endswith("; its log says: too many requests (429): wait")
    assert late(previous={"replicaStatuses": [entry]}) == entry
    assert late(log_diagnoses={name: Diagnosis("", "INFO x")})["reason"] == "Loading"
