"""Reads and writes safetensors files with the same bytes on every run.

The safetensors library keeps `__metadata__` in an unordered map, so files with more than one entry differ from
run to run. Goldens are compared byte for byte by `--check`, hence this small writer; reading goes through the library,
which also proves that what is written here is valid.
"""

import json
import struct
from pathlib import Path

import torch
from safetensors import safe_open

DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32",
               torch.float8_e4m3fn: "F8_E4M3"}


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes `tensors` in the given order; the header is padded with spaces so that data starts 8-byte aligned."""
    header, offset = {"__metadata__": dict(sorted(metadata.items()))}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            out.write(tensor.contiguous().view(torch.uint8 if tensor.dim() else tensor.dtype).numpy().tobytes())


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def save_checkpoint(folder: Path, config: dict, weights: dict[str, torch.Tensor], shards: int) -> None:
    """Writes config.json and the weights, as one file or as `shards` files with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    if shards == 1:
        save_tensors(folder / "model.safetensors", weights, {"format": "pt"})
        return
    names = list(weights)
    weight_map, total_bytes = {}, sum(t.numel() * t.element_size() for t in weights.values())
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        # Every n-th tensor, so that the tensors of one layer lie in different files.
        part = {name: weights[name] for name in names[shard::shards]}
        save_tensors(folder / file, part, {"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)
