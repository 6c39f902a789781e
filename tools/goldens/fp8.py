"""FP8 checkpoints as published: weights in e4m3, one float32 factor for every 128 x 128 block."""

from typing import Callable

import numpy as np
import torch

from case import F32, Case

BLOCK = 128
LARGEST = 448.0  # of e4m3


def is_quantized(name: str) -> bool:
    """Linear layers, but not the router, the head, the table and what joins a module of multi-token prediction."""
    return name.endswith(("_proj.weight", "_proj_with_mqa.weight")) and not name.endswith("eh_proj.weight")


def spread(scale: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Each block's factor at every element of a matrix of `shape`; blocks at the edges are partial."""
    wide = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return wide[: shape[0], : shape[1]]


def blocks_of(shape: torch.Size) -> tuple[int, int]:
    return -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)


def quantized(stored: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], case: Case) -> dict[str, torch.Tensor]:
    """`stored` with every linear weight as e4m3 and its factors after it; each block is first made larger or smaller,
    so that its factor matters."""
    random, result = np.random.default_rng(case.seed + 7000), {}
    for name, tensor in stored.items():
        if not is_quantized(name):
            result[name] = tensor
            continue
        rows, columns = blocks_of(tensor.shape)
        size = spread(torch.from_numpy(random.uniform(0.4, 1.6, (rows, columns))).float(), tensor.shape)
        values = exact[name] * size
        scale = torch.tensor([[values[BLOCK * r : BLOCK * (r + 1), BLOCK * c : BLOCK * (c + 1)].abs().max() / LARGEST
                               for c in range(columns)] for r in range(rows)], dtype=F32)
        result[name] = (values / spread(scale, tensor.shape)).to(torch.float8_e4m3fn)
        result[name + "_scale_inv"] = scale
    return result


def dequantized_with(change: Callable) -> Callable:
    """How to make float32 weights, float(w8) * factor, of tensors whose factors `change` may replace."""

    def dequantize(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = {}
        for name, tensor in weights.items():
            scale = weights.get(name + "_scale_inv")
            if not name.endswith("_scale_inv"):
                result[name] = tensor if scale is None else tensor.float() * spread(change(scale), tensor.shape)
        return result

    return dequantize


dequantized = dequantized_with(lambda scale: scale)
