// GET /v1/models.
#include "server/dialect/asked.h"
#include "server/openai/openai.h"

namespace cachalot::openai {

using namespace dialect;

static Json model_json(const ServedModel& model) {
  return {{"id", model.id},
          {"object", "model"},
          {"created", static_cast<int64_t>(model.created)},
          {"owned_by", "cachalot"},
          {"max_model_len", model.context}};
}

void models(http::Exchange& exchange, const ServedModel& model) {
  exchange.send({.body = dump({{"object", "list"}, {"data", Json::array({model_json(model)})}})});
}

void one_model(http::Exchange& exchange, const ServedModel& model, std::string_view id, RequestNotes& notes) {
  notes.model = model.id;
  check_model(id, model);
  exchange.send({.body = dump(model_json(model))});
}

}  // namespace cachalot::openai
