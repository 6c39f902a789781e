"""Switches of mixtures of experts: routers that decide by another rule, experts and shared experts wrongly put to use."""

from dataclasses import replace
from typing import Callable

import torch

import fp8
import routing
from case import Case
from switch import Switch, on_every_layer


def routed(**changes) -> Callable:
    """The router's rule with some of its parts changed."""

    def edit(model):
        routing.route_by(replace(routing.rule_of(model.config), **changes), routing.routers(model).values())

    return edit


def on_moe_layers(change: Callable) -> Callable:
    return on_every_layer(lambda layer: change(layer.mlp) if hasattr(layer.mlp, "experts") else None)


def experts_reversed(mlp):
    mlp.experts.gate_up_proj.copy_(mlp.experts.gate_up_proj.flip(0))
    mlp.experts.down_proj.copy_(mlp.experts.down_proj.flip(0))


def gate_and_up_exchanged(mlp):
    gate, up = mlp.experts.gate_up_proj.chunk(2, dim=1)
    mlp.experts.gate_up_proj.copy_(torch.cat((up, gate), dim=1))


def weighted_inputs(mlp):
    """The mixing weight on what enters an expert, where it belongs on what leaves it."""
    experts = mlp.experts

    def forward(hidden, chosen, weights):
        result = torch.zeros_like(hidden)
        for rank in range(chosen.shape[1]):
            scaled = hidden * weights[:, rank, None]
            gate, up = torch.einsum("td,tfd->tf", scaled, experts.gate_up_proj[chosen[:, rank]]).chunk(2, dim=-1)
            result += torch.einsum("tf,tdf->td", experts.act_fn(gate) * up, experts.down_proj[chosen[:, rank]])
        return result

    experts.forward = forward


def shared_off(name: str) -> Callable:
    return on_moe_layers(lambda mlp: getattr(mlp, name).down_proj.weight.zero_())


def shared_gate_open(mlp):
    mlp.shared_expert_gate.forward = lambda x: torch.full_like(x[..., :1], 1e9)


def router_switches(case: Case) -> list[Switch]:
    c = case.config
    chosen, normalised = c["num_experts_per_tok"], c["norm_topk_prob"]
    switches = [
        Switch("one expert fewer", edit_model=routed(chosen=chosen - 1)),
        Switch("one expert more", edit_model=routed(chosen=chosen + 1)),
        Switch("norm_topk_prob the other way", edit_model=routed(normalised=not normalised)),
    ]
    if c.get("routed_scaling_factor", 1.0) != 1.0:
        switches.append(Switch("routed_scaling_factor 1", edit_model=routed(scale=1.0)))
    if c.get("n_group", 1) > 1:
        sums = case.family == "deepseek_v3"
        other, said = ("max", "the largest") if sums else ("top2", "the sum of the two largest")
        switches += [
            Switch("groups off", edit_model=routed(groups=1)),
            Switch("one group more", edit_model=routed(kept_groups=c["topk_group"] + 1)),
            Switch(f"score of a group {said}", edit_model=routed(group_score=other)),
        ]
    if case.family == "deepseek_v3":
        switches += [
            Switch("correction bias off", edit_model=routed(bias_chooses=False)),
            Switch("correction bias in the weights", edit_model=routed(bias_weighs=True)),
            Switch("softmax for sigmoid", edit_model=routed(scoring="softmax")),
        ]
    return switches


def moe_switches(case: Case) -> list[Switch]:
    c = case.config
    switches = router_switches(case) + [
        Switch("experts in reverse order", edit_model=on_moe_layers(experts_reversed)),
        Switch("gate and up exchanged", edit_model=on_moe_layers(gate_and_up_exchanged)),
        Switch("weights on the experts' inputs", edit_model=on_moe_layers(weighted_inputs)),
    ]
    if "n_shared_experts" in c:
        switches.append(Switch("shared experts off", edit_model=shared_off("shared_experts")))
        factor = c["routed_scaling_factor"]
        if factor != 1.0:
            scaled = on_moe_layers(lambda mlp: mlp.shared_experts.down_proj.weight.mul_(factor))
            switches.append(Switch("routed_scaling_factor on the shared experts too", edit_model=scaled))
    if "shared_expert_intermediate_size" in c:
        switches += [
            Switch("shared expert off", edit_model=shared_off("shared_expert")),
            Switch("gate of the shared expert 1", edit_model=on_moe_layers(shared_gate_open)),
        ]
    return switches


def fp8_switches(_: Case) -> list[Switch]:
    return [
        Switch("factors left out", dequantize=fp8.dequantized_with(torch.ones_like)),
        Switch("every block by the first one's factor", dequantize=fp8.dequantized_with(lambda s: s[:1, :1].expand_as(s))),
        Switch("factors of the next row of blocks", dequantize=fp8.dequantized_with(lambda s: s.roll(1, 0))),
        Switch("factors of the next column of blocks", dequantize=fp8.dequantized_with(lambda s: s.roll(1, 1))),
        Switch("divided by the factors", dequantize=fp8.dequantized_with(lambda s: 1 / s)),
    ]
