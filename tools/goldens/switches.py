"""Switching mechanisms off in the reference: a golden proves a mechanism only if the logits notice its absence.

Each switch turns one thing that a case covers off, or replaces it by the mistake that an engine is likely to make
(the window one token wider, the query heads dealt out to kv heads in turn, RoPE on adjacent pairs, …).
"""

import sys
from typing import Callable

import torch

from case import F16, F32, Case
from switch import Switch, on_every_layer, replaced
from switches_mla import by_halves, mla_switches, rotation
from switches_moe import fp8_switches, moe_switches
from weights import MLA_FAMILIES

# --- edits of the config ------------------------------------------------------------------------------------------


def rope_with(**changes):
    def edit(config):
        rope = {**config.rope_parameters, **changes}
        config.rope_parameters = {key: value for key, value in rope.items() if value is not None}

    return edit


def unscaled_rope(config):
    config.rope_parameters = {"rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}


def windows(kind_of_layer: Callable, width: Callable = lambda w: w):
    def edit(config):
        config.sliding_window = width(config.sliding_window)
        config.layer_types = [kind_of_layer(kind) for kind in config.layer_types]

    return edit


def exchanged(kind: str) -> str:
    return {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}[kind]


def setting(**values):
    def edit(config):
        for key, value in values.items():
            setattr(config, key, value)

    return edit


# --- edits of the model -------------------------------------------------------------------------------------------


def no_bias(projection: str):
    return on_every_layer(lambda layer: getattr(layer.self_attn, projection).bias.zero_())


def no_head_norm(name: str):
    return on_every_layer(lambda layer: setattr(layer.self_attn, name, torch.nn.Identity()))


def head_norm_without_gain(layer):
    layer.self_attn.q_norm.weight.fill_(1.0)
    layer.self_attn.k_norm.weight.fill_(1.0)


def no_rope(model):
    return replaced(sys.modules[type(model).__module__], "apply_rotary_pos_emb", lambda q, k, *_, **__: (q, k))


def attention_scaling_one(model):
    model.model.rotary_emb.attention_scaling = 1.0


def softmax_scale_of_width(model):
    head_dim = model.config.hidden_size // model.config.num_attention_heads
    on_every_layer(lambda layer: setattr(layer.self_attn, "scaling", head_dim**-0.5))(model)


def unit_gains(model):
    def fill(layer):
        layer.input_layernorm.weight.fill_(1.0)
        layer.post_attention_layernorm.weight.fill_(1.0)

    on_every_layer(fill)(model)


def heads_dealt_in_turn(model):
    """Query head j uses kv head j mod G, not j div (H / G)."""
    return replaced(sys.modules[type(model).__module__], "repeat_kv", lambda x, times: x.repeat(1, times, 1, 1))


def rope_on_adjacent_pairs(model):
    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        half = cos.shape[-1] // 2
        c, s = (t[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin))

        def turned(x):
            return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)

        return q * c + turned(q) * s, k * c + turned(k) * s

    return replaced(sys.modules[type(model).__module__], "apply_rotary_pos_emb", rotate)


def head_of_its_own(model):
    """As if a tied checkpoint had a head with other weights: the table's rows in reverse order."""
    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.flip(0).clone())


def head_tied(model):
    model.lm_head.weight = model.model.embed_tokens.weight


def rounded_to(dtype: torch.dtype):
    def edit(model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.to(dtype).float())

    return edit


# --- which switches a case has ------------------------------------------------------------------------------------


def rope_switches(case: Case) -> list[Switch]:
    c = case.config
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type", "default")
    if case.family in MLA_FAMILIES:
        switches = [
            Switch("rope off", edit_model=rotation(lambda q, k, cos, sin: (q, k))),
            Switch("rope by halves", edit_model=rotation(by_halves)),
        ]
    else:
        switches = [
            Switch("rope off", edit_model=no_rope),
            Switch("rope on adjacent pairs", edit_model=rope_on_adjacent_pairs),
        ]
    if (rope.get("rope_theta") or c.get("rope_theta", 10000)) != 10000:
        switches.append(Switch("rope_theta 10000", rope_with(rope_theta=10000.0)))
    if kind == "default":
        return switches
    switches.append(Switch(f"{kind} scaling off", unscaled_rope))
    switches.append(Switch("scaling factor + 10 %", rope_with(factor=1.1 * rope["factor"])))
    if kind in ("yarn", "llama3"):
        original = c["max_position_embeddings"]
        assert original != rope["original_max_position_embeddings"]
        name = "original_max_position_embeddings = max_position_embeddings"
        switches.append(Switch(name, rope_with(original_max_position_embeddings=original)))
    if kind == "dynamic":
        fixed = setting(max_position_embeddings=c["max_position_embeddings"] + 1)
        switches.append(Switch("max_position_embeddings + 1", fixed))
    if kind == "yarn":
        if not rope.get("mscale") or rope["mscale"] != rope["mscale_all_dim"]:
            switches.append(Switch("attention_scaling 1", edit_model=attention_scaling_one))
        for key in ("attention_factor", "mscale", "truncate"):
            if key in rope:
                switches.append(Switch(f"{key} ignored", rope_with(**{key: None})))
        if (rope.get("beta_fast", 32), rope.get("beta_slow", 1)) != (32, 1):
            switches.append(Switch("betas ignored", rope_with(beta_fast=None, beta_slow=None)))
        if "attn_factor" in rope:
            switches.append(Switch("attn_factor honoured", rope_with(attention_factor=rope["attn_factor"])))
    return switches


def window_switches(case: Case) -> list[Switch]:
    c = case.config
    if not c.get("use_sliding_window"):
        if not c.get("sliding_window"):
            return []
        kinds = ["full_attention" if i < c["max_window_layers"] else "sliding_attention"
                 for i in range(c["num_hidden_layers"])]
        honoured = setting(sliding_window=c["sliding_window"], layer_types=kinds)
        return [Switch("window honoured though use_sliding_window is false", honoured)]
    # One token more or less is only felt where a window is small; a wide one is moved by a tenth.
    step = 1 if c["sliding_window"] < 100 else c["sliding_window"] // 10
    return [
        Switch("window off", windows(lambda _: "full_attention")),
        Switch("window in the other layers", windows(exchanged)),
        Switch("window in every layer", windows(lambda _: "sliding_attention")),
        Switch(f"window wider by {step}", windows(lambda kind: kind, lambda w: w + step)),
        Switch(f"window narrower by {step}", windows(lambda kind: kind, lambda w: w - step)),
    ]


def switches_of(case: Case) -> list[Switch]:
    c = case.config
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    switches = rope_switches(case) + window_switches(case)
    if case.family in MLA_FAMILIES:
        switches += mla_switches(case)
    if "num_experts_per_tok" in c:
        switches += moe_switches(case)
    if "quantization_config" in c:
        switches += fp8_switches(case)
    switches.append(Switch("gains of the block norms 1", edit_model=unit_gains))
    if c["rms_norm_eps"] > 1e-3:
        switches.append(Switch("rms_norm_eps 1e-6", setting(rms_norm_eps=1e-6)))
    if 1 < kv_heads < heads:
        switches.append(Switch("kv heads in turn", edit_model=heads_dealt_in_turn))
    if c.get("head_dim", c["hidden_size"] // heads) != c["hidden_size"] // heads:
        switches.append(Switch("softmax scale from width / heads", edit_model=softmax_scale_of_width))
    if case.family in ("qwen2", "qwen2_moe"):
        switches += [Switch(f"{name} bias off", edit_model=no_bias(f"{name}_proj")) for name in "qkv"]
    if case.family in ("qwen3", "qwen3_moe"):
        switches += [Switch(f"{name} off", edit_model=no_head_norm(name)) for name in ("q_norm", "k_norm")]
        switches.append(Switch("gains of q_norm and k_norm 1", edit_model=on_every_layer(head_norm_without_gain)))
    if c["tie_word_embeddings"]:
        switches.append(Switch("untied head", edit_model=head_of_its_own))
    else:
        switches.append(Switch("tied head", edit_model=head_tied))
    if case.storage in (F16, F32):
        switches.append(Switch("weights rounded to bf16", edit_model=rounded_to(torch.bfloat16)))
    return switches
