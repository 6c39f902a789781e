"""Trains the model that ships in models/tiny-r1 on a single CPU thread: the network of r1.py on train.py's data.

Beside the loss on the assistant's last turn there is the MTP module's on the token after, with a weight of 0.3 until
the rate begins to fall and 0.1 from then on. Experts are balanced as DeepSeek-V3's: after every step the correction
bias of an expert that got more than the mean load falls by --bias-rate and that of one that got less rises, by a tenth
of it once the rate falls and not at all in the last tenth of the tokens; a small loss per sequence does the rest.
Schedule, resuming and seeds are as in train.py.

    OMP_NUM_THREADS=1 python tools/tiny/train_r1.py --tokenizer models/tiny-qwen/tokenizer.json --out run-r1 --bf16
"""
import argparse
import json
import os
import signal
import time
from pathlib import Path

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")  # kernels are compiled for every shape

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import problems
import r1
from train import Data, save_atomically

MTP_WEIGHT, MTP_WEIGHT_LATE, BALANCE_WEIGHT = 0.3, 0.1, 1e-4


class Muon:
    """Momentum made orthogonal by Newton-Schulz steps, for matrices and stacks of matrices; alike shapes at once.
    An update has the root mean square that AdamW's would have."""

    def __init__(self, parameters: list[torch.Tensor], momentum=0.95, decay=0.01):
        self.momentum, self.decay, self.parameters = momentum, decay, parameters
        self.velocity = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        by_shape: dict[tuple, list[int]] = {}
        for i, (p, v) in enumerate(zip(self.parameters, self.velocity)):
            v.lerp_(p.grad, 1 - self.momentum)
            by_shape.setdefault(tuple(p.shape[-2:]), []).append(i)
        for (rows, columns), members in by_shape.items():
            updates = [self.parameters[i].grad.lerp(self.velocity[i], self.momentum) for i in members]
            updates = torch.cat([u.view(-1, rows, columns) for u in updates])
            updates = self.orthogonal(updates) * (0.2 * max(rows, columns) ** 0.5)
            sizes = [self.parameters[i].numel() // (rows * columns) for i in members]
            for i, update in zip(members, updates.split(sizes)):
                p = self.parameters[i]
                p.mul_(1 - rate * self.decay).sub_(update.view_as(p), alpha=rate)

    @staticmethod
    def orthogonal(x: torch.Tensor) -> torch.Tensor:
        tall = x.shape[1] > x.shape[2]
        x = (x.mT if tall else x).bfloat16()
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
        for _ in range(5):
            a = torch.bmm(x, x.mT)
            x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        return (x.mT if tall else x).float()


def losses(p: dict, ids: torch.Tensor, targets: torch.Tensor, tables, loads: list) -> tuple[torch.Tensor, ...]:
    """Sums over the micro-batch: the loss, the MTP module's, the balance loss over sequences and layers. `loads`, a
    list of one count per expert for every MoE layer, is added to."""
    cos, sin = (table[:ids.shape[1]] for table in tables)
    routes, real = [], ids > 0

    def cross_entropy(h, wanted):
        wanted = wanted.flatten()
        at = (wanted >= 0).nonzero()[:, 0]
        at = F.pad(at, (0, -len(at) % r1.ROUND))  # with position 0, which is never wanted
        logits = F.linear(h.flatten(0, 1)[at], p["lm_head.weight"])
        return F.cross_entropy(logits.float(), wanted[at], ignore_index=-100, reduction="sum")

    hidden = r1.forward(p, ids, cos, sin, routes=routes)
    main = cross_entropy(hidden, targets)
    ahead = cross_entropy(r1.mtp_forward(p, ids, hidden, cos, sin, routes), targets[:, 1:])
    balance = torch.zeros(())
    for load, (scores, chosen) in zip(loads, routes):
        seen = real[:, :scores.shape[1], None]
        hits = F.one_hot(chosen, scores.shape[-1]).sum(-2) * seen
        load += hits.sum((0, 1))
        length = seen.sum(1)
        share = hits.sum(1) / length * (scores.shape[-1] / chosen.shape[-1])
        affinity = (scores / scores.sum(-1, keepdim=True) * seen).sum(1) / length
        balance = balance + (share * affinity).sum()
    return main, ahead, balance


@torch.no_grad()
def evaluate(p: dict, tokenizer: Tokenizer, per_kind: int, seed: int) -> str:
    """Share of exact answers by kind on held-out problems, the mean, and the share of drafts accepted."""
    cases = problems.held_out_set(per_kind * len(problems.KINDS), seed)
    right, good, drafted = {kind: 0 for kind in problems.KINDS}, 0, 0
    for case, (prompt, reply) in zip(cases, r1.generate(p, tokenizer, [case.prompt for case in cases])):
        text = tokenizer.decode(reply, skip_special_tokens=False).removesuffix("<|im_end|>")
        right[case.kind] += problems.correct(case.answer, text)
        counts = r1.accepted(r1.drafts(p, prompt, reply))
        good, drafted = good + counts[0], drafted + counts[1]
    return " ".join(f"{kind} {n / per_kind:.2f}" for kind, n in right.items()) + \
        f" mean {sum(right.values()) / len(cases):.3f} drafts {good / max(drafted, 1):.3f}"


class Run:
    """Parameters, optimisers and counters: all that a checkpoint holds."""

    def __init__(self, args):
        self.args, self.step, self.tokens = args, 0, 0
        self.p = r1.initial_parameters(args.seed)
        self.biases = [v for k, v in self.p.items() if k.endswith(r1.BIAS)]
        trained = {k: v.requires_grad_() for k, v in self.p.items() if not k.endswith(r1.BIAS)}
        plain = [v for k, v in trained.items() if v.ndim == 1 or k.endswith(("embed_tokens.weight", "lm_head.weight",
                                                                             "mlp.gate.weight"))]
        self.trained = list(trained.values())
        self.muon = Muon([v for v in self.trained if not any(v is other for other in plain)])
        self.adam = torch.optim.AdamW(plain, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.checkpoint = args.out / "checkpoint.pt"
        if self.checkpoint.exists():
            self.load(torch.load(self.checkpoint))

    @torch.no_grad()
    def load(self, state: dict) -> None:
        self.step, self.tokens = state["step"], state["tokens"]
        for k, v in self.p.items():
            v.copy_(state["model"][k])
        for ours, stored in zip(self.muon.velocity, state["muon"]):
            ours.copy_(stored)
        self.adam.load_state_dict(state["adam"])

    def save(self) -> None:
        model = {k: v.detach() for k, v in self.p.items()}
        save_atomically(self.checkpoint, {"step": self.step, "tokens": self.tokens, "model": model,
                                          "muon": self.muon.velocity, "adam": self.adam.state_dict()})

    def train_step(self, data: Data, tables) -> tuple[float, float, torch.Tensor]:
        """(loss, MTP loss, load of every MoE layer's experts [layers, experts] as shares)."""
        args = self.args
        late = self.tokens > (1 - args.decay) * args.tokens
        rate = args.lr * min(1.0, (self.step + 1) / 100, (args.tokens - self.tokens) / (args.decay * args.tokens))
        parts = list(data.batch(args.seed, self.step, args.batch, args.parts))
        count = sum((targets >= 0).sum().item() for _, targets in parts)
        loads = torch.zeros(len(self.biases), r1.CONFIG["n_routed_experts"])
        totals = [0.0, 0.0]
        for ids, targets in parts:
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                main, ahead, balance = losses(self.p, ids, targets, tables, list(loads))
                loss = main / count + (MTP_WEIGHT_LATE if late else MTP_WEIGHT) * ahead / count + \
                    BALANCE_WEIGHT * balance / args.batch
            loss.backward()
            totals[0] += main.item() / count
            totals[1] += ahead.item() / count
            self.tokens += int((ids > 0).sum())
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.muon.step(rate)
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        for v in self.trained:
            v.grad = None
        if self.tokens < 0.9 * args.tokens:
            for bias, load in zip(self.biases, loads):
                bias -= args.bias_rate * (0.1 if late else 1.0) * (load - load.mean()).sign()
        self.step += 1
        return *totals, loads / loads.sum(1, keepdim=True)


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--tokenizer", required=True)
    parse.add_argument("--out", type=Path, required=True)
    parse.add_argument("--tokens", type=int, default=17_000_000, help="tokens to train on, padding not counted")
    parse.add_argument("--decay", type=float, default=0.35, help="the part of --tokens in which the rate falls to zero")
    parse.add_argument("--lr", type=float, default=3e-3)
    parse.add_argument("--bias-rate", type=float, default=0.01)
    parse.add_argument("--batch", type=int, default=64, help="examples per step")
    parse.add_argument("--parts", type=int, default=4, help="micro-batches per step")
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
    run = Run(args)
    print(json.dumps(vars(args) | {"parameters": sum(v.numel() for v in run.trained), "resumed_at": run.step},
                     default=str), flush=True)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    tables = r1.rope_tables(r1.CONFIG["max_position_embeddings"])
    smooth, began, before = None, time.time(), run.tokens
    while run.tokens < args.tokens and not stopping and not (args.steps and run.step >= args.steps):
        *now, loads = run.train_step(data, tables)
        now = torch.cat((torch.tensor(now), loads.flatten()))
        smooth = now if smooth is None else 0.95 * smooth + 0.05 * now
        if run.step % 20 == 0:
            shares, speed = smooth[2:], (run.tokens - before) / (time.time() - began)
            print(f"step {run.step} tokens {run.tokens} loss {smooth[0]:.4f} mtp {smooth[1]:.4f} "
                  f"load {shares.min():.3f} to {shares.max():.3f} tokens/s {speed:.0f}", flush=True)
            began, before = time.time(), run.tokens
        if run.step % args.eval_every == 0:
            run.save()
            print(f"eval {run.step} " + evaluate(run.p, tokenizer, 20, seed=7), flush=True)
            began, before = time.time(), run.tokens
    run.save()


if __name__ == "__main__":
    main()
