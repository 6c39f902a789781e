"""The network of models/tiny-r1: DeepSeek-V3 in plain PyTorch, with the parameter names of transformers.

Parameters are a dict with the names of transformers' DeepseekV3ForCausalLM (experts of a layer stacked in one tensor,
as there), so a state dict moves over unchanged; the MTP module, which transformers leaves out, is layer
`num_hidden_layers` under its published names. export_r1.py asserts equal logits.
"""
import math

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from train import attend, norm, prompt_text

CONFIG = dict(vocab_size=512, hidden_size=128, intermediate_size=384, moe_intermediate_size=128, num_hidden_layers=4,
              num_nextn_predict_layers=1, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=96, kv_lora_rank=64,
              qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, n_routed_experts=8, n_shared_experts=1,
              num_experts_per_tok=2, n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.0,
              first_k_dense_replace=1, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=256)
LAYERS = CONFIG["num_hidden_layers"]
MTP = f"model.layers.{LAYERS}."
ROUND = 64
BIAS = "mlp.gate.e_score_correction_bias"


# --- parameters -----------------------------------------------------------------------------------------

def initial_parameters(seed: int) -> dict[str, torch.Tensor]:
    """All parameters and, as buffers among them, the correction biases (float32 zeros)."""
    generator, c = torch.Generator().manual_seed(seed), CONFIG
    width, heads = c["hidden_size"], c["num_attention_heads"]
    small = 1 / math.sqrt(2 * LAYERS)

    def normal(*shape, gain=1.0):
        return torch.randn(*shape, generator=generator) * gain / math.sqrt(shape[-1])

    def swiglu(prefix: str, inner: int) -> dict:
        return {prefix + "gate_proj.weight": normal(inner, width), prefix + "up_proj.weight": normal(inner, width),
                prefix + "down_proj.weight": normal(width, inner, gain=small)}

    def layer(i: int) -> dict:
        p, nope, rope = f"model.layers.{i}.", c["qk_nope_head_dim"], c["qk_rope_head_dim"]
        q_rank, kv_rank, value = c["q_lora_rank"], c["kv_lora_rank"], c["v_head_dim"]
        out = {p + "input_layernorm.weight": torch.ones(width),
               p + "self_attn.q_a_proj.weight": normal(q_rank, width),
               p + "self_attn.q_a_layernorm.weight": torch.ones(q_rank),
               p + "self_attn.q_b_proj.weight": normal(heads * (nope + rope), q_rank),
               p + "self_attn.kv_a_proj_with_mqa.weight": normal(kv_rank + rope, width),
               p + "self_attn.kv_a_layernorm.weight": torch.ones(kv_rank),
               p + "self_attn.kv_b_proj.weight": normal(heads * (nope + value), kv_rank),
               p + "self_attn.o_proj.weight": normal(width, heads * value, gain=small),
               p + "post_attention_layernorm.weight": torch.ones(width)}
        if i < c["first_k_dense_replace"]:
            return out | swiglu(p + "mlp.", c["intermediate_size"])
        experts, inner = c["n_routed_experts"], c["moe_intermediate_size"]
        return out | {p + "mlp.gate.weight": normal(experts, width, gain=0.3), p + BIAS: torch.zeros(experts),
                      p + "mlp.experts.gate_up_proj": normal(experts, 2 * inner, width),
                      p + "mlp.experts.down_proj": normal(experts, width, inner, gain=small),
                      } | swiglu(p + "mlp.shared_experts.", inner * c["n_shared_experts"])

    out = {"model.embed_tokens.weight": torch.randn(c["vocab_size"], width, generator=generator) * 0.05,
           "model.norm.weight": torch.ones(width), "lm_head.weight": normal(c["vocab_size"], width, gain=0.5)}
    for i in range(LAYERS + 1):
        out |= layer(i)
    return out | {MTP + "enorm.weight": torch.ones(width), MTP + "hnorm.weight": torch.ones(width),
                  MTP + "eh_proj.weight": normal(width, 2 * width), MTP + "shared_head.norm.weight": torch.ones(width)}


# --- layers ---------------------------------------------------------------------------------------------

def rope_tables(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [length, qk_rope_head_dim / 2]."""
    size = CONFIG["qk_rope_head_dim"]
    frequency = 1.0 / CONFIG["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float) / size)
    angle = torch.outer(torch.arange(length, dtype=torch.float), frequency)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotates the pairs (x0, x1), (x2, x3), ...; what comes out has all first elements before all second ones."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(w, h: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache: list | None, i: int,
              mask) -> torch.Tensor:
    """Multi-head latent attention in its expanded form. `w(name)` gives a weight of the layer."""
    c, (b, t, _) = CONFIG, h.shape
    heads, nope, rope, value = (c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"],
                                c["v_head_dim"])
    down = F.linear(h, torch.cat((w("self_attn.q_a_proj"), w("self_attn.kv_a_proj_with_mqa"))))
    q_latent, latent, k_rope = down.split((c["q_lora_rank"], c["kv_lora_rank"], rope), -1)
    q = F.linear(norm(q_latent, w("self_attn.q_a_layernorm")), w("self_attn.q_b_proj"))
    q_nope, q_rope = q.view(b, t, heads, nope + rope).transpose(1, 2).split((nope, rope), -1)
    kv = F.linear(norm(latent, w("self_attn.kv_a_layernorm")), w("self_attn.kv_b_proj"))
    k_nope, v = kv.view(b, t, heads, nope + value).transpose(1, 2).split((nope, value), -1)
    cos, sin = cos.to(q.dtype), sin.to(q.dtype)
    k_rope = rotate(k_rope[:, None], cos, sin).expand(b, heads, t, rope)
    q, k = torch.cat((q_nope, rotate(q_rope, cos, sin)), -1), torch.cat((k_nope, k_rope), -1)
    if cache is not None:
        if len(cache) > i:
            k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2)
            cache[i] = (k, v)
        else:
            cache.append((k, v))
    a = attend(q, k, v) if mask is None else F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.linear(a.transpose(1, 2).reshape(b, t, heads * value), w("self_attn.o_proj"))


def swiglu(x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    a, b = F.linear(x, torch.cat((gate, up))).chunk(2, -1)
    return F.linear(F.silu(a) * b, down)


@torch.no_grad()
def choose(scores: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The experts of every token [n, k]: the best of the best groups by score + bias, a group counting as the sum of
    its two best."""
    c = CONFIG
    grouped = (scores + bias).view(len(scores), c["n_group"], -1)
    strength = grouped.topk(2, -1)[0].sum(-1) if grouped.shape[-1] > 2 else grouped.sum(-1)
    kept = torch.zeros_like(strength, dtype=torch.bool).scatter_(1, strength.topk(c["topk_group"], -1)[1], True)
    return grouped.masked_fill(~kept[..., None], -math.inf).flatten(1).topk(c["num_experts_per_tok"], -1)[1]


class Spread(torch.autograd.Function):
    """Row i of x becomes row slot[i] of `rows` rows, the rest zeros; slots are distinct. `Collect` is its inverse."""

    @staticmethod
    def forward(ctx, x, slot, rows):
        ctx.save_for_backward(slot)
        return x.new_zeros(rows, x.shape[1]).index_copy_(0, slot, x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.index_select(0, *ctx.saved_tensors), None, None


class Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slot):
        ctx.save_for_backward(slot)
        ctx.rows = len(x)
        return x.index_select(0, slot)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.new_zeros(ctx.rows, gradient.shape[1]).index_copy_(0, *ctx.saved_tensors, gradient), None


def run_experts(x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, gate_up: torch.Tensor,
                down: torch.Tensor) -> torch.Tensor:
    """Rows grouped by expert, one product per expert: on one core more than twice as fast as all experts for all.
    Groups are filled up to multiples of 64 rows, as every new size costs the time to compile a kernel for it."""
    n, k = chosen.shape
    hits = F.one_hot(chosen.flatten(), len(gate_up))
    counts = hits.sum(0)
    sizes = (counts + ROUND - 1) // ROUND * ROUND
    rank = (hits.cumsum(0) * hits).sum(1) - 1
    slot = (sizes.cumsum(0) - sizes)[chosen.flatten()] + rank
    sizes = sizes.tolist()
    rows = Spread.apply(x[:, None].expand(n, k, -1).reshape(n * k, -1), slot, sum(sizes))
    a, b = torch.cat([F.linear(part, m) for part, m in zip(rows.split(sizes), gate_up.unbind())]).chunk(2, -1)
    rows = torch.cat([F.linear(part, m) for part, m in zip((F.silu(a) * b).split(sizes), down.unbind())])
    return (Collect.apply(rows, slot).view(n, k, -1) * weights[..., None]).sum(1)


def moe(w, bias: torch.Tensor, h: torch.Tensor, routes: list | None) -> torch.Tensor:
    """`routes` is extended by (scores [b, t, experts], chosen [b, t, k])."""
    b, t, width = h.shape
    with torch.autocast("cpu", enabled=False):
        scores = F.linear(h.float().flatten(0, 1), w("mlp.gate").float()).sigmoid()
    chosen = choose(scores, bias)
    weights = scores.gather(1, chosen)
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * CONFIG["routed_scaling_factor"]
    if routes is not None:
        routes.append((scores.view(b, t, -1), chosen.view(b, t, -1)))
    half = torch.bfloat16 if torch.is_autocast_enabled("cpu") else h.dtype
    routed = run_experts(h.flatten(0, 1).to(half), chosen, weights, w("mlp.experts.gate_up_proj", "").to(half),
                         w("mlp.experts.down_proj", "").to(half))
    shared = swiglu(h, *(w(f"mlp.shared_experts.{m}_proj") for m in ("gate", "up", "down")))
    return routed.view(b, t, width) + shared


def decoder_layer(p: dict, i: int, x: torch.Tensor, cos, sin, cache=None, mask=None, routes=None) -> torch.Tensor:
    def w(name, suffix=".weight"):
        return p[f"model.layers.{i}.{name}{suffix}"]
    x = x + attention(w, norm(x, w("input_layernorm")), cos, sin, cache, i, mask)
    h = norm(x, w("post_attention_layernorm"))
    if i < CONFIG["first_k_dense_replace"]:
        return x + swiglu(h, *(w(f"mlp.{m}_proj") for m in ("gate", "up", "down")))
    return x + moe(w, w(BIAS, ""), h, routes)


# --- the whole ------------------------------------------------------------------------------------------

def forward(p: dict, ids: torch.Tensor, cos, sin, cache=None, mask=None, routes=None) -> torch.Tensor:
    """Hidden states [b, t, width] after the final norm. `cache`: a list of (k, v) per layer, extended in place; then
    `mask` [b, 1, t, all keys] tells what may be seen, else attention is causal."""
    x = p["model.embed_tokens.weight"][ids]
    for i in range(LAYERS):
        x = decoder_layer(p, i, x, cos, sin, cache, mask, routes)
    return norm(x, p["model.norm.weight"])


def mtp_forward(p: dict, ids: torch.Tensor, hidden: torch.Tensor, cos, sin, routes=None) -> torch.Tensor:
    """The MTP module's states [b, t - 1, width] after its norm: at i, from hidden[i] and the token at i + 1, what the
    head turns into logits of the token at i + 2."""
    embedded = norm(p["model.embed_tokens.weight"][ids[:, 1:]], p[MTP + "enorm.weight"])
    pair = torch.cat((embedded, norm(hidden[:, :-1], p[MTP + "hnorm.weight"])), -1)
    x = F.linear(pair, p[MTP + "eh_proj.weight"])
    x = decoder_layer(p, LAYERS, x, cos[:-1], sin[:-1], routes=routes)
    return norm(x, p[MTP + "shared_head.norm.weight"])


@torch.no_grad()
def generate(p: dict, tokenizer: Tokenizer, prompts: list[str]) -> list[tuple[list[int], list[int]]]:
    """(ids of the prompt, ids of the greedy reply with its <|im_end|>) of each, in one left-padded batch."""
    encoded = [tokenizer.encode(prompt_text(text)).ids for text in prompts]
    width, end = max(map(len, encoded)), tokenizer.token_to_id("<|im_end|>")
    ids = torch.tensor([[0] * (width - len(e)) + e for e in encoded])
    seen = torch.tensor([[False] * (width - len(e)) + [True] * len(e) for e in encoded])
    cos, sin = rope_tables(CONFIG["max_position_embeddings"] + width)
    causal, diagonal = torch.ones(width, width, dtype=torch.bool).tril(), torch.eye(width, dtype=torch.bool)
    mask = (seen[:, None, None, :] & causal) | diagonal
    cache, out, done = [], [], torch.zeros(len(prompts), dtype=torch.bool)
    while not done.all() and len(out) < 140:
        at = cache[0][0].shape[2] if cache else 0
        h = forward(p, ids, cos[at:at + ids.shape[1]], sin[at:at + ids.shape[1]], cache, mask)
        ids = F.linear(h[:, -1:], p["lm_head.weight"]).argmax(-1)
        out.append(ids)
        done |= ids[:, 0] == end
        seen = torch.cat((seen, torch.ones(len(prompts), 1, dtype=torch.bool)), 1)
        mask = seen[:, None, None, :]
    replies = torch.cat(out, 1).tolist()
    return [(e, row[:row.index(end) + 1] if end in row else row) for e, row in zip(encoded, replies)]


@torch.no_grad()
def drafts(p: dict, prompt: list[int], reply: list[int]) -> list[bool]:
    """For reply[1], reply[2], ...: would the MTP module have drafted that token?"""
    ids = torch.tensor([prompt + reply])
    cos, sin = rope_tables(ids.shape[1])
    logits = F.linear(mtp_forward(p, ids, forward(p, ids, cos, sin), cos, sin), p["lm_head.weight"])
    first = len(prompt) - 1  # hidden state that gave reply[0]; with reply[0] it drafts reply[1]
    guesses = logits[0, first:first + len(reply) - 1].argmax(-1).tolist()
    return [guess == token for guess, token in zip(guesses, reply[1:])]


def accepted(hits: list[bool]) -> tuple[int, int]:
    """(accepted, drafted) when one token is drafted at a time: after an accepted draft the check itself has given the
    next token, so the draft after it is for the token but one."""
    good = drafted = at = 0
    while at < len(hits):
        drafted += 1
        good += hits[at]
        at += 2 if hits[at] else 1
    return good, drafted
