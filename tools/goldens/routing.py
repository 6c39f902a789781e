"""The routers, written once more from their description: what a golden's decisions are compared with, how far each
decision was from another one, and how wrong routers are made for `switches_moe.py`.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

LEAST_MARGIN = 1e-5  # between the last chosen and the first refused selection score, and between groups


@dataclass(frozen=True)
class Rule:
    chosen: int
    scoring: str = "softmax"  # or "sigmoid"
    groups: int = 1
    kept_groups: int = 1
    group_score: str = "max"  # or "top2", the sum of the two best
    normalised: bool = False
    scale: float = 1.0
    bias_chooses: bool = True
    bias_weighs: bool = False


def rule_of(config) -> Rule:
    """The rule that a parsed config states."""
    chosen, normalised = config.num_experts_per_tok, config.norm_topk_prob
    if config.model_type == "deepseek_v3":
        return Rule(chosen, "sigmoid", config.n_group, config.topk_group, "top2", normalised, config.routed_scaling_factor)
    if config.model_type == "deepseek_v2":
        assert not normalised, "transformers does not normalise here, the code released with the model does"
        grouped = config.topk_method == "group_limited_greedy"
        groups, kept = (config.n_group, config.topk_group) if grouped else (1, 1)
        return Rule(chosen, "softmax", groups, kept, "max", False, config.routed_scaling_factor)
    return Rule(chosen, normalised=normalised)


@dataclass
class Decision:
    experts: torch.Tensor  # [T, A] chosen, best selection score first
    weights: torch.Tensor  # [T, A] what their outputs are multiplied by
    selection: torch.Tensor  # [T, E] scores that choose
    margin: float  # least distance from another choice of experts or of groups
    order_margin: float  # least distance between the selection scores of two chosen experts


def best(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, float]:
    """The indices of the `count` largest of each row, and the least distance to the first refused."""
    ordered, index = scores.sort(dim=-1, descending=True, stable=True)
    more = scores.shape[-1] > count
    return index[:, :count], (ordered[:, count - 1] - ordered[:, count]).min().item() if more else float("inf")


def decide(rule: Rule, logits: torch.Tensor, bias: torch.Tensor | None) -> Decision:
    tokens, experts = logits.shape
    scores = logits.softmax(-1) if rule.scoring == "softmax" else logits.sigmoid()
    biased = scores if bias is None else scores + bias
    selection = biased if rule.bias_chooses else scores
    allowed, group_margin = selection, float("inf")
    if rule.groups > 1:
        grouped = selection.view(tokens, rule.groups, -1)
        group_scores = grouped.amax(-1) if rule.group_score == "max" else grouped.topk(2, dim=-1)[0].sum(-1)
        kept, group_margin = best(group_scores, rule.kept_groups)
        refused = torch.ones(tokens, rule.groups, dtype=torch.bool).scatter_(1, kept, False)
        allowed = selection.masked_fill(refused.repeat_interleave(experts // rule.groups, 1), float("-inf"))
    index, margin = best(allowed, rule.chosen)
    weights = (biased if rule.bias_weighs else scores).gather(1, index)
    if rule.normalised:
        weights = weights / weights.sum(-1, keepdim=True)
    ordered = selection.gather(1, index)
    gaps = ordered[:, :-1] - ordered[:, 1:]
    return Decision(index, weights * rule.scale, selection, min(margin, group_margin),
                    gaps.min().item() if rule.chosen > 1 else float("inf"))


def routers(model) -> dict[int, torch.nn.Module]:
    return {i: layer.mlp.gate for i, layer in enumerate(model.model.layers) if type(layer.mlp).__name__[-3:].lower() != "mlp"}


def route_by(rule: Rule, gates) -> None:
    """The routers decide by `rule` from here on, in the type of their weights."""
    for gate in gates:
        def forward(hidden, gate=gate):
            logits = F.linear(hidden.reshape(-1, hidden.shape[-1]), gate.weight)
            bias = getattr(gate, "e_score_correction_bias", None)
            decision = decide(rule, logits, None if bias is None else bias.to(logits.dtype))
            return logits, decision.weights, decision.experts

        gate.forward = forward


class Record:
    """What every router of a model decides in the passes that follow."""

    def __init__(self, model):
        self.rule = rule_of(model.config) if routers(model) else None
        self.made: dict[int, tuple] = {}
        for i, gate in routers(model).items():
            gate.register_forward_hook(lambda module, inputs, output, i=i: self.made.__setitem__(i, (module, output)))

    def decisions(self) -> dict[int, tuple[torch.Tensor, Decision]]:
        """Layer -> its logits and its decision; refuses what is not the rule's choice, and what is too close."""
        found = {}
        for i, (gate, (logits, weights, experts)) in sorted(self.made.items()):
            bias = getattr(gate, "e_score_correction_bias", None)
            own = decide(self.rule, logits, bias)
            assert own.margin > LEAST_MARGIN, f"layer {i}: a choice of experts by a margin of {own.margin:.2g}"
            # With all of them positive, transformers' older mask of 0 and the released code's -inf choose alike.
            assert (own.selection > 0).all(), f"layer {i}: a selection score that is not positive"
            theirs, order = experts.sort(-1)
            ours, own_order = own.experts.sort(-1)
            assert torch.equal(theirs, ours), f"layer {i}: other experts than by the rule"
            difference = (weights.gather(1, order) - own.weights.gather(1, own_order)).abs().max().item()
            assert difference <= 1e-6 * max(self.rule.scale, 1.0), f"layer {i}: weights differ by {difference:.2g}"
            # The reference's own weights, in the order of the selection scores.
            ranked = weights.gather(1, order).gather(1, own_order.argsort(-1))
            found[i] = (logits, replace(own, weights=ranked))
        return found


def trace_points(decisions: dict[int, tuple[torch.Tensor, Decision]]) -> dict[str, torch.Tensor]:
    """Per MoE layer its logits [T, E], the chosen experts and their weights [T, A], best selection score first."""
    points = {}
    for i, (logits, decision) in decisions.items():
        assert decision.order_margin > LEAST_MARGIN, f"layer {i}: two chosen experts {decision.order_margin:.2g} apart"
        points[f"layer.{i}.moe.logits"] = logits.clone()
        points[f"layer.{i}.moe.experts"] = decision.experts.float()
        points[f"layer.{i}.moe.weights"] = decision.weights.clone()
    return points
