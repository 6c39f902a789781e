// Global functions, and the methods of everything that is not a string.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <ctime>

#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/renderer.h"
#include "jinja/template.h"

namespace cachalot::jinja {
namespace {

Value run_range(Call& c) {
  constexpr int64_t kMostItems = 100000;  // MAX_RANGE of jinja2's sandbox
  const bool one = !c.has(1);
  const int64_t start = one ? 0 : to_index(c[0]), stop = to_index(c[one ? 0 : 1]), step = c.integer(2, 1);
  if (step == 0) throw Failure{"range() arg 3 must not be zero"};
  Value range = c.heap.range(start, stop, step);
  if (range.as<Range>().count > kMostItems) throw Failure{fmt::format("range of more than {} items", kMostItems)};
  return range;
}

// dict(mapping or pairs, name=value, …)
std::shared_ptr<Dict> make_dict(Call& c) {
  if (c.args.positional.size() > 1) throw Failure{"dict expected at most 1 argument"};
  auto dict = c.heap.dict();
  if (!c.args.positional.empty()) {
    const Value& source = c.args.positional[0];
    if (source.is(Kind::dict)) {
      for (const auto& [key, value] : source.dict().entries) c.heap.set(*dict, key, value);
    } else {
      Cursor cursor(c.heap, source);
      for (Value item; cursor.next(item);) {
        const Values pair = to_list(c.heap, item);
        if (pair.size() != 2) throw Failure{"dict() needs a mapping or pairs"};
        c.heap.set(*dict, pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : c.args.named) c.heap.set(*dict, c.heap.text(name), value);
  return dict;
}

Value run_dict(Call& c) { return c.heap.value(make_dict(c)); }

Value run_namespace(Call& c) {
  auto dict = make_dict(c);
  for (const auto& [key, value] : dict->entries) {
    if (key.is(Kind::string) && key.text().starts_with('_')) {
      throw Failure{fmt::format("a namespace cannot have the attribute '{}'", key.text())};
    }
  }
  return c.heap.space(std::move(dict));
}

Value run_raise(Call& c) { throw Failure{"the chat template refused the conversation: " + str(c.heap, c[0]).text}; }

// strftime of the local time; %f is the microsecond and %z, %Z are empty, as for Python's datetime without a zone.
Value run_strftime(Call& c) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(micros / 1000000);
  std::tm local{};
  localtime_r(&seconds, &local);
  const std::string_view format = c.text(0);
  std::string plain;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] == '\0') throw Failure{"embedded null character in a date format"};
    if (format[i] != '%' || i + 1 == format.size()) {
      plain += format[i];
    } else if (const char letter = format[++i]; letter == 'f') {
      plain += fmt::format("{:06}", micros % 1000000);
    } else if (letter != 'z' && letter != 'Z') {
      plain += '%', plain += letter;
    }
  }
  if (plain.empty()) return c.heap.text("");
  constexpr size_t kMostBytes = 1 << 16;
  std::string out(kMostBytes, '\0');
  const size_t size = std::strftime(out.data(), out.size(), plain.c_str(), &local);
  if (size == 0) throw Failure{"strftime_now: the date is too long"};
  out.resize(size);
  const bool said = !c[0].as_text().provenance.nothing_said();
  return c.heap.text(said ? written(std::move(out)).all_said() : written(std::move(out)));
}

Value make_helper(Call& c, Values items, bool is_joiner) {
  auto helper = std::make_shared<Helper>();
  int nesting = 0;
  for (const Value& item : items) nesting = std::max(nesting, item.nesting());
  helper->items = std::move(items);
  helper->is_joiner = is_joiner;
  c.heap.adopt(*helper, static_cast<int64_t>(sizeof(Helper) + helper->items.size() * sizeof(Value)), nesting + 1);
  return Value(Kind::object, std::move(helper));
}

Value run_cycler(Call& c) {
  if (c.args.positional.empty() || !c.args.named.empty()) throw Failure{"at least one item has to be provided"};
  return make_helper(c, c.args.positional, false);
}

Value run_joiner(Call& c) { return make_helper(c, {c.has(0) ? c[0] : c.heap.text(", ")}, true); }

constexpr Builtin kGlobals[] = {
    {"cycler", "*", run_cycler},
    {"dict", "*", run_dict},
    {"joiner", "sep?", run_joiner},
    {"namespace", "*", run_namespace},
    {"raise_exception", "message", run_raise},
    {"range", "/start stop? step?", run_range},
    {"strftime_now", "format", run_strftime},
};

// --- Methods. ---

Value dict_get(Call& c) {
  const Value* found = c.heap.find(c.self.dict(), c[0]);
  return found ? *found : c.has(1) ? c[1] : Value::none();
}

Value dict_items(Call& c) {
  Values pairs;
  for (const auto& [key, value] : c.self.dict().entries) c.heap.push(pairs, c.heap.tuple({key, value}));
  return c.heap.view("dict_items", std::move(pairs));
}

Value dict_keys(Call& c) {
  Values keys;
  for (const auto& [key, value] : c.self.dict().entries) c.heap.push(keys, key);
  return c.heap.view("dict_keys", std::move(keys));
}

Value dict_values(Call& c) {
  Values values;
  for (const auto& [key, value] : c.self.dict().entries) c.heap.push(values, value);
  return c.heap.view("dict_values", std::move(values));
}

Value copy(Call& c) {
  if (c.self.is(Kind::list)) return c.heap.list(c.self.items());
  auto dict = c.heap.dict();
  for (const auto& [key, value] : c.self.dict().entries) c.heap.set(*dict, key, value);
  return c.heap.value(std::move(dict));
}

Value dict_fromkeys(Call& c) {
  auto dict = c.heap.dict();
  Cursor cursor(c.heap, c[0]);
  for (Value key; cursor.next(key);) c.heap.set(*dict, key, c.has(1) ? c[1] : Value::none());
  return c.heap.value(std::move(dict));
}

constexpr Builtin kDictMethods[] = {
    {"copy", "/", copy},
    {"fromkeys", "/iterable value?", dict_fromkeys},
    {"get", "/key default?", dict_get},
    {"items", "/", dict_items},
    {"keys", "/", dict_keys},
    {"values", "/", dict_values},
};

Value count_items(Call& c) {
  int64_t count = 0;
  for (const Value& item : to_list(c.heap, c.self)) count += equals(c.heap, item, c[0]);
  return Value::integer(count);
}

Value index_of_item(Call& c) {
  const Values items = to_list(c.heap, c.self);
  const int64_t size = static_cast<int64_t>(items.size());
  const auto bound = [&](size_t i, int64_t otherwise) {
    const int64_t index = c.integer(i, otherwise);
    return std::clamp<int64_t>(index < 0 ? std::max(index, -size) + size : index, 0, size);
  };
  for (int64_t i = bound(1, 0); i < bound(2, size); ++i) {
    if (equals(c.heap, items[static_cast<size_t>(i)], c[0])) return Value::integer(i);
  }
  throw Failure{"the value is not in the sequence"};
}

constexpr Builtin kListMethods[] = {
    {"copy", "/", copy}, {"count", "/value", count_items}, {"index", "/value start? stop?", index_of_item}};
constexpr Builtin kTupleMethods[] = {{"count", "/value", count_items},
                                     {"index", "/value start? stop?", index_of_item}};
constexpr Builtin kRangeMethods[] = {{"count", "/value", count_items}, {"index", "/value", index_of_item}};

Value loop_cycle(Call& c) {
  const Values& items = c.args.positional;
  if (items.empty()) throw Failure{"no items for cycling given"};
  if (!c.args.named.empty()) throw Failure{"cycle() takes no keyword arguments"};
  return items[static_cast<size_t>(c.self.as<Loop>().index0) % items.size()];
}

Value loop_changed(Call& c) {
  Loop& loop = c.self.as<Loop>();
  const Value now = c.heap.tuple(c.args.positional);
  if (!loop.last_changed.is_missing() && equals(c.heap, loop.last_changed, now)) return Value::boolean(false);
  if (loop.last_changed.is_missing()) {  // the values may hold the loop itself
    c.heap.at_end([self = c.self] { self.as<Loop>().last_changed = Value::missing(); });
  }
  loop.last_changed = now;
  return Value::boolean(true);
}

constexpr Builtin kLoopMethods[] = {{"changed", "*", loop_changed}, {"cycle", "*", loop_cycle}};

Value helper_call(Call& c) {
  Helper& helper = c.self.as<Helper>();
  if (!helper.is_joiner) throw Failure{"a cycler is not callable"};
  return helper.at++ == 0 ? c.heap.text("") : helper.items[0];
}

Helper& cycler(Call& c) {
  Helper& helper = c.self.as<Helper>();
  if (helper.is_joiner) throw Failure{"a joiner has no such method"};
  return helper;
}

Value helper_next(Call& c) {
  Helper& helper = cycler(c);
  const Value item = helper.items[helper.at];
  helper.at = (helper.at + 1) % helper.items.size();
  return item;
}

Value helper_reset(Call& c) {
  cycler(c).at = 0;
  return Value::none();
}

constexpr Builtin kHelperMethods[] = {
    {"__call__", "/", helper_call}, {"next", "/", helper_next}, {"reset", "/", helper_reset}};

Value real_is_integer(Call& c) {
  const double number = c.self.as_real();
  return Value::boolean(std::isfinite(number) && std::floor(number) == number);
}

constexpr Builtin kRealMethods[] = {{"is_integer", "/", real_is_integer}};

}  // namespace

const Builtin* find_global(std::string_view name) { return find_in(kGlobals, name); }
bool is_global(std::string_view name) { return find_global(name) != nullptr; }

const Builtin* find_container_method(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::dict: return find_in(kDictMethods, name);
    case Kind::list: return find_in(kListMethods, name);
    case Kind::tuple: return find_in(kTupleMethods, name);
    case Kind::range: return find_in(kRangeMethods, name);
    case Kind::loop: return find_in(kLoopMethods, name);
    case Kind::object: return find_in(kHelperMethods, name);
    case Kind::real: return find_in(kRealMethods, name);
    default: return nullptr;
  }
}

}  // namespace cachalot::jinja
