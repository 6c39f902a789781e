#include "jinja/value.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "jinja/text.h"

namespace cachalot::jinja {

Object::~Object() {
  if (heap) heap->release(bytes);
}

Heap::~Heap() {
  for (const auto& work : last_works_) work();
}

void Heap::fail_steps() { throw Failure{"the template takes too many steps"}; }

void Heap::hold(int64_t bytes) {
  bytes_ += bytes;
  if (bytes_ > limits_.bytes) throw Failure{fmt::format("the template needs more than {} MiB", limits_.bytes >> 20)};
}

void Heap::check_text(int64_t bytes) const {
  if (bytes > limits_.text_bytes) {
    throw Failure{fmt::format("a text of more than {} MiB", limits_.text_bytes >> 20)};
  }
}

// A text with many changes of voice counts as longer: what notes them is memory too.
void Heap::check_text(const AttributedText& text) const {
  check_text(static_cast<int64_t>(text.text.size() + text.provenance.spans().size() * sizeof(Provenance::Span)));
}

void Heap::check_items(int64_t items) const {
  if (items > limits_.items) throw Failure{fmt::format("a sequence of more than {} items", limits_.items)};
}

void Heap::adopt(Object& object, int64_t bytes, int nesting) {
  if (nesting > kMaxNesting) throw Failure{fmt::format("values nested more than {} deep", kMaxNesting)};
  spend(1);
  hold(bytes);
  object.heap = this;
  object.bytes = bytes;
  object.nesting = nesting;
}

Value Heap::text(AttributedText text, bool markup) {
  check_text(text);
  spend_bytes(text.text.size());
  auto object = std::make_shared<Text>();
  static_cast<AttributedText&>(*object) = std::move(text);
  object->length = count_letters(object->text);
  object->markup = markup;
  adopt(*object, static_cast<int64_t>(sizeof(Text) + object->text.capacity() + object->provenance.heap_bytes()), 0);
  return Value(Kind::string, std::move(object));
}

Value Heap::items(Kind kind, Values values) {
  check_items(static_cast<int64_t>(values.size()));
  spend(static_cast<int64_t>(values.size()));
  int nesting = 0;
  for (const Value& value : values) nesting = std::max(nesting, value.nesting());
  auto object = std::make_shared<Items>();
  object->values = std::move(values);
  adopt(*object, static_cast<int64_t>(sizeof(Items) + object->values.capacity() * sizeof(Value)), nesting + 1);
  return Value(kind, std::move(object));
}

Value Heap::view(const char* name, Values values) {
  Value view = items(Kind::view, std::move(values));
  view.as<Items>().name = name;
  return view;
}

constexpr int64_t kMaxRangeOperand = int64_t{1} << 60;  // so that no number of a range overflows

Value Heap::range(int64_t start, int64_t stop, int64_t step) {
  for (const int64_t operand : {start, stop, step}) {
    if (operand > kMaxRangeOperand || operand < -kMaxRangeOperand)
      throw Failure{"a range of such numbers is too big"};
  }
  auto object = std::make_shared<Range>();
  object->start = start, object->stop = stop, object->step = step;
  const int64_t span = step > 0 ? stop - start : start - stop;
  const int64_t stride = step > 0 ? step : -step;
  object->count = span <= 0 ? 0 : (span - 1) / stride + 1;
  adopt(*object, sizeof(Range), 0);
  return Value(Kind::range, std::move(object));
}

Value Heap::undefined(std::string message) {
  auto object = std::make_shared<Undefined>();
  object->message = std::move(message);
  adopt(*object, static_cast<int64_t>(sizeof(Undefined) + object->message.size()), 0);
  return Value(Kind::undefined, std::move(object));
}

Value Heap::iterator(std::function<bool(Value&)> next, int nesting_of_source, const char* name) {
  auto object = std::make_shared<Iterator>();
  object->next = std::move(next);
  object->name = name;
  adopt(*object, sizeof(Iterator) + 256, nesting_of_source + 1);
  return Value(Kind::iterator, std::move(object));
}

Value Heap::space(std::shared_ptr<Dict> attributes) {
  auto object = std::make_shared<Space>();
  object->attributes = std::move(attributes);
  adopt(*object, sizeof(Space), 0);
  at_end([object] { object->attributes.reset(); });
  return Value(Kind::space, std::move(object));
}

Value Heap::long_integer(std::string digits) {
  auto object = std::make_shared<LongInteger>();
  object->digits = std::move(digits);
  adopt(*object, static_cast<int64_t>(sizeof(LongInteger) + object->digits.capacity()), 0);
  return Value(Kind::integer, std::move(object));
}

std::string digits(const Value& integer) {
  return integer.object() ? integer.as<const LongInteger>().digits : std::to_string(integer.as_integer());
}

std::shared_ptr<Dict> Heap::dict() {
  auto object = std::make_shared<Dict>();
  adopt(*object, sizeof(Dict), 1);
  return object;
}

namespace {

constexpr size_t kFewEntries = 8;  // up to here a dict is searched entry by entry

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Equal values have equal hashes: 1, 1.0 and true are one key.
uint64_t hash(Heap& heap, const Value& key) {
  switch (key.kind()) {
    case Kind::none: return 1;
    case Kind::undefined: return 2;
    case Kind::boolean:
    case Kind::integer: return mix(static_cast<uint64_t>(key.as_integer()));
    case Kind::real: {
      const double number = key.as_real();
      if (number >= -0x1p63 && number < 0x1p63 && number == std::floor(number)) {
        return mix(static_cast<uint64_t>(static_cast<int64_t>(number)));
      }
      uint64_t bits;
      std::memcpy(&bits, &number, sizeof bits);
      return mix(bits + 3);
    }
    case Kind::string: heap.spend_bytes(key.text().size()); return std::hash<std::string_view>{}(key.text());
    case Kind::tuple: {
      uint64_t sum = 4;
      for (const Value& item : key.items()) heap.spend(1), sum = mix(sum * 31 + hash(heap, item));
      return sum;
    }
    case Kind::range: return mix(static_cast<uint64_t>(key.as<Range>().count));
    case Kind::list:
    case Kind::dict:
    case Kind::view: throw Failure{fmt::format("unhashable type: '{}'", type_name(key))};
    default: return mix(reinterpret_cast<uintptr_t>(key.object()));
  }
}

}  // namespace

bool is_hashable(const Value& value) {
  if (value.is(Kind::tuple)) {
    for (const Value& item : value.items()) {
      if (!is_hashable(item)) return false;
    }
  }
  return !value.is(Kind::list) && !value.is(Kind::dict) && !value.is(Kind::view);
}

// The slot of `key`: it holds the entry's number + 1, or 0 where the key would be added.
uint32_t* Heap::slot(const Dict& dict, uint64_t hash, const Value& key) {
  auto& slots = const_cast<Dict&>(dict).slots;
  size_t at = hash & (slots.size() - 1);
  while (slots[at] && !equals(*this, dict.entries[slots[at] - 1].first, key)) {
    spend(1);
    at = (at + 1) & (slots.size() - 1);
  }
  return &slots[at];
}

const Value* Heap::find(const Dict& dict, const Value& key) {
  const uint64_t key_hash = hash(*this, key);
  if (dict.slots.empty()) {
    for (const auto& [name, value] : dict.entries) {
      if (equals(*this, name, key)) return &value;
    }
    return nullptr;
  }
  const uint32_t entry = *slot(dict, key_hash, key);
  return entry ? &dict.entries[entry - 1].second : nullptr;
}

const Value* Heap::find(const Dict& dict, std::string_view key) {
  if (dict.slots.empty()) {
    for (const auto& [name, value] : dict.entries) {
      if (name.is(Kind::string) && name.text() == key) return &value;
    }
    return nullptr;
  }
  return find(dict, text(written(std::string(key))));
}

void Heap::set(Dict& dict, const Value& key, Value value) {
  if (const Value* old = find(dict, key)) {
    const_cast<Value&>(*old) = std::move(value);
    return;
  }
  check_items(static_cast<int64_t>(dict.entries.size()));
  spend(1);
  const int64_t grown = 2 * sizeof(Value) + 2 * sizeof(uint32_t);
  hold(grown);
  dict.bytes += grown;
  dict.nesting = std::max({dict.nesting, value.nesting() + 1, key.nesting() + 1});
  if (dict.nesting > kMaxNesting) throw Failure{fmt::format("values nested more than {} deep", kMaxNesting)};
  dict.entries.emplace_back(key, std::move(value));
  const size_t count = dict.entries.size();
  if (count <= kFewEntries) return;
  if (dict.slots.size() < 2 * count) {  // grow: enter all again
    spend(static_cast<int64_t>(count));
    dict.slots.assign(dict.slots.empty() ? 32 : 2 * dict.slots.size(), 0);
    for (size_t i = 0; i < count; ++i) {
      const Value& name = dict.entries[i].first;
      *slot(dict, hash(*this, name), name) = static_cast<uint32_t>(i + 1);
    }
  } else {
    *slot(dict, hash(*this, key), key) = static_cast<uint32_t>(count);
  }
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::missing:
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return value.object() || value.as_integer() != 0;
    case Kind::real: return value.as_real() != 0;
    case Kind::string: return !value.text().empty();
    case Kind::list:
    case Kind::tuple:
    case Kind::view: return !value.items().empty();
    case Kind::dict: return !value.dict().entries.empty();
    case Kind::range: return value.as<Range>().count != 0;
    default: return true;
  }
}

namespace {

bool equal_items(Heap& heap, const Values& a, const Values& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equals(heap, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Heap& heap, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = heap.find(b, key);
    if (!other || !equals(heap, value, *other)) return false;
  }
  return true;
}

// dict views compare as sets, except dict_values, which compare by identity.
bool equal_views(Heap& heap, const Items& a, const Items& b) {
  if (&a == &b) return true;
  const std::string_view values = "dict_values";
  if (a.name == values || b.name == values || a.values.size() != b.values.size()) return false;
  for (const Value& x : a.values) {
    bool found = false;
    for (const Value& y : b.values) found = found || equals(heap, x, y);
    if (!found) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  return a.count == b.count && (a.count == 0 || (a.start == b.start && (a.count == 1 || a.step == b.step)));
}

// An int against a float, without rounding the int.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral())
    return (a.as_integer() > b.as_integer()) - (a.as_integer() < b.as_integer());
  const long double x = a.is_integral() ? static_cast<long double>(a.as_integer()) : a.as_real();
  const long double y = b.is_integral() ? static_cast<long double>(b.as_integer()) : b.as_real();
  return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;  // 2: a NaN, neither less nor equal nor greater
}

}  // namespace

bool equals(Heap& heap, const Value& a, const Value& b) {
  heap.spend(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  if (a.object() && a.object() == b.object()) return true;
  switch (a.kind()) {
    case Kind::string:
      if (a.text().size() == b.text().size()) heap.spend_bytes(a.text().size());
      return a.text() == b.text();
    case Kind::list:
    case Kind::tuple: return equal_items(heap, a.items(), b.items());
    case Kind::view: return equal_views(heap, a.as<Items>(), b.as<Items>());
    case Kind::dict: return equal_dicts(heap, a.dict(), b.dict());
    case Kind::range: return equal_ranges(a.as<Range>(), b.as<Range>());
    case Kind::undefined:
    case Kind::none:
    case Kind::missing: return true;
    default: return false;
  }
}

bool less(Heap& heap, const Value& a, const Value& b, const char* symbol) {
  heap.spend(1);
  const bool or_equal = symbol[0] && symbol[1] == '=';
  if (a.is_number() && b.is_number()) {
    const int order = compare_numbers(a, b);
    return order == -1 || (or_equal && order == 0);
  }
  for (const Value* value : {&a, &b}) {
    if (value->is(Kind::undefined)) throw Failure{value->as<Undefined>().message};
  }
  if (a.is(Kind::string) && b.is(Kind::string)) {
    heap.spend_bytes(std::min(a.text().size(), b.text().size()));
    const int order = a.text().compare(b.text());  // UTF-8 sorts as its code points do
    return order < 0 || (or_equal && order == 0);
  }
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    const Values &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i) {
      if (!equals(heap, x[i], y[i])) return less(heap, x[i], y[i], symbol);
    }
    return x.size() < y.size() || (or_equal && x.size() == y.size());
  }
  throw Failure{
      fmt::format("'{}' not supported between instances of '{}' and '{}'", symbol, type_name(a), type_name(b))};
}

bool has_length(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
    case Kind::dict:
    case Kind::range: return true;
    default: return false;
  }
}

int64_t length(Heap&, const Value& value) {
  switch (value.kind()) {
    case Kind::undefined: return 0;
    case Kind::string: return value.as_text().length;
    case Kind::list:
    case Kind::tuple:
    case Kind::view: return static_cast<int64_t>(value.items().size());
    case Kind::dict: return static_cast<int64_t>(value.dict().entries.size());
    case Kind::range: return value.as<Range>().count;
    default: throw Failure{fmt::format("object of type '{}' has no len()", type_name(value))};
  }
}

bool Cursor::accepts(const Value& value) {
  return has_length(value) || value.is(Kind::iterator) || value.is(Kind::loop);
}

Cursor::Cursor(Heap& heap, Value value) : heap_(&heap), value_(std::move(value)) {
  if (!accepts(value_)) throw Failure{fmt::format("'{}' object is not iterable", type_name(value_))};
  if (value_.is(Kind::loop)) throw Failure{"a loop cannot be iterated over by itself"};
}

bool Cursor::next(Value& item) {
  heap_->spend(1);
  switch (value_.kind()) {
    case Kind::string: {
      const std::string_view text = value_.text();
      if (at_ >= text.size()) return false;
      const size_t begin = at_;
      next_letter(text, at_);
      item = heap_->text(value_.as_text().part(text.substr(begin, at_ - begin)));
      return true;
    }
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
      if (at_ >= value_.items().size()) return false;
      item = value_.items()[at_++];
      return true;
    case Kind::dict:
      if (at_ >= value_.dict().entries.size()) return false;
      item = value_.dict().entries[at_++].first;
      return true;
    case Kind::range:
      if (at_ >= static_cast<size_t>(value_.as<Range>().count)) return false;
      item = Value::integer(value_.as<Range>().at(static_cast<int64_t>(at_++)));
      return true;
    case Kind::iterator: return value_.as<Iterator>().next(item);
    default: return false;
  }
}

Values to_list(Heap& heap, const Value& value) {
  Values items;
  Cursor cursor(heap, value);
  for (Value item; cursor.next(item);) heap.push(items, std::move(item));
  return items;
}

}  // namespace cachalot::jinja
