// GET /v1/models, and what is common to errors.
#include <fmt/format.h>

#include "base/quote.h"
#include "server/openai/follow.h"
#include "server/openai/openai.h"

namespace cachalot::openai {
namespace {

Json model_json(const ServedModel& model) {
  return {{"id", model.id},
          {"object", "model"},
          {"created", static_cast<int64_t>(model.created)},
          {"owned_by", "cachalot"},
          {"max_model_len", model.context}};
}

// A name may hold slashes, which clients send as they are or as %2F.
std::string unescaped(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0;
    plain += escape ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    i += escape ? 2 : 0;
  }
  return plain;
}

}  // namespace

void models(http::Exchange& exchange, const ServedModel& model) {
  exchange.send({.body = dump({{"object", "list"}, {"data", Json::array({model_json(model)})}})});
}

void one_model(http::Exchange& exchange, const ServedModel& model, std::string_view id, RequestNotes& notes) {
  guarded(exchange, notes, [&] {
    const std::string name = unescaped(id);
    if (name != model.id)
      throw Refusal{.status = 404,
                    .message = fmt::format("there is no model {} here; there is {}", quote(name), quote(model.id)),
                    .param = "model",
                    .code = "model_not_found",
                    .retry_after = {}};
    exchange.send({.body = dump(model_json(model))});
  });
}

http::Response error(int status, std::string_view why) {
  const bool key = status == 401;
  return error_response({.status = status,
                         .message = std::string(why),
                         .param = {},
                         .code = key ? "invalid_api_key" : "",
                         .retry_after = {}});
}

}  // namespace cachalot::openai
