// Python's two ways to format: "…" % values and "…".format(…).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "text/jinja_builtins.h"
#include "text/jinja_renderer.h"
#include "text/jinja_text.h"

namespace cachalot::jinja {
namespace {

// One conversion, of either kind.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =, or none given
  char sign = '-';    // + space -
  bool alternate = false;
  char grouping = '\0';  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

std::string pad(const Heap& heap, std::string_view text, const Spec& spec, char align) {
  const int64_t missing = std::max<int64_t>(spec.width - count_letters(text), 0);
  heap.check_text(static_cast<int64_t>(text.size()) + missing * static_cast<int64_t>(spec.fill.size()));
  int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += spec.fill;
  out += text;
  for (; left < missing; ++left) out += spec.fill;
  return out;
}

// Separators between groups of digits before the point.
std::string grouped(std::string_view digits, const Spec& spec) {
  if (!spec.grouping) return std::string(digits);
  const size_t size = spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b' ? 4 : 3;
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i && (whole - i) % size == 0) out += spec.grouping;
    out += digits[i];
  }
  return out + std::string(digits.substr(whole));
}

// Sign, prefix and digits, filled up to the width.
std::string pad_number(const Heap& heap, bool negative, std::string_view prefix, std::string_view digits,
                       const Spec& spec) {
  std::string head = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  head += prefix;
  const std::string body = grouped(digits, spec);
  if (spec.align != '=') return pad(heap, head + body, spec, spec.align ? spec.align : '>');
  Spec inner = spec;
  inner.width = spec.width - static_cast<int64_t>(head.size());
  return head + pad(heap, body, inner, '>');
}

std::string format_integer(const Heap& heap, int64_t number, const Spec& spec) {
  const uint64_t magnitude = number < 0 ? -static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  std::string digits;
  std::string_view prefix;
  switch (spec.type) {
    case 'x': digits = fmt::format("{:x}", magnitude), prefix = "0x"; break;
    case 'X': digits = fmt::format("{:X}", magnitude), prefix = "0X"; break;
    case 'o': digits = fmt::format("{:o}", magnitude), prefix = "0o"; break;
    case 'b': digits = fmt::format("{:b}", magnitude), prefix = "0b"; break;
    default: digits = std::to_string(magnitude);
  }
  if (!spec.alternate) prefix = "";
  return pad_number(heap, number < 0, prefix, digits, spec);
}

std::string format_real(const Heap& heap, double number, const Spec& spec) {
  heap.check_text(spec.precision + 400);
  const int precision = static_cast<int>(spec.precision);
  const double magnitude = std::fabs(number);
  const bool finite = std::isfinite(number);
  const char type = static_cast<char>(spec.type | 32);
  std::string digits;
  if (!finite) {
    digits = std::isnan(number) ? "nan" : "inf";
    if (type == '%' || spec.type == '%') digits += '%';
  } else if (spec.type == '%') {
    digits = fmt::format("{:.{}f}%", magnitude * 100, precision < 0 ? 6 : precision);
  } else if (spec.type == '\0') {  // format() without a type
    if (precision < 0) {
      digits = repr(magnitude);
    } else {
      digits = fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
      const size_t exponent = digits.find('e');
      const bool whole = digits.find('.') == std::string::npos && exponent == std::string::npos;
      if (whole && static_cast<int>(digits.size()) >= std::max(precision, 1) && precision <= 1) {
        digits = fmt::format("{:.0e}", magnitude);
      } else if (whole) {
        digits += ".0";
      }
    }
  } else if (type == 'e') {
    digits = fmt::format("{:.{}e}", magnitude, precision < 0 ? 6 : precision);
  } else if (type == 'f') {
    digits = fmt::format("{:.{}f}", magnitude, precision < 0 ? 6 : precision);
  } else {
    const int significant = precision < 0 ? 6 : std::max(precision, 1);
    digits = spec.alternate ? fmt::format("{:#.{}g}", magnitude, significant)
                            : fmt::format("{:.{}g}", magnitude, significant);
  }
  if (spec.type == 'E' || spec.type == 'F' || spec.type == 'G') digits = upper(digits);
  if (spec.alternate && finite && digits.find('.') == std::string::npos) {
    digits.insert(std::min(digits.find_first_not_of("0123456789"), digits.size()), ".");
  }
  const bool negative = std::signbit(number) && !std::isnan(number);
  return pad_number(heap, negative, "", digits, spec);
}

std::string ascii_only(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const int32_t letter = next_letter(text, at);
    if (letter < 0x80) {
      out += static_cast<char>(letter);
    } else {
      out += letter < 0x100     ? fmt::format("\\x{:02x}", letter)
             : letter < 0x10000 ? fmt::format("\\u{:04x}", letter)
                                : fmt::format("\\U{:08x}", letter);
    }
  }
  return out;
}

std::string first_letters(std::string_view text, int64_t count) {
  if (count < 0 || count >= count_letters(text)) return std::string(text);
  return std::string(text.substr(0, offset_of_letter(text, count, false)));
}

int64_t truncated(double number) {
  if (!(std::fabs(number) < 0x1p63)) throw Failure{"cannot convert this float to an integer"};
  return static_cast<int64_t>(number);
}

class PercentFormatter {
 public:
  PercentFormatter(Heap& heap, const Value& format, const Value& values)
      : heap_(heap), format_(format.text()), values_(values), markup_(format.as_text().markup) {
    is_mapping_ =
        values.is(Kind::dict) || values.is(Kind::list) || values.is(Kind::undefined) || values.is(Kind::range);
  }

  std::string run() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      out_ += format_.substr(at_, percent - at_);
      at_ = percent;
      if (at_ < format_.size()) convert();
      heap_.spend(1);
      heap_.check_text(static_cast<int64_t>(out_.size()));
    }
    const size_t given = values_.is(Kind::tuple) ? values_.items().size() : 1;
    if (!is_mapping_ && used_ < given) throw Failure{"not all arguments converted during string formatting"};
    return std::move(out_);
  }

 private:
  char take() {
    if (at_ >= format_.size()) throw Failure{"incomplete format"};
    return format_[at_++];
  }

  Value next_value() {
    const bool tuple = values_.is(Kind::tuple);
    if (used_ >= (tuple ? values_.items().size() : 1)) throw Failure{"not enough arguments for format string"};
    return tuple ? values_.items()[used_++] : (++used_, values_);
  }

  int64_t number_or_star(char& c) {
    if (c == '*') {
      c = take();
      const Value value = next_value();
      if (!value.is_integral()) throw Failure{"* wants int"};
      return value.as_integer();
    }
    int64_t number = 0;
    for (; c >= '0' && c <= '9'; c = take()) {
      number = number * 10 + (c - '0');
      heap_.check_text(number);
    }
    return number;
  }

  void convert() {
    take();
    char c = take();
    Value keyed;
    if (c == '(') {
      keyed = named_value();
      c = take();
    }
    Spec spec;
    bool zero = false, left = false;
    for (; c == '-' || c == '+' || c == ' ' || c == '#' || c == '0'; c = take()) {
      if (c == '-') left = true;
      if (c == '+' || (c == ' ' && spec.sign != '+')) spec.sign = c;
      if (c == '#') spec.alternate = true;
      if (c == '0') zero = true;
    }
    spec.width = number_or_star(c);
    if (spec.width < 0) left = true, spec.width = -spec.width;
    if (c == '.') {
      c = take();
      spec.precision = std::max<int64_t>(number_or_star(c), 0);
    }
    heap_.check_text(spec.width);
    heap_.check_text(spec.precision);
    if (c == 'h' || c == 'l' || c == 'L') c = take();
    if (c == '%') {
      out_ += '%';
      return;
    }
    const bool number = std::string_view("diuoxXeEfFgG").find(c) != std::string_view::npos;
    spec.type = c;
    spec.align = left ? '<' : zero && number ? '=' : '>';
    if (spec.align == '=') spec.fill = "0";
    out_ += converted(keyed.is_missing() ? next_value() : keyed, spec);
  }

  Value named_value() {
    if (!is_mapping_) throw Failure{"format requires a mapping"};
    const size_t begin = at_;
    for (int depth = 1; depth > 0;) {
      const char c = take();
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    const std::string_view name = format_.substr(begin, at_ - 1 - begin);
    if (!values_.is(Kind::dict)) throw Failure{"format requires a mapping with names"};
    const Value* found = heap_.find(values_.dict(), name);
    if (!found) throw Failure{"no value for " + repr(name)};
    return *found;
  }

  std::string converted(const Value& value, const Spec& spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        std::string text = spec.type == 's' ? str(heap_, value) : repr(heap_, value);
        if (spec.type == 'a') text = ascii_only(text);
        const bool safe = value.is(Kind::string) && value.as_text().markup && spec.type == 's';
        if (markup_ && !safe) text = escape_html(text);
        return pad(heap_, first_letters(text, spec.precision), spec, spec.align);
      }
      case 'c': return pad(heap_, letter(value), spec, spec.align);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': return integer(value, spec);
      default:
        if (std::string_view("eEfFgG").find(spec.type) == std::string_view::npos) {
          throw Failure{fmt::format("unsupported format character '{}'", spec.type)};
        }
        if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
        if (value.is_number()) return format_real(heap_, value.as_real(), spec);
        throw Failure{"must be real number, not " + type_name(value)};
    }
  }

  static std::string letter(const Value& value) {
    if (value.is(Kind::string) && value.as_text().length == 1) return std::string(value.text());
    if (!value.is_integral()) throw Failure{"%c requires int or char"};
    const int64_t code = value.as_integer();
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw Failure{"%c arg not in range"};
    std::string out;
    append_letter(out, static_cast<int32_t>(code));
    return out;
  }

  std::string integer(const Value& value, Spec spec) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
    if (!value.is_integral() && !(decimal && value.is(Kind::real))) {
      throw Failure{fmt::format("%{} format: a number is required, not {}", spec.type, type_name(value))};
    }
    const int64_t number = value.is_integral() ? value.as_integer() : truncated(value.as_real());
    if (spec.precision < 0) return format_integer(heap_, number, spec);
    Spec plain;
    plain.type = spec.type;
    std::string digits = format_integer(heap_, number, plain);
    if (number < 0) digits.erase(0, 1);
    if (static_cast<int64_t>(digits.size()) < spec.precision) {
      digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
    }
    const std::string prefix = spec.alternate && !decimal ? std::string("0") + spec.type : "";
    return pad_number(heap_, number < 0, prefix, digits, spec);
  }

  Heap& heap_;
  std::string_view format_;
  const Value& values_;
  bool markup_, is_mapping_;
  std::string out_;
  size_t at_ = 0, used_ = 0;
};

Spec parse_spec(const Heap& heap, std::string_view text, bool is_number) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t at = 0;
  if (!text.empty()) {
    size_t second = 0;
    next_letter(text, second);
    if (second < text.size() && is_align(text[second])) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      at = second + 1;
    } else if (is_align(text[0])) {
      spec.align = text[0], at = 1;
    }
  }
  const auto now = [&] { return at < text.size() ? text[at] : '\0'; };
  if (now() == '+' || now() == '-' || now() == ' ') {
    if (!is_number) throw Failure{"Sign not allowed in string format specifier"};
    spec.sign = text[at++];
  }
  if (now() == '#') spec.alternate = true, ++at;
  if (now() == '0') {
    ++at;
    if (!spec.align) spec.fill = "0", spec.align = is_number ? '=' : '\0';
  }
  const auto number = [&] {
    int64_t n = 0;
    for (; now() >= '0' && now() <= '9'; ++at) heap.check_text(n = n * 10 + (text[at] - '0'));
    return n;
  };
  spec.width = number();
  if (now() == ',' || now() == '_') spec.grouping = text[at++];
  if (now() == '.') {
    ++at;
    if (!(now() >= '0' && now() <= '9')) throw Failure{"Format specifier missing precision"};
    spec.precision = number();
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) throw Failure{"Invalid format specifier"};
  return spec;
}

// format(value, spec)
std::string format_value(Heap& heap, const Value& value, std::string_view text) {
  if (text.empty()) return str(heap, value);
  if (!value.is(Kind::string) && !value.is_number()) {
    throw Failure{"unsupported format string passed to " + type_name(value) + ".__format__"};
  }
  Spec spec = parse_spec(heap, text, value.is_number());
  const auto one_of = [&](std::string_view types) {
    return spec.type == '\0' || types.find(spec.type) != std::string_view::npos;
  };
  const auto refuse = [&] {
    throw Failure{fmt::format("Unknown format code '{}' for object of type '{}'", spec.type, type_name(value))};
  };
  if (value.is(Kind::string)) {
    if (!one_of("s")) refuse();
    if (spec.align == '=') throw Failure{"'=' alignment not allowed in string format specifier"};
    if (spec.grouping || spec.alternate) throw Failure{"Cannot specify this format for a string"};
    return pad(heap, first_letters(value.text(), spec.precision), spec, spec.align ? spec.align : '<');
  }
  if (spec.type == 'n') spec.type = value.is_integral() ? 'd' : 'g';
  if (value.is_integral() && one_of("dboxX")) {
    if (spec.precision >= 0) throw Failure{"Precision not allowed in integer format specifier"};
    return format_integer(heap, value.as_integer(), spec);
  }
  if (spec.type == '\0' || !one_of("eEfFgG%")) {
    if (spec.type != '\0') refuse();
  }
  return format_real(heap, value.as_real(), spec);
}

class BraceFormatter {
 public:
  BraceFormatter(Renderer& renderer, const Args& args, bool markup)
      : renderer_(renderer), heap_(renderer.heap()), args_(args), markup_(markup) {}

  std::string run(std::string_view format, int depth) {
    if (depth < 0) throw Failure{"Max string recursion exceeded"};
    std::string out;
    for (size_t at = 0; at < format.size();) {
      const char c = format[at++];
      const bool doubled = at < format.size() && format[at] == c;
      if (c != '{' && c != '}') {
        out += c;
      } else if (doubled) {
        out += c, ++at;
      } else if (c == '}') {
        throw Failure{"Single '}' encountered in format string"};
      } else {
        const size_t begin = at;
        for (int open = 1; open > 0; ++at) {
          if (at >= format.size()) throw Failure{"expected '}' before end of string"};
          open += format[at] == '{' ? 1 : format[at] == '}' ? -1 : 0;
        }
        out += field(format.substr(begin, at - 1 - begin), depth);
      }
      heap_.spend(1);
      heap_.check_text(static_cast<int64_t>(out.size()));
    }
    return out;
  }

 private:
  std::string field(std::string_view text, int depth) {
    const size_t name_end = std::min(text.find_first_of("!:"), text.size());
    Value value = lookup(text.substr(0, name_end));
    text.remove_prefix(name_end);
    char conversion = '\0';
    if (text.starts_with('!')) {
      if (text.size() < 2 || (text.size() > 2 && text[2] != ':'))
        throw Failure{"expected ':' after conversion specifier"};
      conversion = text[1];
      text.remove_prefix(2);
    }
    if (conversion == 'r') value = heap_.text(repr(heap_, value));
    if (conversion == 'a') value = heap_.text(ascii_only(repr(heap_, value)));
    if (conversion == 's') value = heap_.text(str(heap_, value));
    if (conversion && std::string_view("ras").find(conversion) == std::string_view::npos) {
      throw Failure{"Unknown conversion specifier"};
    }
    if (!text.empty()) text.remove_prefix(1);
    const std::string result = format_value(heap_, value, run(text, depth - 1));
    const bool safe = value.is(Kind::string) && value.as_text().markup;
    return markup_ && !safe ? escape_html(result) : result;
  }

  Value lookup(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        name.remove_prefix(1);
        const size_t next = std::min(name.find_first_of(".["), name.size());
        if (next == 0) throw Failure{"Empty attribute in format string"};
        value = renderer_.attribute(value, std::string(name.substr(0, next)));
        name.remove_prefix(next);
      } else if (name[0] == '[') {
        const size_t close = name.find(']');
        if (close == std::string_view::npos || close == 1) throw Failure{"Empty or open index in format string"};
        value = renderer_.item(value, key(name.substr(1, close - 1)));
        name.remove_prefix(close + 1);
      } else {
        throw Failure{"Only '.' or '[' may follow ']' in format field specifier"};
      }
    }
    return value;
  }

  static bool is_number(std::string_view text) {
    return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string_view::npos;
  }
  Value key(std::string_view text) {
    if (is_number(text)) return Value::integer(std::stoll(std::string(text)));
    return heap_.text(text);
  }

  Value first(std::string_view name) {
    if (name.empty() || is_number(name)) {
      const bool automatic = name.empty();
      if (automatic ? manual_ : next_ > 0) {
        throw Failure{"cannot switch between manual field specification and automatic field numbering"};
      }
      manual_ = manual_ || !automatic;
      const size_t index = automatic ? next_++ : static_cast<size_t>(std::stoll(std::string(name)));
      if (index >= args_.positional.size()) throw Failure{"a format string names an argument that is not given"};
      return args_.positional[index];
    }
    for (const auto& [known, value] : args_.named) {
      if (known == name) return value;
    }
    throw Failure{"a format string names " + repr(name) + ", which is not given"};
  }

  Renderer& renderer_;
  Heap& heap_;
  const Args& args_;
  bool markup_, manual_ = false;
  size_t next_ = 0;
};

}  // namespace

Value format_percent(Heap& heap, const Value& format, const Value& values) {
  return heap.text(PercentFormatter(heap, format, values).run(), format.as_text().markup);
}

Value format_braces(Renderer& renderer, const Value& format, const Args& args) {
  const bool markup = format.as_text().markup;
  return renderer.heap().text(BraceFormatter(renderer, args, markup).run(format.text(), 2), markup);
}

}  // namespace cachalot::jinja
