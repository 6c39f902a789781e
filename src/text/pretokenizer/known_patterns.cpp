// The large alternations of the released tokenizers, by hand: each function is the expression quoted above it, read
// as a backtracking engine would. All are linear in the piece.
#include <string>

#include "text/pretokenizer/split_pattern.h"
#include "text/unicode.h"

namespace cachalot {

const std::string_view kQwenPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kLlama3Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kGpt2Pattern =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";
static const std::string_view kDeepseekWords =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::vector<std::string_view> kDeepseekV3Patterns = {
    R"(\p{N}{1,3})", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+", kDeepseekWords};

// The letters are a fixed list of ranges, not a category. Six of its characters have another normal form, which some
// copies of the list hold by mistake: 1F7D, 1FBE, 1FD3, 1FDB, 2126 and 212A; so the list is written in numbers.
const std::vector<std::string_view> kDeepseekLlmPatterns = {
    R"([\r\n])",
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1})"
    R"(\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"
    R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})"
    R"(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B})"
    R"(\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134})"
    R"(\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787})"
    R"(\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)",
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)", R"(\s+$)",
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)"};

namespace {

struct Cursor {
  std::string_view piece;

  bool at_end(size_t at) const { return at == piece.size(); }
  CodePoint code_point(size_t at) const { return code_point_at(piece, at); }
  uint8_t classes(size_t at) const { return char_classes(code_point(at).value); }
  // The first position from `at` on whose character has none of the classes.
  size_t skip(size_t at, uint8_t any_of) const {
    while (!at_end(at)) {
      const CodePoint c = code_point(at);
      if (!(char_classes(c.value) & any_of)) break;
      at += c.bytes;
    }
    return at;
  }
  // The first position from `at` on whose character has one of the classes.
  size_t skip_others(size_t at, uint8_t none_of) const {
    while (!at_end(at)) {
      const CodePoint c = code_point(at);
      if (char_classes(c.value) & none_of) break;
      at += c.bytes;
    }
    return at;
  }
  size_t skip_numbers(size_t at, int most) const {
    for (int i = 0; i < most && !at_end(at); ++i) {
      const CodePoint c = code_point(at);
      if (!(char_classes(c.value) & kNumber)) break;
      at += c.bytes;
    }
    return at;
  }
};

// '(s|t|re|ve|m|ll|d), the apostrophe being at `at`; the end of the match, or `at`. With `fold`, case-insensitive as
// Unicode folds it, where the long s is an s too.
size_t contraction(std::string_view piece, size_t at, bool fold) {
  const auto letter = [&](size_t i) -> char {
    if (at + i >= piece.size()) return 0;
    const char c = piece[at + i];
    return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = letter(1), second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  if (((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l')) return at + 3;
  if (fold && piece.substr(at + 1).starts_with("\u017F")) return at + 3;
  return at;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ (without `newlines`, the last two), for white space at `at`.
size_t white_space(const Cursor& c, size_t at, bool newlines) {
  size_t end = at, last = at, after_newline = at;
  while (!c.at_end(end)) {
    const CodePoint p = c.code_point(end);
    const uint8_t classes = char_classes(p.value);
    if (!(classes & kSpace)) break;
    last = end;
    end += p.bytes;
    if (classes & kNewline) after_newline = end;
  }
  if (newlines && after_newline > at) return after_newline;
  if (c.at_end(end) || last == at) return end;
  return last;  // the last one stays for what follows
}

template <int most_digits>
size_t qwen(const Cursor& c, size_t at) {
  const CodePoint first = c.code_point(at);
  const uint8_t classes = char_classes(first.value);
  if (first.value == '\'') {
    if (const size_t end = contraction(c.piece, at, /*fold=*/true); end > at) return end;
  }
  if (classes & kLetter) return c.skip(at, kLetter);
  const size_t next = at + first.bytes;
  const uint8_t next_classes = c.at_end(next) ? 0 : c.classes(next);
  if (!(classes & (kNewline | kNumber)) && (next_classes & kLetter)) return c.skip(next, kLetter);
  if (classes & kNumber) return c.skip_numbers(at, most_digits);
  constexpr uint8_t not_symbol = kSpace | kLetter | kNumber;
  const bool after_space = first.value == ' ' && !c.at_end(next) && !(next_classes & not_symbol);
  if (after_space || !(classes & not_symbol)) {
    return c.skip(c.skip_others(after_space ? next : at, not_symbol), kNewline);
  }
  return white_space(c, at, /*newlines=*/true);
}

size_t gpt2(const Cursor& c, size_t at) {
  const CodePoint first = c.code_point(at);
  if (first.value == '\'') {
    if (const size_t end = contraction(c.piece, at, /*fold=*/false); end > at) return end;
  }
  const bool space = first.value == ' ' && !c.at_end(at + 1);
  const size_t start = space && !(c.classes(at + 1) & kSpace) ? at + 1 : at;
  const uint8_t classes = c.classes(start);
  if (classes & kLetter) return c.skip(start, kLetter);
  if (classes & kNumber) return c.skip(start, kNumber);
  if (!(classes & kSpace)) return c.skip_others(start, kSpace | kLetter | kNumber);
  return white_space(c, at, /*newlines=*/false);
}

size_t deepseek_words(const Cursor& c, size_t at) {
  const CodePoint first = c.code_point(at);
  const uint8_t classes = char_classes(first.value);
  const auto is_latin = [&](size_t i) {
    return i < c.piece.size() &&
           ((c.piece[i] >= 'A' && c.piece[i] <= 'Z') || (c.piece[i] >= 'a' && c.piece[i] <= 'z'));
  };
  constexpr uint8_t sign = kPunctuation | kSymbol, letter = kLetter | kMark;
  if (first.value < 128 && (classes & sign) && is_latin(at + 1)) {
    size_t end = at + 1;
    while (is_latin(end)) ++end;
    return end;
  }
  if (classes & letter) return c.skip(at, letter);
  const size_t next = at + first.bytes;
  const uint8_t next_classes = c.at_end(next) ? 0 : c.classes(next);
  if (!(classes & (kNewline | sign)) && (next_classes & letter)) return c.skip(next, letter);
  const bool after_space = first.value == ' ' && (next_classes & sign);
  if (after_space || (classes & sign)) return c.skip(c.skip(after_space ? next : at, sign), kNewline);
  return classes & kSpace ? white_space(c, at, /*newlines=*/true) : at;
}

// Tries `match` (the end of the match at a position, or the position itself when there is none) from left to right.
template <size_t (*match)(const Cursor&, size_t)>
class Scanner : public SplitPattern {
 public:
  void find_all(std::string_view piece, PatternBudget&, std::vector<Match>& matches) const override {
    const Cursor cursor{piece};
    for (size_t at = 0; at < piece.size();) {
      const size_t end = match(cursor, at);
      if (end > at) matches.push_back({at, end});
      at = end > at ? end : at + cursor.code_point(at).bytes;
    }
  }
};

// Some files hold the control characters themselves where others hold their escapes.
std::string with_escapes(std::string_view expression) {
  std::string out;
  for (const char c : expression) {
    if (c == '\r')
      out += "\\r";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::unique_ptr<SplitPattern> known_pattern(std::string_view expression) {
  const std::string spelled = with_escapes(expression);
  if (spelled == kQwenPattern) return std::make_unique<Scanner<qwen<1>>>();
  if (spelled == kLlama3Pattern) return std::make_unique<Scanner<qwen<3>>>();
  if (spelled == kGpt2Pattern) return std::make_unique<Scanner<gpt2>>();
  if (spelled == kDeepseekWords) return std::make_unique<Scanner<deepseek_words>>();
  return nullptr;
}

}  // namespace cachalot
