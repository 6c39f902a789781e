// The API of OpenAI, as its clients speak it: what each endpoint does with a request. They see the exchange of one
// HTTP request, the model's text side, and what runs requests; docs/serving.md says what becomes of every field.
#pragma once

#include <string_view>

#include "server/generator.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/served_model.h"

namespace cachalot::openai {

// All answer the exchange, whatever happens, and throw nothing but http::ClientGone.

void chat_completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                      RequestNotes& notes);
void completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                 RequestNotes& notes);

// GET /v1/models, and /v1/models/ID, whose ID comes as it stands in the path.
void models(http::Exchange& exchange, const ServedModel& model);
void one_model(http::Exchange& exchange, const ServedModel& model, std::string_view id, RequestNotes& notes);

// vLLM's shapes, in which llama.cpp's fit, too.
void tokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes);
void detokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes);

// What goes wrong before an endpoint is found: 401, 404, 405, 413, 429, … in the API's shape.
http::Response error(int status, std::string_view why);

}  // namespace cachalot::openai
