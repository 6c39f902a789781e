"""The small byte-level BPE vocabulary of the GGUF goldens, and the ids that the tokenizers library gives with it."""

import json
from importlib.metadata import version
from pathlib import Path

from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

# The 256 letters that stand for bytes, in the order of published vocabularies: printable ones first.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
LETTERS = [chr(b) for b in PRINTABLE] + [chr(0x100 + n) for n in range(256 - len(PRINTABLE))]
MERGES = [
    "h e", "t he", "Ġ the", "i n", "Ġ a", "e r", "o n", "r e", "Ġ s", "a t", "e n", "o r", "a n", "i s", "l l", "in g",
    "ä ½", "ä½ ł", "å ¥", "å¥ ½", "1 2", "12 3", "Ġ Ġ", "Ċ Ċ",
]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = LETTERS + [merge.replace(" ", "") for merge in MERGES] + SPECIALS
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DIGITS = {"qwen2": r"\p{N}", "llama-bpe": r"\p{N}{1,3}"}
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "", "the", " the other thing in there", "  two spaces", "a   b", "line\n\nline\r\n\r\n", "12 123 1234 12345",
    "don't DON'T",
    "你好，好你", "naïve café ½", "🙂👍🏽", "\t\tif x:\n\t\t\treturn [1, 2]",
    "the<|im_end|>\nthe<|endoftext|>", "<|im_start|>user\nhe<|im_end|>", "trailing  ", "\u00a0\u3000x",
]


def add_to(writer: GGUFWriter, pre: str, vocab: int) -> None:
    assert len(TOKENS) == len(set(TOKENS)) == vocab
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    normal, control = TokenType.NORMAL, TokenType.CONTROL
    writer.add_token_types([control if token in SPECIALS else normal for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(TOKENS.index("<|endoftext|>"))
    writer.add_eos_token_id(TOKENS.index("<|im_end|>"))
    writer.add_add_bos_token(pre in ("llama-bpe", "deepseek-llm", "deepseek-v3"))
    writer.add_chat_template(CHAT_TEMPLATE)


def tokenizer(pre: str) -> Tokenizer:
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    vocab = {token: i for i, token in enumerate(TOKENS) if token not in SPECIALS}
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN % DIGITS[pre]), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return made


def write_ids(folder: Path) -> list[Path]:
    """tokenizer.json: for each pre-tokeniser texts with their ids, special tokens parsed, no BOS added."""
    result = {"script": "tools/goldens/gguf_tokenizer.py", "tokenizers": version("tokenizers"), "pre": {}}
    for pre in DIGITS:
        made = tokenizer(pre)
        assert [made.id_to_token(i) for i in range(len(TOKENS))] == TOKENS
        ids = [made.encode(text, add_special_tokens=False).ids for text in TEXTS]
        assert all(made.decode(i, skip_special_tokens=False) == text for i, text in zip(ids, TEXTS, strict=True))
        result["pre"][pre] = [{"text": text, "ids": i} for text, i in zip(TEXTS, ids, strict=True)]
    path = folder / "tokenizer_ids.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=True) + "\n")
    return [path]
