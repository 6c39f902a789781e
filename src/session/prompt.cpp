#include "session/prompt.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "session/answer_spans.h"
#include "text/chat/chat_prompt.h"
#include "text/chat/reasoning.h"

namespace cachalot {

PromptWriter::PromptWriter(const TextModel& text, std::vector<int32_t> end_tokens)
    : text_(text),
      end_tokens_(std::move(end_tokens)),
      opening_(text.chat_template ? answer_opening(*text.chat_template) : "") {}

Prompt PromptWriter::chat(const nlohmann::ordered_json& variables) const {
  if (!text_.chat_template) throw Error("the checkpoint has no chat template").hint("complete text with `run --raw`");
  ChatPrompt prompt = encode_chat(text_.tokenizer, *text_.chat_template, variables);
  auto answers = answer_spans(prompt.rendered, prompt.tokens, text_.tokenizer, opening_, end_tokens_);
  return {.tokens = std::move(prompt.tokens),
          .chat = true,
          .opens_reasoning = prompt_opens_reasoning(prompt.rendered.text),
          .answers = std::move(answers)};
}

Prompt PromptWriter::raw(std::string_view text) const {
  Prompt prompt{.tokens = text_.tokenizer.encode_with_bos(text), .answers = {}};
  warn_of_second_bos(text_.tokenizer, prompt.tokens);
  return prompt;
}

void warn_of_second_bos(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  const auto bos = tokenizer.bos();
  if (!bos || !tokenizer.adds_bos() || tokens.size() < 2 || tokens[0] != *bos || tokens[1] != *bos) return;
  warn("the text begins with the BOS token {}, and the tokenizer puts one before it: now there are two; leave it out",
       quote(tokenizer.bytes(*bos)));
}

}  // namespace cachalot
