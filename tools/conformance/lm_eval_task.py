#!/usr/bin/env python3
"""lm-eval's `local-completions` against `cachalot serve`, beside lm-eval's own transformers on the same weights.

    tools/conformance/lm_eval_task.py [MODEL…]

MODEL is a folder with safetensors and tokenizer.json, or a GGUF file; by default models/tiny-qwen. Two tasks of our own, which
need no hub: questions with four choices (sums of log-probabilities, and whether an answer is the likeliest), and short
texts (perplexity). Held in f32, every log-likelihood must be transformers' within 1e-3, every choice the same, and a
second run equal to the first bit for bit.
"""

import contextlib
import json
import math
import os
import pathlib
import sys

import environment

environment.enter("lm_eval", "lm-eval[api]==0.4.13", "torch==2.13.0", "transformers==5.24.0", "accelerate==1.15.0",
                  "gguf==0.19.0", "numpy==2.4.6")

os.environ |= dict(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OPENAI_API_KEY=environment.KEY,
                   HF_HOME=str(environment.BUILD / "lm_eval_task/cache"), LOGLEVEL="ERROR")
import lm_eval  # noqa: E402
import lm_eval.tasks  # noqa: E402
import transformers  # noqa: E402

FOLDER = environment.BUILD / "lm_eval_task"
CLOSE = 1e-3

QUESTIONS = [
    ("The capital of France is", ["Paris", "Berlin", "a river", "seven"], 0),
    ("Ice is frozen", ["fire", "water", "stone", "music"], 1),
    ("Two plus two is", ["five", "three", "four", "nine"], 2),
    ("A year has twelve", ["days", "weeks", "hours", "months"], 3),
    ("The sun rises in the", ["east", "west", "evening", "kitchen"], 0),
    ("Bees make", ["milk", "honey", "paper", "iron"], 1),
    ("The opposite of hot is", ["warm", "red", "cold", "loud"], 2),
    ("A triangle has three", ["wheels", "colours", "names", "sides"], 3),
    ("047+086=", ["133", "123", "1133", "086"], 0),
    ("def add(a, b): return a", ["- b", "+ b", "* c", "and"], 1),
    ("法国的首都是", ["柏林", "伦敦", "巴黎", "东京"], 2),
    ("Ein Jahr hat zwölf", ["Tage", "Wochen", "Stunden", "Monate"], 3),
]
TEXTS = [
    "A whale that has swum far from its pod calls at night, and the others answer from many miles away.",
    "7+6+0=13\n4+8+1=13\n0+0+1=01\n0133\n",
    "for (int i = 0; i < count; ++i) {\n  total += values[i];\n}\nreturn total / count;\n",
    "抹香鲸潜入深海寻找食物，一次可以在水下停留一个多小时。",
    "Grüß Gott! Heute scheint die Sonne, und morgen soll es regnen 🐳.",
]
TASKS = {
    "cachalot_choices": (
        [dict(question=question, choices=choices, answer=answer) for question, choices, answer in QUESTIONS],
        dict(output_type="multiple_choice", doc_to_text="{{question}}", doc_to_choice="choices", doc_to_target="answer",
             metric_list=[dict(metric="acc", aggregation="mean", higher_is_better=True)])),
    "cachalot_texts": (
        [dict(text=text) for text in TEXTS],
        dict(output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="text",
             metric_list=[dict(metric="bits_per_byte", aggregation="bits_per_byte", higher_is_better=False)])),
}


def write_tasks():
    folder = FOLDER / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (documents, task) in TASKS.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents))
        task = dict(task=name, dataset_path="json", dataset_kwargs=dict(data_files=dict(test=str(data))), test_split="test",
                    num_fewshot=0, metadata=dict(version=1)) | task
        (folder / f"{name}.yaml").write_text(json.dumps(task))  # JSON is YAML
    return folder


def tokenizer_of(model):
    """The folder of a tokenizer: a GGUF's is taken out of it."""
    if model.is_dir():
        return model
    folder = FOLDER / model.stem
    transformers.AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name).save_pretrained(folder)
    return folder


def evaluate(kind, arguments):
    """(figures, {(task, document): the log-likelihoods and whether each is the likeliest})"""
    with open(FOLDER / "said.txt", "a") as said, contextlib.redirect_stderr(said):
        results = lm_eval.simple_evaluate(
            model=kind, model_args=arguments, tasks=list(TASKS), log_samples=True, bootstrap_iters=0, batch_size=1,
            task_manager=lm_eval.tasks.TaskManager(include_path=FOLDER / "tasks"))
    figures = {(task, name): value for task, of in results["results"].items() for name, value in of.items()
               if isinstance(value, float)}
    return figures, {(task, sample["doc_id"]): sample["filtered_resps"] for task, samples in results["samples"].items()
                     for sample in samples}


def numbers(answers):
    """A rolling log-likelihood is a number, others come with whether they are the likeliest."""
    return [(answer if isinstance(answer, float) else answer[0]) for answer in answers]


def greedy(answers):
    return [answer[1] for answer in answers if not isinstance(answer, float)]


def try_model(model):
    tokenizer = tokenizer_of(model)
    log = FOLDER / "server.log"
    with environment.serving(model, "--weights", "f32", "--model-name", "served", log=log) as url:
        asked = dict(model="served", base_url=f"{url}/v1/completions", tokenizer_backend="huggingface", tokenizer=str(tokenizer),
                     tokenized_requests=True, num_concurrent=4, max_length=256, max_retries=1, eos_string="<none>")
        figures, ours = evaluate("local-completions", asked)
        _, again = evaluate("local-completions", asked)
    theirs = dict(pretrained=str(model if model.is_dir() else model.parent), tokenizer=str(tokenizer), dtype="float32", device="cpu",
                  max_length=256)
    if not model.is_dir():
        theirs["gguf_file"] = model.name
    figures_theirs, reference = evaluate("hf", theirs)
    wrong = []
    if not all(math.isfinite(value) for value in figures.values()):
        wrong.append("a figure is not finite")
    if ours != again:
        wrong.append("two runs differ")
    apart = max(abs(a - b) for key in reference for a, b in zip(numbers(ours[key]), numbers(reference[key]), strict=True))
    if not apart <= CLOSE:
        wrong.append(f"log-likelihoods differ from transformers' by up to {apart:.2g}")
    if any(greedy(ours[key]) != greedy(reference[key]) for key in reference):
        wrong.append("another answer is the likeliest")
    told = ", ".join(f"{task.removeprefix('cachalot_')} {name.split(',')[0]} {value:.4f} ({figures_theirs[task, name]:.4f})"
                     for (task, name), value in figures.items())
    print(f"{'failed' if wrong else 'passed'} {model.name}: {told} (transformers'); {sum(map(len, ours.values()))} log-likelihoods, "
          f"largest difference {apart:.1e}; two runs {'differ' if ours != again else 'equal'}")
    for line in wrong:
        print(f"          {line}")
    return not wrong


def main():
    models = [pathlib.Path(name).resolve() for name in sys.argv[1:]] or [environment.SOURCE / "models/tiny-qwen"]
    write_tasks()
    return 0 if all([try_model(model) for model in models]) else 1


if __name__ == "__main__":
    sys.exit(main())
