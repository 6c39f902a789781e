"""Problems with a checkable answer for the model that ships in models/tiny-qwen.

A problem has a kind, operands, a wording in English or Chinese, a reasoning made of small local steps and
an answer that is checked by string equality. Everything is drawn from a seeded `random.Random`.

The held-out rule is stateless: a problem is held out when the SHA-256 of its canonical form (kind and
operands, in sorted order where the order does not matter) is divisible by 16. The wording and the language
are no part of it, so a held-out problem is never trained on in any wording.
"""
import hashlib
import random
from dataclasses import dataclass

KINDS = ("add", "sub", "mul", "compare", "sort", "count")
LANGS = ("en", "zh")
HELD_OUT_ONE_IN = 16


@dataclass(frozen=True)
class Problem:
    kind: str       # one of KINDS
    lang: str       # one of LANGS
    canonical: str  # what the held-out rule looks at
    prompt: str     # the user's message
    thought: str    # the text between <think> and </think>, without the newlines around it
    answer: str     # the text after </think>, stripped


def held_out(canonical: str) -> bool:
    digest = hashlib.sha256(canonical.encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0


def correct(problem_answer: str, completion: str) -> bool:
    """`completion`: everything that the model wrote after the generation prompt."""
    return completion.rpartition("</think>")[2].strip() == problem_answer and "</think>" in completion


# --- wordings -------------------------------------------------------------------------------------------

ASK_EN = ["What is {e}?", "What is {e}?", "Calculate {e}.", "Compute {e}.", "What's {e}?", "How much is {e}?",
          "Please calculate {e}.", "Work out {e}.", "{e} = ?", "{e} =", "{e}"]
ASK_ZH = ["{e} 等于多少?", "{e}等于几?", "计算 {e}。", "请计算 {e}。", "{e} 是多少?", "{e} 的结果是多少?", "{e} = ?", "{e}=", "{e}"]

# What may stand for {e}, by kind and language.
EXPRESSIONS = {
    ("add", "en"): ["{a} + {b}", "{a} + {b}", "{a}+{b}", "{a} plus {b}", "the sum of {a} and {b}"],
    ("add", "zh"): ["{a} + {b}", "{a}+{b}", "{a} 加 {b}", "{a}加{b}", "{a} 加上 {b}", "{a} 与 {b} 的和"],
    ("sub", "en"): ["{a} - {b}", "{a} - {b}", "{a}-{b}", "{a} minus {b}"],
    ("sub", "zh"): ["{a} - {b}", "{a}-{b}", "{a} 减 {b}", "{a}减{b}", "{a} 减去 {b}", "{a} 与 {b} 的差"],
    ("mul", "en"): ["{a} * {b}", "{a} * {b}", "{a}*{b}", "{a} times {b}", "{a} × {b}", "{a} x {b}",
                    "the product of {a} and {b}"],
    ("mul", "zh"): ["{a} * {b}", "{a}*{b}", "{a} × {b}", "{a}×{b}", "{a} 乘以 {b}", "{a}乘以{b}", "{a} 与 {b} 的积"],
}

WORDINGS = {
    ("add", "en"): ["Add {a} and {b}.", "Add {b} to {a}."],
    ("add", "zh"): ["把 {a} 和 {b} 相加。", "求 {a} 与 {b} 的和。"],
    ("sub", "en"): ["Subtract {b} from {a}.", "Take {b} away from {a}.",
                    "What do you get if you subtract {b} from {a}?"],
    ("sub", "zh"): ["从 {a} 中减去 {b} 是多少?", "求 {a} 减 {b} 的差。"],
    ("mul", "en"): ["Multiply {a} by {b}.", "Multiply {a} and {b}."],
    ("mul", "zh"): ["把 {a} 和 {b} 相乘。", "求 {a} 与 {b} 的积。"],
    ("larger", "en"): ["Which is larger, {a} or {b}?", "Which is bigger: {a} or {b}?",
                       "Which number is greater, {a} or {b}?", "What is the larger of {a} and {b}?",
                       "Compare {a} and {b}. Which is larger?"],
    ("larger", "zh"): ["{a} 和 {b} 哪个更大?", "{a}和{b}哪个大?", "比较 {a} 与 {b},较大的是哪个?", "比较 {a} 和 {b},哪个更大?"],
    ("smaller", "en"): ["Which is smaller, {a} or {b}?", "Which is less: {a} or {b}?",
                        "Which number is smaller, {a} or {b}?", "What is the smaller of {a} and {b}?",
                        "Compare {a} and {b}. Which is smaller?"],
    ("smaller", "zh"): ["{a} 和 {b} 哪个更小?", "{a}和{b}哪个小?", "比较 {a} 与 {b},较小的是哪个?", "比较 {a} 和 {b},哪个更小?"],
    ("sort_up", "en"): ["Sort {l} in ascending order.", "Sort these numbers from smallest to largest: {l}",
                        "Sort {l}.", "Sort the numbers {l}.", "Put {l} in order from smallest to largest.",
                        "Arrange in ascending order: {l}"],
    ("sort_up", "zh"): ["把 {l} 从小到大排序。", "将下列数字按升序排列:{l}", "从小到大排列:{l}", "请将 {l} 从小到大排列。"],
    ("sort_down", "en"): ["Sort {l} in descending order.", "Sort these numbers from largest to smallest: {l}",
                          "Put {l} in order from largest to smallest.", "Arrange in descending order: {l}"],
    ("sort_down", "zh"): ["把 {l} 从大到小排序。", "将下列数字按降序排列:{l}", "从大到小排列:{l}", "请将 {l} 从大到小排列。"],
    ("count", "en"): ["How many times does the letter {c} appear in {w}?", "How many {c}'s are in {w}?",
                      "How many {c} are in {w}?", "Count the letter {c} in {w}.",
                      "How many {c}'s are there in the word {w}?", "How many letters {c} are in the word {w}?",
                      "How often does {c} occur in {w}?"],
    ("count", "zh"): ["单词 {w} 中有几个字母 {c}?", "{w} 里有多少个 {c}?", "数一数 {w} 里字母 {c} 的个数。", "{w}中有几个{c}?",
                      "字母{c}在{w}中出现了几次?", "单词{w}里有几个{c}?"],
}

WORDS = """
able about above accept across action add address after again agree air allow alone always amount animal answer apple
april arm arrive asleep assess autumn baby back bad balloon banana bank basket bear beautiful because bed bee before
begin believe bell better between bicycle big bird black blood blue board boat body book bottle box boy bread bridge
bright bring brother brown build butter butterfly button cabbage call camera candle car carrot carry cat catch chair
cheese cherry child chocolate church circle city class clean clear clock cloud coconut coffee cold color committee cook
corner cotton country cousin cover cream cross crystal cucumber dance dark daughter december deep desert dinner doctor
dog dollar door dragon dream dress drink drive drum dust eagle ear early earth east egg eight elephant eleven empty
energy engine engineer evening example eye face fair fall family farmer father feather february feel field fifteen
finger fire fish floor flower follow food foot forest forget four free freedom friend frog fruit full garden ginger girl
glass goose grammar grass green ground guitar hair hammer hand happy heart heaven hello hill honey horse hotel house
hundred hungry ice idea island jacket jelly july kangaroo keep kettle key kitchen kitten knee ladder lake lamp language
laugh leaf learn leather lemon lesson letter level library light lion little lizard long machine market matter meadow
melon memory metal middle milk million mirror mississippi monday money monkey moon morning mother mountain mouse music
narrow needle network never nine noodle north nothing november number ocean october office onion open orange other
paper parrot peach pencil people pepper piano picture pillow pineapple planet plate pocket poem potato pretty prince
problem puzzle queen quick rabbit rain rainbow raspberry reason recipe red remember rice river road rocket roof room
rose round rubber ruler salad salt school science scissors seashell season second see september seven shadow sheep ship
shoulder silver sister sleep small snow soccer soldier spoon spring square star station stone story strawberry street
success sugar summer sun sweet swimming table tea teacher tennessee thunder ticket tiger tomato tomorrow tooth town
train tree triangle trousers tunnel turtle umbrella uncle under valley vanilla village violin voice wagon walnut water
week west wheel whisper white willow window winter wonder wood word world yellow yesterday zebra zipper
""".split()


def strip_zeros(digits: str) -> str:
    return digits.lstrip("0") or "0"


# --- reasoning ------------------------------------------------------------------------------------------

def column_addition(x: str, y: str) -> tuple[list[str], str]:
    """Digit by digit from the right: `7+6+0=13` is digit, digit, carry in, and carry out with the digit."""
    carry, lines, digits = 0, [], ""
    for p, q in zip(reversed(x), reversed(y)):
        total = int(p) + int(q) + carry
        lines.append(f"{p}+{q}+{carry}={total:02d}")
        carry, digits = total // 10, str(total % 10) + digits
    return lines, str(carry) + digits


def compare_digits(x: str, y: str) -> str:
    return " ".join(f"{p}{'=' if p == q else '<' if p < q else '>'}{q}" for p, q in zip(x, y))


def think_add(a: int, b: int) -> str:
    x, y = f"{a:03d}", f"{b:03d}"
    lines, total = column_addition(x, y)
    return "\n".join([f"{x}+{y}", *lines, total])


def think_sub(a: int, b: int) -> str:
    """The larger minus the smaller; `6-7-0=9-10` is digit, digit, borrow in, the digit and what was borrowed."""
    x, y = f"{a:03d}", f"{b:03d}"
    sign, hi, lo = ("+", x, y) if a >= b else ("-", y, x)
    lines, borrow, digits = [f"{x}-{y}", compare_digits(x, y), f"{sign}({hi}-{lo})"], 0, ""
    for p, q in zip(reversed(hi), reversed(lo)):
        value = int(p) - int(q) - borrow
        out = 1 if value < 0 else 0
        lines.append(f"{p}-{q}-{borrow}={value % 10}-{out}0")
        borrow, digits = out, str(value % 10) + digits
    return "\n".join([*lines, sign + digits])


def think_mul(a: int, b: int) -> str:
    """Two partial products by digit (`4*6=24+4=28`: product, carry in, sum), then a column addition."""
    x, y = f"{a:02d}", f"{b:02d}"
    lines, partial = [f"{x}*{y}"], []
    for q in reversed(y):
        carry, digits = 0, ""
        for p in reversed(x):
            product = int(p) * int(q)
            total = product + carry
            lines.append(f"{p}*{q}={product:02d}+{carry}={total:02d}")
            carry, digits = total // 10, str(total % 10) + digits
        partial.append(str(carry) + digits)
    first, second = "0" + partial[0], partial[1] + "0"
    addition, total = column_addition(first, second)
    return "\n".join([*lines, f"{first}+{second}", *addition, total[1:]])


def think_compare(a: int, b: int) -> str:
    x, y = f"{a:03d}", f"{b:03d}"
    return f"{x} {y}\n{compare_digits(x, y)}\n{x}{'<' if a < b else '>'}{y}"


def think_sort(values: list[int], descending: bool) -> str:
    """Takes the smallest (or largest) again and again and restates what is left."""
    left, lines = [f"{v:02d}" for v in values], []
    lines.append(" ".join(left))
    while len(left) > 1:
        pick = max(left) if descending else min(left)
        left.remove(pick)
        lines.append(pick + (">" if descending else "<") + " ".join(left))
    return "\n".join(lines)


def think_count(letter: str, word: str) -> str:
    count, out = 0, letter + ":"
    for c in word:
        count += c == letter
        out += f"{c}{count}"
    return out


# --- drawing --------------------------------------------------------------------------------------------

def number(rng: random.Random, max_digits: int) -> int:
    digits = rng.choices(range(1, max_digits + 1), weights=range(1, max_digits + 1))[0]
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10 ** digits)


def near(rng: random.Random, a: int) -> int:
    """A number of up to three digits that shares its leading digits with `a`, for comparisons that are close."""
    keep = rng.choice((10, 100))
    return a // keep * keep + rng.randrange(keep)


def pseudo_word(rng: random.Random) -> str:
    length, out = rng.randint(3, 11), ""
    while len(out) < length:
        if out and rng.random() < 0.15:
            out += out[-1]
        elif rng.random() < 0.15:
            out += rng.choice("abcdefghijklmnopqrstuvwxyz")
        else:
            out += rng.choice("bcdfghjklmnpqrstvwxyz") + rng.choice("aeiou")
    return out[:length]


def word_form(rng: random.Random, key: str, lang: str, **fields) -> str:
    """A wording with its fields filled in, now and then written carelessly."""
    if (key, lang) in EXPRESSIONS and rng.random() < 0.75:
        form = rng.choice(ASK_EN if lang == "en" else ASK_ZH).replace("{e}", rng.choice(EXPRESSIONS[key, lang]))
    else:
        form = rng.choice(WORDINGS[key, lang])
    if lang == "zh" and rng.random() < 0.4:
        form = form.replace("?", "\uff1f").replace(",", "\uff0c").replace(":", "\uff1a")
    if rng.random() < 0.08:
        form = form.rstrip("?.。\uff1f ")
    text = form.format(**fields)
    return text[0].lower() + text[1:] if rng.random() < 0.05 else text


def draw(rng: random.Random, kind: str, lang: str) -> Problem:
    """One problem of that kind and language, of either split."""
    if kind in ("add", "sub", "mul"):
        top = 2 if kind == "mul" else 3
        a, b = number(rng, top), number(rng, top)
        if kind == "sub" and a < b and rng.random() < 0.3:
            a, b = b, a
        operands = (a, b) if kind == "sub" else tuple(sorted((a, b)))
        value = {"add": a + b, "sub": a - b, "mul": a * b}[kind]
        thought = {"add": think_add, "sub": think_sub, "mul": think_mul}[kind](a, b)
        return Problem(kind, lang, f"{kind} {operands[0]} {operands[1]}", word_form(rng, kind, lang, a=a, b=b), thought,
                       str(value))
    if kind == "compare":
        a = number(rng, 3)
        b = near(rng, a) if rng.random() < 0.5 else number(rng, 3)
        while a == b:
            b = number(rng, 3)
        key = rng.choice(("larger", "smaller"))
        return Problem(kind, lang, f"compare {min(a, b)} {max(a, b)}", word_form(rng, key, lang, a=a, b=b),
                       think_compare(a, b), str(max(a, b) if key == "larger" else min(a, b)))
    if kind == "sort":
        values = [number(rng, 2) for _ in range(rng.choices((3, 4, 5, 6), weights=(1, 2, 2, 3))[0])]
        descending = rng.random() < 0.5
        ordered = sorted(values, reverse=descending)
        listing = rng.choice((", ", ", ", " ", ",") if lang == "en" else (", ", "、", " ", ",")).join(map(str, values))
        return Problem(kind, lang, "sort " + " ".join(map(str, sorted(values))),
                       word_form(rng, "sort_down" if descending else "sort_up", lang, l=listing),
                       think_sort(values, descending), ", ".join(map(str, ordered)))
    assert kind == "count"
    word = rng.choice(WORDS) if rng.random() < 0.5 else pseudo_word(rng)
    letter = rng.choice(word) if rng.random() < 0.8 else rng.choice("abcdefghijklmnopqrstuvwxyz")
    quote = rng.choice(('"{}"', "{}")).format
    prompt = word_form(rng, "count", lang, c=rng.choice((quote, str))(letter), w=quote(word))
    return Problem(kind, lang, f"count {word}", prompt, think_count(letter, word), str(word.count(letter)))


def draw_split(rng: random.Random, kind: str, lang: str, want_held_out: bool) -> Problem:
    while True:
        problem = draw(rng, kind, lang)
        if held_out(problem.canonical) == want_held_out:
            return problem


def held_out_set(count: int, seed: int) -> list[Problem]:
    """`count` held-out problems, the kinds in turn and the languages in turn, no canonical form twice."""
    rng, seen, out = random.Random(seed), set(), []
    while len(out) < count:
        i = len(out)
        problem = draw_split(rng, KINDS[i % len(KINDS)], LANGS[i // len(KINDS) % 2], True)
        if problem.canonical not in seen:
            seen.add(problem.canonical)
            out.append(problem)
    return out


def main() -> None:
    """Writes heldout.jsonl next to this file."""
    import json
    from pathlib import Path
    with open(Path(__file__).with_name("heldout.jsonl"), "w", encoding="utf-8") as file:
        for p in held_out_set(1000, seed=20250601):
            file.write(json.dumps({"kind": p.kind, "lang": p.lang, "prompt": p.prompt, "answer": p.answer},
                                  ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
