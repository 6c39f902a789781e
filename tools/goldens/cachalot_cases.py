"""Makes the goldens of the `cachalot` family in tests/goldens/cachalot/<case>/; see README.md.

    python tools/goldens/cachalot_cases.py            regenerates all
    python tools/goldens/cachalot_cases.py report     regenerates the cases whose name contains one of the words
    python tools/goldens/cachalot_cases.py --check    regenerates into a temporary folder and compares with what is stored
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import files
import routing
from cachalot_model import DEFAULTS, Cachalot
from cachalot_switches import switches_of
from models import GOLDENS, MOST_NOISE, TOLERANCE, differences, draw_tokens, pick_rows

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
DTYPE_WORDS = {F32: "float32", F16: "float16", BF16: "bfloat16"}

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


@dataclass
class Case:
    name: str
    about: str
    config: dict
    lengths: list[int]  # tokens of each sequence
    seed: int
    declared: list[int] | None = None  # the declared length of each sequence; None: all of it
    storage: torch.dtype = BF16
    shards: int = 1
    rows: int = 64  # at most so many rows of logits per sequence are stored
    keep: list[int] = field(default_factory=list)  # rows of the longest sequence that must be among them
    trace: bool = False  # store the points of sequence 0 (at most 32 tokens)
    qk_scale: float = 2.0  # on the rows of q and k, for a peaky softmax


def shape(width, heads, ffn, layers, vocab, positions, **more) -> dict:
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "vocab_size": vocab,
        "max_position_embeddings": positions,
        **more,
    }


CASES = [
    Case(
        "plain", "every key left out but the sizes: the released form, as Llama",
        shape(72, 6, 100, 3, 283, 256), lengths=[29, 1, 160], seed=901, trace=True,
    ),
    Case(
        "report_deepseek", "the first report: positions beside RoPE on pairs, compressed keys and values, a router with a "
        "bias whose weights are not normalised, GELU experts of two layers with biases, biased output",
        shape(60, 5, 84, 3, 211, 192, learned_positions=True, rope_pairing="pairs", kv_compression_dim=30,
              num_key_value_heads=5, attention_out_bias=True, head_bias=True, ffn_form="two_layer", hidden_act="gelu",
              ffn_bias=True, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=34, router_bias=True,
              norm_topk_prob=False, first_dense_layers=0, tie_word_embeddings=False),
        lengths=[28, 150], seed=902, trace=True,
    ),
    Case(
        "report_qwen", "the second report: log N on the scores, windows that grow with the layers, Swish with beta, biased "
        "q, k, v, frequencies times 1 + gamma ln N, biased output; 6 heads on 2",
        shape(72, 6, 76, 3, 173, 256, num_key_value_heads=2, qkv_bias=True, attention_out_bias=True, head_bias=True,
              logn="log", windows=[6, 14, 40], window_form="causal", swish_beta=1.7, rope_log_gamma=0.1,
              tie_word_embeddings=False),
        lengths=[25, 1, 140], seed=903, storage=F32, qk_scale=1.2,
    ),
    Case(
        "symmetric", "symmetric windows with positions and no RoPE, dense GELU of two layers; tied; 7 heads",
        shape(56, 7, 90, 3, 149, 160, learned_positions=True, use_rope=False, windows=[5, 3, 11], window_form="symmetric",
              hidden_act="gelu", ffn_form="two_layer", ffn_bias=True, rms_norm_eps=0.02, tie_word_embeddings=True),
        lengths=[12, 150], seed=904, shards=2,
    ),
    Case(
        "shared_experts", "one dense layer, then 3 of 8 experts with normalised weights beside 2 shared ones, gated with "
        "biases and beta; LogN as released; pairs; head_dim 16 where width / heads is 12; F16",
        shape(72, 6, 96, 3, 137, 256, num_key_value_heads=3, head_dim=16, rope_pairing="pairs", rope_theta=1000000.0,
              logn="released", logn_length=24, swish_beta=0.6, ffn_bias=True, num_experts=8, num_experts_per_tok=3,
              moe_intermediate_size=28, norm_topk_prob=True, num_shared_experts=2, first_dense_layers=1,
              tie_word_embeddings=True, head_bias=True),
        lengths=[24, 25, 150], seed=907, storage=F16,
    ),
    Case(
        "compressed_windows", "compression with causal windows, one of them of all keys, and log N; gated GELU; gamma with "
        "declared lengths shorter than the sequences",
        shape(64, 4, 72, 3, 131, 256, kv_compression_dim=24, windows=[9, 0, 4], logn="log", rope_log_gamma=0.25,
              hidden_act="gelu", qkv_bias=True, tie_word_embeddings=False),
        lengths=[40, 130, 130], declared=[40, 20, 90], seed=906, qk_scale=1.2,
    ),
    Case(
        "long", "4,300 tokens: windows of 512 below and 2,048 above, log N, gamma; heads of 64",
        shape(128, 2, 44, 2, 101, 8192, windows=[512, 2048], logn="log", rope_log_gamma=0.1, swish_beta=1.5,
              tie_word_embeddings=True),
        lengths=[4300], seed=908, rows=14, keep=[0, 511, 512, 513, 2047, 2048, 2049, 4096, 4299], qk_scale=0.6,
    ),
]


def config_json(case: Case) -> dict:
    return {"architectures": ["CachalotForCausalLM"], "model_type": "cachalot", **case.config,
            "torch_dtype": DTYPE_WORDS[case.storage]}


class Draw:
    """Weights N(0, 1/sqrt(fan_in)), biases N(0, 0.5), gains U(0.5, 1.5); q and k larger; rounded to the storage type."""

    def __init__(self, case: Case):
        self.case, self.random = case, np.random.default_rng(case.seed)
        self.weights: dict[str, torch.Tensor] = {}

    def put(self, name: str, values) -> None:
        self.weights[name] = torch.from_numpy(values).float().to(self.case.storage)

    def linear(self, name: str, out: int, fan_in: int, biased: bool, scale: float = 1.0) -> None:
        self.put(name + ".weight", self.random.normal(0.0, scale / fan_in**0.5, (out, fan_in)))
        if biased:
            self.put(name + ".bias", self.random.normal(0.0, 0.5, out))

    def gain(self, name: str, size: int) -> None:
        self.put(name + ".weight", self.random.uniform(0.5, 1.5, size))

    def ffn(self, c: dict, name: str, hidden: int) -> None:
        width, biased = c["hidden_size"], c["ffn_bias"]
        if c["ffn_form"] == "two_layer":
            self.linear(name + "fc1", hidden, width, biased)
            self.linear(name + "fc2", width, hidden, biased)
            return
        self.linear(name + "gate_proj", hidden, width, biased)
        self.linear(name + "up_proj", hidden, width, biased)
        self.linear(name + "down_proj", width, hidden, biased)

    def attention(self, c: dict, name: str) -> None:
        width, heads, size = c["hidden_size"], c["num_attention_heads"], c["head_dim"]
        compressed = c["kv_compression_dim"]
        for part, count, scale in (("q", heads, self.case.qk_scale), ("k", c["num_key_value_heads"], self.case.qk_scale),
                                   ("v", c["num_key_value_heads"], 1.0)):
            self.linear(f"{name}{part}_proj", count * size, width, c["qkv_bias"], scale)
        if compressed:
            self.linear(name + "k_compress", compressed, heads * size, False)
            self.linear(name + "v_compress", compressed, heads * size, False)
        self.linear(name + "o_proj", width, compressed or heads * size, c["attention_out_bias"])

    def mixture(self, c: dict, name: str) -> None:
        hidden = c["moe_intermediate_size"]
        self.linear(name + "gate", c["num_experts"], c["hidden_size"], c["router_bias"], 1.5)
        for e in range(c["num_experts"]):
            self.ffn(c, f"{name}experts.{e}.", hidden)
        if c["num_shared_experts"]:
            self.ffn(c, name + "shared_experts.", c["num_shared_experts"] * hidden)

    def all(self) -> dict[str, torch.Tensor]:
        heads, width = self.case.config["num_attention_heads"], self.case.config["hidden_size"]
        c = {**DEFAULTS, "num_key_value_heads": heads, "head_dim": width // heads, **self.case.config}
        vocab, tied = c["vocab_size"], c["tie_word_embeddings"]
        # A tied table is also the head, so it is drawn as one; else rows of unit variance.
        self.linear("model.embed_tokens", vocab, width, False, 1.0 if tied else width**0.5)
        if c["learned_positions"]:
            self.linear("model.embed_positions", c["max_position_embeddings"], width, False, 1.0 if tied else width**0.5)
        for i in range(c["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            self.gain(layer + "input_layernorm", width)
            self.attention(c, layer + "self_attn.")
            self.gain(layer + "post_attention_layernorm", width)
            if c["num_experts"] and i >= c["first_dense_layers"]:
                self.mixture(c, layer + "mlp.")
            else:
                self.ffn(c, layer + "mlp.", c["intermediate_size"])
        self.gain("model.norm", width)
        if not tied:
            self.linear("lm_head", vocab, width, c["head_bias"])
        elif c["head_bias"]:
            self.put("lm_head.bias", self.random.normal(0.0, 0.5, vocab))
        return self.weights


def provenance(case: Case) -> dict[str, str]:
    return {"script": "tools/goldens/cachalot_cases.py", "torch": torch.__version__.split("+")[0], "seed": str(case.seed)}


def decisions_of(model: Cachalot) -> dict:
    """Layer -> its router's logits and decision, by the other description of routers; refuses what is too close."""
    rule, found = routing.Rule(model.c["num_experts_per_tok"], normalised=model.c["norm_topk_prob"]), {}
    for layer, logits in model.router_logits.items():
        decision = routing.decide(rule, logits, None)
        assert decision.margin > routing.LEAST_MARGIN, f"layer {layer}: a choice of experts by {decision.margin:.2g}"
        found[layer] = (logits, decision)
    return found


def run_sequences(case: Case, config: dict, weights: dict, folder: Path) -> dict[str, torch.Tensor]:
    """tokens.k, rows.k, logits.k and inv_freq.k of every sequence; writes the trace."""
    tensors = {}
    for k, tokens in enumerate(draw_tokens(case)):
        model, rows = Cachalot(config, weights), pick_rows(case, len(tokens))
        logits = model.logits(tokens, case.declared[k] if case.declared else None)
        assert not model.unused, f"{case.name}: not used: {model.unused}"
        decisions = decisions_of(model)
        tensors |= {f"tokens.{k}": tokens, f"rows.{k}": rows, f"logits.{k}": logits[rows.long()].clone(),
                    f"inv_freq.{k}": model.inv_freq}
        if k == 0 and (case.trace or decisions):
            points = routing.trace_points(decisions)
            if case.trace:
                assert len(tokens) <= 32
                points |= {**model.points, "logits": logits}
            files.save_tensors(folder / "trace.safetensors", {"tokens": tokens, **points}, provenance(case))
    tensors["attention_scaling"] = torch.tensor([1.0])
    return tensors


def make(case: Case, folder: Path) -> str:
    """Writes one case; returns a line about it."""
    shutil.rmtree(folder, ignore_errors=True)
    files.save_checkpoint(folder, config_json(case), Draw(case).all(), case.shards)
    config = json.loads((folder / "config.json").read_text())
    stored = {}
    for file in sorted(folder.glob("model*.safetensors")):
        stored |= files.load_tensors(file)[0]
    weights = {name: tensor.float() for name, tensor in stored.items()}
    tensors = run_sequences(case, config, weights, folder)

    noise, rms = 0.0, 0.0
    switches = switches_of(case)
    changes = dict.fromkeys((switch.name for switch in switches), 0.0)
    for k, length in enumerate(case.lengths):
        tokens, rows, want = (tensors[f"{name}.{k}"] for name in ("tokens", "rows", "logits"))
        declared = case.declared[k] if case.declared else length
        exact = Cachalot(config, weights, torch.float64).logits(tokens, declared)
        noise = max(noise, (exact[rows.long()] - want).abs().max().item())
        rms = max(rms, want.pow(2).mean().sqrt().item())
        for switch in switches:
            logits = switch.logits(config, weights, tokens, declared)
            change = (logits[rows.long()] - want).abs().max().item()
            changes[switch.name] = max(changes[switch.name], float(f"{change:.4g}"))
    least = {switch.name: switch.least * TOLERANCE for switch in switches}
    weak = {name: change for name, change in changes.items() if not change >= least[name]}
    assert not weak, f"{case.name} cannot fail on: {weak}"
    assert noise <= MOST_NOISE, f"{case.name}: float32 noise {noise:.3g}"
    assert 0.5 <= rms <= 5, f"{case.name}: rms of the logits is {rms:.3g}"

    metadata = {
        **provenance(case),
        "about": case.about,
        "sequences": str(len(case.lengths)),
        "declared": json.dumps(case.declared or case.lengths),
        "tolerance": f"{TOLERANCE:g}",
        "float32_noise": f"{noise:.3g}",
        "logits_rms": f"{rms:.4g}",
        "attention_scaling": "1.0",
        "switched_off": json.dumps(changes),
    }
    files.save_tensors(folder / "golden.safetensors", tensors, metadata)
    size = sum(file.stat().st_size for file in folder.iterdir())
    weakest = min(changes, key=changes.get)
    return (f"cachalot/{case.name}: {size / 1024:.0f} KiB, rms {rms:.2f}, noise {noise:.1e}, "
            f"{len(changes)} switches, least {changes[weakest]:.3g} ({weakest})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only the cases whose name contains one of these")
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            if options.words and not any(word in case.name for word in options.words):
                continue
            target = (Path(temporary) if options.check else GOLDENS) / "cachalot" / case.name
            print(make(case, target), flush=True)
            if options.check:
                found = differences(target, GOLDENS / "cachalot" / case.name)
                failed += bool(found)
                print("\n".join(f"  DIFFERS: {line}" for line in found) or "  same", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
