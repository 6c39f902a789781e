// GET /v1/models, for clients of both families: OpenAI's and Anthropic's each find what they look for.
#include <fmt/chrono.h>

#include "server/dialect/asked.h"
#include "server/openai/openai.h"

namespace cachalot::openai {

using namespace dialect;

static Json model_json(const ServedModel& model, std::string_view name) {
  return {{"id", name},
          {"object", "model"},
          {"created", static_cast<int64_t>(model.created)},
          {"owned_by", "cachalot"},
          {"max_model_len", model.context},
          {"type", "model"},
          {"display_name", name},
          {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(model.created))},
          {"lifecycle", "active"},
          {"max_input_tokens", model.context},
          {"max_tokens", model.context}};
}

void models(http::Exchange& exchange, const ServedModel& model) {
  Json all = Json::array({model_json(model, model.id)});
  for (const std::string& name : model.other_names) all.push_back(model_json(model, name));
  Json first = all.front()["id"], last = all.back()["id"];
  exchange.send({.body = dump({{"object", "list"},
                               {"data", std::move(all)},
                               {"has_more", false},
                               {"first_id", std::move(first)},
                               {"last_id", std::move(last)}})});
}

void one_model(http::Exchange& exchange, const ServedModel& model, std::string_view id, RequestNotes& notes) {
  notes.model = model.id;
  check_model(id, model);
  exchange.send({.body = dump(model_json(model, id))});
}

}  // namespace cachalot::openai
