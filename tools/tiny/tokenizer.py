"""Builds the tokeniser of models/tiny-qwen: byte-level BPE with Qwen's pre-tokeniser and a small vocabulary.

Merges are learned from the wordings of problems.py by frequency, with one restriction: a merge starts with a
space, a capital letter, a newline or a non-ASCII byte. So the words of the questions and Chinese characters
become single tokens, while a quoted word whose letters are to be counted stays spelled out.

    python tools/tiny/tokenizer.py models/tiny-qwen
"""
import json
import random
import sys
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import problems

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINK = ("<think>", "</think>")
VOCAB = 512

TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
"""


def split():
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def corpus() -> list[str]:
    """The user's messages of 20,000 training problems without the word whose letters are counted."""
    rng = random.Random(1)
    texts = ["\n\n"] * 4000
    for i in range(20000):
        text = problems.draw_split(rng, problems.KINDS[i % 6], problems.LANGS[i // 6 % 2], False).prompt
        if problems.KINDS[i % 6] == "count":
            text = problems.word_form(rng, "count", problems.LANGS[i // 6 % 2], c="", w="")
        texts.append(text)
    return texts



def may_merge(a: str, b: str) -> bool:
    ascii_a, ascii_b = a[0].isascii(), b[0].isascii()
    if a[0] in "ĠĊ":  # in the byte alphabet these are a space and a newline
        return a != "Ġ" or ascii_b
    if not ascii_a:
        return not ascii_b and b[0] not in "ĠĊ"
    return a[0].isupper() and ascii_b


def learn_merges(pieces: Counter, count: int) -> list[tuple[str, str]]:
    words = {piece: list(piece) for piece in pieces}
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for piece, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                if may_merge(*pair):
                    pairs[pair] += pieces[piece]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for symbols in words.values():
            i = 0
            while i + 1 < len(symbols):
                if (symbols[i], symbols[i + 1]) == best:
                    symbols[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def build() -> Tokenizer:
    splitter, normalise = split(), normalizers.NFC()
    pieces = Counter(piece for text in corpus()
                     for piece, _ in splitter.pre_tokenize_str(normalise.normalize_str(text)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(pieces, VOCAB - len(alphabet) - len(SPECIAL) - len(THINK))
    vocab = {symbol: i for i, symbol in enumerate(alphabet)}
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalise
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL] +
                         [AddedToken(t, normalized=False, special=False) for t in THINK])
    return tokenizer


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(t)): {"content": t, "lstrip": False, "normalized": False, "rstrip": False,
                                            "single_word": False, "special": t in SPECIAL} for t in SPECIAL + THINK},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None, "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 256, "pad_token": "<|endoftext|>",
        "split_special_tokens": False, "tokenizer_class": "Qwen2TokenizerFast", "unk_token": None,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")
    print("vocabulary", tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
