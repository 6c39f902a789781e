// What a request asks of a model, whichever API it came by: each dialect reads its own fields into this, and adds
// what it alone has.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/dialect/json.h"
#include "server/request_notes.h"
#include "server/runs.h"
#include "server/served_model.h"
#include "session/chat_request.h"
#include "session/reply.h"

namespace cachalot::dialect {

constexpr int kMostLikeliest = 20;        // logprobs and top_logprobs
constexpr size_t kMostStops = 16;         // texts
constexpr size_t kMostStopTokens = 1024;  // ids
constexpr size_t kLongestStop = 1024;     // bytes
constexpr size_t kMostBiases = 1024;
constexpr size_t kMostTurns = 10'000;  // messages of a conversation, and calls in them

struct Asked {
  // prompt_field: the field that what is wrong with a prompt is about.
  Asked(const ServedModel& served, std::string_view field)
      : model(served), prompt_field(field), sampling(served.defaults.sampling) {}

  const ServedModel& model;
  std::string_view prompt_field;

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
  bool stream = false;
  std::optional<int> logprobs;  // of so many likeliest tokens beside the chosen one
  bool echo = false;            // with logprobs: those of the prompt's tokens, too

  // Of a conversation; the dialect adds the messages when all fields are read.
  ChatRequest chat;
  bool one_call = false;  // an answer has one call of a tool at most

  // One more limit of max_tokens; of several, each is kept.
  void limit(int tokens) { max_tokens = std::min(tokens, max_tokens.value_or(tokens)); }
};

// Throws an ApiError, 404, that tells which model is served, when it is not the one of that name.
void check_model(std::string_view name, const ServedModel& model);

// Throws an ApiError, with the numbers, when a prompt of so many bytes of text has more tokens than the context,
// however it is cut: before it is cut.
void check_size(const Asked& asked, size_t bytes);

// asked.chat as the prompt that its template writes (session/chat_writer.h has the rules). Throws an ApiError when
// the model has no template, when that refuses the conversation, or, where it is to be answered, when it cannot fit.
Prompt chat_prompt(const Asked& asked, bool to_answer = true);

// What the engine is asked, for one prompt. Throws an ApiError when the prompt leaves no room for an answer, with the
// numbers.
Request engine_request(const Asked& asked, const Prompt& prompt, const Caller& caller);

// The run of one prompt.
Run run_of(const Asked& asked, const Prompt& prompt, const Caller& caller);

}  // namespace cachalot::dialect
