"""The reference for Qwen1: the modelling code that was released with the checkpoints, run from a folder outside of this
repository, in float32 on the CPU. README.md says which files it needs, and what transformers 5 no longer provides.
"""

import hashlib
import importlib
import math
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import torch
import transformers

import files

# modeling_qwen.py in its final form (December 2023), the same file in all released checkpoints of that date.
FINAL_FORM_SHA256 = "7482892d33418bdd543d1ce61e5c8b5b1bd49bd85ff26be185fb3521b73daac7"
LOGN_TABLE_LENGTH = 32767

transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def import_released(folder: Path) -> types.ModuleType:
    """The module modeling_qwen of `folder`, with its relative imports."""
    found = hashlib.sha256((folder / "modeling_qwen.py").read_bytes()).hexdigest()
    assert found == FINAL_FORM_SHA256, f"{folder}/modeling_qwen.py is not the final form but {found}"
    package = types.ModuleType("released_qwen")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    code = importlib.import_module("released_qwen.modeling_qwen")
    # Gone from transformers 5; the released code calls it with no mask, and wants one None per layer.
    code.QWenPreTrainedModel.get_head_mask = lambda self, mask, layers: [None] * layers
    return code


class Released:
    """Loads and runs stored checkpoints with the released code."""

    def __init__(self, folder: Path):
        self.code = import_released(folder)

    def load(self, checkpoint: Path, edit_config: Callable | None = None):
        """A fresh float32 model of a stored checkpoint, its config changed by `edit_config` after it was read."""
        config = self.code.QWenConfig.from_json_file(checkpoint / "config.json")
        config.bf16, config.fp16, config.fp32, config.use_flash_attn = False, False, True, False
        if edit_config:
            edit_config(config)
        # Built by hand: from_pretrained of transformers 5 leaves the tables that are no parameters uninitialised.
        model = self.code.QWenLMHeadModel(config).float()
        weights = {}
        for file in sorted(checkpoint.glob("model*.safetensors")):
            weights |= files.load_tensors(file)[0]
        model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return model.eval()

    def check_facts(self, checkpoint: Path) -> None:
        """What the engine was built on, asserted on the model of a stored checkpoint."""
        model = self.load(checkpoint)
        check_alpha(model)
        check_logn_table(model)
        check_mlp(model)
        check_qkv_order(model)

    @torch.no_grad()
    def check_padded_batch(self, checkpoint: Path) -> None:
        """Two sequences of other octaves, the shorter padded on the left: without LogN each is as alone. With it the
        shorter is not, since the released code counts the padding in its positions: a batch of the engine, which has no
        padding, follows what a sequence gives alone."""
        S, vocab = (getattr(self.load(checkpoint).config, key) for key in ("seq_length", "vocab_size"))
        longer, shorter = (torch.arange(n) * 7 % vocab for n in (3 * S, S + S // 2))
        padding = len(longer) - len(shorter)
        batch = torch.stack([longer, torch.cat([torch.zeros(padding, dtype=torch.long), shorter])])
        mask = torch.ones_like(batch)
        mask[1, :padding] = 0
        for logn in (False, True):

            def edit_config(config, logn=logn):
                config.use_logn_attn = logn

            together = self.load(checkpoint, edit_config)(input_ids=batch, attention_mask=mask).logits
            alone = [forward(self.load(checkpoint, edit_config), tokens) for tokens in (longer, shorter)]
            assert (together[0] - alone[0]).abs().max() < 1e-4
            change = (together[1, padding:] - alone[1]).abs().max()
            assert change > 1e-2 if logn else change < 1e-4, change

    @contextmanager
    def everything_in_f64(self, model):
        """Inside, `model` computes in float64; only the tables of RoPE and LogN keep their float32 values."""
        norm_class, rotate = self.code.RMSNorm, self.code.apply_rotary_pos_emb
        norm_forward = norm_class.forward
        half = self.code._rotate_half
        norm_class.forward = lambda self, x: self._norm(x) * self.weight
        self.code.apply_rotary_pos_emb = lambda t, freqs: t * freqs[0] + half(t) * freqs[1]
        try:
            yield model.double()
        finally:
            norm_class.forward, self.code.apply_rotary_pos_emb = norm_forward, rotate


def check_alpha(model) -> None:
    """alpha is 1 up to S, 3 up to 2 S, 7 up to 4 S and so on, an exact integer, for every length of four octaves."""
    S = model.config.seq_length
    for n in range(1, 16 * S + 1):
        alpha, limit = 1, S
        while n > limit:
            alpha, limit = 2 * alpha + 1, 2 * limit
        assert model.transformer.get_ntk_alpha(n) == alpha, (n, S)


def check_logn_table(model) -> None:
    """Entry i - 1 is float32(ln i / ln S) of double logarithms past S, and 1 up to S."""
    S = model.config.seq_length
    table = model.transformer.h[0].attn.logn_tensor.flatten()
    want = [math.log(i) / math.log(S) if i > S else 1.0 for i in range(1, LOGN_TABLE_LENGTH + 1)]
    assert table.dtype == torch.float32 and torch.equal(table, torch.tensor(want, dtype=torch.float64).float())


def check_mlp(model) -> None:
    """w2 is the gate, and the width is half of intermediate_size."""
    mlp = model.transformer.h[0].mlp
    assert mlp.w1.out_features == mlp.w2.out_features == model.config.intermediate_size // 2
    x = torch.linspace(-1, 1, model.config.hidden_size)
    with torch.no_grad():
        want = mlp.c_proj(mlp.w1(x) * torch.nn.functional.silu(mlp.w2(x)))
        assert torch.equal(mlp(x), want)


@torch.no_grad()
def check_qkv_order(model) -> None:
    """The rows of c_attn are those of q, of k, of v, each head by head; scores are divided by sqrt(head size)."""
    attention, c = model.transformer.h[0].attn, model.config
    heads, size = c.num_attention_heads, c.kv_channels
    x = torch.sin(torch.arange(7 * c.hidden_size).float()).view(1, 7, -1)
    q, k, v = (attention.c_attn(x)[0].view(7, 3, heads, size)[:, i].transpose(0, 1) for i in range(3))
    scores = (q @ k.transpose(1, 2) / size**0.5).masked_fill(~torch.ones(7, 7, dtype=torch.bool).tril(), -math.inf)
    mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(7, -1)
    assert (attention(x)[0][0] - attention.c_proj(mixed)).abs().max() < 1e-5


@torch.no_grad()
def forward(model, tokens: torch.Tensor, declared: int | None = None) -> torch.Tensor:
    """Logits [T, W] of one sequence: its first `declared` tokens (default: all) in one pass, each further one alone
    against the cached keys and values, as generation with the released code does it."""
    declared = declared or len(tokens)
    out = model(input_ids=tokens[None, :declared].long(), use_cache=True)
    logits = [out.logits[0]]
    for token in tokens[declared:]:
        out = model(input_ids=token.long().view(1, 1), past_key_values=out.past_key_values, use_cache=True)
        logits.append(out.logits[0])
    return torch.cat(logits)


@torch.no_grad()
def forward_traced(model, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The points of every layer of one whole sequence: its input, what its two halves add, and the final norm."""
    points: dict[str, torch.Tensor] = {}

    def keep(name: str):
        def hook(module, inputs, output):
            points[name] = (output[0] if isinstance(output, tuple) else output)[0].clone()

        return hook

    def keep_input(name: str):
        def hook(module, inputs):
            points[name] = inputs[0][0].clone()

        return hook

    for i, layer in enumerate(model.transformer.h):
        layer.register_forward_pre_hook(keep_input(f"layer.{i}.input"))
        layer.attn.register_forward_hook(keep(f"layer.{i}.attn.out"))
        layer.mlp.register_forward_hook(keep(f"layer.{i}.ffn.out"))
    model.transformer.ln_f.register_forward_hook(keep("final_norm"))
    points["logits"] = forward(model, tokens)
    return points


def check_causal(model, tokens: torch.Tensor) -> None:
    """Changing the last token changes its own logits only."""
    other = tokens.clone()
    other[-1] = (other[-1] + 1) % model.config.vocab_size
    change = (forward(model, tokens) - forward(model, other)).abs().amax(-1)
    assert change[-1] > 0.01 and not change[:-1].any()
