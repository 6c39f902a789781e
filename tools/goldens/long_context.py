"""131,072 tokens through MLA in V2-Lite's shape, against transformers. Not part of CI: it takes the better part of an hour
on two cores and 8 GB of memory.

    python tools/goldens/long_context.py make FOLDER        a checkpoint and its tokens
    python tools/goldens/long_context.py reference FOLDER   64 rows of logits by transformers (reference.safetensors)
    python tools/goldens/long_context.py run FOLDER PROGRAM the engine; prints time, cache and peak memory
    python tools/goldens/long_context.py compare FOLDER     the rows of both

The reference reads the tokens in chunks through transformers' own cache. Its attention is computed by the three lines of
`attention` below, registered as an implementation of transformers' own interface, because its others would hold all
scores at once. In the last layer it attends from the 64 rows alone: nothing else reads that layer's output.
"""

import argparse
import json
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, DynamicCache

import files
import reference
from case import F32, Case, shape
from weights import draw_weights

TOKENS, SAMPLED = int(os.environ.get("TOKENS", 131072)), 64
CHUNK, REFERENCE_CHUNK, QUERIES = 512, 2048, 128  # tokens per step of the engine and of the reference; rows of scores held at once
CASE = Case(
    "deepseek_v2", "long_context", "2 layers of width 256 with V2-Lite's latent attention",
    shape(256, 16, 16, 256, 2, 128, max_position_embeddings=163840, rope_theta=10000.0, rms_norm_eps=1e-6,
          tie_word_embeddings=False, attention_bias=False, q_lora_rank=None, kv_lora_rank=512, qk_nope_head_dim=128,
          qk_rope_head_dim=64, v_head_dim=128, first_k_dense_replace=2, moe_layer_freq=1, n_routed_experts=2,
          n_shared_experts=1, num_experts_per_tok=1, moe_intermediate_size=32, n_group=1, topk_group=1,
          topk_method="greedy", scoring_func="softmax", norm_topk_prob=False, routed_scaling_factor=1.0,
          rope_scaling={"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                        "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}),
    lengths=[TOKENS], seed=901, storage=F32,
)


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(reference.config_json(CASE), indent=2))
    files.save_tensors(folder / "model.safetensors", draw_weights(CASE), {"format": "pt"})
    random = np.random.default_rng(CASE.seed)
    tokens = random.integers(0, CASE.config["vocab_size"], TOKENS)
    (folder / "tokens.txt").write_text(",".join(map(str, tokens)))


def sampled_rows() -> list[int]:
    """The first, the last, those around multiples of 16,384, the others drawn."""
    fixed = {0, 1, 63, 64, 4095, 4096, TOKENS - 2, TOKENS - 1}
    fixed |= {p + d for p in range(16384, TOKENS, 16384) for d in (-1, 0)}
    random = np.random.default_rng(1)
    while len(fixed) < SAMPLED:
        fixed.add(int(random.integers(0, TOKENS)))
    return sorted(fixed)


@torch.no_grad()
def run_reference(folder: Path) -> None:
    tokens = torch.tensor([int(t) for t in (folder / "tokens.txt").read_text().split(",")])
    rows, last_layer = sampled_rows(), CASE.config["num_hidden_layers"] - 1
    state = {"begin": 0}
    held = torch.empty(QUERIES * TOKENS)  # scores of one head: fresh memory for each would cost more than the arithmetic

    def attention(module, query, key, value, attention_mask, scaling, **unused):
        """query, key [1, H, T or S, K], value [1, H, S, V]; the queries stand at positions state["begin"] + i."""
        count, heads = query.shape[2], query.shape[1]
        wanted = torch.arange(count)
        if module.layer_idx == last_layer:
            wanted = torch.tensor([r - state["begin"] for r in rows if 0 <= r - state["begin"] < count], dtype=torch.long)
        out = torch.zeros(1, count, heads, value.shape[-1])
        if len(wanted) == 0:
            return out, None
        for rows_q in wanted.split(QUERIES):
            last = state["begin"] + int(rows_q[-1]) + 1
            hidden = torch.arange(last)[None, state["begin"]:] > (state["begin"] + rows_q)[:, None]
            scores = held[: len(rows_q) * last].view(len(rows_q), last)
            for h in range(heads):
                torch.mm(query[0, h, rows_q] * scaling, key[0, h, :last].T, out=scores)
                scores[:, state["begin"]:].masked_fill_(hidden, float("-inf"))
                torch.softmax(scores, -1, out=scores)
                out[0, rows_q, h] = scores @ value[0, h, :last]
        return out, None

    AttentionInterface.register("sampled", attention)
    config = AutoConfig.from_pretrained(folder)
    config._attn_implementation = "sampled"
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                 attn_implementation="sampled").eval()
    assert abs(model.model.layers[0].self_attn.scaling - 0.1147214) < 1e-7
    cache, logits, start = DynamicCache(config=config), [], time.time()
    for begin in range(0, TOKENS, REFERENCE_CHUNK):
        state["begin"], end = begin, begin + REFERENCE_CHUNK
        out = model(tokens[None, begin:end], past_key_values=cache, use_cache=True)
        logits += [out.logits[0, r - begin].clone() for r in rows if begin <= r < end]
        if begin % (4 * REFERENCE_CHUNK) == 0:
            print(f"{end} tokens in {time.time() - start:.0f} s", flush=True)
    files.save_tensors(folder / "reference.safetensors",
                       {"rows": torch.tensor(rows, dtype=torch.int32), "logits": torch.stack(logits)}, {})


def peak_memory_while(command: list[str]) -> int:
    """Bytes; from the process itself, since getrusage counts what its parent held before it was replaced."""
    peak = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            held = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(held[1]) * 1024) if held else peak
            time.sleep(0.1)
    assert process.returncode == 0
    return peak


def run_engine(folder: Path, program: str) -> None:
    shared = [str(folder), "--weights", "f32", "--context", str(TOKENS)]
    foretold = json.loads(subprocess.run([program, "inspect", *shared, "--json"], capture_output=True, check=True).stdout)
    c = CASE.config
    formula = c["num_hidden_layers"] * (c["kv_lora_rank"] + c["qk_rope_head_dim"]) * 4
    print("cache bytes per token:", foretold["kv_bytes_per_token"], "formula:", formula)
    assert foretold["kv_bytes_per_token"] == formula and foretold["kv_bytes"] == formula * TOKENS
    start = time.time()
    peak = peak_memory_while([program, "logits", *shared, "--tokens-file", str(folder / "tokens.txt"), "--chunk", str(CHUNK),
                              "--out", str(folder / "engine.safetensors")])
    total = [m for m in foretold["memory"] if m["weights"] == "f32"][0]
    planned = total["weight_bytes"] + total["cache_bytes"] + total["activation_bytes"]
    print(f"{TOKENS} tokens in {time.time() - start:.0f} s; peak memory {peak / 2**20:.0f} MiB, "
          f"foretold {planned / 2**20:.0f} MiB, ratio {peak / planned:.3f}")
    assert TOKENS < 131072 or abs(peak / planned - 1) <= 0.1, "shorter texts are mostly activations, of which the plan is a bound"


def compare(folder: Path) -> None:
    with safe_open(folder / "reference.safetensors", "pt") as want, safe_open(folder / "engine.safetensors", "pt") as got:
        rows = want.get_tensor("rows").long()
        difference = (got.get_tensor("logits")[rows] - want.get_tensor("logits")).abs().amax(-1)
        rms = want.get_tensor("logits").square().mean().sqrt()
    worst = int(difference.argmax())
    print(f"{len(rows)} rows: max difference {difference.max():.3g} at row {rows[worst]}; logits rms {rms:.3f}")
    assert difference.max() <= 1e-4


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["make", "reference", "run", "compare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("program", nargs="?", default="build/cachalot")
    arguments = parser.parse_args()
    match arguments.step:
        case "make": make(arguments.folder)
        case "reference": run_reference(arguments.folder)
        case "run": run_engine(arguments.folder, arguments.program)
        case "compare": compare(arguments.folder)
