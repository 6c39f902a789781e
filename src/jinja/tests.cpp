// The tests behind `is`.
#include <fmt/format.h>

#include "jinja/builtins.h"
#include "jinja/operators.h"
#include "jinja/renderer.h"
#include "jinja/text.h"

namespace cachalot::jinja {
namespace {

template <Kind kind>
Value is_kind(Call& c) {
  return Value::boolean(c.self.is(kind));
}

Value remainder(Call& c, const Value& divisor) { return binary_operation(c.heap, "%", c.self, divisor); }

Value is_odd(Call& c) { return Value::boolean(equals(c.heap, remainder(c, Value::integer(2)), Value::integer(1))); }
Value is_even(Call& c) { return Value::boolean(equals(c.heap, remainder(c, Value::integer(2)), Value::integer(0))); }
Value is_divisible(Call& c) { return Value::boolean(equals(c.heap, remainder(c, c[0]), Value::integer(0))); }

Value is_defined(Call& c) { return Value::boolean(!c.self.is(Kind::undefined)); }
Value is_false(Call& c) { return Value::boolean(c.self.is(Kind::boolean) && !c.self.as_bool()); }
Value is_true(Call& c) { return Value::boolean(c.self.is(Kind::boolean) && c.self.as_bool()); }
Value is_number(Call& c) { return Value::boolean(c.self.is_number()); }
Value is_iterable(Call& c) { return Value::boolean(Cursor::accepts(c.self)); }

Value is_sequence(Call& c) { return Value::boolean(has_length(c.self) && !c.self.is(Kind::view)); }

Value is_callable(Call& c) {
  const Kind kind = c.self.kind();
  bool callable = kind == Kind::undefined || kind == Kind::macro || kind == Kind::function || kind == Kind::loop;
  if (kind == Kind::object) callable = c.self.as<Helper>().is_joiner;
  return Value::boolean(callable);
}

Value is_escaped(Call& c) { return Value::boolean(c.self.is(Kind::string) && c.self.as_text().markup); }

Value is_same(Call& c) {
  const Value &a = c.self, &b = c[0];
  if (a.kind() != b.kind()) return Value::boolean(false);
  if (a.object() || b.object()) return Value::boolean(a.object() == b.object());
  return Value::boolean(equals(c.heap, a, b));
}

template <bool (*matches)(int32_t), bool (*forbids)(int32_t)>
Value has_case(Call& c) {
  const std::string text = str(c.heap, c.self).text;
  c.heap.spend(static_cast<int64_t>(text.size()));
  bool found = false;
  for (size_t at = 0; at < text.size();) {
    const int32_t letter = next_letter(text, at);
    if (forbids(letter)) return Value::boolean(false);
    found = found || matches(letter);
  }
  return Value::boolean(found);
}

bool not_lower(int32_t letter) { return is_cased(letter) && !is_lower(letter); }
bool not_upper(int32_t letter) { return is_cased(letter) && !is_upper(letter); }

Value is_in(Call& c) { return Value::boolean(contains(c.heap, c[0], c.self)); }
Value is_equal(Call& c) { return Value::boolean(compare(c.heap, "==", c.self, c[0])); }
Value is_unequal(Call& c) { return Value::boolean(compare(c.heap, "!=", c.self, c[0])); }
Value is_less(Call& c) { return Value::boolean(compare(c.heap, "<", c.self, c[0])); }
Value is_at_most(Call& c) { return Value::boolean(compare(c.heap, "<=", c.self, c[0])); }
Value is_greater(Call& c) { return Value::boolean(compare(c.heap, ">", c.self, c[0])); }
Value is_at_least(Call& c) { return Value::boolean(compare(c.heap, ">=", c.self, c[0])); }

Value is_filter(Call& c) {
  if (!is_hashable(c.self)) throw Failure{"unhashable type: '" + type_name(c.self) + "'"};
  return Value::boolean(c.self.is(Kind::string) && find_filter(c.self.text()));
}
Value is_test(Call& c) {
  if (!is_hashable(c.self)) throw Failure{"unhashable type: '" + type_name(c.self) + "'"};
  return Value::boolean(c.self.is(Kind::string) && find_test(c.self.text()));
}

constexpr Builtin kTests[] = {
    {"boolean", "", is_kind<Kind::boolean>},
    {"callable", "/", is_callable},
    {"defined", "", is_defined},
    {"divisibleby", "num", is_divisible},
    {"eq", "/b", is_equal},
    {"equalto", "/b", is_equal},
    {"==", "/b", is_equal},
    {"escaped", "", is_escaped},
    {"even", "", is_even},
    {"false", "", is_false},
    {"filter", "", is_filter},
    {"float", "", is_kind<Kind::real>},
    {"ge", "/b", is_at_least},
    {">=", "/b", is_at_least},
    {"greaterthan", "/b", is_greater},
    {"gt", "/b", is_greater},
    {">", "/b", is_greater},
    {"in", "seq", is_in},
    {"integer", "", is_kind<Kind::integer>},
    {"iterable", "", is_iterable},
    {"le", "/b", is_at_most},
    {"<=", "/b", is_at_most},
    {"lessthan", "/b", is_less},
    {"lower", "", has_case<is_lower, not_lower>},
    {"lt", "/b", is_less},
    {"<", "/b", is_less},
    {"mapping", "", is_kind<Kind::dict>},
    {"ne", "/b", is_unequal},
    {"!=", "/b", is_unequal},
    {"none", "", is_kind<Kind::none>},
    {"number", "", is_number},
    {"odd", "", is_odd},
    {"sameas", "other", is_same},
    {"sequence", "", is_sequence},
    {"string", "", is_kind<Kind::string>},
    {"test", "", is_test},
    {"true", "", is_true},
    {"undefined", "", is_kind<Kind::undefined>},
    {"upper", "", has_case<is_upper, not_upper>},
};

}  // namespace

const Builtin* find_test(std::string_view name) { return find_in(kTests, name); }

}  // namespace cachalot::jinja
