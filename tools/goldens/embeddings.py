"""Embedding checkpoints in the layouts that are published, and what sentence-transformers makes of texts with them.

    python tools/goldens/embeddings.py [--check]      tests/goldens/embeddings/<case>/

Each is a tiny model whose base class transformers saved (no `model.` before names, no head), with a byte-level tokenizer and
sentence-transformers' files. `embeddings.json` has for each text its token ids and its vector by SentenceTransformer.encode,
in float32. The vector is also put together here from transformers' hidden states, and must agree to 1e-6.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import processors
from transformers import AutoModel, AutoTokenizer

import files
import gguf_tokenizer
import reference
from case import Case, shape
from weights import draw_weights

GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens" / "embeddings"
END = "<|endoftext|>"
TEXTS = ["the other thing", "he", "", "12 123 naïve café ½ 🙂", "line\n\nthe<|im_end|>\nthe in there", "你好，好你 " * 40]


@dataclass
class Embedding:
    name: str
    about: str
    family: str
    config: dict
    pooling: str  # the mode that is on
    normalized: bool
    appends_end: bool
    named_mode: bool = False  # the mode by its name, as sentence-transformers writes it lately
    seed: int = 0


SIZES = {"max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
VOCAB = len(gguf_tokenizer.TOKENS)
CASES = [
    Embedding("qwen3_last", "as Qwen3-Embedding: a class with a head is named, names are those of the one without; the "
              "tokenizer appends another token than the one that ends answers", "qwen3",
              shape(24, 2, 1, 20, 2, VOCAB, head_dim=12, tie_word_embeddings=True, **SIZES), "lasttoken", True, True, seed=801),
    Embedding("qwen2_mean", "no head and none tied; the mean of all rows, as long as it comes", "qwen2",
              shape(24, 4, 2, 20, 2, VOCAB, tie_word_embeddings=False, **SIZES), "mean", False, False, True, seed=802),
    Embedding("llama_cls", "the first token's row", "llama",
              shape(24, 2, 2, 20, 2, VOCAB, tie_word_embeddings=False, **SIZES), "cls", True, False, seed=803),
]
FLAGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens",
         "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens", "weightedmean": "pooling_mode_weightedmean_tokens",
         "lasttoken": "pooling_mode_lasttoken"}


def write_model(case: Embedding, folder: Path) -> None:
    start = Case(case.family, "", "", case.config, [], case.seed)
    config = reference.config_json(start)
    files.save_checkpoint(folder, config, draw_weights(start), 1)
    model = AutoModel.from_pretrained(folder, dtype="auto")
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    weights = {name: tensor.clone() for name, tensor in reference.stored_weights(folder).items()}
    assert not any(name.startswith("model.") or "lm_head" in name for name in weights)
    files.save_tensors(folder / "model.safetensors", weights, {"format": "pt"})
    saved = json.loads((folder / "config.json").read_text())
    if case.name == "qwen3_last":
        saved["architectures"] = ["Qwen3ForCausalLM"]
    files.write_json(folder / "config.json", saved)


def write_tokenizer(case: Embedding, folder: Path) -> None:
    made = gguf_tokenizer.tokenizer("qwen2")
    byte_level = processors.ByteLevel(trim_offsets=False, use_regex=False)
    if case.appends_end:
        append = processors.TemplateProcessing(single=f"$A {END}", pair=f"$A {END} $B {END}",
                                               special_tokens=[(END, gguf_tokenizer.TOKENS.index(END))])
        made.post_processor = processors.Sequence([byte_level, append])
    else:
        made.post_processor = byte_level
    (folder / "tokenizer.json").write_text(made.to_str() + "\n")
    files.write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>",
        "pad_token": END, "unk_token": None, "model_max_length": 512})


def write_modules(case: Embedding, folder: Path) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * case.normalized
    files.write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)])
    (folder / "1_Pooling").mkdir()
    mode = {"pooling_mode": case.pooling} if case.named_mode else {FLAGS[m]: m == case.pooling for m in FLAGS}
    files.write_json(folder / "1_Pooling" / "config.json",
                     {"word_embedding_dimension": case.config["hidden_size"], **mode, "include_prompt": True})


def by_hand(case: Embedding, folder: Path, ids: list[int]) -> torch.Tensor:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        rows = model(torch.tensor([ids])).last_hidden_state[0].double()
    vector = {"lasttoken": rows[-1], "mean": rows.mean(0), "cls": rows[0]}[case.pooling]
    return vector / vector.norm() if case.normalized else vector


def make(case: Embedding, folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    write_model(case, folder)
    write_tokenizer(case, folder)
    write_modules(case, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    embedder = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32", "attn_implementation": "eager"})
    told = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        if not ids:
            continue  # nothing to make an embedding of
        assert (ids[-1] == gguf_tokenizer.TOKENS.index(END)) == case.appends_end
        vector = torch.from_numpy(embedder.encode(text)).double()
        assert (vector - by_hand(case, folder, ids)).abs().max() < 1e-6, case.name
        told.append({"text": text, "ids": ids, "embedding": [float(np.float32(x)) for x in vector]})
    result = {"script": "tools/goldens/embeddings.py", "transformers": version("transformers"), "torch": version("torch").split("+")[0],
              "sentence_transformers": version("sentence_transformers"), "seed": case.seed, "about": case.about, "texts": told}
    (folder / "embeddings.json").write_text(json.dumps(result, ensure_ascii=True) + "\n")
    for extra in ("generation_config.json", "special_tokens_map.json"):
        (folder / extra).unlink(missing_ok=True)
    return f"{case.name}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1024:.0f} KiB"


def main() -> int:
    check, failed = "--check" in sys.argv, 0
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            target = (Path(temporary) if check else GOLDENS) / case.name
            print(make(case, target), flush=True)
            if not check:
                continue
            stored = GOLDENS / case.name
            for file in sorted(f.relative_to(target) for f in target.rglob("*") if f.is_file()):
                if file.name != "embeddings.json" and (target / file).read_bytes() != (stored / file).read_bytes():
                    print(f"  DIFFERS: {file}")
                    failed += 1
            now, then = (json.loads((f / "embeddings.json").read_text())["texts"] for f in (target, stored))
            same_ids = [t["ids"] for t in now] == [t["ids"] for t in then]
            far = max(np.abs(np.subtract(a["embedding"], b["embedding"])).max() for a, b in zip(now, then))
            if not same_ids or far > 1e-6:
                print(f"  DIFFERS: ids {not same_ids}, vectors by {far:.2g}")
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
