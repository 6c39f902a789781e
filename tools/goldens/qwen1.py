"""Makes the goldens of Qwen1 in tests/goldens/qwen/<case>/ with the released modelling code; see README.md.

    python tools/goldens/qwen1.py FOLDER [WORD...]   regenerates all cases, or those whose name contains a word
    python tools/goldens/qwen1.py FOLDER --check     regenerates into a temporary folder and compares with the stored

FOLDER holds the code released with the checkpoints: modeling_qwen.py, configuration_qwen.py, qwen_generation_utils.py.
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
import transformers

import files
import qwen1_reference as reference
from models import GOLDENS, LEAST_CHANGE, MOST_NOISE, TOLERANCE, differences, draw_tokens, pick_rows
from qwen1_reference import Released
from qwen1_switches import switches_of

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@dataclass
class Case:
    name: str
    about: str
    config: dict
    lengths: list[int]  # tokens of each sequence
    seed: int
    declared: list[int] | None = None  # how many tokens of each come in one pass, the others one by one; None: all
    storage: torch.dtype = BF16
    shards: int = 1
    rows: int = 64  # at most so many rows of logits per sequence are stored
    keep: list[int] = field(default_factory=list)  # rows of the longest sequence that must be among them
    trace: bool = False  # store the points of sequence 0 (at most 32 tokens)
    qk_scale: float = 2.0  # on the rows of q and k, for a peaky softmax


def shape(width, heads, ffn, layers, vocab, S, **more) -> dict:
    """The keys of a published config.json. `ffn` is the real width, half of intermediate_size."""
    return {
        "architectures": ["QWenLMHeadModel"],
        "attn_dropout_prob": 0.0,
        "bf16": False,
        "emb_dropout_prob": 0.0,
        "fp16": False,
        "fp32": False,
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": 2 * ffn,
        "kv_channels": width // heads,
        "layer_norm_epsilon": 1e-6,
        "max_position_embeddings": 8192,
        "model_type": "qwen",
        "no_bias": True,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "onnx_safe": None,
        "rotary_emb_base": 10000,
        "rotary_pct": 1.0,
        "scale_attn_weights": True,
        "seq_length": S,
        "tie_word_embeddings": False,
        "tokenizer_type": "QWenTokenizer",
        "transformers_version": "4.32.0",
        "use_cache": True,
        "use_dynamic_ntk": True,
        "use_flash_attn": "auto",
        "use_logn_attn": True,
        "vocab_size": vocab,
        **more,
    }


CASES = [
    Case(
        "plain", "up to seq_length, where NTK and LogN do nothing; 6 heads, tails in every dimension",
        shape(72, 6, 52, 3, 283, 128), lengths=[29, 1, 128], seed=401, trace=True,
    ),
    Case(
        "ntk_logn", "both, at and just over every boundary up to 8 S; 5 heads; F32 storage",
        shape(70, 5, 46, 3, 211, 32), lengths=[31, 32, 33, 64, 65, 128, 129, 270], seed=402, storage=F32,
    ),
    Case(
        "ntk", "dynamic NTK alone, base 50000; a large norm eps; 7 heads; 2 files",
        shape(56, 7, 38, 2, 149, 40, rotary_emb_base=50000, layer_norm_epsilon=0.02, use_logn_attn=False),
        lengths=[40, 80, 81, 200], seed=403, shards=2,
    ),
    Case(
        "logn", "LogN alone, past 4 S; F16 storage; 4 heads",
        shape(48, 4, 34, 3, 131, 24, use_dynamic_ntk=False), lengths=[24, 25, 150], seed=404, storage=F16,
    ),
    Case(
        "neither", "as the 72B: neither NTK nor LogN past seq_length, base 1e6; 8 heads",
        shape(64, 8, 44, 2, 283, 32, rotary_emb_base=1000000, rope_theta=1000000, padded_vocab_size=152064,
              use_dynamic_ntk=False, use_logn_attn=False),
        lengths=[33, 160], seed=405,
    ),
    Case(
        "decode", "prompts in one pass, then one token at a time past S, 2 S and 4 S: alpha and cached keys stay",
        shape(60, 5, 42, 3, 173, 32), lengths=[150, 150, 40, 90], declared=[20, 40, 32, 64], seed=406,
    ),
    Case(
        "long", "4,300 tokens past 2 S = 4,096, as the 14B has it; heads of 64",
        shape(128, 2, 40, 2, 101, 2048), lengths=[4300], seed=407, rows=16,
        keep=[0, 2046, 2047, 2048, 2049, 3000, 4095, 4096, 4097, 4299],
    ),
]


def draw_weights(case: Case) -> dict[str, torch.Tensor]:
    """Weights N(0, 1/sqrt(fan_in)), biases N(0, 0.5), gains U(0.5, 1.5); q and k larger; in the storage type."""
    c, random = case.config, np.random.default_rng(case.seed)
    width, ffn, vocab = c["hidden_size"], c["intermediate_size"] // 2, c["vocab_size"]

    def matrix(out: int, fan_in: int, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(random.normal(0.0, scale / fan_in**0.5, (out, fan_in))).float()

    def gain() -> torch.Tensor:
        return torch.from_numpy(random.uniform(0.5, 1.5, width)).float()

    weights = {"transformer.wte.weight": matrix(vocab, width, width**0.5)}
    for i in range(c["num_hidden_layers"]):
        layer = f"transformer.h.{i}."
        weights[layer + "ln_1.weight"] = gain()
        qkv = matrix(3 * width, width)
        qkv[: 2 * width] *= case.qk_scale
        weights[layer + "attn.c_attn.weight"] = qkv
        weights[layer + "attn.c_attn.bias"] = torch.from_numpy(random.normal(0.0, 0.5, 3 * width)).float()
        weights[layer + "attn.c_proj.weight"] = matrix(width, width)
        weights[layer + "ln_2.weight"] = gain()
        weights[layer + "mlp.w1.weight"] = matrix(ffn, width)
        weights[layer + "mlp.w2.weight"] = matrix(ffn, width)
        weights[layer + "mlp.c_proj.weight"] = matrix(width, ffn)
    weights["transformer.ln_f.weight"] = gain()
    weights["lm_head.weight"] = matrix(vocab, width)
    return {name: tensor.to(case.storage) for name, tensor in weights.items()}


def provenance(case: Case) -> dict[str, str]:
    return {"script": "tools/goldens/qwen1.py", "modeling_qwen_sha256": reference.FINAL_FORM_SHA256,
            "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0],
            "seed": str(case.seed)}


def run_sequences(case: Case, released: Released, folder: Path) -> dict[str, torch.Tensor]:
    """tokens.k, rows.k, logits.k and inv_freq.k of every sequence, each with a fresh model."""
    tensors = {}
    for k, tokens in enumerate(draw_tokens(case)):
        model, rows = released.load(folder), pick_rows(case, len(tokens))
        declared = case.declared[k] if case.declared else len(tokens)
        logits = reference.forward(model, tokens, declared)
        tensors |= {f"tokens.{k}": tokens, f"rows.{k}": rows, f"logits.{k}": logits[rows.long()].clone(),
                    f"inv_freq.{k}": model.transformer.rotary_emb.inv_freq.clone()}
        if len(tokens) > 1 and declared == len(tokens):
            reference.check_causal(released.load(folder), tokens)
        if case.trace and k == 0:
            points = reference.forward_traced(released.load(folder), tokens)
            assert len(tokens) <= 32 and torch.equal(points["logits"], logits)
            files.save_tensors(folder / "trace.safetensors", {"tokens": tokens, **points}, provenance(case))
    return tensors


def measure_noise(case: Case, released: Released, folder: Path, tensors: dict[str, torch.Tensor]) -> float:
    """The largest distance of the stored logits from the same computed in float64."""
    noise = 0.0
    for k, length in enumerate(case.lengths):
        with released.everything_in_f64(released.load(folder)) as model:
            exact = reference.forward(model, tensors[f"tokens.{k}"], case.declared[k] if case.declared else length)
        assert exact.dtype == torch.float64
        noise = max(noise, (exact[tensors[f"rows.{k}"].long()] - tensors[f"logits.{k}"]).abs().max().item())
    return noise


def measure_switches(case: Case, released: Released, folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    """Name of each switch -> the largest change of any sequence's stored logits."""
    changes = {}
    for switch in switches_of(case):
        change = 0.0
        for k, length in enumerate(case.lengths):
            logits = switch.logits(released, folder, tensors[f"tokens.{k}"], case.declared[k] if case.declared else length)
            change = max(change, (logits[tensors[f"rows.{k}"].long()] - tensors[f"logits.{k}"]).abs().max().item())
        changes[switch.name] = float(f"{change:.4g}")
    return changes


def make(case: Case, released: Released, folder: Path) -> str:
    """Writes one case; returns a line about it."""
    shutil.rmtree(folder, ignore_errors=True)
    files.save_checkpoint(folder, case.config, draw_weights(case), case.shards)
    released.check_facts(folder)
    if case.config["use_dynamic_ntk"] and case.config["use_logn_attn"] and case.config["seq_length"] < 100:
        released.check_padded_batch(folder)

    tensors = run_sequences(case, released, folder)
    longest = max(range(len(case.lengths)), key=lambda k: case.lengths[k])
    rms = tensors[f"logits.{longest}"].pow(2).mean().sqrt().item()
    noise = measure_noise(case, released, folder, tensors)
    changes = measure_switches(case, released, folder, tensors)
    weak = {name: change for name, change in changes.items() if not change >= LEAST_CHANGE}
    assert 0.5 <= rms <= 5, f"{case.name}: rms of the logits is {rms:.3g}"
    assert not weak, f"{case.name} cannot fail on: {weak}"
    assert noise <= MOST_NOISE, f"{case.name}: float32 noise {noise:.3g}"

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
    tensors["attention_scaling"] = torch.tensor([1.0])
    files.save_tensors(folder / "golden.safetensors", tensors, metadata)
    size = sum(file.stat().st_size for file in folder.iterdir())
    least = min(changes, key=changes.get)
    return (f"qwen/{case.name}: {size / 1024:.0f} KiB, rms {rms:.2f}, noise {noise:.1e}, "
            f"{len(changes)} switches, least {changes[least]:.3g} ({least})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the released code")
    parser.add_argument("words", nargs="*", help="only the cases whose name contains one of these")
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    options = parser.parse_args()
    released, failed = Released(options.folder), 0
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            if options.words and not any(word in case.name for word in options.words):
                continue
            target = (Path(temporary) if options.check else GOLDENS) / "qwen" / case.name
            print(make(case, released, target), flush=True)
            if options.check:
                found = differences(target, GOLDENS / "qwen" / case.name)
                failed += bool(found)
                print("\n".join(f"  DIFFERS: {line}" for line in found) or "  same", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
