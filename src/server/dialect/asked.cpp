#include "server/dialect/asked.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <random>

#include "base/error.h"
#include "base/quote.h"
#include "server/api_error.h"
#include "server/dialect/value.h"
#include "session/thinking_budget.h"

namespace cachalot::dialect {
namespace {

using Mask = std::vector<uint64_t>;

void allow(Mask& mask, int token, bool allowed) {
  const uint64_t bit = uint64_t{1} << (token % 64);
  uint64_t& word = mask[static_cast<size_t>(token) / 64];
  word = allowed ? word | bit : word & ~bit;
}

// Tokens that may follow: those that are asked for, and none that ends an answer which is too short.
void restrict_tokens(const Asked& asked, Request& request) {
  if (!asked.allowed_tokens && asked.text.min_tokens == 0) return;
  Mask always(static_cast<size_t>(asked.model.vocab + 63) / 64, asked.allowed_tokens ? 0 : ~uint64_t{0});
  if (asked.allowed_tokens)
    for (const int32_t token : *asked.allowed_tokens) allow(always, token, true);
  Mask at_first = always;
  for (const int32_t token : request.end_tokens)
    if (token < asked.model.vocab) allow(at_first, token, false);
  if (asked.text.min_tokens > 0 && std::ranges::all_of(at_first, [](uint64_t word) { return word == 0; }))
    throw bad_field("min_tokens", "leaves no token: all that allowed_token_ids has would end the answer");
  const auto masks = std::make_shared<const std::pair<Mask, Mask>>(std::move(at_first), std::move(always));
  const auto least = static_cast<size_t>(asked.text.min_tokens);
  request.allowed = [masks, least, all = !asked.allowed_tokens](int, std::span<const int32_t> so_far) {
    if (so_far.size() < least) return std::span<const uint64_t>(masks->first);
    return all ? std::span<const uint64_t>() : std::span<const uint64_t>(masks->second);
  };
}

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

void check_room(const Asked& asked, const Prompt& prompt) {
  const auto tokens = std::ssize(prompt.tokens);
  if (tokens < asked.model.context) return;
  throw ApiError{400,
                 fmt::format("This model's maximum context length is {} tokens. However, the prompt has {} "
                             "tokens, which leaves no room for an answer.",
                             asked.model.context, tokens),
                 "context_length_exceeded", std::string(asked.prompt_field)};
}

// What is arranged and rendered for a template takes its time for each, before any queue; a body has room for a
// million.
void check_turns(const Asked& asked) {
  size_t turns = asked.chat.messages.size();
  for (const ChatMessage& message : asked.chat.messages) turns += message.calls.size();
  if (turns > kMostTurns)
    throw bad_field(asked.prompt_field,
                    fmt::format("has {} messages and calls; at most {} are taken", turns, kMostTurns));
}

}  // namespace

void check_size(const Asked& asked, size_t bytes) {
  const size_t least = asked.model.prompts.fewest_tokens(bytes);
  if (least < static_cast<size_t>(asked.model.context)) return;
  throw ApiError{400,
                 fmt::format("This model's maximum context length is {} tokens. However, the prompt has {} bytes, "
                             "which are at least {} tokens, and leaves no room for an answer.",
                             asked.model.context, bytes, least),
                 "context_length_exceeded", std::string(asked.prompt_field)};
}

void check_model(std::string_view name, const ServedModel& model) {
  if (!model.is_called(name))
    throw ApiError{404, fmt::format("there is no model {} here; there is {}", quote(name), model.names()),
                   "model_not_found", "model"};
}

Request engine_request(const Asked& asked, const Prompt& prompt, const Caller& caller) {
  check_room(asked, prompt);
  Request request{.prompt = prompt.tokens,
                  .sampling = asked.sampling,
                  .max_tokens = asked.max_tokens,
                  .end_tokens = asked.stop_tokens,
                  .answers = asked.answers,
                  .logprobs = asked.logprobs.value_or(-1),
                  .caller = caller.name,
                  .salt = caller.salt,
                  .absorbed = prompt.answers};
  request.sampling.seed = asked.seed ? *asked.seed : random_seed();
  const auto add_ends = [&](const std::vector<int32_t>& ends) {
    request.end_tokens.insert(request.end_tokens.end(), ends.begin(), ends.end());
  };
  if (!asked.ignore_eos) {
    add_ends(asked.model.defaults.end_tokens);
    add_ends(prompt.ends);
  }
  if (asked.echo && asked.logprobs) request.prompt_logprobs = *asked.logprobs;
  if (!asked.cache_salt.empty()) request.salt += "\n" + asked.cache_salt;
  if (!asked.use_cache) request.computed_from = 0;
  restrict_tokens(asked, request);
  if (prompt.reasoning_tokens)
    limit_reasoning(request, *prompt.reasoning_tokens, asked.model.text.tokenizer, asked.model.text.reply,
                    prompt.reply->starts_inside, asked.model.vocab);
  return request;
}

Prompt chat_prompt(const Asked& asked, bool to_answer) {
  if (!asked.model.text.chat_template)
    throw bad_field(asked.prompt_field,
                    "the model has no chat template (a base model); /v1/completions completes text");
  check_turns(asked);
  WrittenChat written = [&] {
    try {
      return asked.model.prompts.write(asked.chat);
    } catch (const Error& error) { throw bad_field(asked.prompt_field, error.what()); }  // the client's to mend
  }();
  if (to_answer) check_size(asked, written.text.text.size());
  return asked.model.prompts.encode(asked.chat, std::move(written));
}

Run run_of(const Asked& asked, const Prompt& prompt, const Caller& caller) {
  const ReplyOptions reply{.answers = asked.answers, .text = asked.text, .one_call = asked.one_call};
  return {engine_request(asked, prompt, caller), Reply(asked.model.text.tokenizer, prompt, reply)};
}

}  // namespace cachalot::dialect
