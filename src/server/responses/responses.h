// OpenAI's Responses API, as its clients and the Open Responses specification have it: an answer is a list of items,
// a conversation goes on from what the client sends back, or from a response that is kept here.
#pragma once

#include <string_view>

#include "server/generator.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/responses/store.h"
#include "server/served_model.h"

namespace cachalot::responses {

// POST /v1/responses. What goes wrong before the answer has begun is thrown: ApiError, Error where the engine would
// refuse the request, Busy. Behind that it is the stream's last event, and what is thrown is http::ClientGone alone.
void create(http::Exchange& exchange, const ServedModel& model, Generator& generator, ResponseStore& store,
            const Caller& caller, RequestNotes& notes);

// POST /v1/responses/input_tokens: how many tokens the input of the same body has.
void count_input(http::Exchange& exchange, const ServedModel& model, ResponseStore& store, const Caller& caller,
                 RequestNotes& notes);

// GET, DELETE and POST of what stands behind /v1/responses/: ID, ID/input_items, ID/cancel.
void get_kept(http::Exchange& exchange, ResponseStore& store, const Caller& caller, std::string_view rest);
void delete_kept(http::Exchange& exchange, ResponseStore& store, const Caller& caller, std::string_view rest);
void post_to_kept(http::Exchange& exchange, ResponseStore& store, const Caller& caller, std::string_view rest);

}  // namespace cachalot::responses
