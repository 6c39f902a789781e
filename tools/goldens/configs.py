"""Makes tests/goldens/configs/: config.json of the published checkpoints, and what an engine must say of each.

    python tools/goldens/configs.py            writes them
    python tools/goldens/configs.py --check    compares with what is stored

`expected.json` has counts of parameters that do not come from a formula of ours: transformers builds every model without
memory (on PyTorch's meta device) and its tensors are counted; Qwen1, which transformers does not have, is counted by hand
below. Each count must agree with the size that `PUBLISHED` states in billions, and each cache with `CACHES`.
"""

import argparse
import json
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from models import GOLDENS

FOLDER = GOLDENS / "configs"
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
CONFIGS: dict[str, dict] = {}


def deepseek(name, kind, width, layers, heads, ffn, expert_ffn, experts, shared, chosen, mscale, **more):
    CONFIGS[name] = {
        "architectures": [f"DeepseekV{kind}ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1,
        "hidden_act": "silu", "hidden_size": width, "initializer_range": 0.02, "intermediate_size": ffn,
        "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": f"deepseek_v{kind}",
        "moe_intermediate_size": expert_ffn, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": experts,
        "n_shared_experts": shared, "norm_topk_prob": False, "num_attention_heads": heads, "num_experts_per_tok": chosen,
        "num_hidden_layers": layers, "num_key_value_heads": heads, "pretraining_tp": 1, "q_lora_rank": 1536,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": mscale, "mscale_all_dim": mscale,
                         "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "seq_aux": True,
        "tie_word_embeddings": False, "topk_group": 1, "topk_method": "greedy", "torch_dtype": "bfloat16", "use_cache": True,
        "v_head_dim": 128, "vocab_size": 102400, **more,
    }


V2_GROUPS = {"n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0}
V3 = {"n_group": 8, "topk_group": 4, "topk_method": "noaux_tc", "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
      "norm_topk_prob": True, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "vocab_size": 129280,
      "bos_token_id": 0, "eos_token_id": 1, "quantization_config": FP8}
deepseek("DeepSeek-V2-Lite", 2, 2048, 27, 16, 10944, 1408, 64, 2, 6, 0.707, q_lora_rank=None)
deepseek("DeepSeek-V2", 2, 5120, 60, 128, 12288, 1536, 160, 2, 6, 0.707, **V2_GROUPS)
deepseek("DeepSeek-V2.5", 2, 5120, 60, 128, 12288, 1536, 160, 2, 6, 1.0, **V2_GROUPS)
for name in ("DeepSeek-V3", "DeepSeek-R1"):
    deepseek(name, 3, 7168, 61, 128, 18432, 2048, 256, 1, 8, 1.0, **V3)


def qwen1(name, width, layers, heads, ffn, vocab, length, *, base=10000, eps=1e-6, long=True, positions=8192):
    CONFIGS[name] = {
        "architectures": ["QWenLMHeadModel"], "attn_dropout_prob": 0.0, "bf16": False, "emb_dropout_prob": 0.0,
        "fp16": False, "fp32": False, "hidden_size": width, "initializer_range": 0.02, "intermediate_size": ffn,
        "kv_channels": 128, "layer_norm_epsilon": eps, "max_position_embeddings": positions, "model_type": "qwen",
        "no_bias": True, "num_attention_heads": heads, "num_hidden_layers": layers, "onnx_safe": None,
        "rotary_emb_base": base, "rotary_pct": 1.0, "scale_attn_weights": True, "seq_length": length,
        "tie_word_embeddings": False, "tokenizer_class": "QWenTokenizer", "use_cache": True, "use_dynamic_ntk": long,
        "use_flash_attn": "auto", "use_logn_attn": long, "vocab_size": vocab,
    }


qwen1("Qwen-1.8B", 2048, 24, 16, 11008, 151936, 8192)
qwen1("Qwen-7B", 4096, 32, 32, 22016, 151936, 8192, positions=32768)
qwen1("Qwen-14B", 5120, 40, 40, 27392, 152064, 2048)
qwen1("Qwen-72B", 8192, 80, 64, 49152, 152064, 32768, base=1000000, eps=1e-5, long=False, positions=32768)


def gqa(name, model_type, architecture, width, layers, heads, kv_heads, ffn, vocab, *, tied=False, theta=1000000.0, eps=1e-6,
        positions=32768, **more):
    CONFIGS[name] = {
        "architectures": [architecture], "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": width,
        "initializer_range": 0.02, "intermediate_size": ffn, "max_position_embeddings": positions, "model_type": model_type,
        "num_attention_heads": heads, "num_hidden_layers": layers, "num_key_value_heads": kv_heads, "rms_norm_eps": eps,
        "rope_theta": theta, "tie_word_embeddings": tied, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": vocab,
        **more,
    }


def qwen2(name, *sizes, **more):
    gqa(name, "qwen2", "Qwen2ForCausalLM", *sizes,
        **{"bos_token_id": 151643, "eos_token_id": 151643, "use_sliding_window": False} | more)


def llama(name, *sizes):
    gqa(name, "llama", "LlamaForCausalLM", *sizes, theta=500000.0, eps=1e-5, positions=131072, attention_bias=False,
        mlp_bias=False, bos_token_id=128000, eos_token_id=128001,
        rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 8192, "rope_type": "llama3"})


long = {"positions": 131072}
qwen2("DeepSeek-R1-Distill-Qwen-1.5B", 1536, 28, 12, 2, 8960, 151936, theta=10000, **long)
qwen2("DeepSeek-R1-Distill-Qwen-7B", 3584, 28, 28, 4, 18944, 152064, theta=10000, **long)
qwen2("DeepSeek-R1-Distill-Qwen-14B", 5120, 48, 40, 8, 13824, 152064, eps=1e-5, **long)
qwen2("DeepSeek-R1-Distill-Qwen-32B", 5120, 64, 40, 8, 27648, 152064, eps=1e-5, **long)
llama("DeepSeek-R1-Distill-Llama-8B", 4096, 32, 32, 8, 14336, 128256)
llama("DeepSeek-R1-Distill-Llama-70B", 8192, 80, 64, 8, 28672, 128256)

qwen2("Qwen1.5-0.5B", 1024, 24, 16, 16, 2816, 151936, tied=True)
qwen2("Qwen1.5-1.8B", 2048, 24, 16, 16, 5504, 151936)
qwen2("Qwen1.5-4B", 2560, 40, 20, 20, 6912, 151936)
qwen2("Qwen1.5-7B", 4096, 32, 32, 32, 11008, 151936)
qwen2("Qwen1.5-14B", 5120, 40, 40, 40, 13696, 152064)
qwen2("Qwen1.5-32B", 5120, 64, 40, 8, 27392, 152064)
qwen2("Qwen1.5-72B", 8192, 80, 64, 64, 24576, 152064)
qwen2("Qwen1.5-110B", 8192, 80, 64, 8, 49152, 152064)

qwen2("Qwen2-0.5B", 896, 24, 14, 2, 4864, 151936, tied=True, **long)
qwen2("Qwen2-1.5B", 1536, 28, 12, 2, 8960, 151936, tied=True, **long)
qwen2("Qwen2-7B", 3584, 28, 28, 4, 18944, 152064, **long)
qwen2("Qwen2-72B", 8192, 80, 64, 8, 29568, 152064, eps=1e-5, **long)
qwen2("Qwen2.5-0.5B", 896, 24, 14, 2, 4864, 151936, tied=True, max_window_layers=24, sliding_window=32768)
qwen2("Qwen2.5-1.5B", 1536, 28, 12, 2, 8960, 151936, tied=True, **long)
qwen2("Qwen2.5-3B", 2048, 36, 16, 2, 11008, 151936, tied=True, max_window_layers=36, sliding_window=32768)
qwen2("Qwen2.5-7B", 3584, 28, 28, 4, 18944, 152064, max_window_layers=28, sliding_window=131072, **long)
qwen2("Qwen2.5-14B", 5120, 48, 40, 8, 13824, 152064, eps=1e-5, max_window_layers=48, sliding_window=131072, **long)
qwen2("Qwen2.5-32B", 5120, 64, 40, 8, 27648, 152064, eps=1e-5, max_window_layers=64, sliding_window=131072, **long)
qwen2("Qwen2.5-72B", 8192, 80, 64, 8, 29568, 152064, eps=1e-5, **long)
qwen2("QwQ-32B", 5120, 64, 40, 8, 27648, 152064, eps=1e-5, positions=40960, eos_token_id=151645)


def qwen_moe(ffn, experts, chosen, normalised):
    return {"moe_intermediate_size": ffn, "num_experts": experts, "num_experts_per_tok": chosen,
            "norm_topk_prob": normalised, "decoder_sparse_step": 1, "mlp_only_layers": [], "output_router_logits": False,
            "router_aux_loss_coef": 0.001, "use_sliding_window": False}


gqa("Qwen1.5-MoE-A2.7B", "qwen2_moe", "Qwen2MoeForCausalLM", 2048, 24, 16, 16, 5632, 151936, bos_token_id=151643,
    eos_token_id=151643, shared_expert_intermediate_size=5632, max_window_layers=21, sliding_window=32768,
    **qwen_moe(1408, 60, 4, False))
gqa("Qwen2-57B-A14B", "qwen2_moe", "Qwen2MoeForCausalLM", 3584, 28, 28, 4, 18944, 151936, bos_token_id=151643,
    eos_token_id=151643, shared_expert_intermediate_size=20480, max_window_layers=28, sliding_window=131072, **long,
    **qwen_moe(2560, 64, 8, False))


def qwen3(name, kind, width, layers, heads, kv_heads, ffn, **more):
    gqa(name, kind, "Qwen3ForCausalLM" if kind == "qwen3" else "Qwen3MoeForCausalLM", width, layers, heads, kv_heads, ffn,
        151936, **{"theta": 1000000, "positions": 40960, "head_dim": 128, "attention_bias": False, "bos_token_id": 151643,
                   "eos_token_id": 151645, "rope_scaling": None, "sliding_window": None, "use_sliding_window": False,
                   "max_window_layers": layers} | more)


qwen3("Qwen3-0.6B", "qwen3", 1024, 28, 16, 8, 3072, tied=True)
qwen3("Qwen3-1.7B", "qwen3", 2048, 28, 16, 8, 6144, tied=True)
qwen3("Qwen3-4B", "qwen3", 2560, 36, 32, 8, 9728, tied=True)
qwen3("Qwen3-8B", "qwen3", 4096, 36, 32, 8, 12288)
qwen3("Qwen3-14B", "qwen3", 5120, 40, 40, 8, 17408)
qwen3("Qwen3-32B", "qwen3", 5120, 64, 64, 8, 25600)
qwen3("Qwen3-30B-A3B", "qwen3_moe", 2048, 48, 32, 4, 6144, **qwen_moe(768, 128, 8, True))
qwen3("Qwen3-235B-A22B", "qwen3_moe", 4096, 94, 64, 4, 12288, **qwen_moe(1536, 128, 8, True))
qwen3("Qwen3-30B-A3B-FP8", "qwen3_moe", 2048, 48, 32, 4, 6144, **qwen_moe(768, 128, 8, True), quantization_config=FP8 | {
    "modules_to_not_convert": ["lm_head"] + [f"model.layers.{i}.{part}" for i in range(48)
                                             for part in ("input_layernorm", "mlp.gate", "post_attention_layernorm")]})

# Sizes in billions as their authors and independent counts have them: in all, and what one token passes through.
PUBLISHED = {
    "DeepSeek-V2-Lite": (15.706, 2.66), "DeepSeek-V2": (235.74, 21.4), "DeepSeek-V2.5": (235.74, 21.4),
    "DeepSeek-V3": (671.03, 37.55), "DeepSeek-R1": (671.03, 37.55),
    "DeepSeek-R1-Distill-Qwen-1.5B": 1.777, "DeepSeek-R1-Distill-Qwen-7B": 7.616, "DeepSeek-R1-Distill-Qwen-14B": 14.770,
    "DeepSeek-R1-Distill-Qwen-32B": 32.764, "DeepSeek-R1-Distill-Llama-8B": 8.030, "DeepSeek-R1-Distill-Llama-70B": 70.554,
    "Qwen-1.8B": 1.837, "Qwen-7B": 7.721, "Qwen-14B": 14.167, "Qwen-72B": 72.288,
    "Qwen1.5-0.5B": 0.464, "Qwen1.5-1.8B": 1.837, "Qwen1.5-4B": 3.950, "Qwen1.5-7B": 7.72, "Qwen1.5-14B": 14.17,
    "Qwen1.5-32B": 32.51, "Qwen1.5-72B": 72.29, "Qwen1.5-110B": 111.21,
    "Qwen2-0.5B": 0.494, "Qwen2-1.5B": 1.544, "Qwen2-7B": 7.616, "Qwen2-72B": 72.706,
    "Qwen2.5-0.5B": 0.494, "Qwen2.5-1.5B": 1.544, "Qwen2.5-3B": 3.086, "Qwen2.5-7B": 7.616, "Qwen2.5-14B": 14.770,
    "Qwen2.5-32B": 32.764, "Qwen2.5-72B": 72.706, "QwQ-32B": 32.764,
    "Qwen1.5-MoE-A2.7B": (14.316, 2.69), "Qwen2-57B-A14B": (57.409, 14.25),
    "Qwen3-0.6B": 0.596, "Qwen3-1.7B": 1.721, "Qwen3-4B": 4.022, "Qwen3-8B": 8.191, "Qwen3-14B": 14.768, "Qwen3-32B": 32.762,
    "Qwen3-30B-A3B": (30.532, 3.35), "Qwen3-30B-A3B-FP8": (30.532, 3.35), "Qwen3-235B-A22B": (235.094, 22.19),
}
# Numbers in the cache per token, by the shapes that they follow from.
CACHES = {
    15552: ["DeepSeek-V2-Lite"], 34560: ["DeepSeek-V2", "DeepSeek-V2.5"], 35136: ["DeepSeek-V3", "DeepSeek-R1"],
    98304: ["Qwen-1.8B", "Qwen1.5-1.8B", "Qwen1.5-MoE-A2.7B", "Qwen2.5-14B", "DeepSeek-R1-Distill-Qwen-14B"],
    262144: ["Qwen-7B", "Qwen1.5-7B"], 409600: ["Qwen-14B", "Qwen1.5-14B"], 1310720: ["Qwen-72B", "Qwen1.5-72B"],
    49152: ["Qwen1.5-0.5B", "Qwen3-30B-A3B", "Qwen3-30B-A3B-FP8"], 204800: ["Qwen1.5-4B"],
    131072: ["Qwen1.5-32B", "Qwen2.5-32B", "QwQ-32B", "DeepSeek-R1-Distill-Qwen-32B", "Qwen3-32B"],
    163840: ["Qwen1.5-110B", "Qwen2-72B", "Qwen2.5-72B", "DeepSeek-R1-Distill-Llama-70B"],
    6144: ["Qwen2-0.5B", "Qwen2.5-0.5B"], 14336: ["Qwen2-1.5B", "Qwen2.5-1.5B", "DeepSeek-R1-Distill-Qwen-1.5B"],
    18432: ["Qwen2.5-3B"], 28672: ["Qwen2-7B", "Qwen2.5-7B", "DeepSeek-R1-Distill-Qwen-7B", "Qwen2-57B-A14B"],
    57344: ["Qwen3-0.6B", "Qwen3-1.7B"], 73728: ["Qwen3-4B", "Qwen3-8B"], 81920: ["Qwen3-14B"], 96256: ["Qwen3-235B-A22B"],
    65536: ["DeepSeek-R1-Distill-Llama-8B"],
}


def count_by_transformers(config: dict) -> tuple[int, int, int]:
    """Parameters in all, those that one token passes through, and those of the module of multi-token prediction.

    A tied table counts once. Tables and heads count whole; of the experts of a layer, as many as are chosen. Correction
    biases count. The module does not count in the first two, nor do its copies of the table and the head in the third.
    """
    parsed = AutoConfig.for_model(**{k: v for k, v in config.items() if k not in ("architectures", "quantization_config")})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(parsed)
    named = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if n.endswith("correction_bias")}
    total = sum(t.numel() for t in named.values())
    chosen, experts = config.get("num_experts_per_tok", 0), config.get("n_routed_experts") or config.get("num_experts", 1)
    routed = sum(t.numel() for n, t in named.items() if ".experts." in n)
    last = sum(t.numel() for n, t in named.items() if n.startswith(f"model.layers.{config['num_hidden_layers'] - 1}."))
    width = config["hidden_size"]
    mtp = last + 2 * width * width + 3 * width if config.get("num_nextn_predict_layers") else 0
    return total, total - routed // experts * (experts - chosen), mtp


def count_qwen1(config: dict) -> tuple[int, int, int]:
    width, ffn = config["hidden_size"], config["intermediate_size"] // 2
    projected = config["kv_channels"] * config["num_attention_heads"]
    layer = 3 * projected * (width + 1) + projected * width + 3 * width * ffn + 2 * width
    total = 2 * config["vocab_size"] * width + config["num_hidden_layers"] * layer + width
    return total, total, 0


def cached_per_token(config: dict) -> int:
    if "kv_lora_rank" in config:
        per_layer = config["kv_lora_rank"] + config["qk_rope_head_dim"]
    else:
        heads = config["num_attention_heads"]
        head_dim = config.get("head_dim") or config.get("kv_channels") or config["hidden_size"] // heads
        per_layer = 2 * head_dim * config.get("num_key_value_heads", heads)
    return per_layer * config["num_hidden_layers"]


def agree(count: int, billions: float) -> bool:
    """The count, rounded as the stated number is, may be off by one in its last place."""
    places = len(str(billions).split(".")[1])
    return abs(count / 1e9 - billions) < 1.01 * 10**-places


def expected() -> dict:
    found = {}
    for name, config in CONFIGS.items():
        total, active, mtp = (count_qwen1 if config["model_type"] == "qwen" else count_by_transformers)(config)
        stated = PUBLISHED[name] if isinstance(PUBLISHED[name], tuple) else (PUBLISHED[name], PUBLISHED[name])
        assert agree(total, stated[0]) and agree(active, stated[1]), (name, total, active, stated)
        cache = cached_per_token(config)
        assert name in CACHES[cache], (name, cache)
        found[name] = {"parameters": total, "active_parameters": active, "kv_elements_per_token": cache}
        if mtp:
            found[name]["mtp_parameters"] = mtp
    assert found.keys() == PUBLISHED.keys() == {n for names in CACHES.values() for n in names}
    return found


def made_files() -> dict[str, str]:
    texts = {f"{name}.json": json.dumps(config, indent=2) + "\n" for name, config in CONFIGS.items()}
    report = {"script": "tools/goldens/configs.py", "transformers": transformers.__version__, "models": expected()}
    return texts | {"expected.json": json.dumps(report, indent=1) + "\n"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    options, files = parser.parse_args(), made_files()
    if options.check:
        stored = {path.name: path.read_text() for path in FOLDER.iterdir()}
        found = sorted(name for name in files.keys() | stored.keys() if files.get(name) != stored.get(name))
        print("\n".join(f"DIFFERS: {name}" for name in found) or f"{len(files)} files: same")
        return 1 if found else 0
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    print(f"{len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
