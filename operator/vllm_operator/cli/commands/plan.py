"""`kubectl vllm plan`."""

from __future__ import annotations

from typing import Any, TextIO

import click
from click.core import ParameterSource

from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.options import output_option

MAX_MANIFEST = 4 << 20
"""Characters of a manifest that are read; an object of the API server has at most 3 MiB."""

POSITIVE = click.IntRange(1, 1 << 24)


@click.command()
@click.option(
    "--config",
    "source",
    metavar="SOURCE",
    help="Model: a config.json, a folder with it and the safetensors files, hf://OWNER/NAME[@REVISION], or OWNER/NAME.",
)
@click.option(
    "--filename",
    "-f",
    "manifest",
    type=click.File(encoding="utf-8", errors="replace"),
    help="File with a VLLMServer, - for standard input: its model, GPU and engine; other options win over it.",
)
@click.option(
    "--write",
    "target",
    metavar="FILE",
    help="Write a VLLMServer with the fewest GPUs that fit, - for standard output.",
)
@click.option("--model", metavar="URI", help="The model's uri in the cluster, for --write.")
@click.option(
    "--weights-gib",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    help="Weights of the whole model in GiB, instead of the computed ones.",
)
@click.option(
    "--gpu",
    "gpu",
    metavar="NAME",
    help="GPU such as H100-80GB, a nvidia.com/gpu.product label, a slice such as A100-80GB-MIG-3g.40gb, or CPU.",
)
@click.option(
    "--gpu-memory-gib",
    type=click.FloatRange(min=0, min_open=True, max=1e5),
    help="Memory of a GPU that is in no table, in GiB as nvidia-smi counts it.",
)
@click.option(
    "--gpus",
    "list_gpus",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda c, p, v: _print_gpus(c, v),
    help="Print the known GPUs and exit.",
)
@click.option(
    "--tp", "tensor", type=click.IntRange(1, 1024), default=1, show_default=True, help="--tensor-parallel-size."
)
@click.option(
    "--pp", "pipeline", type=click.IntRange(1, 128), default=1, show_default=True, help="--pipeline-parallel-size."
)
@click.option("--dp", "data", type=click.IntRange(1, 1024), default=1, show_default=True, help="--data-parallel-size.")
@click.option("--enable-expert-parallel", "experts", is_flag=True, help="Distribute whole experts.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "bfloat16", "float16", "half", "float32", "float"]),
    default="auto",
    show_default=True,
    help="Data type of weights and activations; auto is the model's own.",
)
@click.option(
    "--quantization",
    "-q",
    default="",
    metavar="METHOD",
    help="Quantize an unquantized checkpoint: fp8, bitsandbytes; or another method, to compare.",
)
@click.option(
    "--kv-cache-dtype",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"]),
    help="Data type of the KV cache; auto is that of the model.",
)
@click.option("--max-model-len", type=POSITIVE, help="Tokens of the longest sequence. [default: the model's own]")
@click.option(
    "--gpu-memory-utilization",
    type=click.FloatRange(min=0, min_open=True, max=1),
    help="Fraction of the GPU's memory for vLLM. [default: 0.92 since vLLM 0.20, 0.9 before]",
)
@click.option(
    "--kv-cache-memory-bytes",
    type=click.IntRange(1, 1 << 50),
    help="Bytes of the KV cache of one GPU, instead of what is left.",
)
@click.option("--max-num-seqs", type=POSITIVE, help="Requests that run at once. [default: vLLM's for the GPU]")
@click.option(
    "--max-num-batched-tokens", type=POSITIVE, help="Tokens of one step of the engine. [default: vLLM's for the GPU]"
)
@click.option("--block-size", type=click.IntRange(1, 65536), help="Tokens of a block. [default: vLLM's]")
@click.option("--enforce-eager", is_flag=True, help="No CUDA graphs.")
@click.option(
    "--enable-prefix-caching/--no-enable-prefix-caching",
    "prefix_caching",
    default=None,
    help="Matters for models with recurrent layers. [default: vLLM's]",
)
@click.option(
    "--images", type=click.IntRange(0, 4096), help="Images of a request; 0 leaves the vision encoder out of the peak."
)
@click.option(
    "--cpu-kv-space-gib",
    type=click.FloatRange(min=0, min_open=True, max=1e5),
    default=4.0,
    show_default=True,
    help="VLLM_CPU_KVCACHE_SPACE, with --gpu CPU.",
)
@click.option(
    "--vllm-version", default="0.32.0", show_default=True, metavar="VERSION", help="Version of vLLM to compute for."
)
@click.option(
    "--context",
    "contexts",
    type=POSITIVE,
    multiple=True,
    help="Print the concurrency at this context, too. May be repeated.",
)
@click.option("--compare-quantization", "compare", is_flag=True, help="Compare kinds of quantization.")
@click.option("--price", type=click.FloatRange(min=0), help="Price of one GPU for an hour, in any currency.")
@output_option("json", "yaml")
@click.pass_context
def command(context: click.Context, /, output: str | None, **values: Any) -> None:
    """Compute the memory of a model in vLLM, and the tokens of its KV cache.

    Figures are those of one GPU, as vLLM logs them. The exit code is 1 when the model does not fit. No cluster is used.
    With --write, the exit code is 0 when a manifest was written.
    """
    from vllm_operator.cli.plan_report import as_data, as_text
    from vllm_operator.cli.planning import plan

    target, model, manifest = values.pop("target"), values.pop("model"), values.pop("manifest")
    values, notes = _with_manifest(context, values, manifest)
    answer = plan(values)
    answer.notes.extend(notes)
    if target is not None:
        from vllm_operator.cli.plan_manifest import write_manifest

        text = write_manifest(answer, values, model, target)
        if target == "-":
            click.echo(text, nl=False)
            return
    if output is None:
        as_text(answer)
    else:
        click.echo(_format(as_data(answer), output), nl=False)
    if not answer.result.fits and target is None:
        context.exit(FAILED)


def _with_manifest(
    context: click.Context, values: dict[str, Any], manifest: TextIO | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the options with those of a VLLMServer, which options of the command line replace."""
    if manifest is None:
        if values["source"] is None:
            raise click.UsageError("Missing option '--config', or '--filename' / '-f' with a VLLMServer.")
        return values, []
    from vllm_operator.cli.plan_input import values_of_manifest

    sources = {name: context.get_parameter_source(name) for name in values}
    given = {name for name, source in sources.items() if source is ParameterSource.COMMANDLINE}
    merged, notes = values_of_manifest(manifest.read(MAX_MANIFEST), values, given)
    if merged["source"] is None:
        raise click.UsageError("the model is in the cluster only (pvc:// or file://): give its config.json as --config")
    return merged, notes


def _format(data: dict[str, Any], output: str) -> str:
    if output == "json":
        import json

        return json.dumps(data, indent=2) + "\n"
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False))


def _print_gpus(context: click.Context, wanted: bool) -> None:
    if not wanted:
        return
    from vllm_operator.cli.plan_report import print_gpus

    print_gpus()
    context.exit()
