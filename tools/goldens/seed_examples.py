"""The worked examples of the two reports, recomputed in float64 with NumPy: tests/goldens/seed/examples.json.

    python tools/goldens/seed_examples.py [--check]

Every example has `inputs` (as the report gives them) and `figures`: the `right` value (a number or nested lists), what is
`printed` (the report's own digits as text, in the same nesting, or null where it prints nothing) and a `verdict`: "right",
"rounded" (truncated, or computed from rounded figures), "wrong" or "not printed".
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "tests/goldens/seed/examples.json"
RIGHT, ROUNDED, WRONG = "right", "rounded", "wrong"


def flat(value) -> list:
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list) else [value]


def places(text: str) -> int:
    return len(text.partition(".")[2])


def check_verdict(right, printed, verdict: str) -> None:
    """"right" is right to the last printed digit, "rounded" within two units of it, and nothing else is "right"."""
    pairs = list(zip(flat(right), flat(printed), strict=True))
    exact = all(f"{value:.{places(text)}f}" == f"{float(text):.{places(text)}f}" for value, text in pairs)
    close = all(abs(value - float(text)) <= 2 * 10.0 ** -places(text) for value, text in pairs)
    assert {RIGHT: exact, ROUNDED: close and not exact, WRONG: not exact}[verdict], (right, printed, verdict)


def figure(name: str, right, printed=None, verdict: str | None = None, note: str | None = None) -> dict:
    right = np.asarray(right).tolist()
    if printed is not None:
        check_verdict(right, printed, verdict)
    made = {"name": name, "right": right, "printed": printed, "verdict": verdict or "not printed"}
    return made | ({"note": note} if note else {})


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def swish(x, beta: float = 1.0):
    return x * sigmoid(beta * x)


def rms(x: np.ndarray, eps: float) -> float:
    return math.sqrt(np.mean(x**2) + eps)


def rotate(x: np.ndarray, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([x[0] * c - x[1] * s, x[0] * s + x[1] * c])


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The k largest entries, lowest index first among equals, as a mask."""
    mask = np.zeros(len(scores), bool)
    mask[np.argsort(-scores, kind="stable")[:k]] = True
    return mask


def norm_of_four() -> tuple:
    h = np.array([2.0, -2, 1, 1])
    return {"h": h.tolist(), "eps": 0.0, "gamma": [1, 1, 1, 1]}, [
        figure("mean square", np.mean(h**2), "2.5", RIGHT),
        figure("root", rms(h, 0), "1.58", RIGHT),
        figure("normalised", h / rms(h, 0), ["1.27", "-1.27", "0.63", "0.63"], WRONG,
               "1.27 should be 1.26; 2 was divided by the rounded root"),
        figure("normalised, eps 1e-6", h / rms(h, 1e-6)),
    ]


def toy_attention() -> tuple:
    h = np.array([[1.0, 2, 3, 4], [2, 0, 1, 0]])
    figures = [figure("q = k = v", h, [["1", "2", "3", "4"], ["2", "0", "1", "0"]], RIGHT)]
    heads = {"head A": h[:, :2], "head B": h[:, 2:], "one head of size 4": h}
    outputs = {"not causal": [], "causal": []}
    for name, x in heads.items():
        scores = x @ x.T
        scaled = scores / math.sqrt(x.shape[1])
        masked = np.where(np.tri(2, dtype=bool), scaled, -np.inf)
        figures += [figure(f"{name}: q k", scores), figure(f"{name}: scaled", scaled)]
        for kind, s in (("not causal", scaled), ("causal", masked)):
            figures += [figure(f"{name}: softmax, {kind}", softmax(s)), figure(f"{name}: output, {kind}", softmax(s) @ x)]
            if x is not h:
                outputs[kind].append(softmax(s) @ x)
    figures += [figure(f"both heads: output, {kind}", np.concatenate(o, -1)) for kind, o in outputs.items()]
    return {"h": h.tolist(), "heads": 2, "projections": "identity"}, figures


def given_gates() -> tuple:
    gates, experts = np.array([0.7, 0.3, 0.0]), np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 7.0]])
    return {"gates": gates.tolist(), "expert_outputs": experts.tolist()}, [
        figure("output", gates @ experts, ["0.7", "0.3"], RIGHT, "with unit vectors for E1 and E2; E3 is not run"),
        figure("experts run", np.flatnonzero(gates) + 1, ["1", "2"], RIGHT),
    ]


def router() -> tuple:
    r, k = np.array([3.4, 1.1, 2.2]), 2
    p, s = softmax(r), sigmoid(r)
    kept, kept_s = np.where(best(p, k), p, 0.0), np.where(best(s, k), s, 0.0)
    return {"r": r.tolist(), "k": k}, [
        figure("softmax", p, ["0.70", "0.06", "0.24"], WRONG),
        figure("gates, not renormalised", kept, ["0.70", "0.0", "0.24"], WRONG),
        figure("experts chosen", np.flatnonzero(best(p, k)) + 1, ["1", "3"], RIGHT),
        figure("gates, renormalised", kept / kept.sum()),
        figure("softmax of the chosen logits", softmax(r[best(p, k)])),
        figure("gates, times 16", 16 * kept),
        figure("sigmoid", s),
        figure("sigmoid gates, renormalised", kept_s / kept_s.sum()),
        figure("sigmoid gates, renormalised, times 2.5", 2.5 * kept_s / kept_s.sum()),
    ]


def rope() -> tuple:
    q, k, m, n, theta = np.array([1.0, 2.0]), np.array([3.0, 4.0]), 1, 2, math.pi / 4
    turned_q, turned_k = rotate(q, m * theta), rotate(k, n * theta)
    assert math.isclose(turned_q @ turned_k, q @ rotate(k, (n - m) * theta))
    return {"q": q.tolist(), "k": k.tolist(), "m": m, "n": n, "theta": theta}, [
        figure("q turned", turned_q, ["-0.707", "2.121"], RIGHT),
        figure("k turned", turned_k, ["-4.0", "3.0"], RIGHT),
        figure("dot", turned_q @ turned_k, "9.191", ROUNDED, "computed from the rounded vectors; 13 / sqrt 2"),
    ]


def logn() -> tuple:
    q, k, N, d = np.array([1.0, 2.0]), np.array([3.0, 4.0]), 4, 2
    score = q @ k / math.sqrt(d)
    return {"Q": q.tolist(), "K": k.tolist(), "N": N, "d": d}, [
        figure("score times ln N", score * math.log(N), "16.97", WRONG, "16.97 is 12 sqrt 2, no logarithm gives it"),
        figure("q k", q @ k, "11", RIGHT),
        figure("score", score),
        figure("score times log2 N", score * math.log2(N)),
        figure("score times log10 N", score * math.log10(N)),
        figure("released form, S = 2", score * math.log(N) / math.log(2)),
        figure("released form, S = 4", score * 1.0),
    ]


def window() -> tuple:
    i, w = 50, 2
    return {"i": i, "w": w}, [
        figure("symmetric", list(range(i - w, i + w + 1)), ["48", "49", "50", "51", "52"], RIGHT),
        figure("causal, w before and itself", list(range(i - w, i + 1))),
        figure("causal, w in all", list(range(i - w + 1, i + 1))),
    ]


def swiglu() -> tuple:
    x, gate = np.array([2.0, -1.0]), np.array([1.0, 0.5])
    W, V = np.array([[1.0], [0.0]]), np.array([[0.5], [0.0]])
    return {"x": x.tolist(), "W": [1, 0], "V": [0.5, 0], "beta": 1.0, "values_multiplied": gate.tolist()}, [
        figure("Swish(x)", swish(x), ["1.76", "-0.27"], RIGHT),
        figure("Swish(x) times the values multiplied", swish(x) * gate, ["1.76", "-0.135"], ROUNDED,
               "half of the rounded -0.27; the values are x times [0.5, -0.5]"),
        figure("Swish(x) times x V, entry by entry", swish(x) * x * [0.5, 0], ["1.76", "-0.135"], WRONG,
               "with the printed V the second entry is 0"),
        figure("Swish(xW) times xV, as matrices", swish(x @ W) * (x @ V), ["1.76"], RIGHT, "one number"),
    ]


def norm_of_three() -> tuple:
    x, eps = np.array([1.0, 2.0, 3.0]), 1e-6
    return {"x": x.tolist(), "eps": eps}, [
        figure("RMS", rms(x, eps), "2.16", RIGHT),
        figure("normalised", x / rms(x, eps), ["0.46", "0.92", "1.38"], ROUNDED, "cut off after two digits"),
    ]


def biased_projection() -> tuple:
    x, W, b = np.array([0.5, -0.3]), np.array([[1.0, -1.0], [-1.0, 0.0]]), np.array([0.1, 0.2])
    return {"x": x.tolist(), "W": W.tolist(), "b": b.tolist()}, [
        figure("Q", x @ W + b, ["0.9", "-0.3"], RIGHT, "the first column of W is [1, -1], as printed; W here by rows"),
    ]


def ntk() -> tuple:
    theta, N, gamma, base, d, S, n = 0.01, 8192, 0.1, 1e4, 128, 8192, 16384
    alpha = max(2 ** math.ceil(math.log2(n / S) + 1) - 1, 1)
    base_released = base * alpha ** (d / (d - 2))
    assert math.isclose(base ** (-2 * 32 / d), theta)
    return {"theta": theta, "N": N, "gamma": gamma, "released": {"base": base, "d": d, "S": S, "n": n, "index": 32}}, [
        figure("theta (1 + gamma ln N)", theta * (1 + gamma * math.log(N)), "0.018", WRONG),
        figure("theta (1 + gamma log2 N)", theta * (1 + gamma * math.log2(N))),
        figure("theta N^gamma", theta * N**gamma),
        figure("theta (1 + gamma N / 1024)", theta * (1 + gamma * N / 1024), "0.018", RIGHT,
               "the only reading that gives the printed figure; 1024 is not in the text"),
        figure("released form: alpha", alpha),
        figure("released form: base", base_released),
        figure("released form: frequency of index 32", base_released ** (-2 * 32 / d)),
    ]


def output_projection() -> tuple:
    h, W, b = np.array([0.8, -0.5]), np.array([[1.0, -1.0], [-1.0, 2.0]]), np.array([0.1, 0.3])
    return {"h": h.tolist(), "W": W.tolist(), "b": b.tolist()}, [
        figure("logits", h @ W + b, ["1.4", "-1.5"], RIGHT, "the first column of W is [1, -1], as printed"),
    ]


def embedding() -> tuple:
    table = np.zeros((6, 3))
    table[5], table[3] = [0.1, -0.2, 0.4], [-0.3, 0.5, 0.7]
    return {"ids": [5, 3], "E": table.tolist()}, [
        figure("rows", table[[5, 3]], [["0.1", "-0.2", "0.4"], ["-0.3", "0.5", "0.7"]], RIGHT,
               "printed as rows 5 and 3 of E; the other rows are not given"),
    ]


EXAMPLES = {
    "1 RMSNorm of four": norm_of_four,
    "2 attention of two heads": toy_attention,
    "3 mixture with given gates": given_gates,
    "4 router": router,
    "5 RoPE": rope,
    "6 LogN": logn,
    "7 window": window,
    "8 SwiGLU": swiglu,
    "9 RMSNorm of three": norm_of_three,
    "10 projection with bias": biased_projection,
    "11 dynamic NTK": ntk,
    "12 output projection with bias": output_projection,
    "13 embedding": embedding,
}


def render() -> str:
    lines = []
    for title, make in EXAMPLES.items():
        number, name = title.split(" ", 1)
        inputs, figures = make()
        rows = ",\n   ".join(json.dumps(f) for f in figures)
        lines.append(f' {{"number": {number}, "name": {json.dumps(name)}, "inputs": {json.dumps(inputs)},\n'
                     f'  "figures": [\n   {rows}]}}')
    head = {"script": "tools/goldens/seed_examples.py", "numpy": np.__version__}
    return json.dumps(head)[:-1] + ', "examples": [\n' + ",\n".join(lines) + "\n]}\n"


def numbers(value) -> list:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in numbers(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in numbers(item)]
    return [value]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with what is stored instead of writing")
    if parser.parse_args().check:
        made, stored = (numbers(json.loads(text)["examples"]) for text in (render(), OUT.read_text()))
        same = len(made) == len(stored) and all(
            a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-14)) for a, b in zip(made, stored))
        print("same" if same else "DIFFERS")
        return 0 if same else 1
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
