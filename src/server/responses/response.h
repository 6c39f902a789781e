// The response as a whole: what is told of it from its beginning to its end.
#pragma once

#include "server/api_error.h"
#include "server/responses/fields.h"
#include "session/reply.h"

namespace cachalot::responses {

// That which has just begun, with a new id.
Json new_response(const AskedResponse& asked);
// The same at its end; `length`: it may not be longer.
void end_response(Json& response, const Json& output, const ReplyUsage& usage, bool length);
// Or where it failed.
void fail_response(Json& response, const Json& output, const ApiError& error);

}  // namespace cachalot::responses
