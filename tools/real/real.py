"""Runs two small released models and compares them with transformers and llama.cpp reading the same GGUF files.

    ./dev real            (CACHALOT_REAL_PYTHON=/path/to/python with requirements.txt, else a venv in the cache folder)

Of each model: the ids of varied texts; every logit of 256 tokens with --weights f32; over text.txt the perplexity and the
mean KL divergence from exact arithmetic, with the weights held as stored, beside llama.cpp's where the Python module llama_cpp
is there; the server's embeddings of a few texts, beside the model's last hidden states; answers to questions. Ends with status 1 when a bound is broken.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from models import QWEN, SMOLLM2, Model, path_of
from safetensors import safe_open
from tokenizers import normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "tools/goldens"))
from tokenizer_pieces import CORPORA  # noqa: E402

LOGIT_TOKENS = 256
LARGEST_LOGIT_DIFFERENCE = 5e-4
LARGEST_KL_RATIO = 1.15  # to llama.cpp's
LARGEST_EMBEDDING_DIFFERENCE = 1e-5  # of vectors of length 1
EMBEDDED = ["What is the capital of France?", "A whale dives deep and caches a lot. " * 12, "中国的首都是哪个城市？"]
# SmolLM2 begins "The" with a probability of 0.15 and "L'" with 0.14, too near for weights that are not exact.
ANSWER_WEIGHTS = {SMOLLM2: "f32", QWEN: "auto"}
QUESTIONS = {
    SMOLLM2: [("What is the capital of France?", "Paris")],
    QWEN: [("What is the capital of France?", "Paris"), ("中国的首都是哪个城市？", "北京"),
           ("Write a Python function that adds two numbers.", "def ")],
}  # fmt: skip
# What transformers leaves out when it reads a tokenizer from GGUF, from the tokenizer.json of the models.
PUBLISHED = {
    SMOLLM2: {"pre_tokenizer": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])},
    QWEN: {"normalizer": normalizers.NFC()},
}  # fmt: skip

failures: list[str] = []


def expect(true: bool, what: str) -> None:
    if not true:
        failures.append(what)
        print(f"    FAILED: {what}")


class Cachalot:
    def __init__(self, program: str, model: Path):
        self.program, self.model = program, str(model)

    def run(self, command: str, *arguments: str, text: str = "") -> str:
        call = [self.program, command, self.model, *arguments]
        done = subprocess.run(call, input=text.encode(), capture_output=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(call)}\n{done.stderr.decode()}")
        return done.stdout.decode()

    def ids(self, text: str) -> list[int]:
        return [int(i) for i in self.run("tokenize", text=text).replace(",", " ").split()]

    def logits(self, ids: list[int], folder: Path, *arguments: str) -> np.ndarray:
        out = folder / "logits.safetensors"
        self.run("logits", "--tokens-file", "-", "--out", str(out), *arguments, text=",".join(map(str, ids)))
        with safe_open(out, "np") as file:
            logits = file.get_tensor("logits")
        out.unlink()
        return logits


    @contextmanager
    def served(self, *arguments: str) -> Iterator[Callable[[str, dict], dict]]:
        """Asks `cachalot serve`: path and body to the answer."""
        call = [self.program, "serve", self.model, "--port", "0", "--context", "2048", *arguments]
        with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as server:
            try:
                found = (re.search(r"ready on (http://\S+)/v1", line) for line in server.stderr)
                url = next(match[1] for match in found if match)
                def ask(path: str, body: dict) -> dict:
                    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
                    return json.loads(urllib.request.urlopen(request).read())
                yield ask
            finally:
                server.terminate()


def reference_logits(path: Path, ids: list[int]) -> np.ndarray:
    """Of transformers, with the weights of the file widened to f32."""
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def llama_logits(path: Path, ids: list[int], threads: int) -> np.ndarray:
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=len(ids), n_batch=len(ids), n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False)
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    x = logits.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def divergence(reference: np.ndarray, other: np.ndarray, ids: list[int]) -> dict[str, float]:
    """Of `other` from `reference`, in a few rows at a time; perplexity of every token but the first."""
    kl, same, nll = 0.0, 0, 0.0
    for begin in range(0, len(ids), 64):
        rows = slice(begin, begin + 64)
        p, q = log_softmax(reference[rows]), log_softmax(other[rows])
        kl += (np.exp(p) * (p - q)).sum()
        same += (p.argmax(axis=1) == q.argmax(axis=1)).sum()
        wanted = ids[begin + 1 : begin + 65]
        nll -= q[np.arange(len(wanted)), wanted].sum()
    return {"perplexity": float(np.exp(nll / (len(ids) - 1))), "kl": float(kl / len(ids)), "same": float(same / len(ids))}


def compare_ids(model: Model, path: Path, ours: Cachalot) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for part, value in PUBLISHED[model].items():
        setattr(tokenizer.backend_tokenizer, part, value)
    texts = [*CORPORA, *(HERE / "text.txt").read_text().split("\n\n")]
    differing = [t for t in texts if ours.ids(t) != tokenizer(t, add_special_tokens=False)["input_ids"]]
    print(f"  ids: {len(texts) - len(differing)} of {len(texts)} texts as transformers")
    expect(not differing, f"ids of {differing[:3]}")


def compare_logits(reference: np.ndarray, ours: Cachalot, ids: list[int], folder: Path) -> None:
    reference = reference[:LOGIT_TOKENS]
    logits = ours.logits(ids[:LOGIT_TOKENS], folder, "--weights", "f32")
    largest, rms = np.abs(logits - reference).max(), np.sqrt(np.mean(reference.astype(np.float64) ** 2))
    same = (logits.argmax(axis=1) == reference.argmax(axis=1)).all()
    print(f"  logits of {len(logits)} tokens, f32: largest difference {largest:.1e} (rms {rms:.1f}), {'same' if same else 'NOT the same'} argmax")
    expect(largest <= LARGEST_LOGIT_DIFFERENCE, f"a logit is off by {largest:.1e}, more than {LARGEST_LOGIT_DIFFERENCE:.0e}")
    expect(bool(same), "the argmax differs")


def compare_kl(reference: np.ndarray, path: Path, ours: Cachalot, ids: list[int], folder: Path, threads: int) -> None:
    rows = {"transformers, f32": divergence(reference, reference, ids), "cachalot": divergence(reference, ours.logits(ids, folder), ids)}
    if find_spec("llama_cpp"):
        rows["llama.cpp"] = divergence(reference, llama_logits(path, ids, threads), ids)
    else:
        print("  (llama.cpp is not compared: there is no module llama_cpp; ./dev real --llama builds it)")
    print(f"  {len(ids)} tokens of text.txt          perplexity    KL from f32    same argmax")
    for name, row in rows.items():
        print(f"    {name:24}{row['perplexity']:16.4f}{row['kl']:15.2e}{row['same']:14.1%}")
    if "llama.cpp" in rows:
        ratio = rows["cachalot"]["kl"] / rows["llama.cpp"]["kl"]
        print(f"  KL: {ratio:.2f} times llama.cpp's")
        expect(ratio <= LARGEST_KL_RATIO, f"the KL divergence is {ratio:.2f} times llama.cpp's, more than {LARGEST_KL_RATIO}")


def compare_embeddings(path: Path, ours: Cachalot) -> None:
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    largest, smallest_cosine = 0.0, 1.0
    for weights in ("f32", "auto"):
        with ours.served("--weights", weights) as asked:
            for text in EMBEDDED:
                with torch.no_grad():
                    ids = asked("/tokenize", {"prompt": text})["tokens"]
                    rows = model.model(torch.tensor([ids])).last_hidden_state[0].double().numpy()
                for pooling, want in (("last", rows[-1]), ("mean", rows.mean(axis=0))):
                    got = np.array(asked("/v1/embeddings", {"input": text, "pooling": pooling})["data"][0]["embedding"])
                    want = want / np.linalg.norm(want)
                    if weights == "f32":
                        largest = max(largest, float(np.abs(got - want).max()))
                    smallest_cosine = min(smallest_cosine, float(got @ want))
    print(f"  embeddings (last, mean), f32: largest difference {largest:.1e}; weights as stored: cosine {smallest_cosine:.4f} at least")
    expect(largest <= LARGEST_EMBEDDING_DIFFERENCE, f"an embedding is off by {largest:.1e}")


def ask(model: Model, ours: Cachalot) -> None:
    for question, part in QUESTIONS[model]:
        answer = ours.run("run", question, "--temperature", "0", "--max-tokens", "80", "--weights", ANSWER_WEIGHTS[model]).strip()
        print(f"  {question}\n    {answer.replace(chr(10), chr(10) + '    ')}")
        expect(part in answer, f"no '{part}' in the answer to '{question}'")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="build/cachalot")
    parser.add_argument("--tokens", type=int, default=1024, help="of text.txt, for perplexity and KL [%(default)s]")
    parser.add_argument("--threads", type=int, default=2, help="of llama.cpp [%(default)s]")
    options = parser.parse_args()
    logging.disable_progress_bar()
    for model in (SMOLLM2, QWEN):
        path = path_of(model)
        print(model.name, flush=True)
        ours = Cachalot(options.program, path)
        compare_ids(model, path, ours)
        ids = ours.ids((HERE / "text.txt").read_text())[: options.tokens]
        reference = reference_logits(path, ids)
        with tempfile.TemporaryDirectory() as folder:
            compare_logits(reference, ours, ids, Path(folder))
            compare_kl(reference, path, ours, ids, Path(folder), options.threads)
        compare_embeddings(path, ours)
        ask(model, ours)
    if failures:
        sys.exit(f"{len(failures)} of the bounds are broken")


if __name__ == "__main__":
    main()
