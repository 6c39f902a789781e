"""Makes tests/goldens/rope/tables.safetensors: inverse frequencies at the sizes of released models; see README.md.

    python tools/goldens/rope_tables.py

The tiny models rotate small heads, for which PyTorch takes the C library's pow. At the sizes of released models it takes
a vectorised pow that may be one unit in the last place off; where it was, the metadata entry `exceptions` lists the
indices, and `NAME.rounded` holds the table with every pow correctly rounded (PyTorch with ATEN_CPU_CAPABILITY=default).
"""

import json
import os
import subprocess
import sys

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import files
from models import GOLDENS

# name: head_dim, max_position_embeddings, length of the forward pass, rope parameters
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
TABLES = {
    "qwen2.5-0.5b": (64, 32768, 1, {"rope_type": "default", "rope_theta": 1000000.0}),
    "qwen2.5-7b": (128, 32768, 1, {"rope_type": "default", "rope_theta": 1000000.0}),
    "qwen2.5-7b-yarn": (128, 32768, 1, {**YARN, "rope_theta": 1000000.0}),
    "r1-distill-qwen-1.5b": (128, 131072, 1, {"rope_type": "default", "rope_theta": 10000.0}),
    "r1-0528-qwen3-8b": (128, 131072, 1, {**YARN, "rope_theta": 1000000.0, "attn_factor": 0.8782488562869419}),
    "qwen3-4b-2507": (128, 262144, 1, {"rope_type": "default", "rope_theta": 5000000.0}),
    "r1-distill-llama-8b": (128, 131072, 1, {**LLAMA3, "rope_theta": 500000.0}),
    "linear-2": (128, 8192, 1, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}),
    "dynamic-4-within": (128, 4096, 4096, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}),
    "dynamic-4-beyond": (128, 4096, 9000, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}),
}


def table(head_dim: int, positions: int, length: int, rope: dict) -> tuple[torch.Tensor, float]:
    config = LlamaConfig(hidden_size=head_dim, num_attention_heads=1, max_position_embeddings=positions,
                         rope_parameters=dict(rope))
    embedding = LlamaRotaryEmbedding(config)
    embedding(torch.zeros(1), torch.arange(length)[None])
    return embedding.inv_freq.float().clone(), float(embedding.attention_scaling)


def all_tables() -> dict[str, tuple[torch.Tensor, float]]:
    return {name: table(*sizes) for name, sizes in TABLES.items()}


def correctly_rounded() -> dict[str, list[int]]:
    """The bits of every table in a PyTorch that uses no vectorised pow."""
    if os.environ.get("ATEN_CPU_CAPABILITY") == "default":
        return {name: inv.view(torch.int32).tolist() for name, (inv, _) in all_tables().items()}
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    output = subprocess.run([sys.executable, __file__, "--bits"], env=environment, check=True, capture_output=True)
    return json.loads(output.stdout)


def main() -> int:
    if sys.argv[1:] == ["--bits"]:
        print(json.dumps(correctly_rounded()))
        return 0
    rounded, tensors, about, exceptions = correctly_rounded(), {}, {}, {}
    for name, (inv_freq, scaling) in all_tables().items():
        exact = torch.tensor(rounded[name], dtype=torch.int32)
        apart = (inv_freq.view(torch.int32) - exact).abs()
        assert apart.max() <= 2, name
        tensors |= {name: inv_freq, f"{name}.rounded": exact.view(torch.float32)}
        exceptions[name] = apart.nonzero().flatten().tolist()
        head_dim, positions, length, rope = TABLES[name]
        about[name] = {"head_dim": head_dim, "max_position_embeddings": positions, "length": length,
                       "rope_parameters": rope, "attention_scaling": scaling}
    folder = GOLDENS / "rope"
    folder.mkdir(exist_ok=True)
    metadata = {"script": "tools/goldens/rope_tables.py", "transformers": transformers.__version__, "seed": "none",
                "torch": torch.__version__.split("+")[0], "tables": json.dumps(about),
                "exceptions": json.dumps(exceptions)}
    files.save_tensors(folder / "tables.safetensors", tensors, metadata)
    print(json.dumps(exceptions, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
