"""Makes tests/goldens/rope/variants.json: what transformers reads out of a config about RoPE, over all places and spellings.

    python tools/goldens/rope_variants.py            writes
    python tools/goldens/rope_variants.py --check    compares with what is stored

Each variant is a config (the keys that decide), a length of the forward pass, and either the bits of the inverse
frequencies with the factor on cos and sin (and DeepSeek's softmax scale), or `refused`. Heads have 24 components: with so
few pairs PyTorch takes the C library's pow, and the bits are those of any machine.
"""

import json
import logging
import sys

import torch
import transformers
from transformers import AutoConfig

from models import GOLDENS

transformers.utils.logging.set_verbosity(logging.CRITICAL)
FILE = GOLDENS / "rope" / "variants.json"

GQA = {"hidden_size": 48, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 24, "intermediate_size": 32,
       "num_hidden_layers": 2, "vocab_size": 32, "max_position_embeddings": 256}
MLA = {**GQA, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 24, "v_head_dim": 8,
       "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FAMILIES = {"llama": GQA, "qwen2": GQA, "qwen3": GQA, "qwen3_moe": GQA | MOE, "deepseek_v2": MLA, "deepseek_v3": MLA}

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0}
LONG = {"rope_type": "longrope", "short_factor": [round(1 + i / 10, 1) for i in range(12)],
        "long_factor": [1 + i * i / 8 for i in range(12)]}
ORIGINAL = "original_max_position_embeddings"


def without(values: dict, key: str) -> dict:
    return {k: v for k, v in values.items() if k != key}


def places(values: dict) -> list[dict]:
    """Where the length of the training may stand: nowhere, in the dictionary, beside it, in both."""
    return [{"rope_parameters": values}, {"rope_parameters": {**values, ORIGINAL: 64}},
            {"rope_parameters": values, ORIGINAL: 64}, {"rope_parameters": {**values, ORIGINAL: 64}, ORIGINAL: 32},
            {"rope_scaling": values, ORIGINAL: 64}]


def spellings() -> list[dict]:
    linear = {"rope_type": "linear", "factor": 2.0}
    return [
        {}, {"rope_theta": 5e5}, {"rope_theta": 500000}, {"rope_scaling": None}, {"rope_parameters": None, "rope_theta": 2e4},
        {"rope_parameters": {"rope_theta": 3e4}}, {"rope_parameters": {"rope_theta": 3e4, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 3e4}, "rope_theta": 2e4}, {"rope_parameters": {}, "rope_theta": 2e4},
        {"rope_scaling": {}, "rope_theta": 2e4}, {"rope_scaling": {}, "rope_parameters": {**linear, "rope_theta": 3e4}},
        {"rope_scaling": {}, "rope_parameters": linear, "rope_theta": 2e4},
        {"rope_scaling": linear, "rope_parameters": {"rope_type": "default", "rope_theta": 3e4}},
        {"rope_scaling": linear, "rope_parameters": {"rope_theta": 3e4}, "rope_theta": 2e4},
        {"rope_scaling": {**linear, "rope_theta": 7e3}, "rope_theta": 2e4},
        {"rope_scaling": {"type": "linear", "factor": 3}}, {"rope_parameters": {"type": "linear", "factor": 3.0}},
        {"rope_parameters": {"type": "linear", "rope_type": "default", "factor": 3.0}},
        {"rope_parameters": {"type": "default", "rope_type": "linear", "factor": 3.0}},
        {"rope_parameters": {"rope_type": "default", "factor": 3.0}},
        {"rope_parameters": {"rope_type": "linear"}}, {"rope_parameters": {"rope_type": "dynamic"}},
        {"rope_parameters": without(LLAMA3, "factor")}, {"rope_parameters": without(LLAMA3, "low_freq_factor")},
        {"rope_parameters": without(LLAMA3, "high_freq_factor")}, {"rope_parameters": without(LONG, "short_factor")},
        {"rope_parameters": without(LONG, "long_factor")}, {"rope_parameters": {"rope_type": "su", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "none", "factor": 2.0}},
    ]


def yarns() -> list[dict]:
    more = [{"factor": None}, {"attention_factor": 1.25}, {"attention_factor": 0.0}, {"mscale": 0.7}, {"mscale_all_dim": 0.7},
            {"mscale": 0.7, "mscale_all_dim": 0.4}, {"mscale": 0, "mscale_all_dim": 0.4}, {"mscale": 1.0, "mscale_all_dim": 1.0},
            {"mscale": 0.7, "mscale_all_dim": 0.4, "attention_factor": 1.5}, {"beta_fast": 8}, {"beta_slow": 3.5},
            {"beta_fast": 0, "beta_slow": 0}, {"beta_fast": None}, {"truncate": False}, {"truncate": None}, {"truncate": True},
            {"factor": 1.0}, {"factor": 0.5}, {"factor": 3}, {"attn_factor": 0.8}]
    return places(YARN) + [{"rope_scaling": {**YARN, ORIGINAL: 64, **m}, "rope_theta": 5e4} for m in more]


def variants() -> list[tuple[str, dict, int]]:
    all_of = [("llama", rope, 16) for rope in spellings() + yarns() + places(LLAMA3)]
    all_of += [("llama", {"rope_parameters": {**LLAMA3, "low_freq_factor": 2, "high_freq_factor": 9.0, "factor": 3}}, 16)]
    for length in (16, 256, 257, 1000):
        dynamic = {"rope_type": "dynamic", "factor": 4.0}
        all_of += [("llama", rope, length) for rope in ({"rope_parameters": dynamic}, {"rope_scaling": dynamic, ORIGINAL: 64})]
    for length in (16, 64, 65, 300):
        ropes = places(LONG) + [{"rope_parameters": {**LONG, ORIGINAL: 64, **m}}
                                for m in ({"factor": 8.0}, {"factor": None}, {"attention_factor": 1.5}, {"factor": 0.5})]
        all_of += [("llama", rope, length) for rope in ropes]
    for family in ("qwen2", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3"):
        some = [{}, {"rope_theta": 5e5}, {"rope_scaling": {}, "rope_parameters": {**YARN, "rope_theta": 3e4}}]
        some += places(YARN) + places(LLAMA3)[:3] + [{"rope_parameters": {"rope_type": "linear", "factor": 2.0}}]
        all_of += [(family, rope, 16) for rope in some]
    for family in ("deepseek_v2", "deepseek_v3"):
        scales = {"mscale": 1.0, "mscale_all_dim": 0.7}
        some = [{**YARN, **scales}, {**YARN, "mscale_all_dim": 0.7}, {"rope_type": "linear", "factor": 2.0, **scales},
                {**LLAMA3, **scales}, {"rope_type": "dynamic", "factor": 2.0, **scales}, {"rope_type": "default", **scales}]
        all_of += [(family, {"rope_scaling": rope}, 16) for rope in some]
    nested = {"full_attention": {"rope_type": "default", "rope_theta": 3e4}}
    for family in ("qwen2", "qwen3"):
        all_of += [(family, {"rope_parameters": nested}, 16), (family, {"rope_parameters": nested, "rope_theta": 2e4}, 16)]
    return all_of


def read(family: str, rope: dict, length: int) -> dict:
    modules = getattr(getattr(transformers.models, family), f"modeling_{family}")
    embedding_class = next(c for n, c in vars(modules).items() if n.endswith("RotaryEmbedding"))
    attention_class = next(c for n, c in vars(modules).items() if n.startswith("Deepseek") and n.endswith("Attention")) \
        if family.startswith("deepseek") else None
    try:
        config = AutoConfig.for_model(family, **json.loads(json.dumps(FAMILIES[family] | rope)))
        embedding = embedding_class(config)
        embedding(torch.zeros(1), torch.arange(length)[None])
        found = {"inv_freq": embedding.inv_freq.float().view(torch.int32).tolist(),
                 "attention_scaling": float(embedding.attention_scaling)}
        if attention_class:
            with torch.device("meta"):
                found["softmax_scale"] = attention_class(config, 0).scaling
        return found
    except (KeyError, ValueError, TypeError) as error:
        return {"refused": f"{type(error).__name__}: {error}"[:100]}


def main() -> int:
    made = [{"family": family, "config": FAMILIES[family] | rope, "length": length, **read(family, rope, length)}
            for family, rope, length in variants()]
    head = {"script": "tools/goldens/rope_variants.py", "transformers": transformers.__version__}
    lines = ",\n".join(json.dumps(variant) for variant in made)
    text = json.dumps(head)[:-1] + ', "variants": [\n' + lines + "\n]}\n"
    if "--check" in sys.argv:
        same = FILE.read_text() == text
        print("same" if same else "DIFFERS")
        return 0 if same else 1
    FILE.write_text(text)
    print(f"{len(made)} variants, {sum('refused' in v for v in made)} refused, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
