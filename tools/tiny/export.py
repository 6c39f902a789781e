"""Saves a checkpoint of train.py as a Hugging Face model in bfloat16, by transformers, and measures it.

Asserts that transformers' logits equal those of the training network to 1e-4 in float32, that the tokeniser as loaded
by transformers gives the ids of tokenizer.json, and that the chat template renders the text that was trained on.

    python tools/tiny/export.py run/checkpoint.pt models/tiny-qwen          save, then evaluate on heldout.jsonl
    python tools/tiny/export.py --evaluate models/tiny-qwen                 evaluate only, --check N: the first N
"""
import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen3Config, Qwen3ForCausalLM

import problems
import train


def save(checkpoint: Path, out: Path) -> None:
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    end, text_end = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    rope = {"rope_type": "default", "rope_theta": train.CONFIG["rope_theta"]}
    config = Qwen3Config(**{k: v for k, v in train.CONFIG.items() if k != "rope_theta"}, rope_parameters=rope,
                         attention_bias=False, hidden_act="silu", tie_word_embeddings=True, use_sliding_window=False,
                         bos_token_id=None, eos_token_id=end, pad_token_id=text_end, attn_implementation="eager")
    model = Qwen3ForCausalLM(config).eval()
    state = torch.load(checkpoint)["model"]
    left_out = model.load_state_dict(state, strict=False)
    assert not left_out.unexpected_keys and left_out.missing_keys == ["lm_head.weight"], left_out
    model.tie_weights()
    check_logits(model, state, tokenizer)
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=[end, text_end], pad_token_id=text_end)
    model.to(torch.bfloat16).save_pretrained(out)


@torch.no_grad()
def check_logits(model, state: dict, tokenizer: Tokenizer) -> None:
    data = train.Data(tokenizer, {kind: 1.0 for kind in problems.KINDS})
    cos, sin = train.rope_tables(train.CONTEXT)
    for ids, _ in data.batch(5, 0, 32, 8):
        theirs = model(input_ids=ids).logits
        ours = train.forward(state, ids, cos[:ids.shape[1]], sin[:ids.shape[1]]) @ state["model.embed_tokens.weight"].T
        difference = (theirs - ours).abs().max().item()
        assert difference <= 1e-4, difference


def check_text(out: Path) -> None:
    """Template and tokeniser as transformers loads them against what train.py used."""
    raw, loaded = Tokenizer.from_file(str(out / "tokenizer.json")), AutoTokenizer.from_pretrained(out)
    rng = random.Random(3)
    for i in range(600):
        past, now = (problems.draw(rng, problems.KINDS[(i + j) % 6], problems.LANGS[i // 6 % 2]) for j in (0, 1))
        text = train.past_turn(past) + train.prompt_text(now.prompt)
        messages = [{"role": "user", "content": past.prompt},
                    {"role": "assistant", "content": f"<think>\n{past.thought}\n</think>\n\n{past.answer}"},
                    {"role": "user", "content": now.prompt}]
        assert loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == text
        full = text + train.reply_text(now)
        assert loaded(full)["input_ids"] == raw.encode(full).ids
        assert loaded.decode(raw.encode(full).ids, skip_special_tokens=False) == full


@torch.no_grad()
def evaluate(out: Path, first: int) -> None:
    """Greedy decoding in bfloat16, one problem at a time as a user would ask it."""
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.bfloat16).eval()
    cases = [json.loads(line) for line in open(Path(__file__).with_name("heldout.jsonl"), encoding="utf-8")][:first]
    right, asked, began, written = Counter(), Counter(), time.time(), 0
    for case in cases:
        ids = tokenizer.apply_chat_template([{"role": "user", "content": case["prompt"]}], add_generation_prompt=True,
                                            return_tensors="pt", return_dict=True)
        reply = model.generate(**ids, max_new_tokens=160)[0, ids["input_ids"].shape[1]:]
        written += len(reply)
        text = tokenizer.decode(reply, skip_special_tokens=True)
        asked[case["kind"]] += 1
        if problems.correct(case["answer"], text):
            right[case["kind"]] += 1
        else:
            print(json.dumps(case | {"got": text}, ensure_ascii=False))
    for kind in asked:
        print(f"{kind:8} {right[kind]:4} of {asked[kind]:4}  {right[kind] / asked[kind]:.1%}")
    print(f"all      {right.total():4} of {asked.total():4}  {right.total() / asked.total():.1%}   "
          f"{written} tokens in {time.time() - began:.0f} s")


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("checkpoint", type=Path, nargs="?")
    parse.add_argument("out", type=Path)
    parse.add_argument("--evaluate", action="store_true", help="only evaluate")
    parse.add_argument("--check", type=int, default=1000, help="evaluate on the first so many held-out problems")
    args = parse.parse_args()
    torch.set_num_threads(1)
    if not args.evaluate:
        save(args.checkpoint, args.out)
    check_text(args.out)
    evaluate(args.out, args.check)


if __name__ == "__main__":
    main()
