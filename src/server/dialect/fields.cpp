#include "server/dialect/fields.h"

#include <fmt/format.h>

#include "base/quote.h"

namespace cachalot::dialect {

void refuse_unless_harmless(const FieldFacts& field, const Value& value) {
  for (const Json& harmless : Json::parse(field.taken))
    if (value.json == harmless) return;
  value.refuse(field.about);
}

void refuse_unknown(std::string_view name) {
  throw ApiError{400,
                 fmt::format("there is no field {}; it may ask for what an answer would lack, so it is not ignored",
                             quote(name)),
                 "unknown_field", std::string(name)};
}

}  // namespace cachalot::dialect
