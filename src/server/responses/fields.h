// What POST /v1/responses asks.
#pragma once

#include <optional>
#include <string>

#include "server/dialect/fields.h"
#include "server/responses/tools.h"

namespace cachalot::responses {

struct AskedResponse : Asked {
  explicit AskedResponse(const ServedModel& served) : Asked(served, "input") {}

  const Json* input = nullptr;
  std::optional<std::string> instructions;
  std::string previous;  // the response that this one goes on from; "" where there is none
  std::optional<bool> store;
  OfferedTools tools;
  bool tells_of_tools = true;
  bool tells_logprobs = false;          // also where only the chosen tokens' are asked for
  bool tells_sealed_reasoning = false;  // reasoning.encrypted_content
  // Given back as they came.
  Json metadata = Json::object(), verbosity = "medium", summary, max_tool_calls, user, safety_identifier,
       prompt_cache_key;
};

std::span<const Field<AskedResponse>> response_fields();

// Reads a body. `keeps`: responses can be kept here. Throws an ApiError.
AskedResponse read_response(const Json& body, const ServedModel& model, bool keeps);

}  // namespace cachalot::responses
