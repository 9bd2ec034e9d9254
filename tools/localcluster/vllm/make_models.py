# mypy: ignore-errors
"""Write tiny random Llama models, as a user would find them on a hub: `make_models.py FOLDER`.

They are small enough to load in a second, and differ in size and name, so that a change of the model shows.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog.",
    "Kubernetes runs containers; the operator keeps what was asked for true.",
    "A model answers in tokens, and each token costs time and memory.",
    "0123456789 +-*/= () [] {} <> , . ; : ! ? ' \" @ # $ % & _ | ~",
]
SPECIAL = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer that can encode any text."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=SPECIAL, initial_alphabet=alphabet)
    model.train_from_iterator(CORPUS, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=2048
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def write(folder: Path, hidden: int, layers: int, seed: int) -> None:
    """Write one model; the CPU's attention needs heads of 32 dimensions at least."""
    torch.manual_seed(seed)
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        torch_dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)
    for path in folder.iterdir():
        # Weights are written for their owner alone, but servers run as any user.
        path.chmod(0o644)


if __name__ == "__main__":
    models_folder = Path(sys.argv[1])
    write(models_folder / "tiny", hidden=128, layers=2, seed=1)
    write(models_folder / "tiny-b", hidden=256, layers=3, seed=2)
