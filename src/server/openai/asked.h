// What a request for chat or for completions asks for, field by field.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/openai/json.h"
#include "server/request_notes.h"
#include "server/served_model.h"
#include "session/reply.h"
#include "session/thinking.h"

namespace cachalot::openai {

constexpr int kMostLikeliest = 20;        // logprobs and top_logprobs
constexpr size_t kMostStops = 16;         // texts
constexpr size_t kMostStopTokens = 1024;  // ids
constexpr size_t kLongestStop = 1024;     // bytes
constexpr size_t kMostBiases = 1024;
constexpr size_t kMostPrompts = 2048;                    // of a list, and answers to all of them
constexpr size_t kMostPromptLogprobs = size_t{4} << 20;  // with echo; those of all choices together

struct Asked {
  explicit Asked(const ServedModel& served) : model(served), sampling(served.defaults.sampling) {}

  const ServedModel& model;

  // Both endpoints.
  SamplingParams sampling;
  std::optional<uint64_t> seed;
  std::optional<int> max_tokens;
  int answers = 1;
  AnswerText text;
  std::vector<int32_t> stop_tokens;
  std::optional<std::vector<int32_t>> allowed_tokens;
  bool ignore_eos = false;
  bool use_cache = true;
  std::string cache_salt;
  bool stream = false, usage_at_end = false, usage_always = false;
  bool usage_options = false;   // stream_options were given
  std::optional<int> logprobs;  // of so many likeliest tokens beside the chosen one
  bool tells_token_ids = false;

  // Chat.
  const Json* messages = nullptr;
  const Json* tools = nullptr;
  bool tells_of_tools = true;
  bool wants_logprobs = false;
  bool tells_reasoning = true;
  std::optional<bool> add_generation_prompt;
  bool continue_final_message = false;
  bool one_call = false;  // an answer has one call of a tool at most
  ThinkingWishes thinking;
  Json template_variables = Json::object();

  // Completions.
  const Json* prompt = nullptr;
  std::optional<std::string> suffix;
  bool echo = false;
  bool add_special_tokens = true;
  std::optional<int> best_of;
};

// Throws an ApiError, 404, that tells which model is served, when it is not the one of that name.
void check_model(std::string_view name, const ServedModel& model);

// Throws an ApiError, with the numbers, when a prompt of so many bytes of text has more tokens than the context,
// however it is cut: before it is cut.
void check_size(const Asked& asked, size_t bytes);

// What the engine is asked, for one prompt. Throws an ApiError when the prompt leaves no room for an answer, with the
// numbers.
Request engine_request(const Asked& asked, const Prompt& prompt, const Caller& caller);

}  // namespace cachalot::openai
