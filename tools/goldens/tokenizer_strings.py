"""Varied strings for comparing tokenizers: seeded, so a number of strings and a seed name them all.

Left out, because the compared libraries follow different versions of Unicode: code points assigned after Unicode 14, and
combining marks whose order in normal form C is unknown to the tokenizers library (its tables are those of Unicode 9).
"""

import random
import unicodedata

assert unicodedata.unidata_version == "14.0.0", "run with Python 3.11, whose tables are Unicode 14"

SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
LOOKS_LIKE_SPACE = "\u200b\u200c\u200d\u2060\ufeff\u180e\x1c\x1d\x1e\x1f\x00"
BLOCKS = {
    "latin": [(0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00)],
    "greek_cyrillic": [(0x370, 0x530), (0x1F00, 0x2000)],
    "cjk": [(0x4E00, 0x9FFF), (0x3400, 0x3500), (0x3000, 0x3040), (0xFF00, 0xFFF0), (0x20000, 0x20100)],
    "kana": [(0x3040, 0x3100), (0x31F0, 0x3200), (0xFF66, 0xFFA0)],
    "korean": [(0xAC00, 0xD7A4), (0x1100, 0x1200), (0x3130, 0x3190)],
    "arabic": [(0x600, 0x700), (0x750, 0x780), (0xFB50, 0xFE00), (0xFE70, 0xFEFF)],
    "hebrew": [(0x590, 0x600), (0xFB1D, 0xFB50)],
    "thai_lao": [(0xE00, 0xE80), (0xE80, 0xF00)],
    "indic": [(0x900, 0xE00), (0xF00, 0x1000), (0x1000, 0x10A0)],
    "symbols": [(0x2010, 0x2070), (0x20A0, 0x20D0), (0x2100, 0x2400), (0x2500, 0x2800), (0x1D400, 0x1D800)],
    "numbers": [(0x30, 0x3A), (0xB2, 0xB4), (0xBC, 0xBF), (0x660, 0x66A), (0x966, 0x970), (0x2150, 0x218C), (0x2460, 0x249C)],
    "rare": [(0x10000, 0x10200), (0x10300, 0x10500), (0x12000, 0x12100), (0x13000, 0x13100), (0x1E900, 0x1E960), (0xE000, 0xE010),
             (0xE0100, 0xE0110), (0x104B0, 0x10500), (0x118A0, 0x118E0)],
    "ascii": [(0x20, 0x7F)],
    "any": [(0x0, 0xD800), (0xE000, 0x20000)],
}
EMOJI = ["🙂", "👍", "❤", "👩", "👨", "👧", "🏳", "🌈", "💻", "🚀", "🇩🇪", "🇯🇵", "1⃣", "🧑", "🦰", "☠", "⛄", "🫶", "🫡"]
MODIFIERS = ["\u200d", "\ufe0f", "\ufe0e", "🏻", "🏽", "🏿", "\u20e3", ""]
WORDS = ("the of and model price tokenizer don't DON'T we'll I'm they've he'd it's IT'S 'Tis rock'n'roll café naïve Straße ſet 'ſo "
         "Ελλάδα Москва שלום مرحبا สวัสดี 안녕하세요 你好 世界 東京 こんにちは カタカナ tiếng Việt ½ ² Ⅷ x² H₂O 10€ $5.99 100% #tag @me "
         "foo_bar fooBar FooBar snake_case kebab-case a.b.c http://example.org/a?b=c&d=%20 user@example.org C:\\path\\file ...").split(" ")
CODE = ["def f(x):\n\treturn x**2  # note\n", "for (int i = 0; i < n; ++i) {\n    a[i] += b[i];\n}\n", "if (!(a && b) || c != d) { return -1; }",
        "<div class=\"x\">&nbsp;</div>\r\n", "SELECT * FROM t WHERE a >= 10;--", "let f = |x: &str| -> Result<(), E> { Ok(()) };\n\n\n",
        "\\begin{align*} a &= b^{2} \\\\ \\end{align*}", "{\"a\": [1, 2.5e-10, null], \"b\": {}}", "#include <vector>\n\n\nint main() {}\n",
        "x = 0xDEADBEEF << 3 ^ ~0b1011;", "    \t  mixed\t    indent", "\"\"\"doc\n\nstring\"\"\"", "*** bold *** __x__ ~~y~~ ``z``", "!@#$%^&*()_+-=[]{}|;':\",./<>?`~"]


def marks_in_other_order() -> set[str]:
    """Assigned marks that the tokenizers library does not reorder or compose as Unicode 14 does."""
    from tokenizers import normalizers

    library = normalizers.NFC()
    found = set()
    for code in range(0x300, 0x30000):
        c = chr(code)
        if unicodedata.category(c) in ("Cn", "Cs"):
            continue
        probes = ("a" + c + "\u0301", "a\u0323" + c, "a\u0301" + c, c + "\u0338")
        if any(library.normalize_str(p) != unicodedata.normalize("NFC", p) for p in probes):
            found.add(c)
    return found


class Strings:
    """An endless source of strings; `specials` are token texts that may appear inside them."""

    def __init__(self, seed: int, specials: list[str]):
        self.random = random.Random(seed)
        self.specials = specials
        self.unsafe = marks_in_other_order()
        self.pools = {name: self.assigned(blocks) for name, blocks in BLOCKS.items()}
        self.marks = [c for c in map(chr, range(0x300, 0x30000)) if unicodedata.combining(c) and c not in self.unsafe]
        self.kinds = [self.words, self.script, self.script, self.mixed_scripts, self.spaces, self.numbers, self.emoji, self.combining,
                      self.code, self.punctuation, self.with_specials, self.repeats, self.apostrophes, self.everything]

    def assigned(self, blocks: list[tuple[int, int]]) -> list[str]:
        chars = [chr(c) for first, end in blocks for c in range(first, end) if not 0xD800 <= c < 0xE000]
        return [c for c in chars if unicodedata.category(c) != "Cn" and c not in self.unsafe]

    def next(self) -> str:
        return self.random.choice(self.kinds)()

    def invalid(self) -> bytes:
        """Bytes that are not UTF-8: a string cut, with bytes changed, dropped or put in."""
        data = bytearray(self.next().encode())
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randint(0, len(data))
            match self.random.randint(0, 3):
                case 0:
                    data[at:at] = bytes([self.random.randint(0x80, 0xFF)])
                case 1:
                    del data[at : at + 1]
                case 2:
                    data[at:at] = self.random.choice([b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe4\xbd", b"\xf0\x9f\x99", b"\xff\xfe"])
                case 3:
                    data = data[:at]
        return bytes(data)

    def pick(self, pool, low: int, high: int) -> str:
        return "".join(self.random.choices(pool, k=self.random.randint(low, high)))

    def space(self) -> str:
        return self.random.choice([" ", " ", " ", "  ", "\n", "", "\t", ", ", ". "])

    def words(self) -> str:
        return "".join(self.random.choice(WORDS) + self.space() for _ in range(self.random.randint(1, 14)))

    def script(self) -> str:
        pool = self.pools[self.random.choice(list(self.pools))]
        return "".join(self.pick(pool, 1, 9) + self.space() for _ in range(self.random.randint(1, 6)))

    def mixed_scripts(self) -> str:
        return "".join(self.pick(self.random.choice(list(self.pools.values())), 1, 4) for _ in range(self.random.randint(2, 10)))

    def spaces(self) -> str:
        parts = [self.pick(self.random.choice([" ", " \n", "\r\n", SPACES, SPACES + LOOKS_LIKE_SPACE, "\n", "\t "]), 1, 6)]
        for _ in range(self.random.randint(0, 5)):
            parts.append(self.random.choice([*WORDS, "!", "1", "(", "汉"]))
            parts.append(self.pick(self.random.choice([" ", " \n", "\r\n", SPACES, SPACES + LOOKS_LIKE_SPACE, "\n", "\t "]), 1, 6))
        return "".join(parts)

    def numbers(self) -> str:
        parts = []
        for _ in range(self.random.randint(1, 5)):
            parts.append(self.pick("0123456789", 1, self.random.choice([3, 5, 12, 60])))
            parts.append(self.random.choice(["", ".", ",", " ", "-", "e", "/", "年", "²", "%", " km"]))
            if self.random.random() < 0.3:
                parts.append(self.pick(self.pools["numbers"], 1, 6))
        return "".join(parts)

    def emoji(self) -> str:
        parts = []
        for _ in range(self.random.randint(1, 8)):
            parts.append(self.random.choice(EMOJI) + self.random.choice(MODIFIERS))
            if self.random.random() < 0.3:
                parts.append(self.random.choice([" ", "\n", "ok", "!", "你"]))
        return "".join(parts)

    def combining(self) -> str:
        parts = []
        for _ in range(self.random.randint(1, 8)):
            parts.append(self.random.choice(self.random.choice(list(self.pools.values()))))
            parts.append(self.pick(self.marks[:200] if self.random.random() < 0.7 else self.marks, 0, 4))
        text = "".join(parts)
        return unicodedata.normalize(self.random.choice(["NFC", "NFD"]), text) if self.random.random() < 0.3 else text

    def code(self) -> str:
        return "".join(self.random.choice(CODE) for _ in range(self.random.randint(1, 2)))

    def punctuation(self) -> str:
        pool = self.random.choice(["!?.,;:-_()[]{}'\"/\\", "！？。，、；：（）「」『』…—", self.pools["symbols"], "'\"`´’‘“”", "=+-*/<>|&^%$#@~"])
        return "".join(self.pick(pool, 1, 6) + self.random.choice([" ", "a", "Ab", "\n", "\r\n", "1", "é", "ß", ""]) for _ in range(self.random.randint(1, 6)))

    def with_specials(self) -> str:
        parts = []
        for _ in range(self.random.randint(1, 4)):
            token = self.random.choice(self.specials)
            if self.random.random() < 0.2:
                token = token[: self.random.randint(1, len(token))]
            parts.append(self.random.choice(["", " ", "\n", "a", *WORDS]) + token + self.random.choice(["", " ", "\n\n", "b", "́"]))
        return "".join(parts)

    def repeats(self) -> str:
        unit = self.random.choice(["a", "ab", " ", "\n", "0", "！", "好", "=", "-", "ha", "🙂", "\t", "A", "e\u0301", ". ", "\u3000", "'s", "xy "])
        return unit * self.random.randint(1, 80) + self.random.choice(["", "x", " x", "\n", "1"])

    def apostrophes(self) -> str:
        ends = ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "lL", "D", "ſ", "r", "l", "v", "x", "", "K", "é", "sé", " s", "1", "́"]
        return "".join(self.random.choice(["I", "x", " ", "", "1", "!", "é", "好"]) + self.random.choice("'''’`") + self.random.choice(ends)
                       for _ in range(self.random.randint(1, 6)))

    def everything(self) -> str:
        return "".join(self.random.choice(self.kinds[:-1])() for _ in range(2))
