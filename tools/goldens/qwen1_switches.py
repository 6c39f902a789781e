"""Mechanisms of Qwen1 switched off, or replaced by the mistake that an engine is likely to make (see switches.py)."""

import math
from dataclasses import dataclass
from typing import Callable

import torch

import qwen1_reference as reference


def nothing(_) -> None:
    pass


@dataclass
class Switch:
    name: str
    edit_config: Callable = nothing  # on the parsed config, before the model is built
    edit_model: Callable = nothing  # on the loaded model; may return how to undo what it did to the module
    whole: bool = False  # run every sequence in one pass, as if all of its tokens had been declared

    def logits(self, released, folder, tokens: torch.Tensor, declared: int) -> torch.Tensor:
        model = released.load(folder, self.edit_config)
        model.released_code = released.code
        undo = self.edit_model(model)
        try:
            return reference.forward(model, tokens, len(tokens) if self.whole else declared)
        finally:
            if undo:
                undo()


def setting(**values):
    def edit(config):
        for key, value in values.items():
            setattr(config, key, value)

    return edit


def on_every_layer(change: Callable):
    def edit(model):
        with torch.no_grad():
            for layer in model.transformer.h:
                change(layer, model.config)

    return edit


def rotating_by(function: Callable):
    """Replaces apply_rotary_pos_emb of the released code; returns how to put it back."""

    def edit(model):
        code = model.released_code
        original = code.apply_rotary_pos_emb
        code.apply_rotary_pos_emb = function

        def undo():
            code.apply_rotary_pos_emb = original

        return undo

    return edit


def on_adjacent_pairs(t, freqs):
    half = freqs[0].shape[-1] // 2
    cos, sin = (f[..., :half].repeat_interleave(2, -1) for f in freqs)
    return t * cos + torch.stack((-t[..., 1::2], t[..., 0::2]), -1).flatten(-2) * sin


def exchange_w1_w2(layer, config):
    layer.mlp.w1, layer.mlp.w2 = layer.mlp.w2, layer.mlp.w1


def rows_in_order(order: Callable):
    """Reorders the rows of c_attn, seen as [3, heads, head size]."""

    def change(layer, config):
        linear, heads = layer.attn.c_attn, config.num_attention_heads
        for parameter in (linear.weight, linear.bias):
            rows = parameter.view(3, heads, config.kv_channels, -1)
            parameter.copy_(order(rows, heads).reshape(parameter.shape).clone())

    return on_every_layer(change)


def fused_head_by_head(rows, heads):
    """As if the file held q, k and v of head 0, then of head 1, and so on."""
    return rows.flatten(0, 1).unflatten(0, (heads, 3)).transpose(0, 1)


def no_bias(part: int):
    def change(layer, config):
        layer.attn.c_attn.bias.view(3, -1)[part].zero_()

    return on_every_layer(change)


def unit_gains(layer, config):
    layer.ln_1.weight.fill_(1.0)
    layer.ln_2.weight.fill_(1.0)


def head_tied(model):
    model.lm_head.weight = model.transformer.wte.weight


def rounded_to_bf16(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())


def alpha_by(rule: Callable):
    """alpha = rule(length, seq_length)."""

    def edit(model):
        S = model.config.seq_length
        model.transformer.get_ntk_alpha = lambda n: rule(n, S)

    return edit


def alpha_of_every_step(model):
    """alpha is found anew for every token that is generated; cached keys stay."""

    def before(transformer, inputs, given):
        if given.get("past_key_values"):
            length = given["past_key_values"][0][0].shape[1] + inputs[0].shape[1]
            transformer.rotary_emb._ntk_alpha_cached_list = [transformer.get_ntk_alpha(length)]

    model.transformer.register_forward_pre_hook(before, with_kwargs=True)


def alpha_stepping_at(n: int, S: int) -> int:
    """One step too early at S, 2 S, 4 S, …: as if the lengths there belonged to the next octave."""
    return max(2 ** (math.floor(math.log2(n / S)) + 2) - 1, 1) if n >= S else 1


def logn_by(rule: Callable):
    """factor of the query at position p = rule(p + 1, seq_length); 1 is stored up to where the rule says so."""

    def change(layer, config):
        table = layer.attn.logn_tensor.flatten()
        i = torch.arange(1, len(table) + 1)
        layer.attn.logn_tensor = rule(i.double(), config.seq_length).float().view(layer.attn.logn_tensor.shape)

    return on_every_layer(change)


def log_ratio(i: torch.Tensor, S: int) -> torch.Tensor:
    return torch.where(i > S, i.log() / math.log(S), 1.0)


def ntk_switches(case) -> list[Switch]:
    S, declared = case.config["seq_length"], case.declared or case.lengths
    if not case.config["use_dynamic_ntk"]:
        if max(declared) <= S:
            return []
        return [Switch("dynamic NTK honoured though switched off", setting(use_dynamic_ntk=True))]
    switches = []
    if max(declared) > S:
        switches += [
            Switch("dynamic NTK off", setting(use_dynamic_ntk=False)),
            Switch("alpha not rounded up to a power of two", edit_model=alpha_by(lambda n, S: max(2 * n / S - 1, 1))),
            Switch("alpha a power of two, not one less",
                   edit_model=alpha_by(lambda n, S: max(2 ** math.ceil(math.log2(n / S) + 1), 1))),
        ]
    if any(n in (S, 2 * S, 4 * S) for n in declared):
        switches.append(Switch("alpha steps at a power of two, not past it", edit_model=alpha_by(alpha_stepping_at)))
    if declared != case.lengths:
        switches += [
            Switch("alpha of the whole length instead of the declared one", whole=True),
            Switch("alpha found anew while generating", edit_model=alpha_of_every_step),
        ]
    return switches


def logn_switches(case) -> list[Switch]:
    S = case.config["seq_length"]
    if max(case.lengths) <= S:
        return []
    if not case.config["use_logn_attn"]:
        return [Switch("LogN honoured though switched off", setting(use_logn_attn=True))]
    switches = [
        Switch("LogN off", setting(use_logn_attn=False)),
        Switch("LogN of plain ln i past seq_length", edit_model=logn_by(lambda i, S: torch.where(i > S, i.log(), 1.0))),
        Switch("LogN also up to seq_length", edit_model=logn_by(lambda i, S: i.log() / math.log(S))),
        Switch("LogN of the length instead of the position",
               edit_model=logn_by(lambda i, S: torch.full_like(i, math.log(max(case.lengths)) / math.log(S)))),
    ]
    if S < 100:  # where one position makes a difference
        switches.append(Switch("LogN one position late", edit_model=logn_by(lambda i, S: log_ratio(i - 1, S))))
    return switches


def switches_of(case) -> list[Switch]:
    c = case.config
    switches = [
        Switch("rope off", edit_model=rotating_by(lambda t, freqs: t)),
        Switch("rope on adjacent pairs", edit_model=rotating_by(on_adjacent_pairs)),
        Switch("w1 the gate", edit_model=on_every_layer(exchange_w1_w2)),
        Switch("c_attn in the order k, q, v", edit_model=rows_in_order(lambda rows, heads: rows[[1, 0, 2]])),
        Switch("c_attn fused head by head", edit_model=rows_in_order(fused_head_by_head)),
        *[Switch(f"{name} bias off", edit_model=no_bias(part)) for part, name in enumerate("qkv")],
        Switch("gains of the block norms 1", edit_model=on_every_layer(unit_gains)),
        Switch("tied head", edit_model=head_tied),
    ]
    if c["rotary_emb_base"] != 10000:
        switches.append(Switch("rotary_emb_base 10000", setting(rotary_emb_base=10000)))
    if c["layer_norm_epsilon"] > 1e-3:
        switches.append(Switch("layer_norm_epsilon 1e-6", setting(layer_norm_epsilon=1e-6)))
    if case.storage != torch.bfloat16:
        switches.append(Switch("weights rounded to bf16", edit_model=rounded_to_bf16))
    return switches + ntk_switches(case) + logn_switches(case)
