"""Mechanisms of the `cachalot` family switched off, or replaced by a likely mistake (see switches.py)."""

import math
from dataclasses import dataclass, field
from typing import Callable

import torch
import torch.nn.functional as F

from cachalot_model import DEFAULTS, Cachalot


@dataclass
class Switch:
    name: str
    config: dict = field(default_factory=dict)  # keys that are read otherwise
    weights: Callable = lambda weights: weights  # tensors -> tensors
    model: type = Cachalot
    whole: bool = False  # the declared length is the whole one
    least: int = 100  # times the tolerance: what it must change

    def logits(self, config: dict, weights: dict[str, torch.Tensor], tokens: torch.Tensor, declared: int) -> torch.Tensor:
        model = self.model({**config, **self.config}, self.weights(weights))
        return model.logits(tokens, len(tokens) if self.whole else declared)


def without(part: str):
    """The tensors whose names contain `part` are zero."""
    return lambda weights: {n: torch.zeros_like(t) if part in n else t for n, t in weights.items()}


def ones(part: str):
    return lambda weights: {n: torch.ones_like(t) if part in n else t for n, t in weights.items()}


def exchanged(one: str, other: str):
    def change(weights):
        return {n: weights[n.replace(one, other) if one in n else n.replace(other, one)] for n in weights}

    return change


def rounded_to_bf16(weights):
    return {n: t.bfloat16() for n, t in weights.items()}


class ScaleOfWholeHeads(Cachalot):
    def scale(self, size: int) -> float:
        return self.c["head_dim"] ** -0.5


class QueriesNotCompressed(Cachalot):
    """Queries cut short instead of compressed by the keys' matrix."""

    def compress(self, x: torch.Tensor, name: str) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls % 3 == 1:  # q, k, v in turn
            return x[..., : self.c["kv_compression_dim"] // x.shape[1]]
        return super().compress(x, name)


class CompressedHeadByHead(Cachalot):
    """As if the matrices worked on interleaved heads."""

    def compress(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return super().compress(x.transpose(1, 2).reshape(x.shape), name)


class LogNOneLate(Cachalot):
    """N counts the keys before the query, without its own."""

    def logn_factors(self, tokens: int) -> torch.Tensor:
        factors = super().logn_factors(tokens)
        return torch.cat((factors[:1], factors[:-1]))


class LogNOfLength(Cachalot):
    """N is the length of the sequence."""

    def logn_factors(self, tokens: int) -> torch.Tensor:
        return super().logn_factors(tokens)[-1:].expand(tokens, 1, 1)


class KvHeadsInTurn(Cachalot):
    def attention(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        heads, kv_heads, size = (self.c[k] for k in ("num_attention_heads", "num_key_value_heads", "head_dim"))
        order = torch.arange(heads).view(kv_heads, -1).T.flatten()
        whole, name = self.weights, f"model.layers.{layer}.self_attn."
        rows = lambda t: t.view(heads, size, *t.shape[1:])[order.argsort()].reshape(t.shape)  # noqa: E731
        changed = {name + "q_proj.weight": rows(whole[name + "q_proj.weight"])}
        if name + "q_proj.bias" in whole:
            changed[name + "q_proj.bias"] = rows(whole[name + "q_proj.bias"])
        changed[name + "o_proj.weight"] = rows(whole[name + "o_proj.weight"].T.contiguous()).T
        self.weights = {**whole, **changed}
        out = super().attention(x, layer)
        self.weights = whole
        return out


class GeluByTanh(Cachalot):
    def activate(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x, approximate="tanh")


class PositionsFromOne(Cachalot):
    def logits(self, tokens, declared=None):
        self.weights["model.embed_positions.weight"] = self.weights["model.embed_positions.weight"].roll(-1, 0)
        return super().logits(tokens, declared)


class HeadOfItsOwn(Cachalot):
    def weight(self, name: str) -> torch.Tensor:
        if name == "model.embed_tokens.weight" and "final_norm" in self.points:
            return super().weight(name).flip(0)
        return super().weight(name)


def position_switches(c: dict) -> list[Switch]:
    switches = []
    if c["learned_positions"]:
        switches += [Switch("learned positions off", {"learned_positions": False}),
                     Switch("learned positions from 1", model=PositionsFromOne)]
    if not c["use_rope"]:
        return switches + [Switch("rope on", {"use_rope": True})]
    other = {"halves": "pairs", "pairs": "halves"}[c["rope_pairing"]]
    switches += [Switch("rope off", {"use_rope": False}), Switch(f"rope on {other}", {"rope_pairing": other})]
    if c["rope_theta"] != 10000:
        switches.append(Switch("rope_theta 10000", {"rope_theta": 10000.0}))
    if c["rope_log_gamma"]:
        switches += [Switch("gamma 0", {"rope_log_gamma": 0.0}),
                     Switch("gamma on log2", {"rope_log_gamma": c["rope_log_gamma"] / math.log(2)})]
    return switches


def window_switches(c: dict) -> list[Switch]:
    windows = c["windows"]
    if not windows:
        return []
    step = 1 if max(windows) < 100 else max(windows) // 10
    form = {"symmetric": "causal", "causal": "symmetric"}[c["window_form"]]
    return [
        Switch("windows off", {"windows": None}),
        Switch(f"{form} windows", {"window_form": form}),
        Switch("windows of the other layers", {"windows": windows[::-1]}),
        Switch(f"windows wider by {step}", {"windows": [w and w + step for w in windows]}),
        Switch(f"windows narrower by {step}", {"windows": [w and w - step for w in windows]}),
    ]


def attention_switches(c: dict) -> list[Switch]:
    switches = []
    if c["num_key_value_heads"] not in (1, c["num_attention_heads"]):
        switches.append(Switch("kv heads in turn", model=KvHeadsInTurn))
    if c["logn"] != "none":
        other = {"log": "released", "released": "log"}[c["logn"]]
        switches += [Switch("LogN off", {"logn": "none"}),
                     Switch(f"LogN in the form '{other}'", {"logn": other, "logn_length": c["logn_length"] or 8}),
                     Switch("LogN of the length instead of the position", model=LogNOfLength)]
        if c["logn"] == "log" or c["logn_length"] < 100:
            switches.append(Switch("LogN one position late", model=LogNOneLate))
    if c["qkv_bias"]:
        switches += [Switch(f"{part} bias off", weights=without(f"{part}_proj.bias")) for part in "qkv"]
    if c["attention_out_bias"]:
        switches.append(Switch("output bias off", weights=without("o_proj.bias")))
    if c["kv_compression_dim"]:
        switches += [
            Switch("scale of the heads before compression", model=ScaleOfWholeHeads),
            Switch("keys and values compressed by each other's matrix", weights=exchanged("k_compress", "v_compress")),
            Switch("queries cut, not compressed", model=QueriesNotCompressed),
            Switch("heads interleaved before compression", model=CompressedHeadByHead),
        ]
    return switches


def ffn_switches(c: dict) -> list[Switch]:
    switches = []
    if c["hidden_act"] == "gelu":
        switches += [Switch("silu", {"hidden_act": "silu"}), Switch("gelu by tanh", model=GeluByTanh, least=5)]  # the two are 5e-4 apart at most
    else:
        switches.append(Switch("gelu", {"hidden_act": "gelu"}))
    if c["hidden_act"] == "silu" and c["swish_beta"] != 1:
        switches.append(Switch("swish beta 1", {"swish_beta": 1.0}))
    names = ("fc1", "fc2") if c["ffn_form"] == "two_layer" else ("gate_proj", "up_proj", "down_proj")
    if c["ffn_bias"]:
        switches += [Switch(f"{name} bias off", weights=without(f"{name}.bias")) for name in names]
    if c["ffn_form"] == "gated":
        switches.append(Switch("gate and up exchanged", weights=exchanged("gate_proj", "up_proj")))
    if not c["num_experts"]:
        return switches
    switches.append(Switch("norm_topk_prob the other way", {"norm_topk_prob": not c["norm_topk_prob"]}))
    switches.append(Switch("one expert more", {"num_experts_per_tok": c["num_experts_per_tok"] + 1}))
    if c["router_bias"]:
        switches.append(Switch("router bias off", weights=without("mlp.gate.bias")))
    if c["num_shared_experts"]:
        switches.append(Switch("shared experts off", {"num_shared_experts": 0}))
    return switches


def switches_of(case) -> list[Switch]:
    c = {**DEFAULTS, "num_key_value_heads": case.config["num_attention_heads"], **case.config}
    switches = position_switches(c) + window_switches(c) + attention_switches(c) + ffn_switches(c)
    switches.append(Switch("gains of the block norms 1", weights=ones("layernorm")))
    if c["rms_norm_eps"] > 1e-3:
        switches.append(Switch("rms_norm_eps 1e-6", {"rms_norm_eps": 1e-6}))
    if c["head_bias"]:
        switches.append(Switch("head bias off", weights=without("lm_head.bias")))
    if c["tie_word_embeddings"]:
        switches.append(Switch("untied head", model=HeadOfItsOwn))
    else:
        switches.append(Switch("tied head", {"tie_word_embeddings": True}))
    if case.declared and case.declared != case.lengths:
        switches.append(Switch("gamma of the whole length instead of the declared one", whole=True))
    if case.storage != torch.bfloat16:
        switches.append(Switch("weights rounded to bf16", weights=rounded_to_bf16))
    return switches
