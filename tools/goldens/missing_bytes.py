#!/usr/bin/env python3
"""Makes tests/goldens/tokenizers/missing_bytes.json: what Hugging Face's library makes of bytes that have no token, with and
without an unknown token. SmolLM2's vocabulary lacks such bytes and names no unknown token in its model.

    python tools/goldens/missing_bytes.py
"""
import json
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

PATH = Path(__file__).resolve().parents[2] / "tests/goldens/tokenizers/missing_bytes.json"
TOKENS = ["a", "ab", "b", "aba", "<unk>"]
MERGES = [("a", "b"), ("ab", "a")]
TEXTS = ["ab", "a\x13b", "\x13", "", "\x13a\x13b\x13a", "aé b", "x" * 30 + "ab" + "\x13" * 9 + "a", "x" * 40, "ab" * 20 + "c" + "a" * 20]


def ids(unknown):
    model = models.BPE({token: i for i, token in enumerate(TOKENS)}, MERGES, unk_token=unknown)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return [tokenizer.encode(text).ids for text in TEXTS]


def main():
    cases = [{"unknown": TOKENS.index(unknown) if unknown else None, "ids": ids(unknown)} for unknown in (None, "<unk>")]
    PATH.write_text(json.dumps({"script": "tools/goldens/missing_bytes.py", "tokenizers": version("tokenizers"),
                                "tokens": TOKENS, "merges": MERGES, "texts": TEXTS, "cases": cases}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
