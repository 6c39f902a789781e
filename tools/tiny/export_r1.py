"""Saves a checkpoint of train_r1.py as a Hugging Face model, measures it and stores goldens.

The main model goes through transformers' save_pretrained, which gives the published tensor names (one tensor per
expert and matrix); the MTP module's tensors join the file as DeepSeek-V3's do, with its copies of the embedding and the
head. All is bfloat16 but the correction biases. Asserted: transformers' float32 logits, router choices and (by its
decoder layer with the MTP module's weights) MTP states equal those of r1.py to 1e-4.

    python tools/tiny/export_r1.py run-r1/checkpoint.pt models/tiny-r1      save, then measure on heldout.jsonl
    python tools/tiny/export_r1.py --evaluate models/tiny-r1                measure only, --check N: the first N
    python tools/tiny/export_r1.py --golden tests/goldens/tiny_r1 models/tiny-r1    write the goldens only
"""
import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, DeepseekV3Config, DeepseekV3ForCausalLM, GenerationConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer

import problems
import r1
import train
from export import check_text

sys.path.append(str(Path(__file__).parents[1] / "goldens"))
from files import save_tensors, write_json  # noqa: E402

HERE = Path(__file__).parent
INNER = r1.CONFIG["moe_intermediate_size"]


# --- saving ---------------------------------------------------------------------------------------------

def config_json(end: int, pad: int) -> dict:
    """config.json with the keys and spelling of DeepSeek-V3's."""
    fixed = {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias": False,
             "attention_dropout": 0.0, "bos_token_id": None, "eos_token_id": end, "pad_token_id": pad, "ep_size": 1,
             "hidden_act": "silu", "initializer_range": 0.02, "moe_layer_freq": 1, "rope_scaling": None,
             "scoring_func": "sigmoid", "topk_method": "noaux_tc", "tie_word_embeddings": False,
             "torch_dtype": "bfloat16", "transformers_version": transformers.__version__, "use_cache": True}
    return dict(sorted((fixed | r1.CONFIG).items()))


def published(state: dict) -> dict[str, torch.Tensor]:
    """Tensors of the MTP module under their published names: a tensor for every expert and matrix."""
    out = {r1.MTP + "embed_tokens.weight": state["model.embed_tokens.weight"],
           r1.MTP + "shared_head.head.weight": state["lm_head.weight"]}
    for name, tensor in state.items():
        if not name.startswith(r1.MTP):
            continue
        prefix, dot, kind = name.rpartition("mlp.experts.")
        for e in range(len(tensor)) if dot else []:
            expert = f"{prefix}mlp.experts.{e}."
            if kind == "down_proj":
                out[expert + "down_proj.weight"] = tensor[e]
            else:
                out[expert + "gate_proj.weight"], out[expert + "up_proj.weight"] = tensor[e].split(INNER)
        if not dot:
            out[name] = tensor
    return out


def save(checkpoint: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(out.parent / "tiny-qwen" / name, out / name)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    end, text_end = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    write_json(out / "config.json", config_json(end, text_end))
    GenerationConfig(do_sample=False, eos_token_id=[end, text_end], pad_token_id=text_end).save_pretrained(out)
    state = {k: v if k.endswith(r1.BIAS) else v.bfloat16().float()
             for k, v in torch.load(checkpoint)["model"].items()}
    model = DeepseekV3ForCausalLM(DeepseekV3Config.from_pretrained(out, attn_implementation="eager")).float().eval()
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith(r1.MTP)})
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(Path(folder) / "model.safetensors") | published(state)
    tensors = {k: v.contiguous() if k.endswith(r1.BIAS) else v.bfloat16().contiguous() for k, v in tensors.items()}
    save_file(dict(sorted(tensors.items())), out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)


def load(out: Path) -> tuple[DeepseekV3ForCausalLM, dict[str, torch.Tensor]]:
    """The stored model in float32 as transformers loads it, and its parameters as r1.py wants them."""
    config = DeepseekV3Config.from_pretrained(out)
    model, info = AutoModelForCausalLM.from_pretrained(out, config=config, dtype=torch.float32,
                                                       attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and all(k.startswith(r1.MTP) for k in info["unexpected_keys"]), info
    stored = {k: v.float() for k, v in load_file(out / "model.safetensors").items()}
    p = dict(model.state_dict()) | {k: v for k, v in stored.items() if k.startswith(r1.MTP) and ".experts." not in k}
    experts, prefix = range(r1.CONFIG["n_routed_experts"]), r1.MTP + "mlp.experts."
    p[prefix + "gate_up_proj"] = torch.stack([
        torch.cat([stored[f"{prefix}{e}.{m}_proj.weight"] for m in ("gate", "up")]) for e in experts])
    p[prefix + "down_proj"] = torch.stack([stored[f"{prefix}{e}.down_proj.weight"] for e in experts])
    assert torch.equal(p[r1.MTP + "embed_tokens.weight"], p["model.embed_tokens.weight"])
    assert torch.equal(p[r1.MTP + "shared_head.head.weight"], p["lm_head.weight"])
    return model.eval(), p


# --- the two implementations side by side -----------------------------------------------------------------

@torch.no_grad()
def run_transformers(model, ids: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(logits [t, vocabulary], experts chosen by every MoE layer [t, k] in ascending order) of one sequence."""
    chosen: list[torch.Tensor] = []
    gates = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    hooks = [gate.register_forward_hook(lambda _, __, output: chosen.append(output[2].sort(-1)[0])) for gate in gates]
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    return logits, chosen


@torch.no_grad()
def run_ours(p: dict, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """(logits, MTP logits [t - 1, vocabulary], chosen experts with the MTP layer's last, hidden states)."""
    routes: list = []
    cos, sin = r1.rope_tables(len(ids))
    hidden = r1.forward(p, ids[None], cos, sin, routes=routes)
    ahead = r1.mtp_forward(p, ids[None], hidden, cos, sin, routes)
    logits, mtp_logits = (F.linear(h[0], p["lm_head.weight"]) for h in (hidden, ahead))
    return logits, mtp_logits, [chosen[0].sort(-1)[0] for _, chosen in routes], hidden


@torch.no_grad()
def check_mtp_layer(model, p: dict, ids: torch.Tensor, hidden: torch.Tensor, mtp_logits: torch.Tensor) -> None:
    """The MTP logits again from transformers' decoder layer and norm."""
    layer = DeepseekV3DecoderLayer(model.config, r1.LAYERS).eval()
    extra = layer.load_state_dict({k[len(r1.MTP):]: v for k, v in p.items() if k.startswith(r1.MTP)}, strict=False)
    assert not extra.missing_keys, extra

    def rms(x, name):
        return x * (x.pow(2).mean(-1, keepdim=True) + r1.CONFIG["rms_norm_eps"]).rsqrt() * p[r1.MTP + name]
    x = torch.cat((rms(p["model.embed_tokens.weight"][ids[None, 1:]], "enorm.weight"),
                   rms(hidden[:, :-1], "hnorm.weight")), -1) @ p[r1.MTP + "eh_proj.weight"].T
    n = x.shape[1]
    x = layer(x, attention_mask=torch.full((1, 1, n, n), -torch.inf).triu(1),
              position_embeddings=model.model.rotary_emb(x, torch.arange(n)[None]))
    logits = rms(x, "shared_head.norm.weight")[0] @ p["lm_head.weight"].T
    assert (logits - mtp_logits).abs().max() <= 1e-4, (logits - mtp_logits).abs().max()


# --- measuring ------------------------------------------------------------------------------------------

def held_out_cases(first: int) -> list[dict]:
    return [json.loads(line) for line in open(HERE / "heldout.jsonl", encoding="utf-8")][:first]


@torch.no_grad()
def answer(model, tokenizer, cases: list[dict], batch: int = 50) -> list[tuple[list[int], list[int]]]:
    """(ids of the prompt, ids of the greedy reply with its end) of each case, by transformers' generate."""
    tokenizer.padding_side, end, out = "left", tokenizer.convert_tokens_to_ids("<|im_end|>"), []
    for at in range(0, len(cases), batch):
        texts = [tokenizer.apply_chat_template([{"role": "user", "content": case["prompt"]}], tokenize=False,
                                               add_generation_prompt=True) for case in cases[at:at + batch]]
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        replies = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                 max_new_tokens=160)[:, inputs["input_ids"].shape[1]:].tolist()
        out += [(tokenizer(text)["input_ids"], reply[:reply.index(end) + 1] if end in reply else reply)
                for text, reply in zip(texts, replies)]
    return out


def evaluate(out: Path, first: int) -> None:
    """Exact answers by kind, drafts accepted, and how the routers spread the kinds."""
    tokenizer, (model, p), began = AutoTokenizer.from_pretrained(out), load(out), time.time()
    cases = held_out_cases(first)
    right, asked, drafts, plain, largest = Counter(), Counter(), Counter(), Counter(), 0.0
    loads = defaultdict(lambda: torch.zeros(r1.LAYERS, r1.CONFIG["n_routed_experts"]))
    for case, (prompt, reply) in zip(cases, answer(model, tokenizer, cases)):
        text = tokenizer.decode(reply, skip_special_tokens=True)
        asked[case["kind"]] += 1
        right[case["kind"]] += problems.correct(case["answer"], text)
        if not problems.correct(case["answer"], text):
            print(json.dumps(case | {"got": text}, ensure_ascii=False))
        ids = torch.tensor(prompt + reply)
        theirs, their_chosen = run_transformers(model, ids)
        ours, mtp_logits, chosen, hidden = run_ours(p, ids)
        largest = max(largest, (theirs - ours).abs().max().item())
        assert largest <= 1e-4 and all(torch.equal(a, b) for a, b in zip(their_chosen, chosen)), largest
        check_mtp_layer(model, p, ids, hidden, mtp_logits)
        hits = r1.drafts(p, prompt, reply)
        good, drafted = r1.accepted(hits)
        drafts += Counter({"good": good, "all": drafted})
        plain += Counter({"good": sum(hits), "all": len(hits)})
        for layer, experts in enumerate(chosen):
            loads[case["kind"]][layer] += experts.flatten().bincount(minlength=r1.CONFIG["n_routed_experts"])
    for kind in asked:
        print(f"{kind:8} {right[kind]:4} of {asked[kind]:4}  {right[kind] / asked[kind]:.1%}")
    print(f"all      {right.total():4} of {asked.total():4}  {right.total() / asked.total():.1%}  "
          f"{time.time() - began:.0f} s, logits within {largest:.1e} of r1.py's, same experts")
    print(f"drafts accepted {drafts['good']} of {drafts['all']}: {drafts['good'] / drafts['all']:.1%}; "
          f"of all tokens but the first of a reply {plain['good'] / plain['all']:.1%} are foreseen")
    print_loads(loads)


def print_loads(loads: dict[str, torch.Tensor]) -> None:
    """Share of a kind's tokens (prompt and reply) that every expert gets, in percent; k experts a token, so a row's sum
    is k times 100."""
    every = sum(loads.values())
    for layer in range(r1.LAYERS):
        print(f"\nlayer {layer + r1.CONFIG['first_k_dense_replace']}" + (" (MTP)" if layer == r1.LAYERS - 1 else ""))
        for kind, load in [*loads.items(), ("all", every)]:
            shares = load[layer] / load[layer].sum() * r1.CONFIG["num_experts_per_tok"] * 100
            print(f"| {kind} | " + " | ".join(f"{share:.0f}" for share in shares) + " |")
        assert (every[layer] > 0).all(), f"an expert of layer {layer} is never used"


# --- goldens --------------------------------------------------------------------------------------------

def write_goldens(out: Path, folder: Path, rows_each: int = 16) -> None:
    """golden.safetensors: the first held-out problem of each kind with the model's own reply."""
    tokenizer, (model, p), tensors, prompts = AutoTokenizer.from_pretrained(out), load(out), {}, []
    cases = [next(case for case in held_out_cases(1000) if case["kind"] == kind) for kind in problems.KINDS]
    good = drafted = 0
    for k, (case, (prompt, reply)) in enumerate(zip(cases, answer(model, tokenizer, cases, batch=1))):
        ids = torch.tensor(prompt + reply)
        logits, chosen = run_transformers(model, ids)
        ours, mtp_logits, our_chosen, hidden = run_ours(p, ids)
        assert (logits - ours).abs().max() <= 1e-4 and all(torch.equal(a, b) for a, b in zip(chosen, our_chosen))
        check_mtp_layer(model, p, ids, hidden, mtp_logits)
        rows = torch.linspace(0, len(ids) - 2, rows_each).round().long()
        tensors |= {f"tokens.{k}": ids.int(), f"rows.{k}": rows.int(), f"logits.{k}": logits[rows],
                    f"mtp_rows.{k}": rows.int(), f"mtp_logits.{k}": mtp_logits[rows],
                    f"experts.{k}": torch.stack(our_chosen[:-1], 1).int(), f"mtp_experts.{k}": our_chosen[-1].int()}
        counts = r1.accepted(r1.drafts(p, prompt, reply))
        good, drafted = good + counts[0], drafted + counts[1]
        prompts.append(len(prompt))
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / "golden.safetensors", tensors, {
        "script": "tools/tiny/export_r1.py --golden", "transformers": transformers.__version__,
        "torch": torch.__version__, "seed": "none: models/tiny-r1 and heldout.jsonl",
        "about": "models/tiny-r1 in float32", "tolerance": "1e-4", "sequences": str(len(cases)),
        "prompt_lengths": json.dumps(prompts), "drafts": json.dumps({"accepted": good, "drafted": drafted})})


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("checkpoint", type=Path, nargs="?")
    parse.add_argument("out", type=Path)
    parse.add_argument("--evaluate", action="store_true", help="only evaluate")
    parse.add_argument("--check", type=int, default=1000, help="evaluate on the first so many held-out problems")
    parse.add_argument("--golden", type=Path, help="only write goldens into this folder")
    args = parse.parse_args()
    torch.set_num_threads(1)
    if args.golden:
        write_goldens(args.out, args.golden)
        return
    if not args.evaluate:
        save(args.checkpoint, args.out)
    check_text(args.out)
    evaluate(args.out, args.check)


if __name__ == "__main__":
    main()
