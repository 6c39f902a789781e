// Python's operators on values. All may throw Failure.
#pragma once

#include "jinja/value.h"

namespace cachalot::jinja {

Value binary_operation(Heap& heap, std::string_view symbol, const Value& a, const Value& b);
Value negate(const Value& value, bool minus);  // -x, +x
bool compare(Heap& heap, std::string_view symbol, const Value& a, const Value& b);
bool contains(Heap& heap, const Value& container, const Value& item);
// value[start:stop:step]; missing bounds are those that were not given.
Value slice(Heap& heap, const Value& value, const Value& start, const Value& stop, const Value& step);
// value[key] as Python does it; missing when Python would raise a TypeError or LookupError.
Value subscript(Heap& heap, const Value& value, const Value& key);
Value concatenate(Heap& heap, const Value& a, const Value& b);  // of two strings, with Markup's escaping

}  // namespace cachalot::jinja
