#include "server/dialect/logprobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace cachalot::dialect {
namespace {

double value_of(const TokenLogprob& logprob) { return std::max(-9999.0, static_cast<double>(logprob.model)); }

// A token may be a part of a character, which JSON cannot say: its bytes become \\xF0.
std::string escaped(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = utf8_step(bytes, at);
    const std::string_view part = bytes.substr(at, static_cast<size_t>(step.bytes));
    at += part.size();
    if (step.kind == Utf8::valid)
      text += part;
    else
      for (const char byte : part) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return text;
}

Json entry(const Tokenizer& tokenizer, const TokenLogprob& logprob) {
  const std::string_view bytes = tokenizer.bytes(logprob.token);
  Json numbers = Json::array();
  for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
  return {{"token", escaped(bytes)}, {"logprob", value_of(logprob)}, {"bytes", std::move(numbers)}};
}

// The keys of an object tell tokens apart, so bytes have a prefix that no text has by chance.
std::string completion_text(const Tokenizer& tokenizer, int32_t token) {
  const std::string_view bytes = tokenizer.bytes(token);
  return is_valid_utf8(bytes) ? std::string(bytes) : "bytes:" + escaped(bytes);
}

}  // namespace

Json chat_logprob(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& logprobs) {
  Json all = entry(tokenizer, logprobs.front());
  Json& top = all["top_logprobs"] = Json::array();
  for (size_t i = 1; i < logprobs.size(); ++i) top.push_back(entry(tokenizer, logprobs[i]));
  return all;
}

void CompletionLogprobs::add(const Tokenizer& tokenizer, int32_t token, const std::vector<TokenLogprob>& logprobs,
                             size_t offset) {
  tokens_.push_back(completion_text(tokenizer, token));
  text_offset_.push_back(offset);
  if (logprobs.empty()) {
    token_logprobs_.push_back(nullptr);
    top_logprobs_.push_back(nullptr);
    return;
  }
  token_logprobs_.push_back(value_of(logprobs.front()));
  // The likeliest, and the chosen one where it is none of them. Of tokens with one text the likelier one is told.
  Json top = Json::object();
  const auto tell = [&](const TokenLogprob& logprob) {
    const auto [at, is_new] = top.emplace(completion_text(tokenizer, logprob.token), value_of(logprob));
    if (!is_new && at->get<double>() < value_of(logprob)) *at = value_of(logprob);
  };
  for (size_t i = 1; i < logprobs.size(); ++i) tell(logprobs[i]);
  tell(logprobs.front());
  top_logprobs_.push_back(std::move(top));
}

Json CompletionLogprobs::take() {
  return {{"tokens", std::exchange(tokens_, Json::array())},
          {"token_logprobs", std::exchange(token_logprobs_, Json::array())},
          {"top_logprobs", std::exchange(top_logprobs_, Json::array())},
          {"text_offset", std::exchange(text_offset_, Json::array())}};
}

}  // namespace cachalot::dialect
