"""What one golden model is: its config.json, its lengths, its seed; the cases themselves are in *cases.py."""

from dataclasses import dataclass, field

import torch

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@dataclass
class Case:
    family: str  # model_type
    name: str
    about: str
    config: dict  # config.json as stored, less the keys that every case shares
    lengths: list[int]  # tokens of each sequence
    seed: int
    storage: torch.dtype = BF16
    shards: int = 1
    rows: int = 64  # at most so many rows of logits per sequence are stored
    keep: list[int] = field(default_factory=list)  # rows of the longest sequence that must be among them
    trace: bool = False  # store the points of sequence 0 (at most 32 tokens)
    qk_scale: float = 2.0  # on q and k (where a norm follows: on its gains), for a peaky softmax
    router_scale: float = 1.5  # on the router's matrix, for scores that differ
    fused_experts: bool = False  # experts in the 3-D tensors of transformers 5, not in matrices of their own


def shape(width, heads, kv_heads, ffn, layers, vocab, **more) -> dict:
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "vocab_size": vocab,
        **more,
    }
