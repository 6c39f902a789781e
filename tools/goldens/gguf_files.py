"""Makes tests/goldens/gguf/: GGUF files written by the public gguf package; see README.md.

    python tools/goldens/gguf_files.py            regenerates all
    python tools/goldens/gguf_files.py --check    regenerates into a temporary folder and compares

Model files hold the weights of a case in tests/goldens/<family>/<case>, whose golden.safetensors has the logits that they
must give. `quants.gguf` is a model of quantized tensors with logits of its own, `blocks.gguf` plain tensors of random
blocks with the values that gguf-py reads from them.
"""

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type

import files
import gguf_tokenizer
import reference
from case import BF16, F16, F32, Case, shape
from cases import CASES
from models import GOLDENS, MOST_NOISE, TOLERANCE, differences, draw_tokens
from weights import MLA_FAMILIES, draw_weights

FOLDER = GOLDENS / "gguf"
FILE_TYPES = {F32: gguf.LlamaFileType.ALL_F32, F16: gguf.LlamaFileType.MOSTLY_F16, BF16: gguf.LlamaFileType.MOSTLY_BF16}
TENSOR_TYPES = {F32: Type.F32, F16: Type.F16, BF16: Type.BF16}
ARCHITECTURES = {"qwen2_moe": "qwen2moe", "qwen3_moe": "qwen3moe", "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2"}
PRE = {"qwen2": "qwen2", "qwen3": "qwen2", "llama": "llama-bpe", "qwen2_moe": "qwen2", "qwen3_moe": "qwen2",
       "deepseek_v2": "deepseek-llm", "deepseek_v3": "deepseek-v3"}
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b", "mlp.gate": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    **{f"mlp.{holder}.{part}_proj": f"ffn_{part}_shexp"
       for holder in ("shared_expert", "shared_experts") for part in ("gate", "up", "down")},
}
MODEL_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
               "lm_head.weight": "output.weight"}


def gguf_name(name: str) -> str:
    if name in MODEL_NAMES:
        return MODEL_NAMES[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    if rest == "mlp.gate.e_score_correction_bias":
        return f"blk.{layer}.exp_probs_b.bias"
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def to_adjacent_pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Row 2i of a head comes from row i, row 2i + 1 from row i + head_dim / 2: the order that arch llama rotates."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def stacked_experts(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """{GGUF name: [E, rows, columns]} of every `mlp.experts.E.X_proj.weight`, in the order of the experts."""
    parts: dict[str, list[torch.Tensor]] = {}
    for name, tensor in weights.items():
        if ".mlp.experts." in name:
            layer, part = name.split(".")[2], name.split(".")[-2].removesuffix("_proj")
            parts.setdefault(f"blk.{layer}.ffn_{part}_exps.weight", []).append(tensor)
    return {name: torch.stack(tensors) for name, tensors in parts.items()}


def split_kv_b(case: Case, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """attn_k_b [H, latent, nope], which is transposed within each head, and attn_v_b [H, value, latent]."""
    c = case.config
    heads = tensor.reshape(c["num_attention_heads"], c["qk_nope_head_dim"] + c["v_head_dim"], c["kv_lora_rank"])
    keys, values = heads.split([c["qk_nope_head_dim"], c["v_head_dim"]], dim=1)
    return {"attn_k_b": keys.transpose(1, 2).contiguous(), "attn_v_b": values.contiguous()}


def gguf_tensors(case: Case, weights: dict[str, torch.Tensor], split_mla: bool = False) -> dict[str, torch.Tensor]:
    """The tensors under their GGUF names; vectors and routers become float32, as converters have it."""
    tensors, c = {}, case.config
    for name, tensor in weights.items():
        if ".mlp.experts." in name:
            continue
        if case.family == "llama" and ("q_proj" in name or "k_proj" in name):
            tensor = to_adjacent_pairs(tensor, c["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        if split_mla and "kv_b_proj" in name:
            layer = name.split(".")[2]
            tensors |= {f"blk.{layer}.{part}.weight": t for part, t in split_kv_b(case, tensor).items()}
            continue
        if "shared_expert_gate" in name:
            tensor = tensor[0]
        tensors[gguf_name(name)] = tensor.float() if tensor.dim() == 1 or name.endswith("mlp.gate.weight") else tensor
    return tensors | stacked_experts(weights)


def rope_keys(case: Case) -> dict:
    c = case.config
    return c.get("rope_parameters") or c.get("rope_scaling") or {}


def llama3_divisors(case: Case, folder: Path) -> torch.Tensor:
    """What the reference's unscaled frequencies are divided by to become the scaled ones."""
    scaled = reference.load(folder).model.rotary_emb.inv_freq

    def unscaled(config):
        config.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}

    return (reference.load(folder, unscaled).model.rotary_emb.inv_freq.double() / scaled.double()).float()


def add_expert_metadata(writer: gguf.GGUFWriter, case: Case) -> None:
    """The keys of a mixture of experts. Qwen's files say nothing of norm_topk_prob, those of V2 nothing of the router's
    function, and neither those of one group anything of groups."""
    c = case.config
    writer.add_expert_count(c.get("n_routed_experts") or c["num_experts"])
    writer.add_expert_used_count(c["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in c:
        writer.add_expert_shared_feed_forward_length(c["shared_expert_intermediate_size"])
    if "n_shared_experts" in c:
        writer.add_expert_shared_count(c["n_shared_experts"])
        writer.add_expert_weights_scale(c["routed_scaling_factor"])
        writer.add_leading_dense_block_count(c["first_k_dense_replace"])
    if case.family == "deepseek_v3":
        writer.add_expert_weights_norm(c["norm_topk_prob"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if c.get("n_group", 1) > 1:
        writer.add_expert_group_count(c["n_group"])
        writer.add_expert_group_used_count(c["topk_group"])


def add_mla_metadata(writer: gguf.GGUFWriter, case: Case, split: bool) -> None:
    """Files with a split kv_b describe attention over the latent, with one kv head; the sizes of the others are *_mla."""
    c = case.config
    key, value, latent, rope = c["qk_nope_head_dim"] + c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"], c["qk_rope_head_dim"]
    writer.add_head_count_kv(1 if split else c["num_attention_heads"])
    writer.add_key_length(latent + rope if split else key)
    writer.add_value_length(latent if split else value)
    if split:
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(value)
    if c["q_lora_rank"] is not None:
        writer.add_q_lora_rank(c["q_lora_rank"])
    writer.add_kv_lora_rank(latent)
    writer.add_rope_dimension_count(rope)
    writer.add_vocab_size(c["vocab_size"])


def add_rope_scaling(writer: gguf.GGUFWriter, rope: dict) -> None:
    kind = rope.get("rope_type") or rope.get("type", "default")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        plain = {"rope_type", "type", "factor", "original_max_position_embeddings", "rope_theta"}
        assert rope.keys() - plain <= {"mscale", "mscale_all_dim", "beta_fast", "beta_slow"}
        assert (rope.get("beta_fast", 32), rope.get("beta_slow", 1)) == (32, 1)
        assert rope.get("mscale") == rope.get("mscale_all_dim")
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "mscale_all_dim" in rope:
            writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def add_metadata(writer: gguf.GGUFWriter, case: Case, storage: gguf.LlamaFileType, split_mla: bool = False) -> None:
    c, rope = case.config, rope_keys(case)
    heads = c["num_attention_heads"]
    head_dim = c.get("head_dim", c["hidden_size"] // heads)
    writer.add_name(f"{case.family} {case.name}")
    writer.add_file_type(storage)
    writer.add_quantization_version(2)
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(heads)
    if case.family in MLA_FAMILIES:
        add_mla_metadata(writer, case, split_mla)
    else:
        writer.add_head_count_kv(c["num_key_value_heads"])
    if "head_dim" in c:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta") or c["rope_theta"])
    if case.family == "llama":
        writer.add_vocab_size(c["vocab_size"])
        writer.add_rope_dimension_count(head_dim)
    if "num_experts_per_tok" in c:
        add_expert_metadata(writer, case)
    add_rope_scaling(writer, rope)
    gguf_tokenizer.add_to(writer, PRE[case.family], c["vocab_size"])


def write(path: Path, case: Case, tensors: dict[str, tuple[np.ndarray, Type]], storage, per_shard: int = 0,
          split_mla: bool = False) -> None:
    writer = gguf.GGUFWriter(path, ARCHITECTURES.get(case.family, case.family), split_max_tensors=per_shard)
    add_metadata(writer, case, storage, split_mla)
    for name, (values, kind) in tensors.items():
        writer.add_tensor(name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def stored_as(tensor: torch.Tensor) -> tuple[np.ndarray, Type]:
    """The very bits of `tensor` in the form that GGUFWriter takes."""
    if tensor.dtype == BF16:
        return tensor.contiguous().view(torch.uint8).numpy(), Type.BF16
    return tensor.contiguous().numpy(), TENSOR_TYPES[tensor.dtype]


def write_case(folder: Path, file: str, family: str, name: str, shards: int = 1, split_mla: bool = False) -> list[Path]:
    """One file, or several, with the weights that tests/goldens/<family>/<name> holds."""
    (case,) = [c for c in CASES if (c.family, c.name) == (family, name)]
    source = GOLDENS / family / name
    weights = reference.stored_weights(source)
    names = list(draw_weights(case))  # in the order of the layers
    tensors = gguf_tensors(case, {name: weights[name] for name in names}, split_mla)
    if rope_keys(case).get("rope_type") == "llama3":
        tensors["rope_freqs.weight"] = llama3_divisors(case, source)
    per_shard = -(-len(tensors) // shards) if shards > 1 else 0
    write(folder / f"{file}.gguf", case, {n: stored_as(t) for n, t in tensors.items()}, FILE_TYPES[case.storage], per_shard,
          split_mla)
    made = sorted(folder.glob(f"{file}*.gguf"))
    assert len(made) == shards
    check_bits(made, tensors)
    return made


def check_bits(made: list[Path], tensors: dict[str, torch.Tensor]) -> None:
    """gguf's own reader finds every tensor with the values that were written."""
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for path in made for t in gguf.GGUFReader(path).tensors}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert np.array_equal(found[name].reshape(tensor.shape), tensor.float().numpy()), name


def as_version_2(path: Path) -> None:
    """Version 2 has the layout of version 3."""
    data = bytearray(path.read_bytes())
    data[4:8] = (2).to_bytes(4, "little")
    path.write_bytes(data)


# --- quantized tensors ---------------------------------------------------------------------------------------------

# Where a block's f16 scale and minimum lie, and how large the minimum is, in scales, for values around zero.
SCALE_OFFSETS = {
    Type.Q4_0: (0, None, 0), Type.Q4_1: (0, 2, -7.5), Type.Q5_0: (0, None, 0), Type.Q5_1: (0, 2, -15.5),
    Type.Q8_0: (0, None, 0), Type.Q2_K: (80, 82, 1.5), Type.Q3_K: (108, None, 0), Type.Q4_K: (0, 2, 7.5),
    Type.Q5_K: (0, 2, 15.5), Type.Q6_K: (208, None, 0), Type.IQ4_NL: (0, None, 0), Type.IQ4_XS: (0, None, 0),
}
BY_GGUF_PY = (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0)  # the others it can only read


def random_blocks(kind: Type, rows: int, columns: int, scales: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Bytes of [rows, columns] values: all bits of a block random, its f16 scale drawn from `scales`."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    at, minimum_at, ratio = SCALE_OFFSETS[kind]
    scale = random.choice(scales, len(blocks)).astype(np.float16)
    blocks[:, at : at + 2] = scale[:, None].view(np.uint8)
    if minimum_at is not None:
        minimum = (scale.astype(np.float32) * ratio).astype(np.float16)
        blocks[:, minimum_at : minimum_at + 2] = minimum[:, None].view(np.uint8)
    return blocks.reshape(rows, -1)


def quantized(kind: Type, values: torch.Tensor, random: np.random.Generator) -> np.ndarray:
    """Bytes in the layout `kind`: `values` where gguf-py can quantize, else random blocks of the same spread."""
    if kind in BY_GGUF_PY:
        return gguf.quants.quantize(values.numpy(), kind)
    rows, columns = values.shape
    unit = gguf.quants.dequantize(random_blocks(kind, 64, 512, np.ones(1), np.random.default_rng(1)), kind)
    scale = values.numpy().std(dtype=np.float64) / unit.std(dtype=np.float64)
    return random_blocks(kind, rows, columns, scale * np.linspace(0.5, 1.5, 33), random)


QUANTS = Case(
    "qwen3", "quants", "every quantized type in one model",
    shape(256, 4, 1, 256, 2, 283, head_dim=64, max_position_embeddings=256, rms_norm_eps=1e-6,
          tie_word_embeddings=False, rope_theta=1000000.0, attention_bias=False, use_sliding_window=False,
          sliding_window=None, max_window_layers=2),
    lengths=[96], seed=901, storage=F32,
)
QUANT_TYPES = {
    "token_embd.weight": Type.Q6_K, "output.weight": Type.Q8_0,
    "blk.0.attn_q.weight": Type.Q4_K, "blk.0.attn_k.weight": Type.Q8_0, "blk.0.attn_v.weight": Type.Q6_K,
    "blk.0.attn_output.weight": Type.Q5_K, "blk.0.ffn_gate.weight": Type.Q3_K, "blk.0.ffn_up.weight": Type.Q2_K,
    "blk.0.ffn_down.weight": Type.IQ4_XS,
    "blk.1.attn_q.weight": Type.Q4_0, "blk.1.attn_k.weight": Type.Q4_1, "blk.1.attn_v.weight": Type.Q5_0,
    "blk.1.attn_output.weight": Type.Q5_1, "blk.1.ffn_gate.weight": Type.IQ4_NL, "blk.1.ffn_up.weight": Type.Q4_K,
    "blk.1.ffn_down.weight": Type.BF16,
}
assert set(QUANT_TYPES.values()) == set(SCALE_OFFSETS) | {Type.BF16}
SAMPLED_ROWS = 8  # of every tensor, dequantized, in quants.safetensors


def write_quants(folder: Path) -> list[Path]:
    random = np.random.default_rng(QUANTS.seed)
    hf_names = {gguf_name(name): name for name in draw_weights(QUANTS)}
    stored, plain = {}, {}
    for name, tensor in gguf_tensors(QUANTS, draw_weights(QUANTS)).items():
        kind = QUANT_TYPES.get(name, Type.F32)
        stored[name] = (tensor.numpy() if kind == Type.F32 else
                        gguf.quants.quantize(tensor.numpy(), kind) if kind == Type.BF16 else
                        quantized(kind, tensor, random), kind)
        plain[name] = torch.from_numpy(gguf.quants.dequantize(*stored[name]).astype(np.float32)).reshape(tensor.shape)
    write(folder / "quants.gguf", QUANTS, stored, gguf.LlamaFileType.MOSTLY_Q4_K_M)
    check_bits([folder / "quants.gguf"], plain)

    (tokens,) = draw_tokens(QUANTS)
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary)
        files.save_checkpoint(checkpoint, reference.config_json(QUANTS), {hf_names[n]: t for n, t in plain.items()}, 1)
        logits = reference.forward(reference.load(checkpoint), tokens)
        with reference.everything_in_f64(reference.load(checkpoint)) as model:
            noise = (reference.forward(model, tokens) - logits).abs().max().item()
        changes = {name: change_without(hf_names[name], checkpoint, tokens, logits) for name in QUANT_TYPES}
    rms = logits.pow(2).mean().sqrt().item()
    assert 0.5 <= rms <= 5 and noise <= MOST_NOISE, (rms, noise)
    assert min(changes.values()) >= 100 * TOLERANCE, changes
    rows = torch.arange(0, len(tokens), 2).int()
    tensors = {"tokens.0": tokens, "rows.0": rows, "logits.0": logits[rows.long()]}
    tensors |= {f"dequantized.{name}": plain[name][:SAMPLED_ROWS].clone() for name in QUANT_TYPES}
    metadata = {"sequences": "1", "tolerance": f"{TOLERANCE:g}", "float32_noise": f"{noise:.3g}", "logits_rms": f"{rms:.4g}",
                "types": json.dumps({n: kind.name for n, kind in QUANT_TYPES.items()}),
                "switched_off": json.dumps({f"{n} zero": change for n, change in changes.items()})}
    files.save_tensors(folder / "quants.safetensors", tensors, provenance(QUANTS.seed) | metadata)
    return [folder / "quants.gguf", folder / "quants.safetensors"]


def change_without(name: str, checkpoint: Path, tokens: torch.Tensor, want: torch.Tensor) -> float:
    model = reference.load(checkpoint)
    with torch.no_grad():
        model.get_parameter(name).zero_()
    return float(f"{(reference.forward(model, tokens) - want).abs().max().item():.4g}")


def write_blocks(folder: Path) -> list[Path]:
    """Random blocks of each type, with scales from the smallest subnormal to large, negative and zero."""
    random = np.random.default_rng(902)
    scales = np.array([0.0, -0.0, 2.0**-24, 3 * 2.0**-20, -(2.0**-14), 0.0137, 0.5, 1.0, -1.7, 117.0])
    writer, values = gguf.GGUFWriter(folder / "blocks.gguf", "llama"), {}
    for kind in sorted(SCALE_OFFSETS):
        blocks = random_blocks(kind, 3, 512, scales, random)
        writer.add_tensor(f"blocks.{kind.name}", blocks, raw_dtype=kind)
        values[f"blocks.{kind.name}"] = torch.from_numpy(gguf.quants.dequantize(blocks, kind))
    for kind, dtype in ((Type.F16, np.float16), (Type.BF16, np.uint16)):
        bits = random.integers(0, 65536, (3, 512)).astype(np.uint16)
        exponent = 0x7C00 if kind == Type.F16 else 0x7F80
        bits[(bits & exponent) == exponent] &= ~np.uint16(0x4000)  # no infinities, no NaN
        stored = bits.view(np.float16) if kind == Type.F16 else bits.view(np.uint8)
        writer.add_tensor(f"blocks.{kind.name}", stored, raw_dtype=kind)
        wide = stored.astype(np.float32) if kind == Type.F16 else (bits.astype(np.uint32) << 16).view(np.float32)
        values[f"blocks.{kind.name}"] = torch.from_numpy(wide)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert all(torch.isfinite(v).all() for v in values.values())
    check_bits([folder / "blocks.gguf"], values)
    files.save_tensors(folder / "blocks.safetensors", values, provenance(902))
    return [folder / "blocks.gguf", folder / "blocks.safetensors"]


def provenance(seed: int) -> dict[str, str]:
    return {"script": "tools/goldens/gguf_files.py", "gguf": version("gguf"), "transformers": transformers.__version__,
            "torch": torch.__version__.split("+")[0], "seed": str(seed)}


def own_files(folder: Path) -> list[Path]:
    """All but those of Qwen1, which qwen1_gguf.py makes."""
    return sorted(path for path in folder.iterdir() if not path.match("qwen-*.gguf"))


def make(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for old in own_files(folder):
        old.unlink()
    made = write_case(folder, "qwen2-plain", "qwen2", "plain")
    made += write_case(folder, "qwen3-plain", "qwen3", "plain")
    made += write_case(folder, "qwen3-yarn", "qwen3", "yarn")
    made += write_case(folder, "llama-plain", "llama", "plain")
    made += write_case(folder, "llama-llama3", "llama", "llama3")
    made += write_case(folder, "llama-linear-v2", "llama", "linear")
    as_version_2(made[-1])
    made += write_case(folder, "qwen3-yarn-split", "qwen3", "yarn", shards=3)
    made += write_case(folder, "qwen2_moe-plain", "qwen2_moe", "plain")
    made += write_case(folder, "qwen3_moe-plain", "qwen3_moe", "plain")
    made += write_case(folder, "deepseek_v2-plain", "deepseek_v2", "plain")
    made += write_case(folder, "deepseek_v3-plain", "deepseek_v3", "plain", split_mla=True)
    made += write_case(folder, "deepseek_v3-ungrouped", "deepseek_v3", "ungrouped")
    made += write_quants(folder) + write_blocks(folder) + gguf_tokenizer.write_ids(folder)
    assert sorted(made) == own_files(folder)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    if not parser.parse_args().check:
        for path in make(FOLDER):
            print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        made = make(Path(temporary))
        found = [line for line in differences(Path(temporary), FOLDER) if not line.startswith("qwen-")]
    print("\n".join(f"DIFFERS: {line}" for line in found) or f"{len(made)} files: same")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
