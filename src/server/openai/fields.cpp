#include "server/openai/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/quote.h"

namespace cachalot::openai {
namespace {

const Field* find_field(std::string_view name, Endpoint endpoint) {
  for (const auto fields : {common_fields(), endpoint == Endpoint::chat ? chat_fields() : completion_fields()})
    for (const Field& field : fields)
      if (field.name == name) return &field;
  return nullptr;
}

void refuse_unless_harmless(const Field& field, const Value& value) {
  for (const Json& harmless : Json::parse(field.taken))
    if (value.json == harmless) return;
  value.refuse(field.about);
}

[[noreturn]] void refuse_unknown(const std::string& name, Endpoint endpoint) {
  const std::string shown = quote(name);
  const Endpoint other = endpoint == Endpoint::chat ? Endpoint::completions : Endpoint::chat;
  throw ApiError{400,
                 find_field(name, other)
                     ? fmt::format("{} is a field of /v1/{} alone", shown,
                                   other == Endpoint::chat ? "chat/completions" : "completions")
                     : fmt::format("there is no field {}; it may ask for what an answer would lack, so it "
                                   "is not ignored",
                                   shown),
                 "unknown_field", name};
}

// What only several fields together say.
void check_together(const Asked& asked) {
  if (asked.usage_options && !asked.stream)
    throw bad_field("stream_options", "may be given only where stream is true");
  if (asked.max_tokens && asked.text.min_tokens > *asked.max_tokens)
    throw bad_field("min_tokens", fmt::format("is {}, which is more than the {} tokens that the answer may have",
                                              asked.text.min_tokens, *asked.max_tokens));
  if (asked.best_of && *asked.best_of != asked.answers)
    throw bad_field("best_of", "answers are not chosen among others; it may only be what n is");
}

}  // namespace

Asked read_fields(const Json& body, const ServedModel& model, Endpoint endpoint) {
  Asked asked(model);
  for (const auto& [name, json] : body.items()) {
    if (json.is_null()) continue;
    const Field* field = find_field(name, endpoint);
    if (!field) refuse_unknown(name, endpoint);
    const Value value{name, json};
    if (field->read)
      field->read(value, asked);
    else
      refuse_unless_harmless(*field, value);
  }
  check_together(asked);
  return asked;
}

}  // namespace cachalot::openai
