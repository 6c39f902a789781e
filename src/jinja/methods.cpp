// The methods of str.
#include <fmt/format.h>

#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

bool is_markup(const Call& c) { return c.self.as_text().markup; }
Value like_self(const Call& c, AttributedText text) { return c.heap.text(std::move(text), is_markup(c)); }
Value part_like_self(const Call& c, std::string_view part) { return like_self(c, c.self.as_text().part(part)); }

// A string argument, which c.text(i) has checked.
const Text& attributed(const Call& c, size_t i) {
  c.text(i);
  return c[i].as_text();
}

// A string argument; safe text escapes the ones that it takes in.
AttributedText inserted(const Call& c, size_t i) {
  const Text& text = attributed(c, i);
  return is_markup(c) && !text.markup ? escape_html(text) : AttributedText(text);
}

template <AttributedText (*change)(const AttributedText&)>
Value change_text(Call& c) {
  c.heap.spend(static_cast<int64_t>(c.self.text().size()));
  return like_self(c, change(c.self.as_text()));
}

template <Side side>
Value run_strip(Call& c) {
  const std::string_view text = c.self.text();
  c.heap.spend(static_cast<int64_t>(text.size() / 4));
  if (!c.has(0) || c[0].is(Kind::none)) return part_like_self(c, strip(text, side));
  const std::string_view chars = c.text(0);
  c.heap.spend(static_cast<int64_t>(text.size() * (1 + chars.size() / 16)));
  return part_like_self(c, strip(text, side, chars));
}

// A search from the right compares at every place: that is charged.
void charge_search(const Call& c, std::string_view text, std::string_view part) {
  if (text.size() > part.size()) c.heap.spend(static_cast<int64_t>((text.size() - part.size()) * (part.size() / 16)));
}
size_t rfind(const Call& c, std::string_view text, std::string_view part) {
  charge_search(c, text, part);
  return text.rfind(part);
}

template <bool from_right>
Value run_split(Call& c) {
  const std::string_view text = c.self.text();
  const int64_t most = c.integer(1, -1);
  c.heap.spend(static_cast<int64_t>(text.size() / 8));
  std::vector<std::string_view> parts;
  if (!c.has(0) || c[0].is(Kind::none)) {
    parts = from_right ? rsplit_spaces(text, most) : split_spaces(text, most);
  } else {
    if (c.text(0).empty()) throw Failure{"empty separator"};
    if (from_right) charge_search(c, text, c.text(0));
    parts = from_right ? rsplit(text, c.text(0), most) : split(text, c.text(0), most);
  }
  Values values;
  for (const std::string_view part : parts) c.heap.push(values, part_like_self(c, part));
  return c.heap.list(std::move(values));
}

Value run_splitlines(Call& c) {
  Values values;
  c.heap.spend(static_cast<int64_t>(c.self.text().size() / 2));
  for (const std::string_view line : split_lines(c.self.text(), c.flag(0, false))) {
    c.heap.push(values, part_like_self(c, line));
  }
  return c.heap.list(std::move(values));
}

template <bool from_right>
Value run_partition(Call& c) {
  const std::string_view text = c.self.text(), separator = c.text(0);
  if (separator.empty()) throw Failure{"empty separator"};
  const size_t found = from_right ? rfind(c, text, separator) : find(text, separator);
  c.heap.spend_bytes(text.size());
  const bool none = found == std::string_view::npos;
  const Value empty = like_self(c, {});
  if (none && from_right) return c.heap.tuple({empty, empty, c.self});
  if (none) return c.heap.tuple({c.self, empty, empty});
  return c.heap.tuple({part_like_self(c, text.substr(0, found)), like_self(c, attributed(c, 0)),
                       part_like_self(c, text.substr(found + separator.size()))});
}

// The part of the text between the optional bounds at arguments 1 and 2; false when they exclude everything.
bool part_of_self(const Call& c, std::string_view& part, int64_t& start) {
  const Text& text = c.self.as_text();
  const auto bound = [&](size_t i, int64_t otherwise) {
    if (!c.has(i) || c[i].is(Kind::none)) return otherwise;
    const int64_t index = to_index(c[i]);
    return index < 0 ? std::max<int64_t>(index + text.length, 0) : index;
  };
  start = bound(1, 0);
  const int64_t end = std::min(bound(2, text.length), text.length);
  if (start > end) return false;
  c.heap.spend_bytes(text.text.size());
  const size_t first = offset_of_letter(text.text, start, text.ascii());
  const size_t last = offset_of_letter(text.text, end, text.ascii());
  part = std::string_view(text.text).substr(first, last - first);
  return true;
}

template <bool at_start>
Value run_starts(Call& c) {
  std::string_view part;
  int64_t start = 0;
  const bool any = part_of_self(c, part, start);
  const auto matches = [&](const Value& affix) {
    if (!affix.is(Kind::string)) {
      throw Failure{fmt::format("{} first arg must be str or a tuple of str, not {}", c.name, type_name(affix))};
    }
    return any && (at_start ? part.starts_with(affix.text()) : part.ends_with(affix.text()));
  };
  if (!c[0].is(Kind::tuple)) return Value::boolean(matches(c[0]));
  for (const Value& affix : c[0].items()) {
    if (matches(affix)) return Value::boolean(true);
  }
  return Value::boolean(false);
}

template <bool from_right, bool must_exist>
Value run_find(Call& c) {
  std::string_view part;
  int64_t start = 0;
  const std::string_view wanted = c.text(0);
  size_t found = std::string_view::npos;
  if (part_of_self(c, part, start)) found = from_right ? rfind(c, part, wanted) : find(part, wanted);
  if (found != std::string_view::npos) return Value::integer(start + count_letters(part.substr(0, found)));
  if (must_exist) throw Failure{"substring not found"};
  return Value::integer(-1);
}

Value run_count(Call& c) {
  std::string_view part;
  int64_t start = 0, count = 0;
  const std::string_view wanted = c.text(0);
  if (!part_of_self(c, part, start)) return Value::integer(0);
  if (wanted.empty()) return Value::integer(count_letters(part) + 1);
  for (size_t at = find(part, wanted); at != std::string_view::npos; at = find(part, wanted, at + wanted.size()))
    ++count;
  return Value::integer(count);
}

Value run_replace(Call& c) {
  const std::string_view text = c.self.text(), old = c.text(0);
  const AttributedText with = inserted(c, 1);
  int64_t most = c.integer(2, -1);
  if (most < 0) most = INT64_MAX;
  AttributedText out;
  size_t at = 0;
  const auto append = [&](const AttributedText& whole, std::string_view part) {
    out.append(whole, part);
    c.heap.spend(1 + static_cast<int64_t>(part.size() / 16));
    c.heap.check_text(out);
  };
  if (old.empty()) {  // before each letter and at the end
    for (; most > 0; --most) {
      append(with, with.text);
      if (at >= text.size()) break;
      const size_t begin = at;
      next_letter(text, at);
      append(c.self.as_text(), text.substr(begin, at - begin));
    }
  } else {
    for (; most > 0; --most) {
      const size_t found = find(text, old, at);
      if (found == std::string_view::npos) break;
      append(c.self.as_text(), text.substr(at, found - at));
      append(with, with.text);
      at = found + old.size();
    }
  }
  append(c.self.as_text(), text.substr(std::min(at, text.size())));
  return like_self(c, std::move(out));
}

Value run_join(Call& c) {
  AttributedText out;
  bool first = true;
  Cursor cursor(c.heap, c[0]);
  for (Value item; cursor.next(item); first = false) {
    if (!first) out.append(c.self.as_text());
    if (is_markup(c)) {
      const bool safe = item.is(Kind::string) && item.as_text().markup;
      const AttributedText text = str(c.heap, item);
      out.append(safe ? text : escape_html(text));
    } else if (item.is(Kind::string)) {
      out.append(item.as_text());
    } else {
      throw Failure{fmt::format("join: sequence item: expected str instance, {} found", type_name(item))};
    }
    c.heap.spend_bytes(c.self.text().size());
    c.heap.check_text(out);
  }
  return like_self(c, std::move(out));
}

template <bool prefix>
Value run_remove(Call& c) {
  std::string_view text = c.self.text();
  const std::string_view affix = c.text(0);
  if (prefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!prefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return part_like_self(c, text);
}

// Fills up to a width: how much of the padding goes to the left.
template <Side side>
Value run_pad(Call& c) {
  const int64_t width = to_index(c[0]);
  const AttributedText fill = c.has(1) ? inserted(c, 1) : written(" ");
  if (count_letters(fill.text) != 1) throw Failure{"The fill character must be exactly one character long"};
  const int64_t pad = std::max<int64_t>(width - c.self.as_text().length, 0);
  c.heap.check_text(pad);
  const int64_t left = side == Side::right ? 0 : side == Side::left ? pad : pad / 2 + (pad & width & 1);
  AttributedText out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(c.self.as_text());
  for (int64_t i = left; i < pad; ++i) out.append(fill);
  c.heap.check_text(out);
  return like_self(c, std::move(out));
}

Value run_zfill(Call& c) {
  const int64_t pad = std::max<int64_t>(to_index(c[0]) - c.self.as_text().length, 0);
  c.heap.check_text(pad);
  const std::string_view text = c.self.text();
  const size_t sign = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  AttributedText out = c.self.as_text().part(text.substr(0, sign));
  out.text.append(static_cast<size_t>(pad), '0');
  out.append(c.self.as_text(), text.substr(sign));
  return like_self(c, std::move(out));
}

Value run_expandtabs(Call& c) {
  const int64_t size = c.integer(0, 8);
  AttributedText out;
  int64_t column = 0;
  rewrite(c.self.as_text(), out, [&](std::string& to, size_t, size_t, int32_t letter) {
    if (letter == '\t') {
      const int64_t fill = size > 0 ? size - column % size : 0;
      c.heap.check_text(static_cast<int64_t>(to.size()) + fill);
      c.heap.spend(fill);
      to.append(static_cast<size_t>(fill), ' ');
      column += fill;
    } else {
      append_letter(to, letter);
      column = letter == '\n' || letter == '\r' ? 0 : column + 1;
    }
  });
  return like_self(c, std::move(out));
}

template <bool (*matches)(int32_t), bool of_empty = false>
Value is_all(Call& c) {
  const std::string_view text = c.self.text();
  c.heap.spend(static_cast<int64_t>(text.size()));
  for (size_t at = 0; at < text.size();) {
    if (!matches(next_letter(text, at))) return Value::boolean(false);
  }
  return Value::boolean(of_empty || !text.empty());
}

bool is_ascii(int32_t letter) { return letter < 0x80; }
bool is_alnum(int32_t letter) { return is_alpha(letter) || is_numeric(letter); }
bool is_digit(int32_t letter) {
  return is_decimal(letter) || letter == 0xb2 || letter == 0xb3 || letter == 0xb9 || letter == 0x2070 ||
         (letter >= 0x2074 && letter <= 0x2079) || (letter >= 0x2080 && letter <= 0x2089) ||
         (letter >= 0x2460 && letter <= 0x2468);
}

// islower and isupper: some letter of that case and none of another.
template <bool wants_upper>
Value is_case(Call& c) {
  c.heap.spend(static_cast<int64_t>(c.self.text().size()));
  bool found = false;
  for (size_t at = 0; at < c.self.text().size();) {
    const int32_t letter = next_letter(c.self.text(), at);
    if (!is_cased(letter)) continue;
    if (!(wants_upper ? is_upper(letter) : is_lower(letter))) return Value::boolean(false);
    found = true;
  }
  return Value::boolean(found);
}

Value is_title(Call& c) {
  bool found = false, inside = false;
  for (size_t at = 0; at < c.self.text().size();) {
    const int32_t letter = next_letter(c.self.text(), at);
    const bool small = is_lower(letter), large = is_cased(letter) && !small;
    if ((large && inside) || (small && !inside)) return Value::boolean(false);
    inside = small || large;
    found = found || inside;
  }
  return Value::boolean(found);
}

Value is_identifier(Call& c) {
  const std::string_view text = c.self.text();
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const int32_t letter = next_letter(text, at);
    if (first ? letter != '_' && !is_alpha(letter) : !is_word(letter)) return Value::boolean(false);
  }
  return Value::boolean(!text.empty());
}

Value run_format(Call& c) { return format_braces(c.renderer, c.self, c.args); }

Value refuse(Call& c) { throw Failure{fmt::format("str.{} is not supported in chat templates", c.name)}; }

constexpr Builtin kMethods[] = {
    {"capitalize", "/", change_text<capitalize>},
    {"casefold", "*", refuse},
    {"center", "/width fill?", run_pad<Side::both>},
    {"count", "/sub start? end?", run_count},
    {"encode", "*", refuse},
    {"endswith", "/suffix start? end?", run_starts<false>},
    {"expandtabs", "tabsize?", run_expandtabs},
    {"find", "/sub start? end?", run_find<false, false>},
    {"format", "*", run_format},
    {"format_map", "*", refuse},
    {"index", "/sub start? end?", run_find<false, true>},
    {"isalnum", "/", is_all<is_alnum>},
    {"isalpha", "/", is_all<is_alpha>},
    {"isascii", "/", is_all<is_ascii, true>},
    {"isdecimal", "/", is_all<is_decimal>},
    {"isdigit", "/", is_all<is_digit>},
    {"isidentifier", "/", is_identifier},
    {"islower", "/", is_case<false>},
    {"isnumeric", "/", is_all<is_numeric>},
    {"isprintable", "/", is_all<is_printable, true>},
    {"isspace", "/", is_all<is_space>},
    {"istitle", "/", is_title},
    {"isupper", "/", is_case<true>},
    {"join", "/iterable", run_join},
    {"ljust", "/width fill?", run_pad<Side::right>},
    {"lower", "/", change_text<lower>},
    {"lstrip", "/chars?", run_strip<Side::left>},
    {"maketrans", "*", refuse},
    {"partition", "/sep", run_partition<false>},
    {"removeprefix", "/prefix", run_remove<true>},
    {"removesuffix", "/suffix", run_remove<false>},
    {"replace", "/old new count?", run_replace},
    {"rfind", "/sub start? end?", run_find<true, false>},
    {"rindex", "/sub start? end?", run_find<true, true>},
    {"rjust", "/width fill?", run_pad<Side::left>},
    {"rpartition", "/sep", run_partition<true>},
    {"rsplit", "sep? maxsplit?", run_split<true>},
    {"rstrip", "/chars?", run_strip<Side::right>},
    {"split", "sep? maxsplit?", run_split<false>},
    {"splitlines", "keepends?", run_splitlines},
    {"startswith", "/prefix start? end?", run_starts<true>},
    {"strip", "/chars?", run_strip<Side::both>},
    {"swapcase", "/", change_text<swapcase>},
    {"title", "/", change_text<title>},
    {"translate", "*", refuse},
    {"upper", "/", change_text<upper>},
    {"zfill", "/width", run_zfill},
};

}  // namespace

const Builtin* find_string_method(std::string_view name) { return find_in(kMethods, name); }

}  // namespace cachalot::jinja
