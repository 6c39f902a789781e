// Python's two ways to format: "…" % values and "…".format(…). When anything of the format was said, all of the
// result counts as said.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/builtins.h"
#include "jinja/renderer.h"
#include "jinja/spec.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

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

  AttributedText run() {
    while (at_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', at_), format_.size());
      out_.write(format_.substr(at_, percent - at_));
      at_ = percent;
      if (at_ < format_.size()) convert();
      heap_.spend(1);
      heap_.check_text(out_);
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
    if (c == '%') {
      out_.write("%");
      return;
    }
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
    const bool number = std::string_view("diuoxXeEfFgG").find(c) != std::string_view::npos;
    spec.type = c;
    spec.align = left ? '<' : zero && number ? '=' : '>';
    if (spec.align == '=') spec.fill = "0";
    out_.append(converted(keyed.is_missing() ? next_value() : keyed, spec));
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

  AttributedText converted(const Value& value, const Spec& spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        AttributedText text = spec.type == 's' ? str(heap_, value) : repr(heap_, value);
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
      case 'o': return written(integer(value, spec));
      default:
        if (std::string_view("eEfFgG").find(spec.type) == std::string_view::npos) {
          throw Failure{fmt::format("unsupported format character '{}'", spec.type)};
        }
        if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
        if (value.is_number()) return written(format_real(heap_, value.as_real(), spec));
        throw Failure{"must be real number, not " + type_name(value)};
    }
  }

  static AttributedText letter(const Value& value) {
    if (value.is(Kind::string) && value.as_text().length == 1) return value.as_text();
    if (!value.is_integral()) throw Failure{"%c requires int or char"};
    return letter_of(value.as_integer());
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
  AttributedText out_;
  size_t at_ = 0, used_ = 0;
};

class BraceFormatter {
 public:
  BraceFormatter(Renderer& renderer, const Args& args, bool markup)
      : renderer_(renderer), heap_(renderer.heap()), args_(args), markup_(markup) {}

  AttributedText run(std::string_view format, int depth) {
    if (depth < 0) throw Failure{"Max string recursion exceeded"};
    AttributedText out;
    for (size_t at = 0; at < format.size();) {
      const char c = format[at++];
      const bool doubled = at < format.size() && format[at] == c;
      if (c != '{' && c != '}') {
        out.text += c;
      } else if (doubled) {
        out.text += c, ++at;
      } else if (c == '}') {
        throw Failure{"Single '}' encountered in format string"};
      } else {
        const size_t begin = at;
        for (int open = 1; open > 0; ++at) {
          if (at >= format.size()) throw Failure{"expected '}' before end of string"};
          open += format[at] == '{' ? 1 : format[at] == '}' ? -1 : 0;
        }
        out.append(field(format.substr(begin, at - 1 - begin), depth));
      }
      heap_.spend(1);
      heap_.check_text(out);
    }
    return out;
  }

 private:
  AttributedText field(std::string_view text, int depth) {
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
    const AttributedText result = format_value(heap_, value, run(text, depth - 1));
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
    return heap_.text(written(std::string(text)));
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
      if (known.text == name) return value;
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

namespace {
Value like_format(Heap& heap, const Text& format, AttributedText text) {
  if (!format.provenance.nothing_said()) text = std::move(text).all_said();
  return heap.text(std::move(text), format.markup);
}
}  // namespace

Value format_percent(Heap& heap, const Value& format, const Value& values) {
  return like_format(heap, format.as_text(), PercentFormatter(heap, format, values).run());
}

Value format_braces(Renderer& renderer, const Value& format, const Args& args) {
  const Text& text = format.as_text();
  return like_format(renderer.heap(), text, BraceFormatter(renderer, args, text.markup).run(text.text, 2));
}

}  // namespace cachalot::jinja
