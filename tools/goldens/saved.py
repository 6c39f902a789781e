"""Makes tests/goldens/saved/<case>/: checkpoints as people have them, all from a few tiny models (BASES).

    python tools/goldens/saved.py [WORD...] [--check]

Each is a golden as models.py makes them, with logits by transformers from the very folder, but of one or two sequences and
few rows. What is special about each is in CASES: saved again by transformers, saved by a class without a head, a head beside a
tied embedding, tensors without numbers, a config that says little or says it elsewhere.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM

import files
import reference
from case import Case, shape
from models import GOLDENS, TOLERANCE, differences
from weights import draw_weights

Weights = dict[str, torch.Tensor]


@dataclass
class Saved:
    name: str
    about: str
    base: str  # the model that it starts from
    config: dict = field(default_factory=dict)  # keys that change; ... takes a key away
    weights: Callable[[Weights], Weights] = lambda weights: weights
    save: Callable | None = None  # transformers' class that loads and saves the folder in the end
    lengths: tuple = (24,)


def other_head(weights: Weights) -> Weights:
    head = weights["model.embed_tokens.weight"].float().flip(0) * 0.5
    return weights | {"lm_head.weight": head.to(weights["model.embed_tokens.weight"].dtype)}


def copied_head(weights: Weights) -> Weights:
    return weights | {"lm_head.weight": weights["model.embed_tokens.weight"].float()}


def head_alone(weights: Weights) -> Weights:
    return {("lm_head.weight" if name == "model.embed_tokens.weight" else name): t for name, t in weights.items()}


def without_prefix(weights: Weights) -> Weights:
    return {name.removeprefix("model."): t for name, t in weights.items()}


def shared_without_width(weights: Weights) -> Weights:
    """As transformers saves shared experts of width 0."""
    def cut(name, t):
        return t[:, :0] if name.endswith("down_proj.weight") else t[:0]
    return {name: cut(name, t) if "shared_experts" in name else t for name, t in weights.items()}


def unused_and_empty(weights: Weights) -> Weights:
    return weights | {"model.layers.0.adapter.weight": torch.empty(0, 24), "empty": torch.empty(0)}


ORIGINAL = "original_max_position_embeddings"
YARN = {"type": "yarn", "factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": [1 + i / 8 for i in range(6)],
            "long_factor": [2 + i / 2 for i in range(6)], "rope_theta": 10000.0}
FACTS = {"max_position_embeddings": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "rope_theta": 10000.0}
EXPERTS = {"moe_intermediate_size": 8, "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": True,
           "decoder_sparse_step": 1, "mlp_only_layers": [], "use_sliding_window": False, "sliding_window": None}
LATENT = {"q_lora_rank": 14, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 8,
          "moe_intermediate_size": 6, "n_routed_experts": 16, "num_experts_per_tok": 4, "n_shared_experts": 1,
          "first_k_dense_replace": 1}
V3 = {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 1.5}


def base(family: str, seed: int, layers: int = 2, **more) -> Case:
    kv_heads = 2 if family.startswith("deepseek") else 1
    return Case(family, "", "", shape(24, 2, kv_heads, 20, layers, 40, **FACTS | more), [], seed)


BASES = {
    "llama": base("llama", 701), "tied": base("llama", 702, tie_word_embeddings=True),
    "qwen3": base("qwen3", 703, head_dim=12, tie_word_embeddings=True),
    "qwen2_moe": base("qwen2_moe", 704, shared_expert_intermediate_size=10, **EXPERTS),
    "qwen3_moe": base("qwen3_moe", 705, head_dim=12, **EXPERTS),
    "deepseek_v2": base("deepseek_v2", 706, norm_topk_prob=False, routed_scaling_factor=1.0, **LATENT),
    "deepseek_v3": base("deepseek_v3", 707, **LATENT | V3),
    "deepseek_v3_deep": base("deepseek_v3", 708, 4, **LATENT | V3 | {"first_k_dense_replace": 3}),
}

CASES = [
    Saved("qwen3_moe_again", "saved by transformers: num_local_experts, rope_parameters", "qwen3_moe",
          save=AutoModelForCausalLM),
    Saved("deepseek_v3_again", "saved by transformers; the config had no num_nextn_predict_layers and now says 1",
          "deepseek_v3", save=AutoModelForCausalLM),
    Saved("qwen3_base", "saved by the class without a head: no model. in front of names; tied", "qwen3", save=AutoModel),
    Saved("llama_bare_names", "names without model., no architectures, a head of its own", "llama",
          {"architectures": ...}, without_prefix),
    Saved("untied_after_all", "tie_word_embeddings with a head that is no copy: it is used", "tied", {}, other_head),
    Saved("copied_head", "tie_word_embeddings with a copy of another type", "tied", {}, copied_head),
    Saved("head_alone", "tie_word_embeddings with the head's name instead of the embedding's", "tied", {}, head_alone),
    Saved("no_shared_experts", "shared experts of width 0: tensors without numbers", "deepseek_v3",
          {"n_shared_experts": 0}, shared_without_width),
    Saved("empty_tensors", "tensors without numbers that nothing uses", "qwen3_moe", {}, unused_and_empty),
    Saved("terse", "a config that leaves out what is the class's default, and writes numbers as Python does", "llama",
          {"architectures": ..., "attention_bias": ..., "mlp_bias": ..., "tie_word_embeddings": ..., "rms_norm_eps": ...,
           "max_position_embeddings": ..., "hidden_act": "swish", "rope_scaling": YARN, ORIGINAL: 16, "a": float("inf"),
           "b": float("nan"), "c": -(2**70), "d": 2**64 - 1, "e": {"__float__": "-Infinity"}, "f": 10**400}),
    Saved("terse_v3", "the keys of the router and of dense layers left out", "deepseek_v3_deep",
          {"norm_topk_prob": ..., "routed_scaling_factor": ..., "n_shared_experts": ..., "n_group": ..., "topk_group": ...,
           "num_experts_per_tok": ..., "first_k_dense_replace": ...}),
    Saved("qwen2_moe_windows", "use_sliding_window without layer_types: every second layer below max_window_layers",
          "qwen2_moe", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2}),
    Saved("qwen3_moe_windows", "use_sliding_window: every layer", "qwen3_moe",
          {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}),
    Saved("yarn_beside", "original_max_position_embeddings at the top alone", "qwen3",
          {"rope_scaling": YARN, ORIGINAL: 16}),
    Saved("empty_scaling", "rope_scaling {} beside rope_parameters", "llama",
          {"rope_scaling": {}, "rope_theta": ..., "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 3e4}}),
    Saved("longrope", "longrope within and past the training length", "llama",
          {"rope_theta": ..., ORIGINAL: 20, "rope_parameters": LONGROPE}, lengths=(20, 40)),
    Saved("linear_mscale", "DeepSeek's softmax scale takes mscale_all_dim with linear scaling too", "deepseek_v2",
          {"rope_scaling": {"type": "linear", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 1.0}}),
]


def write_folder(case: Saved, folder: Path) -> None:
    start = BASES[case.base]
    config = reference.config_json(start) | case.config
    files.save_checkpoint(folder, {k: v for k, v in config.items() if v is not ...}, case.weights(draw_weights(start)), 1)
    if not case.save:
        return
    model = case.save.from_pretrained(folder, dtype="auto")
    for old in folder.iterdir():
        old.unlink()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    # Once more with the bytes in a fixed order; what was read maps the file that is overwritten.
    weights = {name: tensor.clone() for name, tensor in reference.stored_weights(folder).items()}
    files.save_tensors(folder / "model.safetensors", weights, {"format": "pt"})


def load(folder: Path):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                       experts_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    return model.eval()


def make(case: Saved, folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    write_folder(case, folder)
    random, tensors = np.random.default_rng(7000), {}
    vocab = load(folder).config.vocab_size
    for k, length in enumerate(case.lengths):
        model, tokens = load(folder), torch.from_numpy(random.integers(0, vocab, length, np.int32))
        logits, rope = reference.forward(model, tokens), model.model.rotary_emb
        rows = torch.arange(0, length, max(1, length // 12)).int()
        tensors |= {f"tokens.{k}": tokens, f"rows.{k}": rows, f"logits.{k}": logits[rows.long()].clone(),
                    f"inv_freq.{k}": rope.inv_freq.float().clone()}
    tensors["attention_scaling"] = torch.tensor([float(rope.attention_scaling)])
    metadata = {"script": "tools/goldens/saved.py", "transformers": transformers.__version__, "seed": "7000",
                "torch": torch.__version__.split("+")[0], "about": case.about, "base": case.base,
                "sequences": str(len(case.lengths)), "tolerance": f"{TOLERANCE:g}"}
    files.save_tensors(folder / "golden.safetensors", tensors, metadata)
    size = sum(file.stat().st_size for file in folder.iterdir())
    with tempfile.TemporaryDirectory() as plain:
        write_folder(Saved("", "", case.base), Path(plain))
        last = len(case.lengths) - 1
        want = reference.forward(load(Path(plain)), tensors[f"tokens.{last}"])[tensors[f"rows.{last}"].long()]
    change = (want - tensors[f"logits.{last}"]).abs().max().item()
    return f"{case.name}: {size / 1024:.0f} KiB, {change:.3g} from {case.base} as it is"


def main() -> int:
    words, failed = [w for w in sys.argv[1:] if w != "--check"], 0
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            if words and not any(word in case.name for word in words):
                continue
            target = (Path(temporary) if "--check" in sys.argv else GOLDENS / "saved") / case.name
            print(make(case, target), flush=True)
            if "--check" in sys.argv:
                found = differences(target, GOLDENS / "saved" / case.name)
                failed += bool(found)
                print("\n".join(f"  DIFFERS: {line}" for line in found) or "  same", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
