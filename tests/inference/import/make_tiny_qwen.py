#!/usr/bin/env python3
"""Makes tests/data/checkpoints: tiny Qwen models of random weights in Hugging Face's form, with transformers' logits.

    python3 -m venv VENV && VENV/bin/pip install torch transformers
    VENV/bin/python tests/inference/import/make_tiny_qwen.py tests/data/checkpoints

Each folder holds a checkpoint, a LoRA adapter in `adapter`, and in `expected` a text with its tokens and the logits of
all of them, without and with the adapter: computed in float64 (norms in float32), stored as float32.
"""
import json
import pathlib
import sys

import tokenizers
import torch
import transformers
from safetensors.torch import save_file

TEXT = "The liver is of normal size in 2024.\n\nNo effusion, it's fine."
# Of Qwen2's and Qwen3's tokenizer.json.
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
RANK, ALPHA = 2, 3
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def write_tokenizer(folder):
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "t"), ("i", "n"), ("e", "r"), ("Ġ", "o"), ("f", "f")]
    pieces = alphabet + [left + right for left, right in merges]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(CONTROLS)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "chat_template": TEMPLATE}, indent=1) + "\n")
    return tokenizer


def randomize(model):
    for name, parameter in model.named_parameters():
        normal = torch.randn_like(parameter)
        if "norm" in name:
            parameter.data = torch.exp(0.3 * normal)
        elif name.endswith("bias"):
            parameter.data = 0.5 * normal
        elif "embed_tokens" in name:
            parameter.data = 0.3 * normal
        else:
            parameter.data = normal * 1.5 / parameter.shape[1] ** 0.5


def write_adapter(model, folder):
    """Random factors for every linear layer; they are added to the model's weights."""
    folder.mkdir()
    tensors = {}
    for name, module in model.model.named_modules():
        if name.split(".")[-1] not in TARGETS:
            continue
        a, b = 0.3 * torch.randn(RANK, module.in_features), 0.2 * torch.randn(module.out_features, RANK)
        tensors[f"base_model.model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.model.{name}.lora_B.weight"] = b
        module.weight.data += (ALPHA / RANK * (b.double() @ a.double())).to(module.weight.dtype)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny", "r": RANK,
        "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none", "use_rslora": False, "fan_in_fan_out": False,
        "target_modules": TARGETS}, indent=1) + "\n")


def write(folder, make_config, make_model, seed, **shape):
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    tokenizer = write_tokenizer(folder)
    config = make_config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, bos_token_id=None, pad_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"), **shape)
    config._attn_implementation = "eager"
    model = make_model(config).float().eval()
    randomize(model)
    model.generation_config.eos_token_id = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    model.save_pretrained(folder)

    tokens = tokenizer.encode(TEXT).ids
    expected = folder / "expected"
    expected.mkdir()
    (expected / "tokens.json").write_text(json.dumps({"text": TEXT, "tokens": tokens}) + "\n")

    def write_logits(name):
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0]
        (expected / name).write_bytes(logits.float().numpy().tobytes())

    model.double()
    write_logits("base.logits")
    write_adapter(model, folder / "adapter")
    write_logits("adapted.logits")


def main():
    out = pathlib.Path(sys.argv[1])
    write(out / "tiny-qwen2", transformers.Qwen2Config, transformers.Qwen2ForCausalLM, 1, tie_word_embeddings=True)
    # Heads of a size that hidden / heads is not.
    write(out / "tiny-qwen3", transformers.Qwen3Config, transformers.Qwen3ForCausalLM, 2, tie_word_embeddings=False,
          head_dim=16)


if __name__ == "__main__":
    main()
