"""Token ids of varied strings by Hugging Face's tokenizers library, for tests/formats/tokenizer_goldens_test.cpp.

    python tools/goldens/token_ids.py                                        the set in the repository, 2,000 strings
    python tools/goldens/token_ids.py --count 100000 --seed 7 --out DIR      a large set for one comparison, not kept:
    CACHALOT_TOKENIZER_CASES=DIR build/tests/test_formats --gtest_filter='*ExternalSet*'

Vocabularies: tools/fetch_vocabularies.sh. A twentieth of the strings is not valid UTF-8; the library is given what Python's
errors="replace" makes of these. "plain" ids are those of a tokenizer without added tokens: text that a user wrote.
"""

import argparse
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer

from tokenizer_strings import Strings

ROOT = Path(__file__).resolve().parents[2]

# Always among the strings: the texts of the project's notes on tokenizers, and corners found while reading the libraries.
FIXED = ["", " ", "  ", "\n", "\r\n", "a", "The price is 12345.67 dollars.", "  two leading spaces", "line one\r\n\r\nline two\n", "don't DON'T we'll",
         "DON\u2019T", "深度求索与通义千问2024年", "def f(x):\n\treturn x**2 # note", "Ünïcödé naïve café", "🙂👍🏽 ok", "\t\t\n   \n end",
         "a\u0301 combining", "1²⁵", "hello   world", "<think>", "x  123", "\u3000全角\u3000space", "'\u017f", "x'\u017fy", "\u212b\u2126\u1f7d", "\ufeffbom",
         "a\u0323\u0307b", "\u1100\u1161\u11a8", "\u0915\u093c", "<|im_end|>\n<|im_start|>", "<｜User｜>hi<｜Assistant｜>", "<|im_start", "\u2028\u2029 x"]


def vocabularies(folder: Path) -> dict[str, str]:
    return {name: (folder / name / "tokenizer.json").read_text() for name in ("deepseek_v3", "qwen3")}


def pair(text: str) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizer as published, and one that knows no added tokens."""
    data = json.loads(text)
    data["added_tokens"] = []
    return Tokenizer.from_str(text), Tokenizer.from_str(json.dumps(data))


def make_strings(count: int, seed: int, specials: list[str]) -> list[bytes]:
    source = Strings(seed, specials)
    made = [text.encode() for text in FIXED]
    while len(made) < count:
        made.append(source.invalid() if len(made) % 20 == 0 else source.next().encode())
    return made


def as_json(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def write(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/goldens/tokenizers")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    files = vocabularies(Path(os.environ.get("CACHALOT_VOCABULARIES", ROOT / "build/vocabularies")))
    specials = sorted({t["content"] for text in files.values() for t in json.loads(text)["added_tokens"] if "place▁holder" not in t["content"]})
    strings = make_strings(options.count, options.seed, specials + ["<｜place▁holder▁no▁7｜>"])
    write(options.out / "strings.json", {"script": "tools/goldens/token_ids.py", "tokenizers": version("tokenizers"), "seed": options.seed,
                                         "strings": [as_json(s) for s in strings]})
    for name, text in files.items():
        special, plain = pair(text)
        result = []
        for data in strings:
            string = data.decode(errors="replace")
            ids = special.encode(string, add_special_tokens=False).ids
            user = plain.encode(string, add_special_tokens=False).ids
            result.append(ids if ids == user else {"special": ids, "plain": user})
        write(options.out / f"{name}.json", result)
        print(f"{name}: {len(result)} strings, {sum(isinstance(r, dict) for r in result)} with added tokens")


if __name__ == "__main__":
    main()
