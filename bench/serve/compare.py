#!/usr/bin/env python3
"""Servers side by side on one file: each is started, asked and stopped in turn, and ratios are taken within a round.

    bench/serve/compare.py MODEL.gguf cachalot=build/cachalot 'llama.cpp=PATH/llama-server' --rounds 3

A program is NAME=PATH or NAME=PATH:FLAGS, and the first is what the others are compared with. Every round asks each:
  cold     every client's prompts are new
  warm     the same prompts once more
  shared   one long prompt, of about 2,000 tokens with most tokenizers, then another that begins with it: the time to the first token of both
"""
import argparse
import asyncio
import json
import shlex
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request

import load


class Program:
    def __init__(self, text):
        self.name, _, rest = text.partition("=")
        self.path, _, flags = rest.partition(":")
        if not (self.name and self.path):
            raise SystemExit(f"compare: '{text}' is not NAME=PATH or NAME=PATH:FLAGS")
        self.flags = shlex.split(flags)
        self.ours = "cachalot" in self.path.rsplit("/", 1)[-1]

    def command(self, o, port):
        common = ["--port", str(port), "--threads", str(o.threads)]
        if self.ours:
            return [self.path, "serve", o.model, "--context", str(o.context), *common, *self.flags]
        # Its slots share one context.
        return [self.path, "-m", o.model, "-c", str(o.context * o.clients), "-np", str(o.clients), "-fa", "on",
                *common, *self.flags]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until_ready(url, process):
    deadline = time.time() + 300
    while time.time() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"compare: {process.args[0]} ended with {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url + "/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("compare: not ready within five minutes")


async def shared(url, o, seed):
    """Two prompts with one beginning -> seconds to the first token of both."""
    beginning = load.prompt(o.shared_words, seed)
    client, firsts, seen = load.Client(url), [], []
    for question in ("What comes first?", "How many words are there?"):
        answer = await client.ask({"model": load.model_of(url), "stream": True, "stream_options": {"include_usage": True},
                                   "temperature": 0, "max_tokens": 8, "ignore_eos": True,
                                   **load.asked(f"{beginning} {question}", o.raw)})
        firsts.append(answer["first"])
        seen.append((answer["prompt"], answer["cached"]))
    return {"first_s": firsts[0], "second_s": firsts[1], "ratio": firsts[1] / firsts[0], "prompt_and_cached": seen}


def ask(program, o, round_number):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with open(o.log, "ab") as log:
        process = subprocess.Popen(program.command(o, port), stdout=log, stderr=log)
    try:
        wait_until_ready(base, process)
        seed = 1000 * (round_number + 1)
        ask_all = lambda: asyncio.run(load.run(base + "/v1", o.clients, o.requests, o.words, o.tokens, seed,
                                               raw=o.raw))
        cold, first = ask_all()
        warm, second = ask_all()
        same = sum(first[n]["text"] == second[n]["text"] for n in first)
        return {"cold": cold, "warm": warm, "shared": asyncio.run(shared(base + "/v1", o, seed)),
                "same_answers": f"{same} of {len(first)}"}
    finally:
        process.terminate()
        process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("programs", nargs="+", metavar="NAME=PATH[:FLAGS]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=2)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--shared-words", type=int, default=1900, help="of the beginning that two prompts share")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--raw", action="store_true", help="complete texts: for models without a chat template")
    parser.add_argument("--out", default="serve.jsonl", help="every figure of every round is appended here")
    parser.add_argument("--log", default="serve.log", help="what the servers say")
    o = parser.parse_args()
    programs = [Program(text) for text in o.programs]
    rounds = []
    for r in range(o.rounds):
        rounds.append({p.name: ask(p, o, r) for p in programs})
        with open(o.out, "a") as out:
            print(json.dumps({"model": o.model, "round": r, "options": vars(o), "results": rounds[-1]}), file=out)
    report(rounds, programs)


def report(rounds, programs):
    rows = [(phase, key) for phase in ("cold", "warm")
            for key in ("tokens_per_s", "first_median_s", "first_p95_s", "gap_median_s", "gap_p99_s", "gap_max_s")]
    rows += [("shared", "first_s"), ("shared", "second_s"), ("shared", "ratio")]
    print(f"{'':24}" + "".join(f"{p.name:>16}" for p in programs) + "   first ÷ others, within a round")
    for phase, key in rows:
        of = lambda p: [r[p.name][phase][key] for r in rounds]
        line = f"{phase + ' ' + key:24}" + "".join(f"{statistics.median(of(p)):16.4g}" for p in programs)
        for p in programs[1:]:
            ratios = [a / b for a, b in zip(of(programs[0]), of(p)) if b]
            if ratios:
                line += f"   {statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f})"
        print(line)
    for p in programs:
        print(f"{p.name}: answers the same when asked again: {[r[p.name]['same_answers'] for r in rounds]}, "
              f"cached tokens of a warm prompt {rounds[-1][p.name]['warm']['cached_tokens']:g} "
              f"of {rounds[-1][p.name]['warm']['prompt_tokens']:g}")


if __name__ == "__main__":
    main()
