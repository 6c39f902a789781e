"""Trains the model that ships in models/tiny-qwen: Qwen3 at about a million parameters, on a single CPU thread.

The network is written out here in plain PyTorch with the parameter names of transformers' Qwen3ForCausalLM, so a
state dict moves over unchanged (export.py asserts equal logits). Only the assistant's last turn carries a loss.
The schedule is warm-up, constant, then linear decay to zero in the last part of --tokens; a run resumes from its
checkpoint and may be given more --tokens as long as the decay has not begun. Batches depend on the seed and the
step only.

    OMP_NUM_THREADS=1 python tools/tiny/train.py --tokenizer models/tiny-qwen/tokenizer.json --out run --bf16
"""
import argparse
import json
import math
import os
import random
import signal
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import problems

CONFIG = dict(vocab_size=512, hidden_size=128, intermediate_size=384, num_hidden_layers=5, num_attention_heads=4,
              num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=256)
CONTEXT = CONFIG["max_position_embeddings"]


# --- text -----------------------------------------------------------------------------------------------

def prompt_text(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n<think>\n"


def reply_text(problem: problems.Problem) -> str:
    return f"{problem.thought}\n</think>\n\n{problem.answer}<|im_end|>"


def past_turn(problem: problems.Problem) -> str:
    """An earlier turn as the chat template shows it: without its reasoning."""
    return f"<|im_start|>user\n{problem.prompt}<|im_end|>\n<|im_start|>assistant\n{problem.answer}<|im_end|>\n"


class Data:
    """Training examples as (token ids, number of prompt ids)."""

    def __init__(self, tokenizer: Tokenizer, weights: dict[str, float]):
        self.tokenizer, self.kinds, self.weights = tokenizer, list(weights), list(weights.values())

    def draw(self, rng: random.Random) -> problems.Problem:
        kind = rng.choices(self.kinds, weights=self.weights)[0]
        return problems.draw_split(rng, kind, rng.choice(problems.LANGS), False)

    def example(self, rng: random.Random) -> tuple[list[int], int]:
        problem = self.draw(rng)
        history = "".join(past_turn(self.draw(rng)) for _ in range(rng.randint(1, 4))) if rng.random() < 0.06 else ""
        ids, at = self.encode(history, problem)
        return (ids, at) if len(ids) <= CONTEXT else self.encode("", problem)

    def encode(self, history: str, problem: problems.Problem) -> tuple[list[int], int]:
        prompt = self.tokenizer.encode(history + prompt_text(problem.prompt)).ids
        return prompt + self.tokenizer.encode(reply_text(problem)).ids, len(prompt)

    def batch(self, seed: int, step: int, size: int, parts: int):
        """`parts` micro-batches of like lengths: (ids [b, t], targets [b, t] with -100 where there is no loss)."""
        rng = random.Random(f"{seed}/{step}")
        examples = sorted((self.example(rng) for _ in range(size)), key=lambda e: len(e[0]))
        for i in range(parts):
            part = examples[i * size // parts:(i + 1) * size // parts]
            width = -(-len(part[-1][0]) // 8) * 8
            ids = torch.zeros(len(part), width, dtype=torch.long)
            targets = torch.full((len(part), width), -100)
            for row, (tokens, at) in enumerate(part):
                line = torch.tensor(tokens)
                ids[row, :len(tokens)] = line
                targets[row, at - 1:len(tokens) - 1] = line[at:]
            yield ids, targets


# --- network --------------------------------------------------------------------------------------------

def initial_parameters(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    c = CONFIG
    width, head, inner, layers = c["hidden_size"], c["head_dim"], c["intermediate_size"], c["num_hidden_layers"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head

    def normal(rows, columns, gain=1.0):
        return torch.randn(rows, columns, generator=generator) * gain / math.sqrt(columns)

    out = {"model.embed_tokens.weight": torch.randn(c["vocab_size"], width, generator=generator) * 0.05,
           "model.norm.weight": torch.ones(width)}
    for i in range(layers):
        p, small = f"model.layers.{i}.", 1 / math.sqrt(2 * layers)
        out |= {p + "input_layernorm.weight": torch.ones(width),
                p + "self_attn.q_proj.weight": normal(q, width), p + "self_attn.k_proj.weight": normal(kv, width),
                p + "self_attn.v_proj.weight": normal(kv, width),
                p + "self_attn.o_proj.weight": normal(width, q, small),
                p + "self_attn.q_norm.weight": torch.ones(head), p + "self_attn.k_norm.weight": torch.ones(head),
                p + "post_attention_layernorm.weight": torch.ones(width),
                p + "mlp.gate_proj.weight": normal(inner, width), p + "mlp.up_proj.weight": normal(inner, width),
                p + "mlp.down_proj.weight": normal(width, inner, small)}
    return out


def rope_tables(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [length, head_dim], the two halves alike."""
    head = CONFIG["head_dim"]
    frequency = 1.0 / CONFIG["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float) / head)
    angle = torch.outer(torch.arange(length, dtype=torch.float), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x.float(), (x.shape[-1],), weight, CONFIG["rms_norm_eps"])


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention [b, heads, t, size of a head of v] by plain matrix products: at this size twice as fast to train as
    scaled_dot_product_attention on a CPU."""
    b, heads, t, head = q.shape
    future = torch.full((t, t), -1e4, dtype=q.dtype).triu(1)
    scores = torch.baddbmm(future, q.reshape(b * heads, t, head) * head ** -0.5, k.reshape(b * heads, t, head).mT)
    return torch.bmm(scores.softmax(-1), v.reshape(b * heads, t, -1)).view(b, heads, t, -1)


def forward(p: dict, ids: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, cache=None, mask=None) -> torch.Tensor:
    """Final hidden states [b, t, width]. `cache`: a list of (k, v) per layer, extended in place; then `mask`
    [b, 1, t, all keys] tells what may be seen, else attention is causal."""
    b, t = ids.shape
    heads, kv, head = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]
    x = p["model.embed_tokens.weight"][ids]
    for i in range(CONFIG["num_hidden_layers"]):
        def w(name):
            return p[f"model.layers.{i}.{name}.weight"]
        h = norm(x, w("input_layernorm"))
        qkv = F.linear(h, torch.cat((w("self_attn.q_proj"), w("self_attn.k_proj"), w("self_attn.v_proj"))))
        q, k, v = qkv.view(b, t, heads + 2 * kv, head).transpose(1, 2).split((heads, kv, kv), 1)
        q = rotate(norm(q, w("self_attn.q_norm")), cos, sin).to(v.dtype)
        k = rotate(norm(k, w("self_attn.k_norm")), cos, sin).to(v.dtype)
        if cache is not None:
            if len(cache) > i:
                k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2)
                cache[i] = (k, v)
            else:
                cache.append((k, v))
        k, v = k.repeat_interleave(heads // kv, 1), v.repeat_interleave(heads // kv, 1)
        a = attend(q, k, v) if mask is None else F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + F.linear(a.transpose(1, 2).reshape(b, t, heads * head), w("self_attn.o_proj"))
        h = norm(x, w("post_attention_layernorm"))
        gate, up = F.linear(h, torch.cat((w("mlp.gate_proj"), w("mlp.up_proj")))).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, w("mlp.down_proj"))
    return norm(x, p["model.norm.weight"])


def loss_sum(p: dict, ids: torch.Tensor, targets: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    h = forward(p, ids, cos[:ids.shape[1]], sin[:ids.shape[1]])
    logits = F.linear(h, p["model.embed_tokens.weight"])
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")


@torch.no_grad()
def generate(p: dict, tokenizer: Tokenizer, prompts: list[str]) -> list[str]:
    """Greedy completions, all prompts in one left-padded batch."""
    encoded = [tokenizer.encode(prompt_text(text)).ids for text in prompts]
    width, end = max(map(len, encoded)), tokenizer.token_to_id("<|im_end|>")
    ids = torch.tensor([[0] * (width - len(e)) + e for e in encoded])
    seen = torch.tensor([[False] * (width - len(e)) + [True] * len(e) for e in encoded])
    cos, sin = rope_tables(CONTEXT + width)
    causal, diagonal = torch.ones(width, width, dtype=torch.bool).tril(), torch.eye(width, dtype=torch.bool)
    mask = (seen[:, None, None, :] & causal) | diagonal
    cache, out, done = [], [], torch.zeros(len(prompts), dtype=torch.bool)
    while True:
        at = cache[0][0].shape[2] if cache else 0
        h = forward(p, ids, cos[at:at + ids.shape[1]], sin[at:at + ids.shape[1]], cache, mask)
        ids = F.linear(h[:, -1:], p["model.embed_tokens.weight"]).argmax(-1)
        out.append(ids)
        done |= ids[:, 0] == end
        if done.all() or len(out) >= 140:
            break
        seen = torch.cat((seen, torch.ones(len(prompts), 1, dtype=torch.bool)), 1)
        mask = seen[:, None, None, :]
    texts = []
    for row in torch.cat(out, 1).tolist():
        texts.append(tokenizer.decode(row[:row.index(end)] if end in row else row, skip_special_tokens=False))
    return texts


def evaluate(p: dict, tokenizer: Tokenizer, per_kind: int, seed: int) -> dict[str, float]:
    """Share of exact answers by kind, on held-out problems."""
    cases = problems.held_out_set(per_kind * len(problems.KINDS), seed)
    right = {kind: 0 for kind in problems.KINDS}
    for case, text in zip(cases, generate(p, tokenizer, [case.prompt for case in cases])):
        right[case.kind] += problems.correct(case.answer, text)
    return {kind: n / per_kind for kind, n in right.items()}


# --- training -------------------------------------------------------------------------------------------

def optimizers(p: dict, lr: float):
    """Muon for the matrices of the layers, AdamW for the embedding and the gains."""
    matrices = [v for k, v in p.items() if v.ndim == 2 and "embed" not in k]
    gains = [v for v in p.values() if v.ndim == 1]
    muon = torch.optim.Muon(matrices, lr=lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW([{"params": [p["model.embed_tokens.weight"]], "weight_decay": 0.0},
                              {"params": gains, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.98))
    return muon, adam


def save_atomically(path: Path, value) -> None:
    torch.save(value, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--tokenizer", required=True)
    parse.add_argument("--out", type=Path, required=True)
    parse.add_argument("--tokens", type=int, default=16_000_000, help="tokens to train on, padding not counted")
    parse.add_argument("--decay", type=float, default=0.35, help="the part of --tokens in which the rate falls to zero")
    parse.add_argument("--lr", type=float, default=3e-3)
    parse.add_argument("--batch", type=int, default=64, help="examples per step")
    parse.add_argument("--parts", type=int, default=8, help="micro-batches per step")
    parse.add_argument("--weights", default="add=1,sub=1.2,mul=1,compare=0.8,sort=1.4,count=1.2")
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parse.add_argument("--eval-every", type=int, default=250)
    parse.add_argument("--steps", type=int, default=0, help="stop after that many steps, for timing")
    args = parse.parse_args()

    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train.pid").write_text(str(os.getpid()))
    tokenizer = Tokenizer.from_file(args.tokenizer)
    data = Data(tokenizer, {k: float(v) for k, v in (pair.split("=") for pair in args.weights.split(","))})
    p = {k: v.requires_grad_() for k, v in initial_parameters(args.seed).items()}
    muon, adam = optimizers(p, args.lr)
    step, tokens = 0, 0
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        step, tokens = state["step"], state["tokens"]
        with torch.no_grad():
            for k, v in p.items():
                v.copy_(state["model"][k])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
    print(json.dumps(vars(args) | {"parameters": sum(v.numel() for v in p.values()), "resumed_at": step}, default=str),
          flush=True)

    def save():
        save_atomically(checkpoint, {"step": step, "tokens": tokens, "model": {k: v.detach() for k, v in p.items()},
                                     "muon": muon.state_dict(), "adam": adam.state_dict()})

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    cos, sin = rope_tables(CONTEXT)
    mean_loss, began, counted = 0.0, time.time(), 0
    while tokens < args.tokens and not stopping and not (args.steps and step >= args.steps):
        rate = args.lr * min(1.0, (step + 1) / 100, (args.tokens - tokens) / (args.decay * args.tokens))
        for optimizer in (muon, adam):
            for group in optimizer.param_groups:
                group["lr"] = rate
        parts = list(data.batch(args.seed, step, args.batch, args.parts))
        targets_count = sum((targets >= 0).sum().item() for _, targets in parts)
        loss_total = 0.0
        for ids, targets in parts:
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                loss = loss_sum(p, ids, targets, cos, sin) / targets_count
            loss.backward()
            loss_total += loss.item()
            step_tokens = int((ids > 0).sum())
            tokens += step_tokens
            counted += step_tokens
        torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        mean_loss = loss_total if step == 1 else 0.95 * mean_loss + 0.05 * loss_total
        if step % 20 == 0:
            print(f"step {step} tokens {tokens} loss {mean_loss:.4f} lr {rate:.2e} "
                  f"tokens/s {counted / (time.time() - began):.0f}", flush=True)
            began, counted = time.time(), 0
        if step % args.eval_every == 0:
            save()
            shares = evaluate(p, tokenizer, 20, seed=7)
            print(f"eval {step} " + " ".join(f"{k} {v:.2f}" for k, v in shares.items()) +
                  f" mean {sum(shares.values()) / len(shares):.3f}", flush=True)
            began, counted = time.time(), 0
    save()


if __name__ == "__main__":
    main()
