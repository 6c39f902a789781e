"""Draws the weights of a case: N(0, 1/sqrt(fan_in)), biases N(0, 0.5), gains U(0.5, 1.5), q and k larger."""

import numpy as np
import torch

import fp8
from case import F32, Case

MLA_FAMILIES = ("deepseek_v2", "deepseek_v3")


def is_moe(config: dict, layer: int) -> bool:
    """The published rules: DeepSeek counts layers from 0, Qwen from 1."""
    if "n_routed_experts" in config:
        return layer >= config["first_k_dense_replace"] and layer % config.get("moe_layer_freq", 1) == 0
    if "num_experts" in config:
        return layer not in config["mlp_only_layers"] and (layer + 1) % config["decoder_sparse_step"] == 0
    return False


class Drawing:
    """Adds one tensor after the other; all from NumPy's generator, since torch.randn gives other numbers on
    processors with other vector units."""

    def __init__(self, case: Case):
        self.case, self.config, self.random = case, case.config, np.random.default_rng(case.seed)
        self.weights: dict[str, torch.Tensor] = {}

    def normal(self, shape, deviation: float) -> torch.Tensor:
        return torch.from_numpy(self.random.normal(0.0, deviation, shape)).float()

    def matrix(self, name: str, out: int, fan_in: int, scale: float = 1.0) -> None:
        self.weights[name + ".weight"] = self.normal((out, fan_in), scale / fan_in**0.5)

    def gain(self, name: str, size: int, scale: float = 1.0) -> None:
        drawn = self.random.uniform(0.5 * scale, 1.5 * scale, size)
        self.weights[name + ".weight"] = torch.from_numpy(drawn).float()

    def gqa(self, prefix: str) -> None:
        c, case, width = self.config, self.case, self.config["hidden_size"]
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        head_dim = c.get("head_dim", width // heads)
        normed = case.family in ("qwen3", "qwen3_moe")
        for name, rows, scale in [
            ("q", heads * head_dim, case.qk_scale),
            ("k", kv_heads * head_dim, case.qk_scale),
            ("v", kv_heads * head_dim, 1.0),
        ]:
            self.matrix(f"{prefix}{name}_proj", rows, width, scale)
            if case.family in ("qwen2", "qwen2_moe"):
                self.weights[f"{prefix}{name}_proj.bias"] = self.normal(rows, 0.5)
        if normed:
            self.gain(prefix + "q_norm", head_dim, case.qk_scale)
            self.gain(prefix + "k_norm", head_dim, case.qk_scale)
        self.matrix(prefix + "o_proj", width, heads * head_dim)

    def mla(self, prefix: str) -> None:
        c, scale, width, heads = self.config, self.case.qk_scale, self.config["hidden_size"], self.config["num_attention_heads"]
        nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        query_rank, latent = c["q_lora_rank"], c["kv_lora_rank"]
        if query_rank is None:
            self.matrix(prefix + "q_proj", heads * (nope + rope), width, scale)
        else:
            self.matrix(prefix + "q_a_proj", query_rank, width)
            self.gain(prefix + "q_a_layernorm", query_rank)
            self.matrix(prefix + "q_b_proj", heads * (nope + rope), query_rank, scale)
        self.matrix(prefix + "kv_a_proj_with_mqa", latent + rope, width)
        self.weights[prefix + "kv_a_proj_with_mqa.weight"][latent:] *= scale
        self.gain(prefix + "kv_a_layernorm", latent)
        self.matrix(prefix + "kv_b_proj", heads * (nope + value), latent)
        self.weights[prefix + "kv_b_proj.weight"].view(heads, nope + value, latent)[:, :nope] *= scale
        self.matrix(prefix + "o_proj", width, heads * value)

    def swiglu(self, prefix: str, ffn: int) -> None:
        width = self.config["hidden_size"]
        self.matrix(prefix + "gate_proj", ffn, width)
        self.matrix(prefix + "up_proj", ffn, width)
        self.matrix(prefix + "down_proj", width, ffn)

    def moe(self, prefix: str) -> None:
        c, width, ffn = self.config, self.config["hidden_size"], self.config["moe_intermediate_size"]
        experts = c.get("n_routed_experts") or c["num_experts"]
        self.matrix(prefix + "gate", experts, width, self.case.router_scale)
        if self.case.family == "deepseek_v3":
            # Distinct, large beside the spread of the sigmoids, and never below zero.
            bias = self.random.permutation(np.linspace(0.02, 0.8, experts)) + self.random.uniform(0, 0.02, experts)
            self.weights[prefix + "gate.e_score_correction_bias"] = torch.from_numpy(bias).float()
        for e in range(experts):
            self.swiglu(f"{prefix}experts.{e}.", ffn)
        if "n_shared_experts" in c:
            self.swiglu(prefix + "shared_experts.", c["n_shared_experts"] * ffn)
        if "shared_expert_intermediate_size" in c:
            self.swiglu(prefix + "shared_expert.", c["shared_expert_intermediate_size"])
            self.matrix(prefix + "shared_expert_gate", 1, width)

    def layer(self, i: int, moe: bool) -> None:
        prefix, width = f"model.layers.{i}.", self.config["hidden_size"]
        self.gain(prefix + "input_layernorm", width)
        (self.mla if self.case.family in MLA_FAMILIES else self.gqa)(prefix + "self_attn.")
        self.gain(prefix + "post_attention_layernorm", width)
        if moe:
            self.moe(prefix + "mlp.")
        else:
            self.swiglu(prefix + "mlp.", self.config["intermediate_size"])

    def model(self) -> dict[str, torch.Tensor]:
        c, width = self.config, self.config["hidden_size"]
        # A tied table is also the head, so it is drawn as one; else rows of unit variance.
        tied = c["tie_word_embeddings"]
        self.matrix("model.embed_tokens", c["vocab_size"], width, 1.0 if tied else width**0.5)
        for i in range(c["num_hidden_layers"]):
            self.layer(i, is_moe(c, i))
        self.gain("model.norm", width)
        if not tied:
            self.matrix("lm_head", c["vocab_size"], width)
        for i in range(c.get("num_nextn_predict_layers", 0)):
            self.mtp(c["num_hidden_layers"] + i)
        return self.weights

    def mtp(self, i: int) -> None:
        """The module of multi-token prediction, stored as one more layer; its table and head are copies."""
        prefix, width = f"model.layers.{i}.", self.config["hidden_size"]
        self.weights[prefix + "embed_tokens.weight"] = self.weights["model.embed_tokens.weight"].clone()
        self.gain(prefix + "enorm", width)
        self.gain(prefix + "hnorm", width)
        self.matrix(prefix + "eh_proj", width, 2 * width)
        self.layer(i, True)
        self.gain(prefix + "shared_head.norm", width)
        self.weights[prefix + "shared_head.head.weight"] = self.weights["lm_head.weight"].clone()


def draw_weights(case: Case) -> dict[str, torch.Tensor]:
    """The tensors of the file in its order and types, under their published names."""
    drawn = Drawing(case).model()
    if case.fused_experts:
        drawn = fused(drawn)
    # Correction biases are float32 in every published file.
    stored = {n: t.to(F32 if n.endswith("e_score_correction_bias") else case.storage) for n, t in drawn.items()}
    return fp8.quantized(stored, drawn, case) if "quantization_config" in case.config else stored


def fused(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Experts as transformers 5 holds them: `experts.gate_up_proj` [E, 2 ffn, width], gate first, and `experts.down_proj`
    [E, width, ffn]."""
    result: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if ".mlp.experts." not in name:
            result[name] = tensor
        elif name.endswith(".experts.0.gate_proj.weight"):
            prefix = name.removesuffix("0.gate_proj.weight")
            count = sum(n.startswith(prefix) for n in weights) // 3
            gate, up, down = ([weights[f"{prefix}{e}.{part}_proj.weight"] for e in range(count)]
                              for part in ("gate", "up", "down"))
            result[prefix + "gate_up_proj"] = torch.stack([torch.cat(pair) for pair in zip(gate, up, strict=True)])
            result[prefix + "down_proj"] = torch.stack(down)
    return result
