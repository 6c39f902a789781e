// Filters on single values, and the calling of builtins. Filters on sequences are in jinja_sequences.cpp.
#include <fmt/format.h>

#include <cmath>

#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {

int64_t to_index(const Value& value) {
  if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
  if (!value.is_integral()) {
    throw Failure{fmt::format("'{}' object cannot be interpreted as an integer", type_name(value))};
  }
  return value.as_integer();
}

int64_t Call::integer(size_t i, int64_t otherwise) const { return has(i) ? to_index(bound[i]) : otherwise; }

std::string_view Call::text(size_t i) const {
  if (!bound[i].is(Kind::string)) {
    throw Failure{fmt::format("{}() needs a string, not '{}'", name, type_name(bound[i]))};
  }
  return bound[i].text();
}

Value Call::text_of_self() const { return self.is(Kind::string) ? self : heap.text(str(heap, self)); }

Value run_builtin(Renderer& renderer, const Builtin& builtin, Value self, Args& args) {
  Call call{renderer, renderer.heap(), builtin.name, std::move(self), args, {}};
  if (builtin.parameters == "*") return builtin.run(call);
  std::string_view rest = builtin.parameters;
  const bool by_position = rest.starts_with("/");
  if (by_position) rest.remove_prefix(1);
  size_t count = 0, named = 0;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    std::string_view parameter = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (parameter.empty()) continue;
    const bool optional = parameter.back() == '?';
    if (optional) parameter.remove_suffix(1);
    Value& slot = call.bound[count];
    if (count < args.positional.size()) slot = args.positional[count];
    for (const auto& [name, value] : args.named) {
      if (by_position || name.text != parameter) continue;
      if (!slot.is_missing()) throw Failure{fmt::format("{}() got two values for '{}'", builtin.name, name.text)};
      slot = value;
      ++named;
    }
    if (slot.is_missing() && !optional) throw Failure{fmt::format("{}() needs '{}'", builtin.name, parameter)};
    ++count;
  }
  if (args.positional.size() > count) throw Failure{fmt::format("{}() got too many arguments", builtin.name)};
  if (named < args.named.size()) throw Failure{fmt::format("{}() got an unknown keyword argument", builtin.name)};
  return builtin.run(call);
}

namespace {

// A text made from the subject keeps the subject's mark of safety.
Value like_self(const Call& c, AttributedText text) {
  return c.heap.text(std::move(text), c.self.is(Kind::string) && c.self.as_text().markup);
}

template <AttributedText (*change)(const AttributedText&)>
Value change_text(Call& c) {
  const Value text = c.text_of_self();
  c.heap.spend(static_cast<int64_t>(text.text().size()));
  return like_self(c, change(text.as_text()));
}

Value run_abs(Call& c) {
  if (c.self.is(Kind::real)) return Value::real(std::fabs(c.self.as_real()));
  if (c.self.is_integral()) return c.self.as_integer() < 0 ? negate(c.self, true) : negate(c.self, false);
  throw Failure{"bad operand type for abs(): '" + type_name(c.self) + "'"};
}

Value run_attr(Call& c) {
  const std::string name(c.text(0));
  if (c.self.is(Kind::undefined)) throw Failure{c.self.as<Undefined>().message};
  const Value found = c.renderer.own_attribute(c.self, name);
  return found.is_missing() ? c.heap.undefined("no attribute " + repr(name)) : c.renderer.attribute(c.self, name);
}

Value run_center(Call& c) {
  const Value text = c.text_of_self();
  const int64_t width = c.integer(0, 80);
  const int64_t pad = std::max<int64_t>(width - text.as_text().length, 0);
  c.heap.check_text(pad);
  const int64_t left = pad / 2 + (pad & width & 1);
  AttributedText out = written(std::string(static_cast<size_t>(left), ' '));
  out.append(text.as_text());
  out.text.append(static_cast<size_t>(pad - left), ' ');
  return like_self(c, std::move(out));
}

Value run_default(Call& c) {
  const bool replaced = c.self.is(Kind::undefined) || (c.flag(1, false) && !truthy(c.self));
  if (!replaced) return c.self;
  return c.has(0) ? c[0] : c.heap.text("");
}

Value run_escape(Call& c) {
  if (c.self.is(Kind::string) && c.self.as_text().markup) return c.self;
  const AttributedText text = str(c.heap, c.self);
  c.heap.spend(static_cast<int64_t>(text.text.size()));
  return c.heap.text(escape_html(text), true);
}

Value run_forceescape(Call& c) { return c.heap.text(escape_html(str(c.heap, c.self)), true); }
Value run_safe(Call& c) { return c.heap.text(str(c.heap, c.self), true); }
Value run_string(Call& c) { return c.text_of_self(); }

Value real_to_integer(double number) {
  if (!(std::fabs(number) < 0x1p63)) throw Failure{"cannot convert this float to an integer"};
  return Value::integer(static_cast<int64_t>(number));
}

Value run_int(Call& c) {
  Value otherwise = c.has(0) ? c[0] : Value::integer(0);
  if (c.self.is(Kind::undefined)) throw Failure{c.self.as<Undefined>().message};
  if (c.self.is_integral()) return Value::integer(c.self.as_integer());
  if (c.self.is(Kind::real)) return std::isnan(c.self.as_real()) ? otherwise : real_to_integer(c.self.as_real());
  if (!c.self.is(Kind::string)) return otherwise;
  const int64_t base = c.integer(1, 10);
  int64_t number = 0;
  bool overflow = false;
  const bool known_base = base == 0 || (base >= 2 && base <= 36);
  if (known_base && parse_integer(c.self.text(), static_cast<int>(base), number, overflow)) {
    if (overflow) throw Failure{"an integer beyond 64 bits"};
    return Value::integer(number);
  }
  double real = 0;
  if (!parse_real(c.self.text(), real) || std::isnan(real) || std::isinf(real)) return otherwise;
  return real_to_integer(real);
}

Value run_float(Call& c) {
  if (c.self.is(Kind::undefined)) throw Failure{c.self.as<Undefined>().message};
  if (c.self.is_number()) return Value::real(c.self.as_real());
  double number = 0;
  if (c.self.is(Kind::string) && parse_real(c.self.text(), number)) return Value::real(number);
  return c.has(0) ? c[0] : Value::real(0);
}

Value run_format(Call& c) {
  if (!c.args.positional.empty() && !c.args.named.empty()) {
    throw Failure{"can't handle positional and keyword arguments at the same time"};
  }
  if (c.args.named.empty()) return format_percent(c.heap, c.text_of_self(), c.heap.tuple(c.args.positional));
  auto dict = c.heap.dict();
  for (const auto& [name, value] : c.args.named) c.heap.set(*dict, c.heap.text(name), value);
  return format_percent(c.heap, c.text_of_self(), c.heap.value(std::move(dict)));
}

Value run_indent(Call& c) {
  if (!c.self.is(Kind::string)) throw Failure{"indent needs a string, not '" + type_name(c.self) + "'"};
  AttributedText indent;
  if (c.has(0) && c[0].is(Kind::string)) {
    indent = c[0].as_text();
  } else {
    const int64_t width = std::max<int64_t>(c.integer(0, 4), 0);
    c.heap.check_text(width);
    indent.text.assign(static_cast<size_t>(width), ' ');
  }
  const bool first = c.flag(1, false), blank = c.flag(2, false);
  AttributedText text = c.self.as_text();
  text.write("\n");
  AttributedText out;
  bool is_first = true;
  size_t end = 0;  // of the line before
  for (const std::string_view line : split_lines(text.text, false)) {
    if (!is_first) out.add("\n", text.provenance.said(end, end + 1));
    if (is_first ? first : (blank || !line.empty())) out.append(indent);
    is_first = false;
    end = static_cast<size_t>(line.data() - text.text.data()) + line.size();
    out.append(text, line);
    c.heap.spend(1);
    c.heap.check_text(out);
  }
  return like_self(c, std::move(out));
}

Value run_replace(Call& c) {
  Args args{{c.heap.text(str(c.heap, c[0])), c.heap.text(str(c.heap, c[1]))}, {}};
  if (c.has(2) && !c[2].is(Kind::none)) args.positional.push_back(c[2]);
  return run_builtin(c.renderer, *find_string_method("replace"), c.heap.text(str(c.heap, c.self)), args);
}

// Rounds half to even at 10^-digits, exactly for the number that is stored.
double round_real(double number, int64_t digits) {
  if (!std::isfinite(number) || digits > 330) return number;
  if (digits < -330) return 0 * number;
  if (digits >= 0) {
    const std::string text = fmt::format("{:.{}f}", number, digits);
    return std::strtod(text.c_str(), nullptr);
  }
  const long double scale = std::pow(10.0L, static_cast<long double>(-digits));
  return static_cast<double>(std::nearbyint(static_cast<long double>(number) / scale) * scale);
}

int64_t round_integer(int64_t number, int64_t digits) {
  if (digits >= 0) return number;
  if (digits < -18) return 0;
  int64_t scale = 1;
  for (int64_t i = 0; i < -digits; ++i) scale *= 10;
  int64_t rest = number % scale;
  if (rest < 0) rest += scale;
  int64_t below = 0;
  if (__builtin_sub_overflow(number, rest, &below)) throw Failure{"an integer beyond 64 bits"};
  const bool up = rest * 2 > scale || (rest * 2 == scale && (below / scale) % 2 != 0);
  if (up && __builtin_add_overflow(below, scale, &below)) throw Failure{"an integer beyond 64 bits"};
  return below;
}

Value run_round(Call& c) {
  const int64_t digits = c.integer(0, 0);
  const std::string_view way = c.has(1) ? c.text(1) : "common";
  if (way != "common" && way != "ceil" && way != "floor") throw Failure{"method must be common, ceil or floor"};
  if (c.self.is(Kind::undefined)) throw Failure{c.self.as<Undefined>().message};
  if (!c.self.is_number()) throw Failure{"type " + type_name(c.self) + " doesn't define a rounding"};
  if (way == "common") {
    if (c.self.is(Kind::real)) return Value::real(round_real(c.self.as_real(), digits));
    return Value::integer(round_integer(c.self.as_integer(), digits));
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = c.self.as_real() * scale;
  if (!std::isfinite(scaled)) throw Failure{"cannot convert this float to an integer"};
  return Value::real((way == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

JsonStyle json_style(const Call& c) {
  JsonStyle style;
  style.ascii = c.flag(0, false);
  style.sorted = c.flag(3, false);
  if (c.has(1) && !c[1].is(Kind::none)) {
    style.indented = true;
    style.item_separator = written(",");
    if (c[1].is(Kind::string)) {
      style.indent = c[1].as_text();
    } else {
      const int64_t width = std::max<int64_t>(to_index(c[1]), 0);
      c.heap.check_text(width);
      style.indent.text.assign(static_cast<size_t>(width), ' ');
    }
  }
  if (c.has(2) && !c[2].is(Kind::none)) {
    const Values separators = to_list(c.heap, c[2]);
    if (separators.size() != 2 || !separators[0].is(Kind::string) || !separators[1].is(Kind::string)) {
      throw Failure{"tojson needs two separators"};
    }
    style.item_separator = separators[0].as_text();
    style.key_separator = separators[1].as_text();
  }
  return style;
}

Value run_tojson(Call& c) { return c.heap.text(to_json(c.heap, c.self, json_style(c))); }

Value run_trim(Call& c) {
  Args args;
  if (c.has(0)) args.positional.push_back(c[0]);
  return run_builtin(c.renderer, *find_string_method("strip"), c.text_of_self(), args);
}

Value run_truncate(Call& c) {
  const int64_t most = c.integer(0, 255), leeway = c.has(3) && !c[3].is(Kind::none) ? c.integer(3, 5) : 5;
  const Value end = c.has(2) ? c[2] : c.heap.text("...");
  if (!end.is(Kind::string) || most < end.as_text().length || leeway < 0) throw Failure{"truncate: wrong arguments"};
  if (length(c.heap, c.self) <= most + leeway) return c.self;
  if (!c.self.is(Kind::string)) throw Failure{"truncate needs a string, not '" + type_name(c.self) + "'"};
  const int64_t kept = most - end.as_text().length;
  const Value cut = slice(c.heap, c.self, Value::missing(), Value::integer(kept), Value::missing());
  if (c.flag(1, false)) return concatenate(c.heap, cut, end);
  const size_t space = cut.text().rfind(' ');
  if (space == std::string_view::npos) return concatenate(c.heap, cut, end);
  const Value words = like_self(c, cut.as_text().part(cut.text().substr(0, space)));
  return concatenate(c.heap, words, end);
}

Value run_wordcount(Call& c) {
  const Value text = c.text_of_self();
  c.heap.spend(static_cast<int64_t>(text.text().size()));
  int64_t words = 0;
  bool inside = false;
  for (size_t at = 0; at < text.text().size();) {
    const bool word = is_word(next_letter(text.text(), at));
    words += word && !inside;
    inside = word;
  }
  return Value::integer(words);
}

constexpr Builtin kFilters[] = {
    {"abs", "/", run_abs},
    {"attr", "name", run_attr},
    {"capitalize", "", change_text<capitalize>},
    {"center", "width?", run_center},
    {"d", "default_value? boolean?", run_default},
    {"default", "default_value? boolean?", run_default},
    {"e", "/", run_escape},
    {"escape", "/", run_escape},
    {"float", "default?", run_float},
    {"forceescape", "", run_forceescape},
    {"format", "*", run_format},
    {"indent", "width? first? blank?", run_indent},
    {"int", "default? base?", run_int},
    {"lower", "", change_text<lower>},
    {"replace", "old new count?", run_replace},
    {"round", "precision? method?", run_round},
    {"safe", "", run_safe},
    {"string", "", run_string},
    {"title", "", change_text<title_words>},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", run_tojson},
    {"trim", "chars?", run_trim},
    {"truncate", "length? killwords? end? leeway?", run_truncate},
    {"upper", "", change_text<upper>},
    {"wordcount", "", run_wordcount},
};

}  // namespace

const Builtin* find_filter(std::string_view name) {
  const Builtin* found = find_in(kFilters, name);
  return found ? found : find_sequence_filter(name);
}

}  // namespace cachalot::jinja
