#include "jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

// One newline form, and without the last one.
std::string normalize(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string message) const { throw LineFailure{line_, std::move(message)}; }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool sees(std::string_view text) const { return rest().starts_with(text); }

  Token& add(TokenKind kind, std::string_view text) {
    tokens_.push_back({kind, line_, std::string(text), 0, 0});
    return tokens_.back();
  }

  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(at_ + bytes), '\n'));
    if (bytes) line_starting_ = source_[at_ + bytes - 1] == '\n';
    at_ += bytes;
  }
  size_t spaces(size_t from) const {
    size_t at = from;
    while (at < source_.size()) {
      size_t behind = at;
      if (!is_space(next_letter(source_, behind))) break;
      at = behind;
    }
    return at - from;
  }

  // Text up to the next tag, and the tag. `sign` is the character behind the tag's opening, if it is + or -.
  void read_data() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) return emit_data(source_.size());
      const char kind = source_[tag + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++tag;
    }
    const char kind = source_[tag + 1];
    const char sign = sign_at(tag + 2);
    emit_stripped(tag, sign, kind != '{');
    if (kind == '%') {
      if (const size_t size = raw_begin()) return read_raw(size);
    }
    const size_t size = sign ? 3 : 2;
    if (kind == '#') return read_comment(size);
    add(kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, "");
    advance(size);
    read_code(kind == '{' ? '}' : '%');
  }

  char sign_at(size_t at) const {
    return at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
  }

  void emit_data(size_t end) {
    if (end > at_) add(TokenKind::data, std::string_view(source_).substr(at_, end - at_));
    advance(end - at_);
  }

  // Emits the text before a tag at `tag`, without the white space that the tag takes away.
  void emit_stripped(size_t tag, char sign, bool is_block) {
    std::string_view text = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') {
      text = strip(text, Side::right);
    } else if (sign != '+' && is_block) {
      const size_t newline = text.rfind('\n');
      const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && strip(text.substr(begin), Side::both).empty())
        text = text.substr(0, begin);
    }
    if (!text.empty()) add(TokenKind::data, text);
    advance(tag - at_);
  }

  // The size of `{% raw %}` at the current place, or 0.
  size_t raw_begin() const {
    size_t at = at_ + 2;
    if (sign_at(at)) ++at;
    at += spaces(at);
    if (!std::string_view(source_).substr(at).starts_with("raw")) return 0;
    at += 3, at += spaces(at);
    const std::string_view close = std::string_view(source_).substr(at);
    if (close.starts_with("-%}")) return at + 3 + spaces(at + 3) - at_;
    return close.starts_with("%}") ? at + 2 - at_ : 0;
  }

  // The size of the closing text of a block at `at`, with the white space that it takes along, or 0.
  size_t close_size(size_t at, std::string_view close) const {
    const std::string_view text = std::string_view(source_).substr(at);
    if (text.starts_with(close)) {
      const bool newline = at + close.size() < source_.size() && source_[at + close.size()] == '\n';
      return close.size() + (newline ? 1 : 0);
    }
    if (text.empty() || !text.substr(1).starts_with(close)) return 0;
    if (text[0] == '+') return 1 + close.size();
    return text[0] == '-' ? 1 + close.size() + spaces(at + 1 + close.size()) : 0;
  }

  void read_raw(size_t begin_size) {
    advance(begin_size);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      size_t at = tag + 2;
      const char sign = sign_at(at);
      if (sign) ++at;
      at += spaces(at);
      if (!std::string_view(source_).substr(at).starts_with("endraw")) continue;
      at += 6, at += spaces(at);
      const size_t size = close_size(at, "%}");
      if (size == 0) continue;
      emit_stripped(tag, sign, true);
      return advance(at + size - at_);
    }
    fail("Missing end of raw directive");
  }

  void read_comment(size_t begin_size) {
    advance(begin_size);
    for (size_t at = at_; at < source_.size(); ++at) {
      if (source_[at] != '#' && source_[at] != '-' && source_[at] != '+') continue;
      if (const size_t size = close_size(at, "#}")) return advance(at + size - at_);
    }
    fail("Missing end of comment tag");
  }

  // The tokens of one tag; `closer` is } for {{ }} and % for {% %}.
  void read_code(char closer) {
    std::string open;  // brackets to close
    while (at_ < source_.size()) {
      if (open.empty()) {
        size_t size = 0;
        if (closer == '%') {
          size = close_size(at_, "%}");
        } else if (sees("-}}")) {
          size = 3 + spaces(at_ + 3);
        } else if (sees("}}")) {
          size = 2;
        }
        if (size) {
          add(closer == '%' ? TokenKind::block_end : TokenKind::variable_end, "");
          return advance(size);
        }
      }
      if (const size_t size = spaces(at_)) {
        advance(size);
      } else if (!read_number() && !read_name() && !read_text()) {
        read_symbol(open);
      }
    }
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }
  // The size of (\d+_)*\d+ at `at`, or 0.
  size_t digits(size_t at) const {
    size_t end = at;
    while (end < source_.size() &&
           (digit(source_[end]) || (source_[end] == '_' && end > at && source_[end - 1] != '_' &&
                                    end + 1 < source_.size() && digit(source_[end + 1])))) {
      ++end;
    }
    return end - at;
  }

  bool read_number() {
    if (!digit(source_[at_])) return false;
    size_t end = at_ + digits(at_);
    bool real = false;
    if (at_ == 0 || source_[at_ - 1] != '.') {
      if (end < source_.size() && source_[end] == '.' && digits(end + 1)) { end += 1 + digits(end + 1), real = true; }
      if (end < source_.size() && (source_[end] | 32) == 'e') {
        size_t exponent = end + 1;
        if (sign_at(exponent)) ++exponent;
        if (const size_t size = digits(exponent)) end = exponent + size, real = true;
      }
    }
    if (!real) return read_integer();
    std::string text(source_, at_, end - at_);
    std::erase(text, '_');
    add(TokenKind::real, text).real = std::strtod(text.c_str(), nullptr);
    advance(end - at_);
    return true;
  }

  bool read_integer() {
    size_t end = at_ + digits(at_);
    if (source_[at_] == '0') {  // a prefix, or zeros only
      const char prefix = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 32) : ' ';
      const std::string_view allowed = prefix == 'x'   ? "0123456789abcdefABCDEF"
                                       : prefix == 'o' ? "01234567"
                                       : prefix == 'b' ? "01"
                                                       : "";
      size_t at = at_ + (allowed.empty() ? 1 : 2);
      const std::string_view set = allowed.empty() ? "0" : allowed;
      end = at;
      while (at < source_.size()) {
        if (source_[at] == '_' && at + 1 < source_.size()) ++at;
        if (set.find(source_[at]) == std::string_view::npos) break;
        end = ++at;
      }
      if (!allowed.empty() && end == at_ + 2) end = at_ + 1;
    }
    const std::string text(source_, at_, end - at_);
    int64_t number = 0;
    bool overflow = false;
    if (!parse_integer(text, 0, number, overflow) || overflow) fail("integer '" + text + "' is too large");
    add(TokenKind::integer, text).integer = number;
    advance(text.size());
    return true;
  }

  bool read_name() {
    size_t end = at_;
    while (end < source_.size()) {
      size_t behind = end;
      const int32_t letter = next_letter(source_, behind);
      if (letter < 0x80 ? !(std::isalnum(letter) || letter == '_') : !is_word(letter)) break;
      end = behind;
    }
    if (end == at_) return false;
    size_t first = at_;
    const int32_t letter = next_letter(source_, first);
    if (letter != '_' && !is_alpha(letter)) fail("Invalid character in identifier");
    add(TokenKind::name, std::string_view(source_).substr(at_, end - at_));
    advance(end - at_);
    return true;
  }

  bool read_text() {
    const char quote = source_[at_];
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail(fmt::format("unexpected char {}", repr(std::string_view(&quote, 1))));
    add(TokenKind::text, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
    return true;
  }

  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char letter = text[++i];
      constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
      if (letter == '\n') continue;
      if (const size_t found = kLetters.find(letter); found != std::string_view::npos) {
        out += kMeanings[found];
      } else if (letter >= '0' && letter <= '7') {
        size_t end = i;
        while (end < text.size() && end < i + 3 && text[end] >= '0' && text[end] <= '7') ++end;
        append_code(out, text.substr(i, end - i), 8);
        i = end - 1;
      } else if (letter == 'x' || letter == 'u' || letter == 'U') {
        const size_t size = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
        if (i + size >= text.size()) fail("truncated escape in a string");
        append_code(out, text.substr(i + 1, size), 16);
        i += size;
      } else if (letter == 'N') {
        fail("\\N{…} in a string is not supported");
      } else {
        out += '\\', out += letter;
      }
    }
    return out;
  }

  void append_code(std::string& out, std::string_view digits, int base) const {
    for (const char c : digits) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) fail("truncated escape in a string");
    }
    const unsigned long letter = std::strtoul(std::string(digits).c_str(), nullptr, base);
    if (letter > 0x10ffff || (letter >= 0xd800 && letter < 0xe000)) fail("no such character in a string's escape");
    append_letter(out, static_cast<int32_t>(letter));
  }

  void read_symbol(std::string& open) {
    static constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                    ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view symbol : kSymbols) {
      if (!sees(symbol)) continue;
      const char c = symbol[0];
      if (c == '{') open += '}';
      if (c == '(') open += ')';
      if (c == '[') open += ']';
      if (c == '}' || c == ')' || c == ']') {
        if (open.empty()) fail(fmt::format("unexpected '{}'", c));
        if (open.back() != c) fail(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
        open.pop_back();
      }
      add(TokenKind::symbol, symbol);
      return advance(symbol.size());
    }
    size_t at = at_;
    std::string letter;
    append_letter(letter, next_letter(source_, at));
    fail("unexpected char " + repr(letter));
  }

  std::string source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace cachalot::jinja
