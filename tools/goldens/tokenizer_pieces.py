"""Pieces that pre-tokenisers of every supported kind cut varied strings into, by Hugging Face's tokenizers library.

    python tools/goldens/tokenizer_pieces.py          writes tests/goldens/tokenizers/pieces.json

Each case is a pre-tokeniser as tokenizer.json spells it, with texts and their pieces in the letters of the byte alphabet.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]
from tokenizers import Tokenizer  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parent))
from tokenizer_strings import Strings  # noqa: E402

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
V3_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
# DeepSeek-LLM's letters as its tokenizer.json has them. The six with another normal form are written as escapes.
LLM_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌ"
    "ῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def split(regex: str, behavior: str = "Isolated", invert: bool = False) -> dict:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def literal(text: str, behavior: str, invert: bool = False) -> dict:
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": invert}


def byte_level(add_prefix_space: bool = False, use_regex: bool = False) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


def digits(individual: bool) -> dict:
    return {"type": "Digits", "individual_digits": individual}


BEHAVIOURS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PRE_TOKENIZERS = {
    "gpt2": [byte_level(use_regex=True)],
    "gpt2 with a space in front": [byte_level(add_prefix_space=True, use_regex=True)],
    "gpt2 spelled out": [split(GPT2), byte_level()],
    "space in front of each piece": [split(r"\p{L}+"), byte_level(add_prefix_space=True)],
    "qwen": [split(QWEN), byte_level()],
    "llama 3": [split(QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")), byte_level()],
    "qwen, in other words": [split("(?:" + QWEN + ")"), byte_level()],
    "deepseek v3": [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(V3_WORDS.replace(r"\r\n", "\r\n")), byte_level()],
    "deepseek v3, words in other words": [split("(?:" + V3_WORDS + ")"), byte_level()],
    "deepseek llm": [split("[\r\n]"), split(rf"\s?[{LLM_LETTERS}]+"), split("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"), split(r"\s+$"),
                     split("[一-龥\u0800-一가-\ud7ff]+"), digits(True), byte_level()],
    "digits": [digits(False), byte_level()],
    "single digits": [digits(True), byte_level()],
    "before capitals": [split(r"(?=\p{Lu})"), byte_level()],
    "code points in numbers": [split(r"[\u3000-\u303f\x{4e00}-\x{9FFF}\u00e9]+"), split(r"(?:\u00e9|\x{6df1})+"), byte_level()],
    "line ends": [split(r"\s+$"), byte_level()],
    "not letters": [split(r"[^\p{L}\s]+", "Contiguous"), byte_level()],
    "words of two kinds": [split(r"\w+|[^\w\s]+", "Removed", True), byte_level()],
    "possessive and lazy": [split(r"\p{L}++\.?|\d{2,4}?|.", "Isolated"), byte_level()],
    **{f"marks {b}": [split(r"[.,!?]", b), byte_level()] for b in BEHAVIOURS},
    **{f"inverted words {b}": [split(r"\p{L}+", b, True), byte_level()] for b in BEHAVIOURS},
    **{f"spaces {b}": [literal(" ", b), byte_level()] for b in BEHAVIOURS},
    "literal, inverted": [literal("a.", "Isolated", True), byte_level()],
}
FIXED = ["", "a", " ", "x  123", "Hey friend!     How are you?!?", "the-final--countdown", "1234567", "Hello World FooBar", "\n\nx \n y\r\n",
         "DON\u2019T it's IT'S", "深度求索2024年", "a.a.b a..", "\u3000全角\u3000space", " \u3000。x", "\u212aelvin \u2126 \u1f7d\u1fbe\u1fd3\u1fdb", "...a,b", "x'\u017fy '\u017fo 'Sx"]


def main() -> None:
    strings = Strings(3, ["<|im_end|>", "<｜User｜>"])
    texts = FIXED + [strings.next() for _ in range(64)]
    result = {"script": "tools/goldens/tokenizer_pieces.py", "tokenizers": version("tokenizers"), "seed": 3, "texts": texts, "cases": []}
    for name, steps in PRE_TOKENIZERS.items():
        pre = {"type": "Sequence", "pretokenizers": steps}
        model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
        made = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": pre, "model": model}))
        pieces = [[piece for piece, _ in made.pre_tokenizer.pre_tokenize_str(text)] for text in texts]
        result["cases"].append({"name": name, "pre_tokenizer": pre, "pieces": pieces})
    path = ROOT / "tests/goldens/tokenizers/pieces.json"
    path.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(result['cases'])} pre-tokenisers, {len(texts)} texts, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
