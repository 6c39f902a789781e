"""Makes the model goldens in tests/goldens/<family>/<case>/; see README.md.

    python tools/goldens/models.py            regenerates all
    python tools/goldens/models.py qwen2      regenerates the cases whose family/name contains one of the words
    python tools/goldens/models.py --check    regenerates into a temporary folder and compares with what is stored
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

import files
import mtp
import reference
import routing
from case import Case
from cases import CASES
from switch import logits_with
from switches import switches_of
from weights import draw_weights

TOLERANCE = 1e-4  # max |difference| of logits that the engine is allowed
LEAST_CHANGE = 100 * TOLERANCE  # what switching a mechanism off must change at least
MOST_NOISE = 0.3 * TOLERANCE  # how far float32 may be from float64, else the case asks for luck
COMPUTED = ("golden.safetensors", "trace.safetensors", "quants.safetensors")  # files that hold results of arithmetic
EXACT = ("tokens", "rows", "mtp_rows", "inv_freq", "attention_scaling", "dequantized")  # tensors in them that are the same bits
GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens"


def draw_tokens(case: Case) -> list[torch.Tensor]:
    random = np.random.default_rng(case.seed + 5000)
    return [torch.from_numpy(random.integers(0, case.config["vocab_size"], n, np.int32)) for n in case.lengths]


def pick_rows(case: Case, length: int) -> torch.Tensor:
    """All rows if there are few enough, else the first, the last, those asked for, and evenly spaced ones."""
    if length <= case.rows:
        return torch.arange(length).int()
    chosen = {0, length - 1} | {row for row in case.keep if length == max(case.lengths)}
    spread = torch.linspace(0, length - 1, case.rows).round().int().tolist()
    for row in spread[1::2] + spread[0::2]:
        if len(chosen) < case.rows:
            chosen.add(row)
    return torch.tensor(sorted(chosen), dtype=torch.int32)


def provenance(case: Case) -> dict[str, str]:
    return {"script": "tools/goldens/models.py", "transformers": transformers.__version__,
            "torch": torch.__version__.split("+")[0], "seed": str(case.seed)}


def make(case: Case, folder: Path) -> str:
    """Writes one case; returns a line about it."""
    shutil.rmtree(folder, ignore_errors=True)
    files.save_checkpoint(folder, reference.config_json(case), draw_weights(case), case.shards)

    tensors, scalings = {}, set()
    for k, tokens in enumerate(draw_tokens(case)):
        model, rows = reference.load(folder), pick_rows(case, len(tokens))
        routers = routing.Record(model)
        logits = reference.forward(model, tokens)
        decisions = routers.decisions()
        rope = model.model.rotary_emb
        scalings.add(float(rope.attention_scaling))
        tensors |= {f"tokens.{k}": tokens, f"rows.{k}": rows, f"logits.{k}": logits[rows.long()].clone(),
                    f"inv_freq.{k}": rope.inv_freq.float().clone()}
        if len(tokens) <= 256:
            reference.check_masks(reference.load(folder), tokens)
        if k == 0 and (case.trace or decisions):
            points = routing.trace_points(decisions)
            if case.trace:
                points |= reference.forward_traced(reference.load(folder), tokens)
                assert len(tokens) <= 32 and torch.equal(points["logits"], logits)
            files.save_tensors(folder / "trace.safetensors", {"tokens": tokens, **points}, provenance(case))
        if "num_nextn_predict_layers" in case.config and len(tokens) > 1:
            rows = rows[rows < len(tokens) - 1]
            tensors |= {f"mtp_rows.{k}": rows, f"mtp_logits.{k}": mtp.decided(folder, tokens)[rows.long()].clone()}
    (scaling,) = scalings
    tensors["attention_scaling"] = torch.tensor([scaling], dtype=torch.float32)

    longest = max(range(len(case.lengths)), key=lambda k: case.lengths[k])
    tokens, rows, want = (tensors[f"{name}.{longest}"] for name in ("tokens", "rows", "logits"))
    rms = want.pow(2).mean().sqrt().item()
    assert 0.5 <= rms <= 5, f"{case.family}/{case.name}: rms of the logits is {rms:.3g}"
    with reference.everything_in_f64(reference.load(folder)) as model:
        noise = (reference.forward(model, tokens)[rows.long()] - want).abs().max().item()
    changes = {}
    for switch in switches_of(case):
        change = (logits_with(switch, folder, tokens)[rows.long()] - want).abs().max().item()
        changes[switch.name] = float(f"{change:.4g}")
    if f"mtp_rows.{longest}" in tensors:
        change, mtp_noise = mtp_changes(folder, *(tensors[f"{name}.{longest}"] for name in ("tokens", "mtp_rows", "mtp_logits")))
        changes, noise = changes | change, max(noise, mtp_noise)
    weak = {name: change for name, change in changes.items() if not change >= LEAST_CHANGE}
    assert not weak, f"{case.family}/{case.name} cannot fail on: {weak}"
    assert noise <= MOST_NOISE, f"{case.family}/{case.name}: float32 noise {noise:.3g}"

    metadata = {
        **provenance(case),
        "about": case.about,
        "sequences": str(len(case.lengths)),
        "tolerance": f"{TOLERANCE:g}",
        "float32_noise": f"{noise:.3g}",
        "logits_rms": f"{rms:.4g}",
        "attention_scaling": repr(scaling),
        "switched_off": json.dumps(changes),
    }
    files.save_tensors(folder / "golden.safetensors", tensors, metadata)
    size = sum(file.stat().st_size for file in folder.iterdir())
    least = min(changes, key=changes.get)
    return (f"{case.family}/{case.name}: {size / 1024:.0f} KiB, rms {rms:.2f}, noise {noise:.1e}, "
            f"{len(changes)} switches, least {changes[least]:.3g} ({least})")


def mtp_changes(folder: Path, tokens: torch.Tensor, rows: torch.Tensor, want: torch.Tensor) -> tuple[dict, float]:
    """What the switches of multi-token prediction change, and its noise."""
    own = mtp.decided(folder, tokens)
    difference = mtp.difference_from_transformers(folder, tokens, own)
    assert difference <= TOLERANCE / 10, f"transformers' own module differs by {difference:.2g}"
    noise = (mtp.in_f64(folder, tokens) - own).abs().max().item()
    return {f"mtp: {name}": change for name, change in mtp.changes(folder, tokens, rows, want).items()}, noise


def differences(made: Path, stored: Path) -> list[str]:
    """What differs between two folders. All must be the same bytes but for logits and traces, which may differ by a
    tenth of the tolerance: another machine's libraries add in another order."""
    names = {file.name for file in made.iterdir()} ^ {file.name for file in stored.iterdir()}
    found = [f"{name}: only on one side" for name in sorted(names)]
    for file in sorted(made.iterdir()):
        if file.name in names or file.read_bytes() == (stored / file.name).read_bytes():
            continue
        if file.name not in COMPUTED:
            found.append(f"{file.name}: other bytes")
            continue
        print(f"  note: {stored.name}/{file.name} is not the same bytes")
        (new, _), (old, _) = files.load_tensors(file), files.load_tensors(stored / file.name)
        if {n: t.shape for n, t in new.items()} != {n: t.shape for n, t in old.items()}:
            found.append(f"{file.name}: other tensors")
            continue
        for name in new:
            allowed = 0.0 if name.split(".")[0] in EXACT else TOLERANCE / 10
            change = (new[name].double() - old[name].double()).abs().max().item()
            if change > allowed:
                found.append(f"{file.name}: {name} differs by {change:.3g}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only the cases whose family/name contains one of these")
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    options = parser.parse_args()
    chosen = [c for c in CASES if not options.words or any(w in f"{c.family}/{c.name}" for w in options.words)]
    reference.check_softmax_scales()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for case in chosen:
            target = (Path(temporary) if options.check else GOLDENS) / case.family / case.name
            print(make(case, target), flush=True)
            if options.check:
                found = differences(target, GOLDENS / case.family / case.name)
                failed += bool(found)
                print("\n".join(f"  DIFFERS: {line}" for line in found) or "  same", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
