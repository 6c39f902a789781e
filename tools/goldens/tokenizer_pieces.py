"""Pieces that pre-tokenisers of every supported kind cut varied strings into, by Hugging Face's tokenizers library.

    python tools/goldens/tokenizer_pieces.py          writes tests/goldens/tokenizers/{pieces,gguf_pieces}.json

Each case is a pre-tokeniser as tokenizer.json spells it, with texts and their pieces in the letters of the byte alphabet.
gguf_pieces.json has those that GGUF files know by name alone (tokenizer.ggml.pre), as the tokenizer.json of the models so
converted has them: the expressions stand in the comments of llama.cpp (0c1e570), src/llama-vocab.cpp, Qwen3.5's in
transformers' tokenization_qwen3_5.py, Kimi's in its tokenization_kimi.py, BLOOM's in its tokenizer.json.
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
    "scripts": [split(r"\p{Han}+|[\p{Katakana}ー]+|\P{Latin}|\p{^Greek}"), byte_level()],
    "line ends": [split(r"\s+$"), byte_level()],
    "not letters": [split(r"[^\p{L}\s]+", "Contiguous"), byte_level()],
    "words of two kinds": [split(r"\w+|[^\w\s]+", "Removed", True), byte_level()],
    "possessive and lazy": [split(r"\p{L}++\.?|\d{2,4}?|.", "Isolated"), byte_level()],
    **{f"marks {b}": [split(r"[.,!?]", b), byte_level()] for b in BEHAVIOURS},
    **{f"inverted words {b}": [split(r"\p{L}+", b, True), byte_level()] for b in BEHAVIOURS},
    **{f"spaces {b}": [literal(" ", b), byte_level()] for b in BEHAVIOURS},
    "literal, inverted": [literal("a.", "Isolated", True), byte_level()],
}

LETTERS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
NOT_HAN = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES


def cased(letters: tuple[str, str], ending: str) -> str:
    large, small = letters
    lead = r"[^\r\n\p{L}\p{N}]?"
    return f"{lead}{large}*{small}+{ending}|{lead}{large}+{small}*{ending}|"


LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
V3 = [split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(V3_WORDS.replace(r"\r\n", "\r\n"))]
GPT4O = [split(cased(LETTERS, CONTRACTION) + r"\p{N}{1,3}" + SIGNS)]
YOUTU = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"
SINGLE_DIGITS = [digits(True), byte_level(use_regex=True)]
GGUF = {  # by their names; those that share one stand together
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez": [split(QWEN)],
    "qwen35": [split(QWEN.replace(r"]?\p{L}+", r"]?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]"))],
    "ufakzeka": [split(QWEN.split("|", 7)[7])],
    "seed-coder": [split(QWEN.replace(r"|\p{N}|", r"|\p{N}{1}|").replace(r"[^\s\p{L}\p{N}]+[\r\n]*", "[^\\s\\p{L}\\p{N}\r\n]+"))],
    "llama-bpe llama3 llama-v3 falcon3 pixtral midm-2.0 glm4 smaug-bpe": [split(LLAMA3)],
    "minicpm5": [split(r"\p{N}{1,3}"), split(QWEN.replace(r"|\p{N}|", r"|\p{N}+|"))],
    "tekken": [split(cased(LETTERS, "") + r"\p{N}" + SIGNS)],
    "gpt-4o kanana2": GPT4O,
    "kimi-k2": [split(r"[\p{Han}]+|" + cased(NOT_HAN, CONTRACTION) + r"\p{N}{1,3}" + SIGNS.replace("/", ""))],
    "youtu": [split(YOUTU), split(cased(LETTERS, CONTRACTION) + r"\p{N}" + SIGNS)],
    "deepseek-v3 joyai-llm": V3,
    "deepseek-llm": PRE_TOKENIZERS["deepseek llm"][:-1],
    "deepseek-coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥\u0800-一가-\ud7ff]+"), digits(True)],
    "smollm starcoder refact codeshell exaone minerva-7b command-r": SINGLE_DIGITS,
    "viking": [split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), digits(True)],
    "gpt-2 a.x-4.0 mellum gigachat trillion granite-docling": [byte_level(use_regex=True)],
}
CORPORA = [
    "SmolLM2 has 135000000 parameters; 2024-11-30T11:57:14Z, v1.2.3, 3.14e-10 and 10,000.50 €.", "0 01 012 0123 01234 ½ ² ١٢٣ १२३४ Ⅷ ①② 12a34B",
    "The QuickBrown fox'S JUMPED over McDonald's iPhone; XMLHttpRequest ABCdefGHI aB Ab", "They've DON'T we'LL 'tis 'Twas I'D rock'n'roll ‘s ’s 'ſ 'Sx",
    "深度求索：你好，世界！“引号”——2024年11月30日（星期六）。", "日本語のテキスト、カタカナとひらがな。東京123", "안녕하세요 세계 123 ㄱㄴㄷ", "ㄅㄆㄇ 、〿 ﹏… abc…",
    "Привет, Мир! ЭТО тест", "Γειά σου Κόσμε ΑΒγ", "مرحبا بالعالم، ١٢٣ سؤال؟ جملة۔", "नमस्ते दुनिया। १२३ क्षि", "สวัสดีชาวโลก ๑๒๓", "שלום עולם", "tiếng Việt đẹp e\u0301 a\u0308\u0323b",
    "🙂👍🏽 👩\u200d👩\u200d👧 🇩🇪🇯🇵 ☠️ x🙂y 1⃣", "ǅungla ǅ Ǆ ʰa ªº", "def f(x):\n\treturn x**2  # note\n\n\n    y = a[1:20]\n", "for (int i = 0; i < 100; ++i) {\r\n    a[i] += b[i]; // x\r\n}\r\n\r\n",
    "</div>\n<a href=\"http://example.org/a/b?c=1\">x</a>\n//\n///\n", "a  b   c    d\t\te \t f\n  g\n\n  h\r\n \r\n  i ", "   ", "\n", "\n\n\n", "\r\n\r\n", " \n \n", "\t\n x", "x\n", "x \n y", "x\u00a0y\u3000z\u2003 w",
    "$100+$200=<300> ^~`|_ @#%&*(-)", "!!!???...,,,;;;:::", "(a) [b] {c} \"d\" 'e' |f| (g|h)", "a.b,c!d?e…f。g，h、i।j۔k،l", "  123  4567 ", "  $1 12% #3", "a1b22c333d4444e", "_snake_case kebab-case CamelCase SCREAMING_CASE",
    "\u0301\u0302abc \u0301 x\u0301y", "漢字かな交じりABC123ａｂｃＡＢＣ１２３", "\ufeffBOM\u200bzero\u00adsoft", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠀀𠀁 𐐷𐐀", "", "a", "  a", "A", "AB", "Ab", "aB", "1", "12", "1234567890",
]
FIXED = ["", "a", " ", "x  123", "Hey friend!     How are you?!?", "the-final--countdown", "1234567", "Hello World FooBar", "\n\nx \n y\r\n",
         "DON\u2019T it's IT'S", "深度求索2024年", "a.a.b a..", "\u3000全角\u3000space", " \u3000。x", "\u212aelvin \u2126 \u1f7d\u1fbe\u1fd3\u1fdb", "...a,b", "x'\u017fy '\u017fo 'Sx"]


def made(steps: list[dict]) -> tuple[dict, Tokenizer]:
    pre = {"type": "Sequence", "pretokenizers": steps}
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    return pre, Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": pre, "model": model}))


def pieces(tokenizer: Tokenizer, texts: list[str]) -> list[list[str]]:
    return [[piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in texts]


def write(name: str, texts: list[str], cases: list[dict]) -> None:
    result = {"script": "tools/goldens/tokenizer_pieces.py", "tokenizers": version("tokenizers"), "seed": 3, "texts": texts, "cases": cases}
    path = ROOT / "tests/goldens/tokenizers" / name
    path.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path.name}: {len(cases)} pre-tokenisers, {len(texts)} texts, {path.stat().st_size} bytes")


def main() -> None:
    strings = Strings(3, ["<|im_end|>", "<｜User｜>"])
    drawn = [strings.next() for _ in range(64)]
    texts = FIXED + drawn
    cases = []
    for name, steps in PRE_TOKENIZERS.items():
        pre, tokenizer = made(steps)
        cases.append({"name": name, "pre_tokenizer": pre, "pieces": pieces(tokenizer, texts)})
    write("pieces.json", texts, cases)
    texts = CORPORA + drawn[:32]
    cases = []
    for names, steps in GGUF.items():
        closing = [] if steps[-1]["type"] == "ByteLevel" else [byte_level()]
        cases.append({"names": names.split(), "pieces": pieces(made(steps + closing)[1], texts)})
    write("gguf_pieces.json", texts, cases)


if __name__ == "__main__":
    main()
