#include "server/responses/response.h"

#include <ctime>

#include "server/dialect/follow.h"

namespace cachalot::responses {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json usage_json(const ReplyUsage& usage) {
  return {
      {"input_tokens", usage.prompt_tokens},
      {"input_tokens_details",
       {{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", usage.prompt_tokens - usage.cached_tokens}}},
      {"output_tokens", usage.completion_tokens},
      {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
      {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

Json reasoning_json(const AskedResponse& asked) {
  const std::optional<Effort> effort = asked.chat.thinking.effort;
  return {{"effort", effort ? Json(name(*effort)) : Json(nullptr)}, {"summary", asked.summary}};
}

}  // namespace

// Clients look for every field of these, also where it says nothing.
Json new_response(const AskedResponse& asked) {
  Json response = {{"id", "resp_" + random_id()},
                   {"object", "response"},
                   {"created_at", static_cast<int64_t>(std::time(nullptr))},
                   {"status", "in_progress"},
                   {"background", false},
                   {"completed_at", nullptr},
                   {"error", nullptr},
                   {"incomplete_details", nullptr},
                   {"instructions", or_null(asked.instructions)},
                   {"max_output_tokens", or_null(asked.max_tokens)},
                   {"max_tool_calls", asked.max_tool_calls},
                   {"model", asked.model.id},
                   {"output", Json::array()},
                   {"parallel_tool_calls", !asked.one_call}};
  const auto add = [&](const Json& more) { response.update(more); };
  add({{"previous_response_id", asked.previous.empty() ? Json(nullptr) : Json(asked.previous)},
       {"prompt_cache_key", asked.prompt_cache_key},
       {"reasoning", reasoning_json(asked)},
       {"safety_identifier", asked.safety_identifier},
       {"service_tier", "default"},
       {"store", *asked.store},
       {"temperature", asked.sampling.temperature},
       {"text", {{"format", {{"type", "text"}}}, {"verbosity", asked.verbosity}}},
       {"tool_choice", asked.tells_of_tools ? "auto" : "none"},
       {"tools", asked.tools.told()},
       {"top_logprobs", asked.logprobs.value_or(0)},
       {"top_p", asked.sampling.top_p}});
  add({{"presence_penalty", asked.sampling.presence_penalty},
       {"frequency_penalty", asked.sampling.frequency_penalty},
       {"truncation", "disabled"},
       {"usage", nullptr},
       {"user", asked.user},
       {"metadata", asked.metadata}});
  return response;
}

void end_response(Json& response, const Json& output, const ReplyUsage& usage, bool length) {
  response["status"] = length ? "incomplete" : "completed";
  response["completed_at"] = length ? Json(nullptr) : Json(static_cast<int64_t>(std::time(nullptr)));
  if (length) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
  response["output"] = output;
  response["usage"] = usage_json(usage);
}

void fail_response(Json& response, const Json& output, const ApiError& error) {
  response["status"] = "failed";
  response["error"] = {{"code", error.status == 429 ? "rate_limit_exceeded" : "server_error"},
                       {"message", error.message}};
  response["output"] = output;
}

}  // namespace cachalot::responses
