"""Differences between releases of vLLM, as far as memory is concerned.

Read in the sources of 0.6.6 to 0.33.0; each attribute names the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST = (0, 33)
"""The newest release whose rules were read."""

OLDEST = (0, 6)
"""The oldest release whose rules were read."""

_NUMBER = re.compile(
    r"^v?(\d{1,3})\.(\d{1,4})(?:\.(\d{1,4}))?([.+-][\w.+-]{0,40}|[a-z]\w{0,20}(?:[.+-][\w.+-]{0,40})?)?$"
)


class ReleaseError(ValueError):
    """A text that is no release of vLLM."""


@dataclass(frozen=True)
class ReleaseRules:
    """One release.

    Attributes:
        number: major and minor version.
        patch: number of the patch release; the last one that was read when it is not named.
    """

    number: tuple[int, int]
    patch: int = 99

    @property
    def is_known(self) -> bool:
        """The rules of the release were read; others are sized by the nearest one."""
        return OLDEST <= self.number <= NEWEST

    def uses_first_engine(self, capability: float) -> bool:
        """Return whether the first engine (V0) serves a model on NVIDIA GPUs of a compute capability.

        Source: `_is_v1_supported_oracle` in vLLM's arg_utils.py (0.8.5, 0.9.2): V1 is the default since 0.8, and needs
        8.0 until V0 was removed in 0.11.
        """
        return self.number < (0, 8) or (self.number < (0, 11) and 0 < capability < 8.0)

    @property
    def windows_are_full(self) -> bool:
        """Layers with a sliding window keep all tokens where other layers have full attention.

        Source: `unify_hybrid_kv_cache_specs` in vLLM's kv_cache_utils.py (0.8.5); 0.9.1 groups them.
        """
        return (*self.number, self.patch) < (0, 9, 1)

    @property
    def default_utilization(self) -> float:
        """Default of --gpu-memory-utilization (vLLM's cache.py)."""
        return 0.92 if self.number >= (0, 20) else 0.9

    @property
    def counts_cuda_graphs(self) -> bool:
        """The KV cache leaves room for CUDA graphs.

        `VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS` (vLLM's envs.py) is on by default since 0.20.
        """
        return self.number >= (0, 20)

    @property
    def sampler(self) -> str:
        """The way top-k and top-p are sampled in the profile run: sort, triton or flashinfer.

        Source: vLLM's topk_topp_sampler.py. 0.17 replaced the sort of the vocabulary by a Triton kernel
        for 8 requests and more; FlashInfer is the default on CUDA since 0.21.
        """
        if self.number >= (0, 21):
            return "flashinfer"
        return "triton" if self.number >= (0, 17) else "sort"

    @property
    def keeps_expert_workspace(self) -> bool:
        """The workspace of the experts stays allocated during sampling.

        Source: `current_workspace_manager` in vLLM's modular_kernel.py; unquantized experts use it since 0.14.
        """
        return self.number >= (0, 14)

    @property
    def captures_in_profile(self) -> bool:
        """CUDA graphs are captured once in the profile run, whose drivers' memory counts.

        Source: `profile_cudagraph_memory` in vLLM's gpu_worker.py since 0.18.
        """
        return self.number >= (0, 18)

    def fuses_all_reduce(self, capability: float, pipeline: int, data: int) -> bool:
        """Return whether FlashInfer's buffers for all-reduce are allocated, which tensor parallelism needs.

        Source: `enable_allreduce_rms_fusion` in vLLM's vllm.py since 0.17: Hopper, and Blackwell of data centres.
        """
        is_supported = capability == 9.0 or 10.0 <= capability < 11.0
        return self.number >= (0, 17) and is_supported and pipeline == 1 and (data == 1 or self.number >= (0, 21))

    @property
    def baseline_before_nccl(self) -> bool:
        """The buffers of NCCL count as memory of the engine.

        Source: vLLM's gpu_worker.py takes the first snapshot after NCCL's start since 0.11.
        """
        return self.number < (0, 11)

    @property
    def tokens_from_concurrency(self) -> bool:
        """ "GPU KV cache size" is the concurrency times the context.

        Read in kv_cache_utils.py of 0.20.2; 0.20.0 still counts blocks (vllm issue 43308).
        """
        return (*self.number, self.patch) >= (0, 20, 1)

    @property
    def keeps_in_flight_tokens(self) -> bool:
        """Sliding windows keep blocks of batches in flight, since 0.27 (kv_cache_interface.py)."""
        return self.number >= (0, 27)

    @property
    def largest_defaults(self) -> bool:
        """GPUs with 160 GiB and more have their own batch defaults, since 0.28 (arg_utils.py)."""
        return self.number >= (0, 28)

    @property
    def caches_recurrent_prefixes(self) -> bool:
        """Hybrid models cache prefixes by default, which keeps two states for a sequence.

        Source: `is_prefix_caching_supported` in vLLM's model.py; `mamba_cache_mode` becomes "align".
        """
        return self.number >= (0, 27)

    @property
    def keeps_prefill_states(self) -> bool:
        """Mamba 2 keeps a third state for a sequence whose prefix is cached, since 0.32 (mamba_mixer2.py)."""
        return self.number >= (0, 32)

    @property
    def second_runner_counts_graphs(self) -> bool:
        """Model Runner V2 measures CUDA graphs, too: before 0.29 it returns 0."""
        return self.number >= (0, 29)

    def uses_second_runner(self, architecture: str, has_experts: bool, is_quantized: bool, is_hybrid: bool) -> bool:
        """Return whether the engine uses Model Runner V2, whose profile run samples without top-k and top-p.

        Source: `use_v2_model_runner` in vLLM's vllm.py.
        """
        if self.number >= (0, 29):
            return True
        if self.number >= (0, 25):
            listed = architecture in ("DeepseekV2ForCausalLM", "Qwen2MoeForCausalLM", "GraniteMoeForCausalLM")
            return listed or not (has_experts or is_hybrid)
        dense = {
            (0, 22): ("Qwen3ForCausalLM",),
            (0, 23): ("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM"),
        }
        if self.number == (0, 24):
            more = ("DeepseekV2ForCausalLM", "Qwen2MoeForCausalLM", "GraniteMoeForCausalLM")
            return architecture in (*dense[(0, 23)], *more)
        return architecture in dense.get(self.number, ()) and not has_experts and not is_quantized


def parse_release(text: str) -> ReleaseRules:
    """Return the release that a text such as 0.19.0 or v0.19.1 names.

    Raises:
        ReleaseError: the text is no release.
    """
    match = _NUMBER.match(text.strip())
    if match is None:
        raise ReleaseError(f"{text[:40]!r} is no release of vLLM; write it as 0.32.0")
    return ReleaseRules((int(match[1]), int(match[2])), int(match[3]) if match[3] else 99)
