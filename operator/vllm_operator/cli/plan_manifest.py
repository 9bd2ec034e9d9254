"""The VLLMServer that `kubectl vllm plan --write` writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.cli.exits import USAGE, CliError
from vllm_operator.cli.manifests import NAMESPACE, documents_of
from vllm_operator.cli.planning import Plan
from vllm_operator.offline.judgement import judge
from vllm_operator.sizing.division import Division

IMAGE = "vllm/vllm-openai"
"""The published image of vLLM; its tags are its releases."""

NODE_GPUS = 8
"""GPUs of the largest common nodes: the operator runs one replica on one node."""

RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
"""Extended resource of the device plugin of a vendor."""

MAX_NAME = 50
"""Length of the server's name, which leaves room for the names of its children."""


def write_manifest(answer: Plan, values: Mapping[str, Any], model: str | None, target: str) -> str:
    """Write a manifest of the advised server to a file, and return its text.

    Args:
        answer: the plan.
        values: the options of the command line.
        model: `--model`; None to take it from `--config`.
        target: path of a new file; `-` writes none.

    Raises:
        CliError: nothing fits, the model has no URI, the file exists, or the manifest would be refused.
    """
    text = manifest_text(answer, values, model)
    (document,) = documents_of(text)
    judgement = judge(document, NAMESPACE)
    if not judgement.accepted:
        causes = "\n".join(f"  {problem.message}" for problem in judgement.problems)
        raise CliError(f"--write: the manifest would be refused:\n{causes}")
    if target != "-":
        _write(Path(target), text)
    return text


def manifest_text(answer: Plan, values: Mapping[str, Any], model: str | None) -> str:
    """Return the manifest as YAML."""
    import yaml

    division, fits_as_asked = _division(answer)
    uri = _uri(answer, values, model)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": _name(uri)},
        "spec": {
            "model": {"uri": uri},
            "image": f"{IMAGE}:v{_release(values)}",
            "engine": _engine(answer, values, division),
            "accelerator": _accelerator(answer, values, division),
        },
    }
    heading = f"# {answer.result.context} tokens of context on {division.gpus} x {answer.device.name}"
    advice = "" if fits_as_asked else ", the fewest that fit"
    return f"{heading}{advice}; written by `kubectl vllm plan`.\n" + str(yaml.safe_dump(document, sort_keys=False))


def _division(answer: Plan) -> tuple[Division, bool]:
    if answer.device.kind == "tpu":
        raise CliError("--write: manifests for TPUs are not written: their topology is not known here", USAGE)
    if answer.result.fits:
        return answer.options.division, True
    smallest = answer.smallest
    if smallest is None or smallest.division.gpus > NODE_GPUS:
        raise CliError(
            f"--write: no size fits on {NODE_GPUS} x {answer.device.name}, the most that one node has: lower "
            "--max-model-len, use a larger GPU, a quantized checkpoint, or --kv-cache-dtype fp8"
        )
    return smallest.division, False


def _engine(answer: Plan, values: Mapping[str, Any], division: Division) -> dict[str, Any]:
    fields: dict[str, Any] = {"maxModelLen": answer.result.context}
    sizes = {
        "tensorParallelSize": division.tensor,
        "pipelineParallelSize": division.pipeline,
        "dataParallelSize": division.data,
    }
    fields |= {name: size for name, size in sizes.items() if size > 1}
    chosen = {
        "gpuMemoryUtilization": values["gpu_memory_utilization"],
        "maxNumSeqs": values["max_num_seqs"],
        "maxNumBatchedTokens": values["max_num_batched_tokens"],
        "dtype": None if values["dtype"] == "auto" else values["dtype"],
        "quantization": values["quantization"] or None,
        "kvCacheDtype": None if values["kv_cache_dtype"] == "auto" else values["kv_cache_dtype"],
        "enablePrefixCaching": values["prefix_caching"],
        "enforceEager": values["enforce_eager"] or None,
    }
    fields |= {name: value for name, value in chosen.items() if value is not None}
    if division.experts:
        fields["extraArgs"] = ["--enable-expert-parallel"]
    return fields


def _accelerator(answer: Plan, values: Mapping[str, Any], division: Division) -> dict[str, Any]:
    if answer.device.kind == "cpu":
        return {"resourceName": ""}
    fields: dict[str, Any] = {"count": division.gpus}
    vendor = RESOURCES.get(answer.device.vendor)
    if vendor != "nvidia.com/gpu":
        fields = {"resourceName": vendor, **fields}
    label = values["gpu"] or ""
    # Only a label that the user copied from a node is sure to select one.
    if label.startswith(("NVIDIA-", "Tesla-")) and not values["gpu_memory_gib"]:
        fields["product"] = label
    return fields


def _uri(answer: Plan, values: Mapping[str, Any], model: str | None) -> str:
    if model:
        return model
    source = str(values["source"])
    if answer.source.headers and Path(source).exists():
        source = ""
    match = re.fullmatch(r"(?:hf://)?([\w.-]{1,96}/[\w.-]{1,96})(?:@[\w./-]{1,128})?", source)
    if match is None or Path(source).exists():
        raise CliError("--write: the files have no address in the cluster: name it with --model hf://OWNER/NAME", USAGE)
    return f"hf://{match[1]}"


def _name(uri: str) -> str:
    """Return a name for the server: the last part of the URI, as Kubernetes takes names."""
    last = uri.rstrip("/").rsplit("/", 1)[-1].split("@", 1)[0].lower()
    name = re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:MAX_NAME].strip("-")
    return name if name and name[0].isalpha() else f"model-{name}".strip("-")


def _release(values: Mapping[str, Any]) -> str:
    release = str(values["vllm_version"]).strip().removeprefix("v")
    return release if release.count(".") > 1 else f"{release}.0"


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise CliError(f"--write {path}: the file exists; name a new one, or - for standard output", USAGE) from error
    except OSError as error:
        raise CliError(f"--write {path}: {error.strerror or error}", USAGE) from error
