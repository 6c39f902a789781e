// The API of OpenAI, as its clients speak it: what each endpoint does with a request. They see the exchange of one
// HTTP request, the model's text side, and what runs requests; docs/serving.md says what becomes of every field.
#pragma once

#include <string_view>

#include "server/generator.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/served_model.h"

namespace cachalot::openai {

// What goes wrong before the answer has begun is thrown: ApiError, Error where the engine would refuse the request,
// Busy. Behind that it is the stream's last event, and what is thrown is http::ClientGone alone.

void chat_completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                      RequestNotes& notes);
void completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                 RequestNotes& notes);
void embeddings(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                RequestNotes& notes);

// GET /v1/models, and /v1/models/ID.
void models(http::Exchange& exchange, const ServedModel& model);
void one_model(http::Exchange& exchange, const ServedModel& model, std::string_view id, RequestNotes& notes);

// vLLM's shapes, in which llama.cpp's fit, too.
void tokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes);
void detokenize(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes);

}  // namespace cachalot::openai
