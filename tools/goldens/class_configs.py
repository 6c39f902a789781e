"""Makes tests/goldens/class_configs/: configs as the classes of transformers read and write them.

    python tools/goldens/class_configs.py            writes
    python tools/goldens/class_configs.py --check    compares with what is stored

resaved.json: for the config.json of every model golden and of published checkpoints (named by its path in tests/goldens),
what save_pretrained writes of it. defaults.json: for each family and each key of a config that an engine reads, what the
key means when it is left out (the class's default, null included) and another value that makes a difference, both on top of
`base`. `required` are sizes, which shapes of tensors show: without one of these our programs refuse a config.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import transformers
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models import GOLDENS

transformers.utils.logging.set_verbosity(logging.CRITICAL)
FOLDER = GOLDENS / "class_configs"
FAMILIES = ("llama", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3")
SIZES = ["hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
MOE_SIZES = ["moe_intermediate_size"]
MLA_SIZES = ["n_routed_experts", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", *MOE_SIZES]

# Keys with another value than the default, one that makes a difference.
COMMON = {"hidden_act": "gelu", "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
GQA = {**COMMON, "num_key_value_heads": 2}
WINDOW = {"use_sliding_window": False, "sliding_window": 64}  # the base says true
ROUTER = {"num_experts_per_tok": 2, "norm_topk_prob": True, "decoder_sparse_step": 2, "mlp_only_layers": [0]}
MLA = {**COMMON, "q_lora_rank": 12, "attention_bias": True, "n_shared_experts": 3, "routed_scaling_factor": 1.5,
       "norm_topk_prob": True, "first_k_dense_replace": 1}
KEYS = {
    "llama": {**GQA, "head_dim": 8, "attention_bias": True, "mlp_bias": True},
    "qwen2": {**GQA, **WINDOW, "max_window_layers": 1, "layer_types": ["full_attention"] * 40},
    "qwen3": {**GQA, **WINDOW, "head_dim": 8, "attention_bias": True, "max_window_layers": 1},
    "qwen2_moe": {**GQA, **WINDOW, **ROUTER, "qkv_bias": False, "max_window_layers": 1},
    "qwen3_moe": {**GQA, **WINDOW, **ROUTER, "attention_bias": True},
    "deepseek_v2": {**MLA, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**MLA, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 2, "norm_topk_prob": False,
                    "rope_interleave": False, "num_nextn_predict_layers": 0},
}
SHAPE = {"hidden_size": 128, "num_attention_heads": 32, "intermediate_size": 24, "num_hidden_layers": 40, "vocab_size": 32}
LATENT = {"n_routed_experts": 16, "moe_intermediate_size": 4, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 6,
          "v_head_dim": 4}
EXPERTS = {"num_experts": 16, "moe_intermediate_size": 4, "use_sliding_window": True}
BASES = {"llama": {}, "qwen2": {"use_sliding_window": True}, "qwen3": {"use_sliding_window": True},
         "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 12}, "qwen3_moe": EXPERTS,
         "deepseek_v2": {**LATENT, "n_group": 4, "topk_group": 2, "num_experts_per_tok": 2}, "deepseek_v3": LATENT}
# deepseek_v2's has no dense layers.
REQUIRED = {"llama": SIZES, "qwen2": SIZES, "qwen3": SIZES,
            "qwen2_moe": [*SIZES, *MOE_SIZES, "num_experts", "shared_expert_intermediate_size"],
            "qwen3_moe": [*SIZES, *MOE_SIZES, "num_experts"],
            "deepseek_v2": [*(s for s in SIZES if s != "intermediate_size"), *MLA_SIZES, "num_experts_per_tok"], "deepseek_v3": [*SIZES, *MLA_SIZES]}


def default_of(family: str, key: str) -> object:
    config_class = CONFIG_MAPPING[family]
    field = config_class.__dataclass_fields__.get(key)
    if field is None:  # kept under another name
        other = {theirs: own for own, theirs in config_class.attribute_map.items()} | config_class.attribute_map
        field = config_class.__dataclass_fields__[other[key]]
    return field.default


def defaults() -> dict:
    families = {}
    for family in FAMILIES:
        keys = {key: {"default": default_of(family, key), "other": other} for key, other in KEYS[family].items()}
        families[family] = {"base": SHAPE | BASES[family], "keys": keys, "required": REQUIRED[family]}
    return families


def resaved() -> dict:
    written = {}
    for path in sorted(GOLDENS.rglob("*.json")):
        case = path.name == "config.json" and path.parents[1].name in FAMILIES
        published = path.parent.name == "configs" and path.name != "expected.json"
        raw = json.loads(path.read_text()) if case or published else {}
        if raw.get("model_type") not in FAMILIES:
            continue
        with tempfile.TemporaryDirectory() as folder:
            AutoConfig.for_model(**raw).save_pretrained(folder)
            written[path.relative_to(GOLDENS).as_posix()] = json.loads((Path(folder) / "config.json").read_text())
    return written


def text_of(values: dict) -> str:
    head = {"script": "tools/goldens/class_configs.py", "transformers": transformers.__version__}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    return json.dumps(head)[:-1] + ', "values": {\n' + lines + "\n}}\n"


def main() -> int:
    made = {"resaved.json": text_of(resaved()), "defaults.json": text_of(defaults())}
    FOLDER.mkdir(exist_ok=True)
    for name, text in made.items():
        if "--check" in sys.argv:
            print(f"{name}: {'same' if (FOLDER / name).read_text() == text else 'DIFFERS'}")
        else:
            (FOLDER / name).write_text(text)
            print(f"{name}: {len(text)} bytes")
    return 1 if "--check" in sys.argv and any((FOLDER / n).read_text() != t for n, t in made.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
