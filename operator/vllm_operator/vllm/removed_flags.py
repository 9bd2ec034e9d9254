"""Flags that users still set although vLLM removed them, and what to do instead.

The measured tables show which release removed a flag.
"""

from __future__ import annotations

from vllm_operator.vllm.known_release import flag_history

REPLACEMENTS = {
    "--disable-log-requests": "remove it: requests are logged only with --enable-log-requests",
    "--num-scheduler-steps": "remove it: the scheduler no longer has a multi-step mode",
    "--multi-step-stream-outputs": "remove it: the scheduler no longer has a multi-step mode",
    "--swap-space": "remove it: preempted requests are computed again instead of swapped; for weights beyond the "
    "GPU's memory there is --cpu-offload-gb",
    "--max-seq-len-to-capture": "use --max-cudagraph-capture-size, or cudagraph_capture_sizes of --compilation-config",
    "--device": "remove it: the image decides, and accelerator.resourceName chooses the node",
    "--use-v2-block-manager": "remove it: this block manager is the only one",
    "--task": "use --runner pooling with --convert embed, classify or reward; nothing is needed to generate",
    "--enable-reasoning": "remove it: reasoningParser alone turns reasoning on",
    "--guided-decoding-backend": 'use --structured-outputs-config \'{"backend": "..."}\'',
    "--override-pooler-config": "use --pooler-config",
    "--speculative-model": "use engine.speculativeConfig with the key model",
    "--num-speculative-tokens": "use engine.speculativeConfig with the key num_speculative_tokens",
    "--disable-frontend-multiprocessing": "remove it: the API server and the engine are always separate processes",
    "--preemption-mode": "remove it: preempted requests are always computed again",
    "--rope-scaling": "use --hf-overrides with the key rope_parameters",
    "--rope-theta": "use --hf-overrides with the key rope_parameters",
    "--worker-use-ray": "use --distributed-executor-backend ray",
    "--lora-extra-vocab-size": "remove it: adapters cannot add tokens",
    "--enable-prompt-adapter": "remove it: use a LoRA adapter",
    "--disable-mm-preprocessor-cache": "use --mm-processor-cache-gb 0",
    "--max-num-partial-prefills": "remove it: the scheduler decides by itself",
}


def explain_missing_flag(flag: str) -> str:
    """Return why a release lacks a flag, and what to do; empty for a flag that is not known at all."""
    history, remedy = flag_history(flag), REPLACEMENTS.get(flag, "remove it")
    if history.removed:
        return f"it was dropped {history.removed}: {remedy}"
    if history.since:
        return f"it was added {history.since}: use a newer image, or remove it"
    return f"it was dropped long ago: {remedy}" if flag in REPLACEMENTS else ""
