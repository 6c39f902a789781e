"""Makes tests/goldens/fp8/: what PyTorch reads in block-wise FP8 weights; see README.md.

    python tools/goldens/fp8_blocks.py

`codes.safetensors` has the value of every e4m3 code. `blocks/` is a checkpoint of matrices without a model: random codes
with factors in another shard and in each type that published files have (f32, bf16, f16), one matrix a stack; edge blocks are
partial. `dequantized.safetensors` has their float32 values, code times factor.
"""

import sys

import numpy as np
import torch

import files
from models import GOLDENS

SEED, BLOCK = 7, 128
MATRICES = {
    "a.weight": ((130, 140), torch.float32),
    "b.weight": ((3, 257), torch.bfloat16),
    "c.weight": ((129, 8), torch.float16),
    "experts": ((2, 129, 130), torch.float32),
}


def spread(scale: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    wide = scale.float().repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    return wide[..., : shape[-2], : shape[-1]]


def main() -> int:
    folder, random = GOLDENS / "fp8", np.random.default_rng(SEED)
    folder.mkdir(exist_ok=True)
    about = {"script": "tools/goldens/fp8_blocks.py", "torch": torch.__version__.split("+")[0], "seed": str(SEED)}

    codes = torch.arange(256, dtype=torch.int32)
    values = codes.to(torch.uint8).view(torch.float8_e4m3fn).float()
    files.save_tensors(folder / "codes.safetensors", {"codes": codes, "values": values}, about)

    weights, scales, wanted = {}, {}, {}
    for name, (shape, dtype) in MATRICES.items():
        bits = random.integers(0, 256, shape).astype(np.uint8)
        bits[bits % 128 == 127] = 0  # NaN
        weights[name] = torch.from_numpy(bits).view(torch.float8_e4m3fn)
        blocks = (*shape[:-2], -(-shape[-2] // BLOCK), -(-shape[-1] // BLOCK))
        scale = torch.from_numpy(10.0 ** random.uniform(-4, 1, blocks)).to(dtype)
        scales[name + "_scale_inv"] = scale
        wanted[name] = weights[name].float() * spread(scale, shape)
    plain = torch.from_numpy(random.standard_normal((2, 4))).to(torch.bfloat16)
    wanted["plain.weight"] = plain.float()
    quantization = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                    "weight_block_size": [BLOCK, BLOCK]}
    # Tensors are dealt out to the shards in turn: all weights in the first, all factors in the second.
    order = [item for pair in zip(weights.items(), scales.items()) for item in pair]
    files.save_checkpoint(folder / "blocks", {"quantization_config": quantization},
                          dict([*order, ("plain.weight", plain)]), shards=2)
    files.save_tensors(folder / "dequantized.safetensors", wanted, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
