// Filters on sequences. Those that jinja2 makes generators are lazy here too: they run as far as they are read, once.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

using Getter = std::function<Value(const Value&)>;

Value ignore_case(Heap& heap, const Value& value) {
  if (!value.is(Kind::string)) return value;
  heap.spend(static_cast<int64_t>(value.text().size()));
  return heap.text(lower(value.as_text()));
}

// A cursor that complains about what cannot be iterated only when it is asked for an item.
class LazyCursor {
 public:
  LazyCursor(Heap& heap, Value value) : heap_(&heap), value_(std::move(value)) {}
  bool next(Value& item) {
    if (!cursor_) cursor_.emplace(*heap_, value_);
    return cursor_->next(item);
  }

 private:
  Heap* heap_;
  Value value_;
  std::optional<Cursor> cursor_;
};

// The parts of "a.b.0": names, and numbers as integers.
Values attribute_path(Heap& heap, const Value& attribute) {
  if (attribute.is_missing() || attribute.is(Kind::none)) return {};
  if (!attribute.is(Kind::string)) return {attribute};
  Values path;
  for (const std::string_view part : split(attribute.text(), ".", -1)) {
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    int64_t number = 0;
    bool overflow = false;
    if (digits && parse_integer(part, 10, number, overflow) && !overflow) {
      heap.push(path, Value::integer(number));
    } else {
      heap.push(path, heap.text(attribute.as_text().part(part)));
    }
  }
  return path;
}

// Reads an attribute path from an item; `otherwise` (when not missing or none) stands in for undefined.
Getter getter(Renderer& renderer, const Value& attribute, const Value& otherwise, bool case_sensitive) {
  return
      [&renderer, path = attribute_path(renderer.heap(), attribute), otherwise, case_sensitive](const Value& item) {
        Value value = item;
        for (const Value& part : path) {
          value = renderer.item(value, part);
          const bool has_default = !otherwise.is_missing() && !otherwise.is(Kind::none);
          if (has_default && value.is(Kind::undefined)) value = otherwise;
        }
        return case_sensitive ? value : ignore_case(renderer.heap(), value);
      };
}

int nesting_of(const Args& args) {
  int nesting = 0;
  for (const Value& value : args.positional) nesting = std::max(nesting, value.nesting());
  for (const auto& [name, value] : args.named) nesting = std::max(nesting, value.nesting());
  return nesting;
}

// A generator over the items of `self` that `step` turns into items of its own, or swallows (false). `prepare` runs
// at the first item; an empty or undefined subject is never touched, as jinja2's `if value:`.
Value generate(Call& c, std::function<std::function<bool(Value&)>()> prepare) {
  auto cursor = std::make_shared<LazyCursor>(c.heap, c.self);
  std::function<bool(Value&)> step;
  return c.heap.iterator(
      [self = c.self, cursor, prepare = std::move(prepare), step](Value& item) mutable {
        if (!truthy(self)) return false;
        if (!step) step = prepare();
        while (cursor->next(item)) {
          if (step(item)) return true;
        }
        return false;
      },
      std::max(c.self.nesting(), nesting_of(c.args)));
}

Value run_map(Call& c) {
  return generate(c, [&r = c.renderer, args = c.args]() -> std::function<bool(Value&)> {
    if (!args.positional.empty()) {
      if (!args.positional[0].is(Kind::string)) throw Failure{"map needs the name of a filter"};
      Args rest{Values(args.positional.begin() + 1, args.positional.end()), args.named};
      return [&r, name = std::string(args.positional[0].text()), rest](Value& item) {
        item = r.filter(name, item, rest);
        return true;
      };
    }
    Value attribute, otherwise;
    for (const auto& [name, value] : args.named) {
      if (name.text != "attribute" && name.text != "default") {
        throw Failure{"Unexpected keyword argument " + repr(name.text)};
      }
      (name.text == "attribute" ? attribute : otherwise) = value;
    }
    if (attribute.is_missing()) throw Failure{"map requires a filter argument"};
    return [get = getter(r, attribute, otherwise, true)](Value& item) {
      item = get(item);
      return true;
    };
  });
}

template <bool keep, bool by_attribute>
Value run_select(Call& c) {
  return generate(c, [&r = c.renderer, args = c.args]() -> std::function<bool(Value&)> {
    Args rest = args;
    Getter get = [](const Value& item) { return item; };
    if (by_attribute) {
      if (rest.positional.empty()) throw Failure{"Missing parameter for attribute name"};
      get = getter(r, rest.positional[0], Value::missing(), true);
      rest.positional.erase(rest.positional.begin());
    }
    if (rest.positional.empty()) return [get](Value& item) { return truthy(get(item)) == keep; };
    if (!rest.positional[0].is(Kind::string)) throw Failure{"select needs the name of a test"};
    const std::string name(rest.positional[0].text());
    rest.positional.erase(rest.positional.begin());
    return [&r, get, name, rest](Value& item) { return r.test(name, get(item), rest) == keep; };
  });
}

Value run_unique(Call& c) {
  auto cursor = std::make_shared<LazyCursor>(c.heap, c.self);
  auto seen = c.heap.dict();
  return c.heap.iterator(
      [cursor, seen, &heap = c.heap,
       get = getter(c.renderer, c[1], Value::missing(), c.flag(0, false))](Value& item) {
        while (cursor->next(item)) {
          const Value key = get(item);
          if (heap.find(*seen, key)) continue;
          heap.set(*seen, key, Value::none());
          return true;
        }
        return false;
      },
      c.self.nesting());
}

Value run_items(Call& c) {
  if (!c.self.is(Kind::dict) && !c.self.is(Kind::undefined)) {
    return c.heap.iterator([](Value&) -> bool { throw Failure{"Can only get item pairs from a mapping."}; }, 0);
  }
  return c.heap.iterator(
      [self = c.self, &heap = c.heap, at = size_t{0}](Value& item) mutable {
        if (self.is(Kind::undefined) || at >= self.dict().entries.size()) return false;
        const auto& [key, value] = self.dict().entries[at++];
        item = heap.tuple({key, value});
        return true;
      },
      c.self.nesting() + 1);
}

Value run_batch(Call& c) {
  const int64_t count = to_index(c[0]);
  const Value fill = c.has(1) ? c[1] : Value::none();
  auto cursor = std::make_shared<LazyCursor>(c.heap, c.self);
  return c.heap.iterator(
      [cursor, count, fill, &heap = c.heap, pending = Value()](Value& item) mutable {
        Values batch;
        if (!pending.is_missing()) batch.push_back(std::move(pending));
        pending = Value::missing();
        for (Value next; cursor->next(next);) {
          if (static_cast<int64_t>(batch.size()) == count) {
            pending = next;
            item = heap.list(std::move(batch));
            return true;
          }
          heap.push(batch, next);
        }
        if (batch.empty()) return false;
        while (!fill.is(Kind::none) && static_cast<int64_t>(batch.size()) < count) heap.push(batch, fill);
        item = heap.list(std::move(batch));
        return true;
      },
      std::max(c.self.nesting(), fill.nesting()) + 1);
}

Value run_slice(Call& c) {
  const Values all = to_list(c.heap, c.self);
  const int64_t slices = to_index(c[0]), size = static_cast<int64_t>(all.size());
  if (slices == 0) throw Failure{"integer division or modulo by zero"};
  const int64_t each = slices > 0 ? size / slices : 0, longer = slices > 0 ? size % slices : 0;
  const bool fills = c.has(1) && !c[1].is(Kind::none);
  Values out;
  for (int64_t i = 0, at = 0; i < slices; ++i) {
    Values part;
    const int64_t end = at + each + (i < longer ? 1 : 0);
    for (; at < end; ++at) c.heap.push(part, all[static_cast<size_t>(at)]);
    if (fills && i >= longer) part.push_back(c[1]);
    c.heap.push(out, c.heap.list(std::move(part)));
  }
  auto cursor = std::make_shared<Cursor>(c.heap, c.heap.list(std::move(out)));
  return c.heap.iterator([cursor](Value& item) { return cursor->next(item); }, c.self.nesting() + 2);
}

Value run_reverse(Call& c) {
  if (c.self.is(Kind::string)) return slice(c.heap, c.self, Value::missing(), Value::missing(), Value::integer(-1));
  Values items = to_list(c.heap, c.self);
  std::reverse(items.begin(), items.end());
  if (!has_length(c.self)) return c.heap.list(std::move(items));
  const int nesting = c.self.nesting() + 1;
  auto cursor = std::make_shared<Cursor>(c.heap, c.heap.list(std::move(items)));
  return c.heap.iterator([cursor](Value& item) { return cursor->next(item); }, nesting, "list_reverseiterator");
}

Value run_first(Call& c) {
  Cursor cursor(c.heap, c.self);
  Value item;
  return cursor.next(item) ? item : c.heap.undefined("No first item, sequence was empty.");
}

Value run_last(Call& c) {
  if (!has_length(c.self)) throw Failure{fmt::format("'{}' object is not reversible", type_name(c.self))};
  if (length(c.heap, c.self) == 0) return c.heap.undefined("No last item, sequence was empty.");
  if (c.self.is(Kind::dict)) return c.self.dict().entries.back().first;
  if (c.self.is(Kind::view)) return c.self.items().back();
  return subscript(c.heap, c.self, Value::integer(-1));
}

Value run_join(Call& c) {
  const AttributedText separator = c.has(0) ? str(c.heap, c[0]) : AttributedText();
  const bool by_attribute = c.has(1) && !c[1].is(Kind::none);
  const Getter get = by_attribute ? getter(c.renderer, c[1], Value::missing(), true) : Getter();
  AttributedText out;
  bool first = true;
  Cursor cursor(c.heap, c.self);
  for (Value item; cursor.next(item); first = false) {
    if (!first) out.append(separator);
    out.append(str(c.heap, by_attribute ? get(item) : item));
    c.heap.spend_bytes(separator.text.size());
    c.heap.check_text(out);
  }
  return c.heap.text(std::move(out));
}

Value run_length(Call& c) {
  if (c.self.is(Kind::loop)) return Value::integer(c.self.as<Loop>().length());
  return Value::integer(length(c.heap, c.self));
}

Value run_list(Call& c) { return c.heap.list(to_list(c.heap, c.self)); }

// Sorts like Python's sorted(): stable, by `less` alone; reverse keeps the order of equals.
Values sort_by(Heap& heap, Values items, const Getter& key, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) {
    heap.spend(1);
    Value k = key(item);
    keyed.emplace_back(std::move(k), std::move(item));
  }
  if (reverse) std::reverse(keyed.begin(), keyed.end());
  std::stable_sort(keyed.begin(), keyed.end(),
                   [&](const auto& a, const auto& b) { return less(heap, a.first, b.first); });
  if (reverse) std::reverse(keyed.begin(), keyed.end());
  items.clear();
  for (auto& [k, item] : keyed) items.push_back(std::move(item));
  return items;
}

Value run_sort(Call& c) {
  std::vector<Getter> getters;
  const bool case_sensitive = c.flag(1, false);
  if (c.has(2) && c[2].is(Kind::string)) {
    for (const std::string_view part : split(c[2].text(), ",", -1)) {
      getters.push_back(getter(c.renderer, c.heap.text(c[2].as_text().part(part)), Value::missing(), case_sensitive));
    }
  } else {
    getters.push_back(getter(c.renderer, c[2], Value::missing(), case_sensitive));
  }
  const Getter key = [&](const Value& item) {
    Values values;
    for (const Getter& get : getters) values.push_back(get(item));
    return c.heap.list(std::move(values));
  };
  return c.heap.list(sort_by(c.heap, to_list(c.heap, c.self), key, c.flag(0, false)));
}

Value run_dictsort(Call& c) {
  if (c.self.is(Kind::undefined)) throw Failure{c.self.as<Undefined>().message};
  if (!c.self.is(Kind::dict)) throw Failure{fmt::format("'{}' object has no attribute 'items'", type_name(c.self))};
  const std::string_view by = c.has(1) ? c.text(1) : "key";
  if (by != "key" && by != "value") throw Failure{"You can only sort by either \"key\" or \"value\""};
  Values pairs;
  for (const auto& [key, value] : c.self.dict().entries) c.heap.push(pairs, c.heap.tuple({key, value}));
  const bool case_sensitive = c.flag(0, false);
  const Getter key = [&](const Value& pair) {
    const Value& part = pair.items()[by == "key" ? 0 : 1];
    return case_sensitive ? part : ignore_case(c.heap, part);
  };
  return c.heap.list(sort_by(c.heap, std::move(pairs), key, c.flag(2, false)));
}

template <bool largest>
Value run_extreme(Call& c) {
  const Getter get = getter(c.renderer, c[1], Value::missing(), c.flag(0, false));
  Cursor cursor(c.heap, c.self);
  Value best, best_key;
  for (Value item; cursor.next(item);) {
    const Value key = get(item);
    if (best.is_missing() || (largest ? less(c.heap, best_key, key) : less(c.heap, key, best_key))) {
      best = item, best_key = key;
    }
  }
  return best.is_missing() ? c.heap.undefined("No aggregated item, sequence was empty.") : best;
}

Value run_sum(Call& c) {
  const bool by_attribute = c.has(0) && !c[0].is(Kind::none);
  const Getter get = by_attribute ? getter(c.renderer, c[0], Value::missing(), true) : Getter();
  Value sum = c.has(1) ? c[1] : Value::integer(0);
  if (sum.is(Kind::string)) throw Failure{"sum() can't sum strings [use ''.join(seq) instead]"};
  Cursor cursor(c.heap, c.self);
  for (Value item; cursor.next(item);) { sum = binary_operation(c.heap, "+", sum, by_attribute ? get(item) : item); }
  return sum;
}

Value run_groupby(Call& c) {
  const bool case_sensitive = c.flag(2, false);
  const Getter get = getter(c.renderer, c[0], c[1], case_sensitive);
  const Getter exact = getter(c.renderer, c[0], c[1], true);
  const Values sorted = sort_by(c.heap, to_list(c.heap, c.self), get, false);
  Values groups, members;
  Value key;
  const auto close = [&] {
    if (members.empty()) return;
    const Value label = exact(members[0]);
    Value group = c.heap.tuple({label, c.heap.list(std::move(members))});
    group.as<Items>().group = true;
    members = {};
    c.heap.push(groups, std::move(group));
  };
  for (const Value& item : sorted) {
    const Value next = get(item);
    if (!members.empty() && !equals(c.heap, key, next)) close();
    key = next;
    c.heap.push(members, item);
  }
  close();
  return c.heap.list(std::move(groups));
}

constexpr Builtin kSequenceFilters[] = {
    {"batch", "linecount fill_with?", run_batch},
    {"count", "/", run_length},
    {"dictsort", "case_sensitive? by? reverse?", run_dictsort},
    {"first", "", run_first},
    {"groupby", "attribute default? case_sensitive?", run_groupby},
    {"items", "", run_items},
    {"join", "d? attribute?", run_join},
    {"last", "", run_last},
    {"length", "/", run_length},
    {"list", "", run_list},
    {"map", "*", run_map},
    {"max", "case_sensitive? attribute?", run_extreme<true>},
    {"min", "case_sensitive? attribute?", run_extreme<false>},
    {"reject", "*", run_select<false, false>},
    {"rejectattr", "*", run_select<false, true>},
    {"reverse", "", run_reverse},
    {"select", "*", run_select<true, false>},
    {"selectattr", "*", run_select<true, true>},
    {"slice", "slices fill_with?", run_slice},
    {"sort", "reverse? case_sensitive? attribute?", run_sort},
    {"sum", "attribute? start?", run_sum},
    {"unique", "case_sensitive? attribute?", run_unique},
};

}  // namespace

const Builtin* find_sequence_filter(std::string_view name) { return find_in(kSequenceFilters, name); }

}  // namespace cachalot::jinja
