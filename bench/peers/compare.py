#!/usr/bin/env python3
"""Times `cachalot bench` and other engines' `llama-bench` in turn, on the same file and threads.

A shared machine changes its speed within seconds, so a single rate says little. Every round runs each program once,
one after the other, with a probe of the memory's bandwidth between any two runs; quoted are the ratios within a
round. README.md has examples.
"""
import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from typing import NamedTuple


class Test(NamedTuple):
    phase: str  # "prefill" or "decode"
    tokens: int
    depth: int  # tokens in the cache before

    def __str__(self):
        return f"{self.phase} {self.tokens}" + (f" at depth {self.depth}" if self.phase == "decode" else "")


# -- Programs

class Program:
    """A program to time. dialect: "cachalot", "llama.cpp" or "ik_llama.cpp", told apart by what its help offers."""

    def __init__(self, text):
        self.name, equals, rest = text.partition("=")
        path, _, flags = rest.partition(":")
        if not (self.name and equals and path):
            raise SystemExit(f"compare: '{text}' is not NAME=PATH or NAME=PATH:FLAGS")
        self.path, self.flags = os.path.abspath(path), shlex.split(flags)
        help_text = output_of([self.path, "--help"])
        marks = {"--n-depth": "llama.cpp", "-gp <pp,tg>": "ik_llama.cpp", "cachalot": "cachalot"}
        self.dialect = next((dialect for mark, dialect in marks.items() if mark in help_text), None)
        if not self.dialect:
            raise SystemExit(f"compare: {self.path} is neither cachalot nor a llama-bench")

    def command(self, test, model, threads, repeat):
        """The command line of a test. An option that is among the program's own flags is theirs to set."""
        prefill, decode = (test.tokens, 0) if test.phase == "prefill" else (0, test.tokens)
        if self.dialect == "cachalot":
            command = [self.path, "bench", "--json"] + ([] if any(map(is_model, self.flags)) else [model])
            options = {"--prefill": prefill, "--decode": decode, "--depth": test.depth, "--repeat": repeat,
                       "--threads": threads}
        else:
            command = [self.path, "-o", "json"]
            options = {"-m": model, "-p": prefill, "-n": decode, "-r": repeat, "-t": threads}
            if test.depth and self.dialect == "llama.cpp":
                options["-d"] = test.depth
            elif test.depth:
                options.update({"-n": 0, "-gp": f"{test.depth},{decode}"})
        for option, value in options.items():
            if option not in self.flags:
                command += [option, str(value)]
        return command + self.flags


def is_model(word):
    return word.endswith(".gguf")


def output_of(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        raise SystemExit(f"compare: '{shlex.join(command)}' failed with status {done.returncode}:\n"
                         + "\n".join(done.stderr.splitlines()[-20:]))
    return done.stdout


def result_of(dialect, text, test):
    """What the JSON of a run of this test alone says: tokens_per_s, version, and, of cachalot, what its own probes
    made of it."""
    if dialect == "cachalot":
        report = json.loads(text)
        phase, = report["phases"]
        assert phase["phase"] == test.phase and report["depth"] == test.depth, "not the test that was asked for"
        rate = phase["tokens_per_s"]["median"]
        return {"tokens_per_s": rate, "bytes_per_token": phase["bytes_per_s"] / rate, "version": report["isa"],
                "share_of_limit": phase["share_of_limit"], "limit": phase["limit"], "load_ms": report["load_ms"],
                "peak_bytes": report["peak_bytes"]}
    entry, _ = json.JSONDecoder().raw_decode(text, text.index("  {\n") + 2)  # ik_llama.cpp says more around it
    prompt_is_depth = dialect == "ik_llama.cpp" and test.depth  # -gp counts the depth as a prompt
    asked = (test.depth if prompt_is_depth else test.tokens if test.phase == "prefill" else 0,
             test.tokens if test.phase == "decode" else 0)
    assert (entry["n_prompt"], entry["n_gen"]) == asked, "not the test that was asked for"
    return {"tokens_per_s": statistics.median(entry["samples_ts"]),
            "version": f"{entry['build_commit']} ({entry['build_number']})"}


# -- The machine and the file

def read_bandwidth(cachalot, threads):
    """Bytes per second that all threads together read at this moment."""
    report = json.loads(output_of([cachalot.path, "bench", "--probes", "--json", "--repeat", "5",
                                   "--threads", str(threads)]))
    return statistics.mean(part["bytes_per_s"]["median"] for part in report.values() if isinstance(part, dict))


def read_whole(path):
    """Brings a file into the page cache. Returns the seconds that reading it took."""
    start, buffer = time.monotonic(), bytearray(16 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.monotonic() - start


def bytes_of_file(cachalot, model):
    """(weights, cache per token of depth) in bytes that decoding one token must read, with weights as they are
    stored and a 16-bit cache: of routed experts the active ones, of embeddings one row, that is nothing."""
    report = json.loads(output_of([cachalot.path, "inspect", model, "--json", "--tensors"]))
    experts = report.get("experts")
    active = experts["active"] / experts["total"] if experts else 1
    weights = sum(tensor["bytes"] * (active if "_exps." in tensor["name"] else 1) for tensor in report["tensors"]
                  if tensor["name"] != "token_embd.weight" or report["shape"]["tied_head"])
    return weights, report["kv_bytes_per_token"]


def machine():
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "date": time.strftime("%Y-%m-%d %H:%M %Z"), "load_before": os.getloadavg()[0]}


# -- Measuring

def shown(command):
    """A command line without the folders of this machine."""
    return shlex.join(os.path.basename(word) if os.sep in word else word for word in command)


def measure(options, tests, programs, write):
    """Runs everything in turn; hands each run to `write` as soon as it is done."""
    cachalot = programs[0]
    weight_bytes, cache_bytes = bytes_of_file(cachalot, options.model)
    for test in tests:
        repeat = options.repeat if test.depth == 0 else 1  # llama-bench fills the cache again for each repetition
        after = read_bandwidth(cachalot, options.threads)
        for round_ in range(options.rounds):
            for program in programs:
                command = program.command(test, options.model, options.threads, repeat)
                read_s = read_whole(next(filter(is_model, command)))
                run = result_of(program.dialect, output_of(command), test)
                before, after = after, read_bandwidth(cachalot, options.threads)
                probe = (before + after) / 2
                if "bytes_per_token" not in run:
                    cache = cache_bytes * (17 / 32 if "q8_0" in program.flags else 1)
                    run["bytes_per_token"] = weight_bytes + cache * (test.depth + test.tokens / 2)
                if test.phase == "decode":
                    run["share_of_probe"] = run["tokens_per_s"] * run["bytes_per_token"] / probe
                write({"test": str(test), "round": round_ + 1, "name": program.name, **run,
                       "probe_bytes_per_s": probe, "read_file_s": read_s, "command": shown(command)})
                print(f"{test}, round {round_ + 1} of {options.rounds}: {program.name} {run['tokens_per_s']:.2f} "
                      f"tokens/s, probe {probe / 1e9:.1f} GB/s", file=sys.stderr)


# -- Results

def spread(values, form):
    return f"{form(statistics.median(values))} ({form(min(values))} … {form(max(values))})"


def table(runs):
    """Markdown: per test and peer, median (min … max) of the rates, of the ratios within a round, and of the shares
    of the limit: for decode of the probes between the runs, for prefill what cachalot's own probes say. `runs` as
    measure() writes them; the first program is compared with each of the others."""
    names = list(dict.fromkeys(run["name"] for run in runs))
    ours = names[0]
    lines = [f"| test | {ours}, tokens/s | peer | tokens/s | {ours} ÷ peer | share of the limit: {ours} | peer |",
             "| --- " * 7 + "|"]
    rate, ratio, percent = "{:.1f}".format, "{:.2f}".format, "{:.0%}".format
    for test in dict.fromkeys(run["test"] for run in runs):
        of = {(run["name"], run["round"]): run for run in runs if run["test"] == test}
        for peer in names[1:]:
            pairs = [(run, of[peer, r]) for (name, r), run in of.items() if name == ours and (peer, r) in of]
            if not pairs:
                continue  # stopped before
            rates = [spread([run["tokens_per_s"] for run in side], rate) for side in zip(*pairs)]
            ratios = spread([a["tokens_per_s"] / b["tokens_per_s"] for a, b in pairs], ratio)
            shares = [spread([a["share_of_limit"] for a, _ in pairs], percent) + " of " + pairs[0][0]["limit"], ""]
            if "share_of_probe" in pairs[0][0]:
                shares = [spread([run["share_of_probe"] for run in side], percent) for side in zip(*pairs)]
            lines.append("| " + " | ".join([test, rates[0], peer, rates[1], ratios, *shares]) + " |")
    return "\n".join(lines)


def load_line(runs):
    """How long the first program took to be ready, as a multiple of reading the file that is in the page cache."""
    runs = [run for run in runs if run["name"] == runs[0]["name"]]
    seconds = [run["load_ms"] / 1000 for run in runs]
    ratios = [load / run["read_file_s"] for load, run in zip(seconds, runs)]
    two_digits, peak = "{:.2f}".format, max(run["peak_bytes"] for run in runs)
    return (f"{runs[0]['name']} is ready after {spread(seconds, two_digits)} s, {spread(ratios, two_digits)} × "
            f"reading the warm file; peak memory {peak / 1e9:.2f} GB")


def numbers(text):
    return [int(word) for word in text.split(",") if word]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .gguf file")
    parser.add_argument("ours", type=Program, help="NAME=PATH[:FLAGS] of cachalot, which also probes the machine")
    parser.add_argument("peers", type=Program, nargs="+", help="NAME=PATH[:FLAGS], in the order in which they run")
    parser.add_argument("--prefill", type=numbers, default=[512, 2048], help="prompt lengths [512,2048]; '' for none")
    parser.add_argument("--depth", type=numbers, default=[0, 4096, 16384], help="depths to decode at [0,4096,16384]")
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode [64]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[all processors]")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program runs in turn [5]")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions within a run, at depth always 1 [3]")
    parser.add_argument("--out", default="pairs.jsonl", help="all runs, one JSON object per line [pairs.jsonl]")
    options = parser.parse_args()
    if options.ours.dialect != "cachalot":
        parser.error("the first program must be cachalot")
    return options


def main():
    options = parse_arguments()
    tests = [Test("prefill", tokens, 0) for tokens in options.prefill]
    tests += [Test("decode", options.decode, depth) for depth in options.depth]
    here, runs = machine(), []
    if here["load_before"] > 0.5:
        print(f"compare: the machine is busy (load {here['load_before']:.1f})", file=sys.stderr)
    with open(options.out, "a", encoding="utf-8") as file:
        def write(run):
            print(json.dumps(run), file=file, flush=True)
            runs.append(run)
        print(json.dumps({"machine": here, "threads": options.threads}), file=file)
        try:
            measure(options, tests, [options.ours, *options.peers], write)
        except KeyboardInterrupt:
            print("compare: stopped; what was measured follows", file=sys.stderr)
    if runs:
        print(f"{os.path.basename(options.model)}, {options.threads} threads, {here['cpu']}, Linux {here['kernel']}, "
              f"{here['date']}; median (min … max)\n\n{table(runs)}\n\n{load_line(runs)}\n")
        for name, version, command in dict.fromkeys((r["name"], r["version"], r["command"]) for r in runs):
            print(f"- {name} ({version}): `{command}`")


if __name__ == "__main__":
    main()
