"""The `cachalot` family in plain PyTorch: what the two reports describe and no released model has.

Written from the formulas alone, a whole sequence at a time and without a cache: what the engine is compared with. Names of
config keys and tensors: docs of the family. Shapes: T tokens, D width, H query heads, G key heads, K head size, U = H K.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

DEFAULTS = {
    "rope_theta": 10000.0, "rope_pairing": "halves", "use_rope": True, "learned_positions": False, "rope_log_gamma": 0.0,
    "logn": "none", "logn_length": 0, "windows": None, "window_form": "causal", "qkv_bias": False,
    "attention_out_bias": False, "head_bias": False, "kv_compression_dim": 0, "ffn_form": "gated", "hidden_act": "silu",
    "swish_beta": 1.0, "ffn_bias": False, "num_experts": 0, "num_experts_per_tok": 0, "router_bias": False,
    "norm_topk_prob": False, "first_dense_layers": 0, "num_shared_experts": 0, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}


def inverse_frequencies(c: dict, declared: int) -> torch.Tensor:
    """[K / 2] float32: theta^(-2j/K), times 1 + gamma ln N of the declared length N; every step rounded to float32."""
    if not c["use_rope"]:
        return torch.zeros(0)
    exponent = np.arange(0, c["head_dim"], 2, dtype=np.float32) / np.float32(c["head_dim"])
    power = np.power(np.float64(np.float32(c["rope_theta"])), exponent.astype(np.float64)).astype(np.float32)
    plain = np.float32(1) / power
    if c["rope_log_gamma"]:
        plain = plain * np.float32(1 + c["rope_log_gamma"] * math.log(declared))
    return torch.from_numpy(plain)


class Cachalot:
    """One model for one pass after the other. `dtype` is that of all arithmetic; RoPE's angles and LogN's factors are
    float32 in any case."""

    def __init__(self, config: dict, weights: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32):
        heads = config["num_attention_heads"]
        sizes = {"num_key_value_heads": heads, "head_dim": config["hidden_size"] // heads}
        self.c = {**DEFAULTS, **sizes, **config}
        self.weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
        self.dtype = dtype
        self.unused = set(weights)
        self.points: dict[str, torch.Tensor] = {}
        self.router_logits: dict[int, torch.Tensor] = {}
        self.inv_freq = torch.zeros(0)

    def weight(self, name: str) -> torch.Tensor:
        self.unused.discard(name)
        return self.weights[name]

    def linear(self, x: torch.Tensor, name: str, biased: bool = False) -> torch.Tensor:
        return F.linear(x, self.weight(name + ".weight"), self.weight(name + ".bias") if biased else None)

    def rms_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        mean_square = x.pow(2).mean(-1, keepdim=True)
        return x / torch.sqrt(mean_square + self.c["rms_norm_eps"]) * self.weight(name + ".weight")

    def rope(self, x: torch.Tensor) -> torch.Tensor:
        """x [T, heads, K] turned by position times inverse frequency."""
        if not self.c["use_rope"]:
            return x
        angle = torch.arange(len(x), dtype=torch.float32)[:, None] * self.inv_freq
        cos, sin = angle.cos().to(self.dtype)[:, None], angle.sin().to(self.dtype)[:, None]
        if self.c["rope_pairing"] == "pairs":
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def logn_factors(self, tokens: int) -> torch.Tensor:
        """[T, 1, 1]: what the query at each position is multiplied by."""
        i = torch.arange(1, tokens + 1, dtype=torch.float64)
        if self.c["logn"] == "log":
            factor = i.log()
        else:
            S = self.c["logn_length"]
            factor = torch.where(i > S, i.log() / math.log(S), torch.ones_like(i))
        return factor.float().to(self.dtype)[:, None, None]

    def visible(self, tokens: int, layer: int) -> torch.Tensor:
        """[T, T]: whether the query (row) sees the key (column)."""
        query, key = torch.arange(tokens)[:, None], torch.arange(tokens)[None]
        windows, form = self.c["windows"], self.c["window_form"]
        width = windows[layer] if windows else 0
        if windows and form == "symmetric":
            return (query - key).abs() <= (width or tokens)
        return (key <= query) & (key >= query - (width or tokens))

    def scale(self, size: int) -> float:
        """Of the scores, for heads of `size` components as they are compared."""
        return size**-0.5

    def attention(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        c, name, T = self.c, f"model.layers.{layer}.self_attn.", len(x)
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        q, k, v = (self.linear(x, f"{name}{part}_proj", c["qkv_bias"]).view(T, -1, c["head_dim"]) for part in "qkv")
        q, k = self.rope(q), self.rope(k)
        if c["logn"] != "none":
            q = q * self.logn_factors(T)
        if c["kv_compression_dim"]:
            assert kv_heads == heads
            q, k = (self.compress(t, name + "k_compress") for t in (q, k))
            v = self.compress(v, name + "v_compress")
        k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * self.scale(q.shape[-1])
        scores = scores.masked_fill(~self.visible(T, layer), -math.inf)
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(T, -1)
        return self.linear(mixed, name + "o_proj", c["attention_out_bias"])

    def compress(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """[T, H, K] as one vector of U numbers -> D' numbers, again in H heads."""
        return self.linear(x.flatten(1), name).view(len(x), x.shape[1], -1)

    def activate(self, x: torch.Tensor) -> torch.Tensor:
        if self.c["hidden_act"] == "gelu":
            return F.gelu(x)
        return x * torch.sigmoid(self.c["swish_beta"] * x)

    def ffn(self, x: torch.Tensor, name: str) -> torch.Tensor:
        biased = self.c["ffn_bias"]
        if self.c["ffn_form"] == "two_layer":
            return self.linear(self.activate(self.linear(x, name + "fc1", biased)), name + "fc2", biased)
        gate = self.activate(self.linear(x, name + "gate_proj", biased))
        return self.linear(gate * self.linear(x, name + "up_proj", biased), name + "down_proj", biased)

    def mixture(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        c, name = self.c, f"model.layers.{layer}.mlp."
        logits = self.linear(x, name + "gate", c["router_bias"])
        self.router_logits[layer] = logits
        weights, chosen = logits.softmax(-1).topk(c["num_experts_per_tok"])
        if c["norm_topk_prob"]:
            weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for e in range(c["num_experts"]):
            output = self.ffn(x, f"{name}experts.{e}.")
            y = y + output * (weights * (chosen == e)).sum(-1, keepdim=True)
        if c["num_shared_experts"]:
            y = y + self.ffn(x, name + "shared_experts.")
        return y

    @torch.no_grad()
    def logits(self, tokens: torch.Tensor, declared: int | None = None) -> torch.Tensor:
        """[T, vocab] of one sequence whose declared length is `declared` (default: all of it)."""
        c = self.c
        self.inv_freq = inverse_frequencies(c, declared or len(tokens))
        x = self.weight("model.embed_tokens.weight")[tokens.long()]
        if c["learned_positions"]:
            x = x + self.weight("model.embed_positions.weight")[: len(tokens)]
        for i in range(c["num_hidden_layers"]):
            name = f"model.layers.{i}."
            self.points[f"layer.{i}.input"] = x
            attention = self.attention(self.rms_norm(x, name + "input_layernorm"), i)
            x = x + attention
            h = self.rms_norm(x, name + "post_attention_layernorm")
            sparse = c["num_experts"] > 0 and i >= c["first_dense_layers"]
            ffn = self.mixture(h, i) if sparse else self.ffn(h, name + "mlp.")
            x = x + ffn
            self.points |= {f"layer.{i}.attn.out": attention, f"layer.{i}.ffn.out": ffn}
        x = self.points["final_norm"] = self.rms_norm(x, "model.norm")
        if c["tie_word_embeddings"]:
            bias = self.weight("lm_head.bias") if c["head_bias"] else None
            return F.linear(x, self.weight("model.embed_tokens.weight"), bias)
        return self.linear(x, "lm_head", c["head_bias"])
