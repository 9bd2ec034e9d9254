"""Record the weights and the KV cache of models that an installed vLLM for CPUs builds without memory for them.

`PYTHON -m tools.sizing.built_models FILE` with the Python of that vLLM. Each line of the file is a JSON object: `name`,
`config` (a config.json) and `options` (those of `EngineArgs`, and `tensor`). It prints a JSON object for each line: the
bytes of all parameters and buffers of the first rank, and the result of get_kv_cache_configs for 64 GiB. Put a model
with experts first: the groups of processes are made once, and only such a model makes that of the experts.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

CACHE_BYTES = 64 << 30
"""Bytes of the KV cache, whose blocks are recorded."""

LAYOUTS = [["LBNHC", "LBHNC", "BLHNC", "BLNHC"]]
"""Orders of the axes of a KV cache among which vLLM 0.32 chooses."""

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class Builder:
    """Builds models in one process, as the first rank of a TP group whose other ranks do not exist."""

    def __init__(self) -> None:
        self._torch: Any = import_module("torch")
        self._torch.set_num_threads(1)
        self._state: Any = import_module("vllm.distributed.parallel_state")
        registry: Any = import_module("vllm.model_executor.models.registry")
        # Inspect classes in this process: the default starts one for each.
        registry._LazyRegisteredModel.inspect_model_cls = lambda lazy: registry._ModelInfo.from_model_cls(
            lazy.load_model_cls()
        )
        self._is_ready = False

    def record(self, config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the bytes, blocks and tokens of a model.

        Args:
            config: its config.json.
            options: arguments of `EngineArgs`, and `tensor`, the ranks of the TP group.
        """
        arguments = dict(options)
        tensor = arguments.pop("tensor", 1)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(config))
            engine: Any = import_module("vllm.engine.arg_utils").EngineArgs(
                model=folder,
                load_format="dummy",
                skip_tokenizer_init=True,
                enforce_eager=True,
                dtype="bfloat16",
                **arguments,
            )
            whole = engine.create_engine_config()
        with import_module("vllm.config").set_current_vllm_config(whole), self._ranks(whole, tensor):
            model = self._model(whole)
            return {"bytes": _size(model), "max_model_len": whole.model_config.max_model_len, **_cache(whole)}

    def _model(self, whole: Any) -> Any:
        default = import_module("vllm.utils.torch_utils").set_default_torch_dtype
        with default(self._torch.bfloat16), self._torch.device("meta"):
            return import_module("vllm.model_executor.model_loader.utils").initialize_model(vllm_config=whole)

    @contextmanager
    def _ranks(self, whole: Any, tensor: int) -> Iterator[None]:
        """Let the group of this process say that it has more ranks."""
        if not self._is_ready:
            address = f"tcp://127.0.0.1:{_free_port()}"
            self._state.init_distributed_environment(1, 0, address, 0, "gloo")
            self._state.initialize_model_parallel(1)
            self._is_ready = True
        whole.parallel_config.tensor_parallel_size = tensor
        groups = [group for group in (self._state._TP, getattr(self._state, "_EP", None)) if group]
        for group in groups:
            group.world_size = tensor
        try:
            yield
        finally:
            for group in groups:
                group.world_size = 1


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _size(model: Any) -> int:
    tensors = {id(item): item for _, item in (*model.named_parameters(), *model.named_buffers())}
    return sum(item.numel() * item.element_size() for item in tensors.values())


def _cache(whole: Any) -> dict[str, int]:
    layer: Any = import_module("vllm.model_executor.layers.attention_layer_base").AttentionLayerBase
    utils: Any = import_module("vllm.v1.core.kv_cache_utils")
    import_module("vllm.platforms").current_platform.update_block_size_for_backend(whole)
    found = {
        name: module.get_kv_cache_spec(whole)
        for name, module in whole.compilation_config.static_forward_context.items()
        if isinstance(module, layer)
    }
    specs = {name: spec for name, spec in found.items() if spec is not None}
    import_module("vllm.v1.attention.backends.utils").resolve_kv_cache_layout(whole, LAYOUTS, specs.values())
    (cache,) = utils.get_kv_cache_configs(whole, [specs], [CACHE_BYTES])
    concurrency = utils.get_max_concurrency_for_kv_cache_config(whole, cache)
    return {"blocks": cache.num_blocks, "tokens": int(concurrency * whole.model_config.max_model_len)}


def main() -> None:
    """Print the record of each line of the file; a model that vLLM cannot build gets its error."""
    os.environ.update(ENVIRONMENT)
    builder = Builder()
    for line in Path(sys.argv[1]).read_text().splitlines():
        entry = json.loads(line)
        try:
            found = builder.record(entry["config"], entry.get("options", {}))
        except Exception as error:
            found = {"error": f"{error!r}"[:300]}
        print(json.dumps({"name": entry["name"], **found}), flush=True)


if __name__ == "__main__":
    main()
