// The API of Anthropic, as its clients and agents speak it: what each endpoint does with a request. docs/serving.md
// says what becomes of every field.
#pragma once

#include "server/api_error.h"
#include "server/generator.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/served_model.h"

namespace cachalot::anthropic {

// What goes wrong before the answer has begun is thrown: ApiError, Error where the engine would refuse the request,
// Busy. Behind that it is the stream's last event, and what is thrown is http::ClientGone alone.
void messages(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
              RequestNotes& notes);

// How many tokens the prompt has that /v1/messages would ask.
void count_tokens(http::Exchange& exchange, const ServedModel& model, RequestNotes& notes);

// What else clients look for behind /v1/messages (batches): 404, in this API's shape.
void not_here(http::Exchange& exchange);

// {"type": "error", "error": {"type": …, "message": …, "details": {"error_code": …}}, "request_id": …}, details where
// there is such a word. 503 becomes 529, by which the API and its
// clients know that a server is overloaded.
http::Response error_response(const ApiError& error);

}  // namespace cachalot::anthropic
