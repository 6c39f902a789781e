"""DeepSeek-V3's module of multi-token prediction: what it predicts in every row of a sequence.

Row i joins the embedding of token i + 1 with the main model's hidden state of row i after its final norm, runs one decoder
layer over the rows so far, and predicts token i + 2. The pieces are transformers' own norm and decoder layer; that
transformers' MtpModel, which holds the weights in its own way, comes to the same is demanded by `difference_from_transformers`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from transformers.modeling_layers import MtpModel
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

import reference
import routing
from weights import fused


class Module(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.enorm, self.hnorm, self.head_norm = (DeepseekV3RMSNorm(width, eps) for _ in range(3))
        self.eh_proj = torch.nn.Linear(2 * width, width, bias=False)
        self.block = DeepseekV3DecoderLayer(config, config.num_hidden_layers)
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, width)
        self.head = torch.nn.Linear(width, config.vocab_size, bias=False)

    def joined(self, embedded: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return self.eh_proj(torch.cat((self.enorm(embedded), self.hnorm(hidden)), dim=-1))

    def visible(self, rows: int) -> torch.Tensor:
        return torch.ones(rows, rows, dtype=torch.bool).tril()

    def forward(self, tokens: torch.Tensor, hidden: torch.Tensor, rotary) -> torch.Tensor:
        """Logits [T - 1, W] from tokens [T] and the main model's hidden states [T, width]."""
        rows = len(tokens) - 1
        x = self.joined(self.embed_tokens(tokens[1:].long()), hidden[:-1])[None]
        mask = torch.zeros(rows, rows, dtype=x.dtype).masked_fill(~self.visible(rows), float("-inf"))[None, None]
        x = self.block(x, attention_mask=mask, position_embeddings=rotary(x, torch.arange(rows)[None]))
        return self.head(self.head_norm(x))[0]


def load(folder: Path, config) -> Module:
    """The module of the stored checkpoint, in float32."""
    layer = f"model.layers.{config.num_hidden_layers}."
    names = {"embed_tokens.weight": "embed_tokens.weight", "enorm.weight": "enorm.weight", "hnorm.weight": "hnorm.weight",
             "eh_proj.weight": "eh_proj.weight", "shared_head.norm.weight": "head_norm.weight",
             "shared_head.head.weight": "head.weight"}
    weights = {}
    for name, tensor in fused(reference.stored_weights(folder)).items():
        if name.startswith(layer):
            rest = name.removeprefix(layer)
            weights[names.get(rest, "block." + rest)] = tensor.float()
    module = Module(config)
    module.load_state_dict(weights, strict=True)
    return module.eval()


@torch.no_grad()
def logits(model, module: Module, tokens: torch.Tensor, final_norm: bool = True) -> torch.Tensor:
    points = reference.forward_traced(model, tokens)
    last = model.config.num_hidden_layers - 1
    before = points[f"layer.{last}.input"] + points[f"layer.{last}.attn.out"] + points[f"layer.{last}.ffn.out"]
    return module(tokens, points["final_norm"] if final_norm else before, model.model.rotary_emb)


def decided(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    """The logits, once the module's router has been found to decide by more than the least margin."""
    model = reference.load(folder)
    module = load(folder, model.config)
    seen = {}
    module.block.mlp.gate.register_forward_hook(lambda gate, inputs, output: seen.update(output=output))
    result = logits(model, module, tokens)
    rule, bias = routing.rule_of(model.config), module.block.mlp.gate.e_score_correction_bias
    margin = routing.decide(rule, seen["output"][0], bias).margin
    assert margin > routing.LEAST_MARGIN, f"multi-token prediction: a choice of experts by {margin:.2g}"
    return result


def in_f64(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    with reference.everything_in_f64(reference.load(folder)) as model:
        module = load(folder, model.config).double()
        routing.route_by(routing.rule_of(model.config), [module.block.mlp.gate])
        return logits(model, module, tokens)


def difference_from_transformers(folder: Path, tokens: torch.Tensor, own: torch.Tensor) -> float:
    """How far transformers' own module, given the positions of the tokens that enter (one more), is from ours."""
    model = reference.load(folder)
    # Its pattern for the names of the module's tensors is that of the 61 published layers.
    pattern = rf"model\.layers\.{model.config.num_hidden_layers}.*"
    model._keys_to_ignore_on_load_unexpected = [pattern]
    theirs = MtpModel.from_pretrained(model)
    with torch.no_grad():
        hidden = model.model(input_ids=tokens[None].long(), use_cache=False).last_hidden_state
        rows = torch.arange(1, len(tokens))[None]
        out = theirs.forward_layer(0, hidden[:, :-1], rows, None, input_ids=tokens[None, 1:].long())
        return (model.lm_head(out)[0] - own).abs().max().item()


# --- what goes wrong -----------------------------------------------------------------------------------------------


@dataclass
class Switch:
    name: str
    edit: Callable = lambda module: None
    final_norm: bool = True


def identity(name: str) -> Callable:
    return lambda module: setattr(module, name, torch.nn.Identity())


def exchange_halves(module):
    weight = module.eh_proj.weight
    with torch.no_grad():
        weight.copy_(weight.roll(weight.shape[0], 1))


def alone(module):
    module.visible = lambda rows: torch.eye(rows, dtype=torch.bool)


SWITCHES = [
    Switch("hidden state before the embedding", exchange_halves),
    Switch("hidden state before the final norm", final_norm=False),
    Switch("enorm off", identity("enorm")),
    Switch("hnorm off", identity("hnorm")),
    Switch("norm of the head off", identity("head_norm")),
    Switch("every row alone", alone),
    Switch("decoder layer off", lambda module: setattr(module.block, "forward", lambda x, **_: x)),
]


def changes(folder: Path, tokens: torch.Tensor, rows: torch.Tensor, want: torch.Tensor) -> dict[str, float]:
    found = {}
    for switch in SWITCHES:
        model = reference.load(folder)
        module = load(folder, model.config)
        switch.edit(module)
        wrong = logits(model, module, tokens, switch.final_norm)
        found[switch.name] = float(f"{(wrong[rows.long()] - want).abs().max().item():.4g}")
    return found
