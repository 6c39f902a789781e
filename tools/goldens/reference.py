"""The reference: transformers in float32, loaded from a stored checkpoint, a fresh object for every forward pass."""

from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from cases import Case

ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
DTYPE_WORDS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def config_json(case: Case) -> dict:
    """config.json in the spelling of its time: old files say torch_dtype and rope_scaling, new ones dtype and
    rope_parameters."""
    new = "rope_parameters" in case.config
    return {
        "architectures": [ARCHITECTURES[case.family]],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": [2, 3] if new else 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "model_type": case.family,
        **case.config,
        ("dtype" if new else "torch_dtype"): DTYPE_WORDS[case.storage],
        "transformers_version": transformers.__version__ if new else "4.46.0",
        "use_cache": True,
    }


def draw_weights(case: Case) -> dict[str, torch.Tensor]:
    """Weights N(0, 1/sqrt(fan_in)), biases N(0, 0.5), gains U(0.5, 1.5); q and k larger; in the storage type."""
    # NumPy's generator, since torch.randn gives other numbers on processors with other vector units.
    c, random = case.config, np.random.default_rng(case.seed)
    width, heads, kv_heads = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    head_dim = c.get("head_dim", width // heads)

    def matrix(out: int, fan_in: int, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(random.normal(0.0, scale / fan_in**0.5, (out, fan_in))).float()

    def gain(size: int, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(random.uniform(0.5 * scale, 1.5 * scale, size)).float()

    tied, vocab, ffn = c["tie_word_embeddings"], c["vocab_size"], c["intermediate_size"]
    # A tied table is also the head, so it is drawn as one; else rows of unit variance.
    weights = {"model.embed_tokens.weight": matrix(vocab, width, 1.0 if tied else width**0.5)}
    for i in range(c["num_hidden_layers"]):
        layer, attention = f"model.layers.{i}.", f"model.layers.{i}.self_attn."
        weights[layer + "input_layernorm.weight"] = gain(width)
        for name, rows, scale in [
            ("q", heads * head_dim, case.qk_scale),
            ("k", kv_heads * head_dim, case.qk_scale),
            ("v", kv_heads * head_dim, 1.0),
        ]:
            weights[f"{attention}{name}_proj.weight"] = matrix(rows, width, scale)
            if case.family == "qwen2":
                weights[f"{attention}{name}_proj.bias"] = torch.from_numpy(random.normal(0.0, 0.5, rows)).float()
        if case.family == "qwen3":
            weights[attention + "q_norm.weight"] = gain(head_dim, case.qk_scale)
            weights[attention + "k_norm.weight"] = gain(head_dim, case.qk_scale)
        weights[attention + "o_proj.weight"] = matrix(width, heads * head_dim)
        weights[layer + "post_attention_layernorm.weight"] = gain(width)
        weights[layer + "mlp.gate_proj.weight"] = matrix(ffn, width)
        weights[layer + "mlp.up_proj.weight"] = matrix(ffn, width)
        weights[layer + "mlp.down_proj.weight"] = matrix(width, ffn)
    weights["model.norm.weight"] = gain(width)
    if not tied:
        weights["lm_head.weight"] = matrix(vocab, width)
    return {name: tensor.to(case.storage) for name, tensor in weights.items()}


def load(folder: Path, edit_config: Callable | None = None):
    """A fresh float32 model of the stored checkpoint, its config changed by `edit_config` after it was read."""
    config = AutoConfig.from_pretrained(folder)
    if edit_config:
        edit_config(config)
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(info.values()), f"{folder}: {info}"
    assert model.config._attn_implementation == "eager"
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return model.eval()


@torch.no_grad()
def forward(model, tokens: torch.Tensor) -> torch.Tensor:
    """Logits [T, W] of one whole sequence without a cache."""
    logits = model(input_ids=tokens[None].long(), use_cache=False).logits[0]
    assert logits.dtype == model.dtype
    return logits


@torch.no_grad()
def forward_traced(model, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The points of every layer of one whole sequence: its input, what its two halves add, and the final norm."""
    points: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module, inputs, output):
            points[name] = (output[0] if isinstance(output, tuple) else output)[0].clone()

        return hook

    def keep_input(name: str):
        def hook(module, args, kwargs):
            points[name] = (args[0] if args else kwargs["hidden_states"])[0].clone()

        return hook

    for i, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(keep_input(f"layer.{i}.input"), with_kwargs=True)
        layer.self_attn.register_forward_hook(keep(f"layer.{i}.attn.out"))
        layer.mlp.register_forward_hook(keep(f"layer.{i}.ffn.out"))
    model.model.norm.register_forward_hook(keep("final_norm"))
    points["logits"] = forward(model, tokens)
    return points


def check_masks(model, tokens: torch.Tensor) -> None:
    """Softmax runs in float32, and key s is visible to query p exactly if p - W < s <= p (W: none in a full layer)."""
    with torch.no_grad():
        out = model(input_ids=tokens[None].long(), use_cache=False, output_attentions=True)
    p, s = torch.arange(len(tokens))[:, None], torch.arange(len(tokens))[None]
    for layer, probability in zip(model.model.layers, out.attentions, strict=True):
        window = getattr(layer.self_attn, "sliding_window", None) or len(tokens)
        assert probability.dtype == torch.float32
        hidden = ~((s <= p) & (s > p - window))
        assert not probability[0][:, hidden].any(), "attention outside of the window"
        oldest = s == (p - window + 1).clamp(min=0)
        assert (probability[0][:, oldest] > 0).any(), "a window narrower than stated"


@contextmanager
def everything_in_f64(model):
    """Inside, `model` computes in float64 (norms and softmax too); only RoPE's tables keep their float32 values."""
    norm_class, softmax = type(model.model.norm), torch.nn.functional.softmax
    norm_forward = norm_class.forward

    def norm_f64(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    norm_class.forward = norm_f64
    torch.nn.functional.softmax = lambda x, dim, dtype=None: softmax(x, dim=dim)
    try:
        yield model.double()
    finally:
        norm_class.forward, torch.nn.functional.softmax = norm_forward, softmax
