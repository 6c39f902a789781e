"""Makes tests/goldens/gguf/qwen-*.gguf from two cases of tests/goldens/qwen; see README.md.

    python tools/goldens/qwen1_gguf.py            writes both
    python tools/goldens/qwen1_gguf.py --check    writes them into a temporary folder and compares the bytes

GGUF has no keys for dynamic NTK and LogN. So one case has both off, and in the other no sequence is longer than
seq_length, up to which they do nothing.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import gguf
import torch

import files
import gguf_tokenizer
from gguf_files import FILE_TYPES, FOLDER, check_bits, stored_as
from models import GOLDENS

# The key of the norms' epsilon: older converters wrote the first, later ones the second.
CASES = {"plain": "layer_norm_rms_epsilon", "neither": "layer_norm_epsilon"}
MODEL_NAMES = {"transformer.wte": "token_embd", "transformer.ln_f": "output_norm", "lm_head": "output"}
LAYER_NAMES = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
               "mlp.w1": "ffn_up", "mlp.w2": "ffn_gate", "mlp.c_proj": "ffn_down"}


def gguf_name(name: str) -> str:
    part, kind = name.rsplit(".", 1)
    if part in MODEL_NAMES:
        return f"{MODEL_NAMES[part]}.{kind}"
    layer, rest = part.removeprefix("transformer.h.").split(".", 1)
    return f"blk.{layer}.{LAYER_NAMES[rest]}.{kind}"


def check_case(config: dict, golden: dict[str, torch.Tensor]) -> None:
    """Nothing in the case asks for what GGUF cannot say."""
    longest = max(len(tensor) for name, tensor in golden.items() if name.startswith("tokens."))
    assert longest <= config["seq_length"] or not (config["use_dynamic_ntk"] or config["use_logn_attn"])


def write_case(folder: Path, name: str, epsilon_key: str) -> Path:
    source, path = GOLDENS / "qwen" / name, folder / f"qwen-{name}.gguf"
    c, (golden, _) = json.loads((source / "config.json").read_text()), files.load_tensors(source / "golden.safetensors")
    check_case(c, golden)
    weights, _ = files.load_tensors(source / "model.safetensors")
    # Vectors become float32, as converters have it.
    tensors = {gguf_name(n): t.float() if t.dim() == 1 else t for n, t in weights.items()}
    writer = gguf.GGUFWriter(path, "qwen")
    writer.add_name(f"qwen {name}")
    writer.add_file_type(FILE_TYPES[weights["lm_head.weight"].dtype])
    writer.add_quantization_version(2)
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])  # twice the width of the matrices
    writer.add_rope_freq_base(c["rotary_emb_base"])
    writer.add_rope_dimension_count(c["kv_channels"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_float32(f"qwen.attention.{epsilon_key}", c["layer_norm_epsilon"])
    gguf_tokenizer.add_to(writer, "qwen2", c["vocab_size"])
    for tensor_name, tensor in tensors.items():
        values, kind = stored_as(tensor)
        writer.add_tensor(tensor_name, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check_bits([path], tensors)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, key in CASES.items():
            made = write_case(Path(temporary) if options.check else FOLDER, name, key)
            same = not options.check or made.read_bytes() == (FOLDER / made.name).read_bytes()
            failed += not same
            print(f"{made.name}: {made.stat().st_size / 1024:.0f} KiB" + ("" if same else "  DIFFERS"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
