#include "jinja/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

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

Spec parse_spec(const Heap& heap, std::string_view text, bool is_number) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t at = 0;
  bool has_fill = false;
  if (!text.empty()) {
    size_t second = 0;
    next_letter(text, second);
    if (second < text.size() && is_align(text[second])) {
      spec.fill = text.substr(0, second);
      has_fill = true;
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
    if (!has_fill) spec.fill = "0";
    if (!spec.align && is_number) spec.align = '=';
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

}  // namespace

AttributedText pad(const Heap& heap, const AttributedText& text, const Spec& spec, char align) {
  const int64_t missing = std::max<int64_t>(spec.width - count_letters(text.text), 0);
  heap.check_text(static_cast<int64_t>(text.text.size()) + missing * static_cast<int64_t>(spec.fill.size()));
  int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  AttributedText out;
  for (int64_t i = 0; i < left; ++i) out.write(spec.fill);
  out.append(text);
  for (; left < missing; ++left) out.write(spec.fill);
  return out;
}

// Sign, prefix and digits, filled up to the width.
std::string pad_number(const Heap& heap, bool negative, std::string_view prefix, std::string_view digits,
                       const Spec& spec) {
  std::string head = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  head += prefix;
  const std::string body = grouped(digits, spec);
  if (spec.align != '=') return pad(heap, written(head + body), spec, spec.align ? spec.align : '>').text;
  Spec inner = spec;
  inner.width = spec.width - static_cast<int64_t>(head.size());
  return head + pad(heap, written(body), inner, '>').text;
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

AttributedText ascii_only(const AttributedText& text) {
  AttributedText out;
  rewrite(text, out, [](std::string& to, size_t, size_t, int32_t letter) {
    if (letter < 0x80) {
      to += static_cast<char>(letter);
    } else {
      to += letter < 0x100     ? fmt::format("\\x{:02x}", letter)
            : letter < 0x10000 ? fmt::format("\\u{:04x}", letter)
                               : fmt::format("\\U{:08x}", letter);
    }
  });
  return out;
}

AttributedText first_letters(const AttributedText& text, int64_t count) {
  if (count < 0 || count >= count_letters(text.text)) return text;
  return text.part(std::string_view(text.text).substr(0, offset_of_letter(text.text, count, false)));
}

AttributedText letter_of(int64_t code) {
  if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw Failure{"%c arg not in range"};
  AttributedText out;
  append_letter(out.text, static_cast<int32_t>(code));
  return std::move(out).all_said();
}

namespace {

AttributedText formatted(Heap& heap, const Value& value, std::string_view text) {
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
    return pad(heap, first_letters(value.as_text(), spec.precision), spec, spec.align ? spec.align : '<');
  }
  if (value.is_integral() && spec.type == 'c') {
    if (spec.precision >= 0 || spec.sign != '-' || spec.alternate) throw Failure{"'c' takes only fill and width"};
    return pad(heap, letter_of(value.as_integer()), spec, spec.align == '=' || !spec.align ? '>' : spec.align);
  }
  if (spec.type == 'n') spec.type = value.is_integral() ? 'd' : 'g';
  if (value.is_integral() && one_of("dboxX")) {
    if (spec.precision >= 0) throw Failure{"Precision not allowed in integer format specifier"};
    return written(format_integer(heap, value.as_integer(), spec));
  }
  if (spec.type == '\0' || !one_of("eEfFgG%")) {
    if (spec.type != '\0') refuse();
  }
  return written(format_real(heap, value.as_real(), spec));
}

}  // namespace

AttributedText format_value(Heap& heap, const Value& value, const AttributedText& spec) {
  AttributedText text = formatted(heap, value, spec.text);
  return spec.provenance.nothing_said() ? text : std::move(text).all_said();
}

}  // namespace cachalot::jinja
