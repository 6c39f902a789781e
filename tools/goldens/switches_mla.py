"""Switches of DeepSeek's attention: compressed queries, keys and values, and a rotated part of its own."""

import sys
from typing import Callable

import torch

from case import Case
from switch import Switch, on_every_layer, replaced

ROTATIONS = {"deepseek_v2": "apply_rotary_emb", "deepseek_v3": "apply_rotary_pos_emb_interleave"}


def rotation(function: Callable) -> Callable:
    """Rotates by `function(q, k, cos, sin)` with cos and sin [1, 1, T, rope / 2]."""

    def edit(model):
        family = model.config.model_type
        if family == "deepseek_v2":
            def rotate(q, k, turns):
                turns = turns.unsqueeze(1)
                return function(q, k, turns.real, turns.imag)
        else:
            def rotate(q, k, cos, sin):
                half = cos.shape[-1] // 2
                return function(q, k, cos[..., :half].unsqueeze(1), sin[..., :half].unsqueeze(1))

        return replaced(sys.modules[type(model).__module__], ROTATIONS[family], rotate)

    return edit


def by_halves(q, k, cos, sin):
    def turned(x):
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    return turned(q), turned(k)


def on_attention(change: Callable) -> Callable:
    return on_every_layer(lambda layer: change(layer.self_attn))


def scaling_times(factor: Callable) -> Callable:
    def change(attention):
        attention.scaling *= factor(attention)

    return on_attention(change)


def unit_latent_gains(attention):
    attention.kv_a_layernorm.weight.fill_(1.0)
    if attention.q_lora_rank is not None:
        attention.q_a_layernorm.weight.fill_(1.0)


def rope_rows_first_in_q(attention):
    weight = (attention.q_proj if attention.q_lora_rank is None else attention.q_b_proj).weight
    heads = weight.view(attention.num_heads, attention.qk_head_dim, -1)
    heads.copy_(heads.roll(-attention.qk_rope_head_dim, 1))


def rope_rows_first_in_kv_a(attention):
    attention.kv_a_proj_with_mqa.weight.copy_(attention.kv_a_proj_with_mqa.weight.roll(-attention.qk_rope_head_dim, 0))


def norm_off(name: str) -> Callable:
    return on_attention(lambda attention: setattr(attention, name, torch.nn.Identity()))


def eps_of_the_blocks(attention):
    for name in ("q_a_layernorm", "kv_a_layernorm"):
        if getattr(attention, name, None) is not None:
            getattr(attention, name).variance_epsilon = attention.config.rms_norm_eps


def mla_switches(case: Case) -> list[Switch]:
    c = case.config
    switches = [
        Switch("kv_a_layernorm off", edit_model=norm_off("kv_a_layernorm")),
        Switch("gains of the latent norms 1", edit_model=on_attention(unit_latent_gains)),
        Switch("rope rows first in q", edit_model=on_attention(rope_rows_first_in_q)),
        Switch("rope rows first in kv_a", edit_model=on_attention(rope_rows_first_in_kv_a)),
        Switch("softmax scale of the unrotated part alone",
               edit_model=scaling_times(lambda a: (a.qk_head_dim / a.qk_nope_head_dim) ** 0.5)),
    ]
    if c["q_lora_rank"] is not None:
        switches.append(Switch("q_a_layernorm off", edit_model=norm_off("q_a_layernorm")))
    if c["rms_norm_eps"] > 1e-3:
        switches.append(Switch("rms_norm_eps in the latent norms too", edit_model=on_attention(eps_of_the_blocks)))
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    if rope.get("mscale_all_dim"):
        plain = scaling_times(lambda a: a.qk_head_dim**-0.5 / a.scaling)
        once = scaling_times(lambda a: (a.qk_head_dim**-0.5 / a.scaling) ** 0.5)
        switches += [Switch("softmax scale without mscale", edit_model=plain),
                     Switch("mscale once in the softmax scale, not squared", edit_model=once)]
    return switches
