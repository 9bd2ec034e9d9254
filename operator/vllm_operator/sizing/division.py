"""How a model is divided among GPUs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Division:
    """The parallelism of one engine.

    Attributes:
        tensor: GPUs that share each layer (`--tensor-parallel-size`).
        pipeline: groups of layers on separate GPUs (`--pipeline-parallel-size`).
        data: engines that share requests (`--data-parallel-size`); each holds all weights, except experts with
            expert parallelism.
        experts: whether whole experts are distributed (`--enable-expert-parallel`).
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    experts: bool = False

    @property
    def gpus(self) -> int:
        """Number of GPUs of all engines together."""
        return self.tensor * self.pipeline * self.data

    @property
    def expert_ranks(self) -> int:
        """GPUs among which the experts of a layer are distributed as a whole; 1 without expert parallelism."""
        return self.tensor * self.data if self.experts else 1

    @property
    def expert_tensor(self) -> int:
        """GPUs that share each expert."""
        return 1 if self.experts else self.tensor

    def stages(self, layers: int) -> list[range]:
        """Return the layers of each pipeline stage.

        Source: `get_pp_indices` in vLLM's utils.py: layers that are left over go to the stages before the
        last one, from the back.
        """
        sizes = [layers // self.pipeline] * self.pipeline
        for offset in range(2, layers % self.pipeline + 2):
            sizes[-offset] += 1
        starts = [sum(sizes[:index]) for index in range(self.pipeline)]
        return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
