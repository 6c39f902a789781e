// Expressions of the form  lead? class quantifier? $?  where the lead is `\s?` or ` ?`, the class is `[…]`, `\p{X}`
// or `\s`, and the quantifier is `+` or `{1,n}`: most steps of the released tokenizers. Anything else is not
// recognised here.
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string>

#include "text/pretokenizer/split_pattern.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

struct Range {
  char32_t first, last;
};

// A set of code points: ranges plus general categories, perhaps negated.
class ClassSet {
 public:
  void add(Range range) { ranges_.push_back(range); }
  void add(uint8_t classes) { classes_ |= classes; }
  void negate() { negated_ = true; }
  void finish() {
    std::sort(ranges_.begin(), ranges_.end(), [](Range a, Range b) { return a.first < b.first; });
    std::vector<Range> joined;
    for (const Range r : ranges_) {
      if (!joined.empty() && r.first <= joined.back().last) {
        joined.back().last = std::max(joined.back().last, r.last);
      } else {
        joined.push_back(r);
      }
    }
    ranges_ = std::move(joined);
    for (char32_t c = 0; c < 128; ++c) ascii_[c] = slow_contains(c);
  }
  bool contains(char32_t c) const { return c < 128 ? ascii_[c] : slow_contains(c); }

 private:
  bool slow_contains(char32_t c) const {
    bool in = (classes_ & char_classes(c)) != 0;
    if (!in) {
      const auto after =
          std::upper_bound(ranges_.begin(), ranges_.end(), c, [](char32_t v, Range r) { return v < r.first; });
      in = after != ranges_.begin() && c <= std::prev(after)->last;
    }
    return in != negated_;
  }
  std::vector<Range> ranges_;
  uint8_t classes_ = 0;
  bool negated_ = false;
  std::array<bool, 128> ascii_{};
};

struct ClassExpression {
  std::optional<ClassSet> lead;  // an optional character before the run
  ClassSet set;
  int most = 1;  // characters in a run; 0 = no limit
  bool at_end = false;
};

// Reads the expression from left to right; every method returns nothing on what it does not know.
class ClassParser {
 public:
  explicit ClassParser(std::string_view expression) : text_(expression) {}

  std::optional<ClassExpression> parse() {
    ClassExpression e;
    auto set = atom();
    if (!set) return std::nullopt;
    if (take("?")) {
      e.lead = std::move(set);
      set = atom();
      if (!set) return std::nullopt;
    }
    e.set = std::move(*set);
    if (take("+")) {
      e.most = 0;
    } else if (take("{1,")) {
      const auto n = number();
      if (!n || !take("}")) return std::nullopt;
      e.most = *n;
    }
    e.at_end = take("$");
    if (at_ != text_.size()) return std::nullopt;
    return e;
  }

 private:
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::optional<int> number() {
    int n = 0, digits = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && digits < 4; ++digits) {
      n = n * 10 + (text_[at_++] - '0');
    }
    return digits && n > 0 ? std::optional(n) : std::nullopt;
  }
  static std::optional<uint8_t> category(char name) {
    switch (name) {
      case 'L': return kLetter;
      case 'N': return kNumber;
      case 'P': return kPunctuation;
      case 'S': return kSymbol;
      case 'M': return kMark;
      default: return std::nullopt;
    }
  }
  // \p{X} or \s.
  std::optional<uint8_t> named_class() {
    if (take("\\s")) return kSpace;
    if (!text_.substr(at_).starts_with("\\p{") || at_ + 5 > text_.size() || text_[at_ + 4] != '}')
      return std::nullopt;
    const auto classes = category(text_[at_ + 3]);
    if (classes) at_ += 5;
    return classes;
  }
  // One character, escaped or not, as it stands inside brackets.
  std::optional<char32_t> character() {
    if (at_ >= text_.size()) return std::nullopt;
    if (take("\\r")) return '\r';
    if (take("\\n")) return '\n';
    if (take("\\t")) return '\t';
    if (take("\\x{")) return hexadecimal(6, /*braced=*/true);
    if (take("\\u")) return hexadecimal(4, /*braced=*/false);
    const bool escaped = take("\\");
    if (at_ >= text_.size()) return std::nullopt;
    const CodePoint c = code_point_at(text_, at_);
    const bool sign = c.value < 128 && (char_classes(c.value) & (kPunctuation | kSymbol));
    const bool structure = c.value == '[' || c.value == ']' || c.value == '^';
    if (escaped ? !sign : structure) return std::nullopt;
    if (!escaped && text_.substr(at_).starts_with("&&")) return std::nullopt;
    at_ += c.bytes;
    return c.value;
  }
  // Up to `most` digits and a closing brace, or exactly `most` digits.
  std::optional<char32_t> hexadecimal(int most, bool braced) {
    char32_t value = 0;
    int digits = 0;
    for (; digits < most && at_ < text_.size() && std::isxdigit(static_cast<unsigned char>(text_[at_])); ++digits) {
      const char c = text_[at_++];
      value = value * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (value > 0x10FFFF || digits == 0 || (braced ? !take("}") : digits < most)) return std::nullopt;
    return value;
  }
  std::optional<ClassSet> atom() {
    ClassSet set;
    if (take(" ")) {
      set.add(Range{' ', ' '});
    } else if (const auto classes = named_class()) {
      set.add(*classes);
    } else if (!take("[") || !brackets(set)) {
      return std::nullopt;
    }
    set.finish();
    return set;
  }
  bool brackets(ClassSet& set) {
    if (take("^")) set.negate();
    for (int items = 0; !take("]") || items == 0; ++items) {
      if (const auto classes = named_class()) {
        set.add(*classes);
        continue;
      }
      const bool bare_hyphen = text_.substr(at_).starts_with("-");
      const auto first = character();
      if (!first || bare_hyphen) return false;
      char32_t last = *first;
      if (take("-")) {
        if (named_class()) return false;
        const auto end = character();
        if (!end || *end < *first) return false;
        last = *end;
      }
      set.add(Range{*first, last});
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class ClassPattern : public SplitPattern {
 public:
  explicit ClassPattern(ClassExpression expression) : e_(std::move(expression)) {}

  void find_all(std::string_view piece, PatternBudget&, std::vector<Match>& matches) const override {
    for (size_t at = 0; at < piece.size();) {
      const CodePoint first = code_point_at(piece, at);
      size_t run = at;
      if (e_.lead && e_.lead->contains(first.value)) {
        run = at + first.bytes;
        if (run == piece.size() || !e_.set.contains(code_point_at(piece, run).value)) run = at;
      }
      size_t end = run_end(piece, run);
      const size_t tried = end;
      if (e_.at_end) end = last_line_end(piece, run, end);
      if (end > run) matches.push_back({at, end});
      // A run that does not reach the end of a line does not reach it from a later start either.
      at = end > run ? end : std::max(tried, at + first.bytes);
    }
  }

 private:
  size_t run_end(std::string_view piece, size_t at) const {
    for (int taken = 0; at < piece.size() && (e_.most == 0 || taken < e_.most); ++taken) {
      const CodePoint c = code_point_at(piece, at);
      if (!e_.set.contains(c.value)) break;
      at += c.bytes;
    }
    return at;
  }
  // `$` stands at the end of the piece and before a line feed; the longest run that ends there, or `begin`.
  static size_t last_line_end(std::string_view piece, size_t begin, size_t end) {
    while (end > begin && end != piece.size() && piece[end] != '\n') end -= code_point_before(piece, end).bytes;
    return end;
  }
  ClassExpression e_;
};

}  // namespace

std::unique_ptr<SplitPattern> class_pattern(std::string_view expression) {
  if (!is_valid_utf8(expression)) return nullptr;
  auto parsed = ClassParser(expression).parse();
  // With `$`, only an unbounded run without lead may skip ahead after a failure.
  if (!parsed || (parsed->at_end && (parsed->lead || parsed->most != 0))) return nullptr;
  return std::make_unique<ClassPattern>(std::move(*parsed));
}

}  // namespace cachalot
