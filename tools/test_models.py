#!/usr/bin/env python3
"""Makes small checkpoints for tests of what the models that ship are too short and too simple for: the real
vocabularies and chat templates of Qwen3 and DeepSeek-V3, tools among them, and 65,536 positions. The weights are drawn
from a seed, so what they say means nothing.

    tools/test_models.py OUT [--vocabularies build/vocabularies] [--seed 1]

OUT gets three folders, about 20 MB each: gqa (Qwen3), window (Qwen3, every other layer sees 512 tokens) and mla
(DeepSeek-V3: latent attention and experts). What is there already, of the same seed, stays. Needs Python alone.
"""
import argparse
import json
import pathlib
import random
import shutil
import struct

POSITIONS = 65536

QWEN3 = dict(
    architectures=["Qwen3ForCausalLM"], model_type="qwen3", hidden_act="silu", hidden_size=64, intermediate_size=160,
    num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=32, vocab_size=151936, rms_norm_eps=1e-6,
    rope_theta=1000000, attention_bias=False, tie_word_embeddings=True, use_sliding_window=False, sliding_window=None,
    max_window_layers=4, max_position_embeddings=POSITIONS, bos_token_id=151643, eos_token_id=151645, torch_dtype="bfloat16")

WINDOW = QWEN3 | dict(
    use_sliding_window=True, sliding_window=512,
    layer_types=["full_attention", "sliding_attention", "full_attention", "sliding_attention"])

DEEPSEEK_V3 = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_act="silu", hidden_size=64,
    intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=48,
    kv_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, vocab_size=129280, rms_norm_eps=1e-6,
    rope_theta=10000, rope_interleave=True, attention_bias=False, tie_word_embeddings=True, first_k_dense_replace=1, moe_layer_freq=1,
    n_routed_experts=8, num_experts_per_tok=2, n_group=4, topk_group=2, n_shared_experts=1, moe_intermediate_size=32,
    norm_topk_prob=True, routed_scaling_factor=2.5, scoring_func="sigmoid", topk_method="noaux_tc",
    num_nextn_predict_layers=0, max_position_embeddings=POSITIONS, bos_token_id=0, eos_token_id=1, torch_dtype="bfloat16")


def qwen3_tensors(c):
    D, F, K = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    H, G = c["num_attention_heads"], c["num_key_value_heads"]
    yield "model.embed_tokens.weight", [c["vocab_size"], D]
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield from {layer + "input_layernorm.weight": [D], layer + "self_attn.q_proj.weight": [H * K, D],
                    layer + "self_attn.k_proj.weight": [G * K, D], layer + "self_attn.v_proj.weight": [G * K, D],
                    layer + "self_attn.q_norm.weight": [K], layer + "self_attn.k_norm.weight": [K],
                    layer + "self_attn.o_proj.weight": [D, H * K], layer + "post_attention_layernorm.weight": [D]}.items()
        yield from network(layer + "mlp.", D, F)
    yield "model.norm.weight", [D]


def deepseek_tensors(c):
    D, H, C, R = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
    Q, N, V, E, S = c["q_lora_rank"], c["qk_nope_head_dim"], c["v_head_dim"], c["n_routed_experts"], c["moe_intermediate_size"]
    yield "model.embed_tokens.weight", [c["vocab_size"], D]
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        attention = layer + "self_attn."
        yield from {layer + "input_layernorm.weight": [D], attention + "q_a_proj.weight": [Q, D],
                    attention + "q_a_layernorm.weight": [Q], attention + "q_b_proj.weight": [H * (N + R), Q],
                    attention + "kv_a_proj_with_mqa.weight": [C + R, D], attention + "kv_a_layernorm.weight": [C],
                    attention + "kv_b_proj.weight": [H * (N + V), C], attention + "o_proj.weight": [D, H * V],
                    layer + "post_attention_layernorm.weight": [D]}.items()
        if i < c["first_k_dense_replace"]:
            yield from network(layer + "mlp.", D, c["intermediate_size"])
            continue
        yield layer + "mlp.gate.weight", [E, D]
        yield layer + "mlp.gate.e_score_correction_bias", [E]
        for e in range(E):
            yield from network(f"{layer}mlp.experts.{e}.", D, S)
        yield from network(layer + "mlp.shared_experts.", D, S * c["n_shared_experts"])
    yield "model.norm.weight", [D]


def network(prefix, D, F):
    yield from {prefix + "gate_proj.weight": [F, D], prefix + "up_proj.weight": [F, D],
                prefix + "down_proj.weight": [D, F]}.items()


def numbers(shape, name, draw):
    """bf16: norms 1 + m/128 of a random m, all others +-(1 + m/128) 2^-e with 2^-e at 1/sqrt(inputs) or below."""
    count = 1
    for size in shape:
        count *= size
    if "norm" in name:
        exponent, signs = 127, (0, 0)
    else:
        exponent, signs = 127 - max(1, (shape[-1] - 1).bit_length() // 2 + 1), (0, 0x80)
    high = bytes(signs[b & 1] | exponent >> 1 for b in range(256))
    low = bytes((exponent & 1) << 7 | b >> 1 for b in range(256))
    data = bytearray(2 * count)
    data[0::2] = draw.randbytes(count).translate(low)
    data[1::2] = draw.randbytes(count).translate(high)
    return bytes(data)


def write_weights(path, tensors, seed):
    header, at, parts = {}, 0, []
    for name, shape in tensors:
        part = numbers(shape, name, random.Random(f"{seed} {name}"))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(parts)


def make(out, config, tensors, vocabulary, seed):
    mark = out / ".seed"
    stamp = f"{seed} {json.dumps(config, sort_keys=True)}"
    if mark.exists() and mark.read_text() == stamp:
        return
    out.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(vocabulary / name, out / name)
    (out / "config.json").write_text(json.dumps(config, indent=1))
    (out / "generation_config.json").write_text(json.dumps({"do_sample": False, "eos_token_id": config["eos_token_id"]}))
    write_weights(out / "model.safetensors", tensors(config), seed)
    mark.write_text(stamp)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--vocabularies", type=pathlib.Path, default=root / "build/vocabularies")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    qwen3, deepseek = args.vocabularies / "qwen3", args.vocabularies / "deepseek_v3"
    make(args.out / "gqa", QWEN3, qwen3_tensors, qwen3, args.seed)
    make(args.out / "window", WINDOW, qwen3_tensors, qwen3, args.seed)
    make(args.out / "mla", DEEPSEEK_V3, deepseek_tensors, deepseek, args.seed)


if __name__ == "__main__":
    main()
