#include "jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "jinja/builtins.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

[[noreturn]] void fail_types(std::string_view symbol, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is(Kind::undefined)) throw Failure{value->as<Undefined>().message};
  }
  throw Failure{fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol, type_name(a), type_name(b))};
}

[[noreturn]] void fail_overflow() { throw Failure{"an integer beyond 64 bits"}; }

Value repeat_items(Heap& heap, const Value& value, int64_t times) {
  const Values& items = value.items();
  times = std::max<int64_t>(times, 0);
  int64_t count = 0;
  if (__builtin_mul_overflow(static_cast<int64_t>(items.size()), times, &count)) count = INT64_MAX;
  heap.check_items(count);
  Values out;
  out.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < times && !items.empty(); ++i) out.insert(out.end(), items.begin(), items.end());
  return value.is(Kind::list) ? heap.list(std::move(out)) : heap.tuple(std::move(out));
}

Value repeat_text(Heap& heap, const Value& value, int64_t times) {
  const Text& text = value.as_text();
  const auto spans = static_cast<int64_t>(text.provenance.spans().size() * sizeof(Provenance::Span));
  times = std::max<int64_t>(times, 0);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<int64_t>(text.text.size()) + spans, times, &bytes)) bytes = INT64_MAX;
  heap.check_text(bytes);
  AttributedText out;
  out.text.reserve(static_cast<size_t>(bytes));
  for (int64_t i = 0; i < times && !text.text.empty(); ++i) out.append(text);
  return heap.text(std::move(out), text.markup);
}

// "x" * 3 and 3 * "x"; missing when neither operand is a sequence.
Value repeat(Heap& heap, const Value& a, const Value& b) {
  const Value& sequence = b.is_integral() ? a : b;
  const Value& times = b.is_integral() ? b : a;
  if (!times.is_integral()) return Value::missing();
  if (sequence.is(Kind::string)) return repeat_text(heap, sequence, times.as_integer());
  if (sequence.is(Kind::list) || sequence.is(Kind::tuple)) return repeat_items(heap, sequence, times.as_integer());
  return Value::missing();
}

Value add(Heap& heap, const Value& a, const Value& b) {
  if (a.is(Kind::string) && b.is(Kind::string)) return concatenate(heap, a, b);
  if (a.kind() == b.kind() && (a.is(Kind::list) || a.is(Kind::tuple))) {
    heap.check_items(static_cast<int64_t>(a.items().size() + b.items().size()));
    Values items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return a.is(Kind::list) ? heap.list(std::move(items)) : heap.tuple(std::move(items));
  }
  fail_types("+", a, b);
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (a == INT64_MIN && b == -1) fail_overflow();
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double real_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) return (rest < 0) != (b < 0) ? rest + b : rest;
  return std::copysign(0.0, b);
}

double real_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) throw Failure{"0.0 cannot be raised to a negative power"};
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return Value::integer(result);
}

Value integer_operation(std::string_view symbol, int64_t a, int64_t b) {
  int64_t result = 0;
  if (symbol == "+") {
    if (__builtin_add_overflow(a, b, &result)) fail_overflow();
  } else if (symbol == "-") {
    if (__builtin_sub_overflow(a, b, &result)) fail_overflow();
  } else if (symbol == "*") {
    if (__builtin_mul_overflow(a, b, &result)) fail_overflow();
  } else if (symbol == "**") {
    return integer_power(a, b);
  } else if (b == 0) {
    throw Failure{symbol == "/" ? "division by zero" : "integer division or modulo by zero"};
  } else if (symbol == "/") {
    return Value::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  } else {
    result = symbol == "//" ? floor_divide(a, b) : floor_modulo(a, b);
  }
  return Value::integer(result);
}

Value real_operation(std::string_view symbol, double a, double b) {
  if (symbol == "+") return Value::real(a + b);
  if (symbol == "-") return Value::real(a - b);
  if (symbol == "*") return Value::real(a * b);
  if (symbol == "**") {
    if (a == 0 && b < 0) throw Failure{"0.0 cannot be raised to a negative power"};
    const double result = std::pow(a, b);
    if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) throw Failure{"a complex number"};
    if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) throw Failure{"Numerical result out of range"};
    return Value::real(result);
  }
  if (b == 0) throw Failure{symbol == "%" ? "float modulo" : "float division by zero"};
  if (symbol == "/") return Value::real(a / b);
  return Value::real(symbol == "//" ? real_floor_divide(a, b) : real_modulo(a, b));
}

struct Bounds {
  int64_t start, stop, step, count;
  int64_t at(int64_t i) const { return start + i * step; }
};

int64_t bound(const Value& value, int64_t otherwise, int64_t size, int64_t lowest, int64_t highest) {
  if (value.is_missing() || value.is(Kind::none)) return otherwise;
  if (!value.is_integral()) throw Failure{"slice indices must be integers or None or have an __index__ method"};
  const int64_t index = value.as_integer();
  return std::clamp(index < 0 ? (index < -size ? -1 : index + size) : index, lowest, highest);
}

Bounds bounds_of(const Value& start, const Value& stop, const Value& step, int64_t size) {
  int64_t stride = 1;
  if (!step.is_missing() && !step.is(Kind::none)) {
    if (!step.is_integral()) throw Failure{"slice indices must be integers or None or have an __index__ method"};
    stride = std::clamp<int64_t>(step.as_integer(), -(int64_t{1} << 60), int64_t{1} << 60);
  }
  if (stride == 0) throw Failure{"slice step cannot be zero"};
  const int64_t lowest = stride > 0 ? 0 : -1, highest = stride > 0 ? size : size - 1;
  const int64_t begin = bound(start, stride > 0 ? 0 : size - 1, size, lowest, highest);
  const int64_t end = bound(stop, stride > 0 ? size : -1, size, lowest, highest);
  const int64_t span = stride > 0 ? end - begin : begin - end;
  return {begin, end, stride, span <= 0 ? 0 : (span - 1) / std::abs(stride) + 1};
}

Value slice_text(Heap& heap, const Value& value, const Bounds& bounds) {
  const Text& text = value.as_text();
  heap.spend_bytes(text.text.size());
  const std::string_view whole = text.text;
  AttributedText out;
  if (bounds.step == 1 || text.ascii()) {
    const size_t begin = offset_of_letter(whole, bounds.start, text.ascii());
    if (bounds.step == 1) {
      const std::string_view tail = whole.substr(begin);
      out = text.part(tail.substr(0, offset_of_letter(tail, bounds.count, text.ascii())));
    } else {
      for (int64_t i = 0; i < bounds.count; ++i) out.append(text, whole.substr(static_cast<size_t>(bounds.at(i)), 1));
    }
    return heap.text(std::move(out), text.markup);
  }
  heap.spend(text.length);
  std::vector<uint32_t> offsets;
  for (size_t at = 0; at < whole.size(); next_letter(whole, at)) offsets.push_back(static_cast<uint32_t>(at));
  for (int64_t i = 0; i < bounds.count; ++i) {
    const size_t begin = offsets[static_cast<size_t>(bounds.at(i))];
    size_t end = begin;
    next_letter(whole, end);
    out.append(text, whole.substr(begin, end - begin));
  }
  return heap.text(std::move(out), text.markup);
}

Value item_of_text(Heap& heap, const Value& value, int64_t index) {
  const Text& text = value.as_text();
  if (index < 0) index += text.length;
  if (index < 0 || index >= text.length) return Value::missing();
  if (!text.ascii()) heap.spend_bytes(text.text.size());
  const size_t begin = offset_of_letter(text.text, index, text.ascii());
  size_t end = begin;
  next_letter(text.text, end);
  return heap.text(text.part(std::string_view(text.text).substr(begin, end - begin)), text.markup);
}

}  // namespace

Value concatenate(Heap& heap, const Value& a, const Value& b) {
  const Text &x = a.as_text(), &y = b.as_text();
  const bool markup = x.markup || y.markup;
  heap.check_text(static_cast<int64_t>(x.text.size() + y.text.size()));
  AttributedText text = markup && !x.markup ? escape_html(x) : AttributedText(x);
  if (markup && !y.markup) {
    text.append(escape_html(y));
  } else {
    text.append(y);
  }
  return heap.text(std::move(text), markup);
}

Value binary_operation(Heap& heap, std::string_view symbol, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return integer_operation(symbol, a.as_integer(), b.as_integer());
    return real_operation(symbol, a.as_real(), b.as_real());
  }
  if (symbol == "+") return add(heap, a, b);
  if (symbol == "*") {
    Value result = repeat(heap, a, b);
    if (!result.is_missing()) return result;
  }
  if (symbol == "%" && a.is(Kind::string)) return format_percent(heap, a, b);
  fail_types(symbol == "**" ? "** or pow()" : symbol, a, b);
}

Value negate(const Value& value, bool minus) {
  if (value.is(Kind::real)) return minus ? Value::real(-value.as_real()) : value;
  if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
  if (!value.is_integral()) {
    throw Failure{fmt::format("bad operand type for unary {}: '{}'", minus ? '-' : '+', type_name(value))};
  }
  if (value.as_integer() == INT64_MIN) fail_overflow();
  return Value::integer(minus ? -value.as_integer() : value.as_integer());
}

bool compare(Heap& heap, std::string_view symbol, const Value& a, const Value& b) {
  if (symbol == "==") return equals(heap, a, b);
  if (symbol == "!=") return !equals(heap, a, b);
  if (symbol == "in") return contains(heap, b, a);
  if (symbol == "not in") return !contains(heap, b, a);
  if (symbol == ">" || symbol == ">=") return less(heap, b, a, symbol == ">" ? "<" : "<=");
  return less(heap, a, b, symbol == "<" ? "<" : "<=");
}

bool contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is(Kind::string)) {
    if (!item.is(Kind::string)) {
      throw Failure{fmt::format("'in <string>' requires string as left operand, not {}", type_name(item))};
    }
    heap.spend_bytes(container.text().size());
    return find(container.text(), item.text()) != std::string_view::npos;
  }
  if (container.is(Kind::dict)) return heap.find(container.dict(), item) != nullptr;
  if (!Cursor::accepts(container)) {
    throw Failure{fmt::format("argument of type '{}' is not iterable", type_name(container))};
  }
  Cursor cursor(heap, container);
  for (Value other; cursor.next(other);) {
    if (equals(heap, other, item)) return true;
  }
  return false;
}

Value slice(Heap& heap, const Value& value, const Value& start, const Value& stop, const Value& step) {
  if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
  const bool items = value.is(Kind::list) || value.is(Kind::tuple);
  if (!items && !value.is(Kind::string) && !value.is(Kind::range)) {
    throw Failure{value.is(Kind::dict) ? "unhashable type: 'slice'"
                                       : fmt::format("'{}' object is not subscriptable", type_name(value))};
  }
  const Bounds bounds = bounds_of(start, stop, step, length(heap, value));
  if (value.is(Kind::string)) return slice_text(heap, value, bounds);
  if (value.is(Kind::range)) {
    const Range& range = value.as<Range>();
    int64_t step = 0;
    if (__builtin_mul_overflow(range.step, bounds.step, &step)) fail_overflow();
    return heap.range(range.at(bounds.start), range.at(bounds.stop), step);
  }
  Values out;
  for (int64_t i = 0; i < bounds.count; ++i) heap.push(out, value.items()[static_cast<size_t>(bounds.at(i))]);
  return value.is(Kind::list) ? heap.list(std::move(out)) : heap.tuple(std::move(out));
}

Value subscript(Heap& heap, const Value& value, const Value& key) {
  if (value.is(Kind::undefined)) throw Failure{value.as<Undefined>().message};
  if (value.is(Kind::dict)) {
    if (!is_hashable(key)) return Value::missing();
    const Value* found = heap.find(value.dict(), key);
    return found ? *found : Value::missing();
  }
  if (!key.is_integral()) return Value::missing();
  int64_t index = key.as_integer();
  if (value.is(Kind::string)) return item_of_text(heap, value, index);
  if (value.is(Kind::list) || value.is(Kind::tuple)) {
    const Values& items = value.items();
    if (index < 0) index += static_cast<int64_t>(items.size());
    const bool inside = index >= 0 && index < static_cast<int64_t>(items.size());
    return inside ? items[static_cast<size_t>(index)] : Value::missing();
  }
  if (value.is(Kind::range)) {
    const Range& range = value.as<Range>();
    if (index < 0) index += range.count;
    return index >= 0 && index < range.count ? Value::integer(range.at(index)) : Value::missing();
  }
  return Value::missing();
}

}  // namespace cachalot::jinja
