# mypy: ignore-errors
"""Write tiny random models of several kinds, as a user would find them on a hub: `make_models.py FOLDER`.

`tools/localcluster/vllm/make_models.py` must be importable: its folder is in `PYTHONPATH`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from make_models import tokenizer, write
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

HIDDEN = 128
"""Hidden size of each model: the CPU's attention needs heads of 32 dimensions at least."""

IMAGE_TOKEN = "<image>"
WHISPER_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


def bert_config(**values: object) -> BertConfig:
    """Return a BERT of two layers."""
    return BertConfig(
        vocab_size=512,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HIDDEN // 32,
        max_position_embeddings=512,
        **values,
    )


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer with the length of a BERT."""
    words = tokenizer()
    words.model_max_length = 512
    words.chat_template = None
    return words


def write_embedding(folder: Path) -> None:
    """Write an embedding model with the files of sentence-transformers."""
    BertModel(bert_config()).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def write_classifier(folder: Path, labels: int) -> None:
    """Write a classifier; one with a single label is a cross-encoder, which scores pairs of texts."""
    BertForSequenceClassification(bert_config(num_labels=labels)).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)


def write_vision(folder: Path) -> None:
    """Write a LLaVA: a CLIP tower of two layers in front of the Llama of `write`."""
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HIDDEN // 32,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HIDDEN // 32,
        image_size=56,
        patch_size=14,
        projection_dim=HIDDEN,
    )
    image_token = words.convert_tokens_to_ids(IMAGE_TOKEN)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_token, vision_feature_layer=-1)
    LlavaForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    rename_tower(folder / "model.safetensors")
    words.save_pretrained(folder)
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 56, "width": 56},
        "size": {"shortest_edge": 56},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE_TOKEN,
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images | {"processor_class": "LlavaProcessor"}))
    (folder / "processor_config.json").write_text(json.dumps(processor))


def rename_tower(path: Path) -> None:
    """Give the weights of the CLIP tower the names that published models have, and that vLLM reads."""
    old, new = "vision_tower.", "vision_tower.vision_model."
    weights = {name.replace(old, new) if new not in name else name: weight for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def write_whisper(folder: Path) -> None:
    """Write a speech recognition model of one encoder layer and one decoder layer."""
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": list(WHISPER_TOKENS)})
    words.chat_template = None
    start, end = (words.convert_tokens_to_ids(f"<|{name}|>") for name in ("startoftranscript", "endoftext"))
    config = WhisperConfig(
        vocab_size=len(words),
        num_mel_bins=80,
        d_model=HIDDEN,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=HIDDEN // 32,
        decoder_attention_heads=HIDDEN // 32,
        encoder_ffn_dim=2 * HIDDEN,
        decoder_ffn_dim=2 * HIDDEN,
        max_target_positions=448,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        begin_suppress_tokens=None,
    )
    WhisperForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)


def write_adapter(folder: Path, base: Path) -> None:
    """Write a LoRA adapter of rank 8 for the attention of the Llama in `base`."""
    folder.mkdir(parents=True, exist_ok=True)
    rank, tensors = 8, {}
    config = json.loads((base / "config.json").read_text())
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, config["hidden_size"])
        tensors[f"{name}.lora_B.weight"] = torch.randn(config["num_attention_heads"] * 32, rank)
    save_file(tensors, folder / "adapter_model.safetensors")
    adapter = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter | {"base_model_name_or_path": "tiny"}))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    torch.manual_seed(3)
    write(root / "tiny", hidden=HIDDEN, layers=2, seed=1)
    write_embedding(root / "embedding")
    write_classifier(root / "classifier", labels=3)
    write_classifier(root / "cross-encoder", labels=1)
    write_vision(root / "vision")
    write_whisper(root / "whisper")
    write_adapter(root / "adapter", root / "tiny")
