// Prompts as the API of OpenAI takes them: a text, a list of token ids, or a list of either.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/dialect/value.h"

namespace cachalot::openai {

constexpr size_t kMostPrompts = 2048;  // of a list

// Calls text(const std::string&) or tokens(std::vector<int>) for each, in order. Throws an ApiError.
template <class Text, class Tokens>
void for_each_prompt(const dialect::Value& value, int vocab, const Text& text, const Tokens& tokens) {
  const dialect::Json& json = value.json;
  if (json.is_string()) return text(value.text());
  if (!json.is_array()) value.expect("a text, a list of token ids, or a list of either");
  if (json.empty()) value.refuse("is empty");
  if (json[0].is_number()) return tokens(value.tokens(SIZE_MAX, vocab));
  for (const dialect::Value& one : value.list(kMostPrompts)) {
    if (one.json.is_array() && !json[0].is_string())
      tokens(one.tokens(SIZE_MAX, vocab));
    else
      text(one.text());
  }
}

}  // namespace cachalot::openai
