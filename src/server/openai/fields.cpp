#include "server/openai/fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/quote.h"
#include "formats/json_text.h"

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
  throw Refusal{.status = 400,
                .message = find_field(name, other)
                               ? fmt::format("{} is a field of /v1/{} alone", shown,
                                             other == Endpoint::chat ? "chat/completions" : "completions")
                               : fmt::format("there is no field {}; it may ask for what an answer would lack, so it "
                                             "is not ignored",
                                             shown),
                .param = name,
                .code = "unknown_field",
                .retry_after = {}};
}

// What only several fields together say.
void check_together(const Asked& asked) {
  if (asked.usage_options && !asked.stream)
    throw Refusal::field("stream_options", "may be given only where stream is true");
  if (asked.max_tokens && asked.text.min_tokens > *asked.max_tokens)
    throw Refusal::field("min_tokens", fmt::format("is {}, which is more than the {} tokens that the answer may have",
                                                   asked.text.min_tokens, *asked.max_tokens));
  if (asked.best_of && *asked.best_of != asked.answers)
    throw Refusal::field("best_of", "answers are not chosen among others; it may only be what n is");
}

}  // namespace

Asked read_fields(const Json& body, const ServedModel& model, Endpoint endpoint) {
  Asked asked(model);
  for (const auto& [name, json] : body.items()) {
    const Field* field = find_field(name, endpoint);
    if (!field) refuse_unknown(name, endpoint);
    if (json.is_null()) continue;
    const Value value{name, json};
    if (field->read)
      field->read(value, asked);
    else
      refuse_unless_harmless(*field, value);
  }
  check_together(asked);
  return asked;
}

Json parse_body(std::string_view body) {
  const auto refuse = [](std::string message) {
    throw Refusal{.status = 400, .message = std::move(message), .param = {}, .code = {}, .retry_after = {}};
  };
  Json json;
  try {
    refuse_nul(body, "the request's body");
    json = parse_ordered_json(body, "the request's body");
  } catch (const Error& error) { refuse(error.what()); }
  if (!json.is_object()) refuse("the request's body must be a JSON object");
  return json;
}

void check_model(const Value& value, const ServedModel& model) {
  if (value.text() == model.id) return;
  throw Refusal{
      .status = 404,
      .message = fmt::format("there is no model {} here; there is {}", quote(value.text()), quote(model.id)),
      .param = "model",
      .code = "model_not_found",
      .retry_after = {}};
}

}  // namespace cachalot::openai
