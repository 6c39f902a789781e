#include "session/prompt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "session/answer_spans.h"
#include "session/chat_request.h"
#include "text/tokenizer/infill.h"

namespace cachalot {
namespace {

// Normal form C makes at most three code points one, so three bytes may be those of one in the vocabulary.
size_t most_token_bytes(const Tokenizer& tokenizer) {
  constexpr size_t kMostShrinking = 3;
  size_t most = 1;
  for (int id = 0; id < tokenizer.size(); ++id) most = std::max(most, tokenizer.bytes(id).size());
  return most * kMostShrinking;
}

nlohmann::ordered_json tools_in(const nlohmann::ordered_json& variables) {
  return variables.value("tools", nlohmann::ordered_json());
}

}  // namespace

PromptWriter::PromptWriter(const TextModel& text, std::vector<int32_t> end_tokens)
    : text_(text),
      end_tokens_(std::move(end_tokens)),
      opening_(text.chat_template ? answer_opening(*text.chat_template) : ""),
      most_token_bytes_(most_token_bytes(text.tokenizer)) {
  if (text.chat_template) writer_.emplace(*text.chat_template, text.reply);
}

const ChatTemplate& PromptWriter::chat_template() const {
  if (!text_.chat_template) throw Error("the checkpoint has no chat template").hint("complete text with `run --raw`");
  return *text_.chat_template;
}

WrittenChat PromptWriter::write(const ChatRequest& request) const {
  chat_template();
  return writer_->write(request);
}

Prompt PromptWriter::encode(const ChatRequest& request, WrittenChat written) const {
  std::vector<int32_t> tokens = text_.tokenizer.encode(written.text);
  Prompt prompt = prompt_of({.tokens = std::move(tokens), .rendered = std::move(written.text)}, request.tools);
  if (request.continues_last) continue_text(request.messages.back().text, prompt);
  prompt.reasoning_tokens = written.reasoning_tokens;
  prompt.reply->limited = prompt.reasoning_tokens.has_value();
  return prompt;
}

Prompt PromptWriter::chat(const nlohmann::ordered_json& variables) const {
  return prompt_of(encode_chat(text_.tokenizer, chat_template(), variables), tools_in(variables));
}

void PromptWriter::continue_text(std::string_view last, Prompt& prompt) const {
  const size_t open = last.rfind(text_.reply.reasoning_open), close = last.rfind(text_.reply.reasoning_close);
  if (open != last.npos && (close == last.npos || close < open)) prompt.reply->starts_inside = true;
}

static std::vector<int32_t> special_tokens_in(const std::vector<std::string_view>& tags, const Tokenizer& tokenizer) {
  std::vector<int32_t> special;
  for (const std::string_view tag : tags)
    for (const int32_t token : tokenizer.encode(tag))
      if (tokenizer.is_special(token) && std::find(special.begin(), special.end(), token) == special.end())
        special.push_back(token);
  return special;
}

Prompt PromptWriter::prompt_of(ChatPrompt prompt, const nlohmann::ordered_json& tools) const {
  auto answers = answer_spans(prompt.rendered, prompt.tokens, text_.tokenizer, opening_, end_tokens_);
  ReplySyntax reply{.format = text_.reply,
                    .starts_inside = prompt_opens_reasoning(prompt.rendered.text, text_.reply),
                    .tools = tools.empty() ? nullptr : std::make_shared<const Tools>(tools)};
  auto tags = special_tokens_in(reply.tags(), text_.tokenizer);
  return {.tokens = std::move(prompt.tokens),
          .reply = std::move(reply),
          .reply_tags = std::move(tags),
          .ends = {},
          .answers = std::move(answers)};
}

Prompt PromptWriter::raw(std::string_view text) const {
  Prompt prompt{.tokens = text_.tokenizer.encode_with_bos(text), .ends = {}, .answers = {}};
  warn_of_second_bos(text_.tokenizer, prompt.tokens);
  return prompt;
}

Prompt PromptWriter::infill(std::string_view prefix, std::string_view suffix) const {
  const auto tokens = infill_tokens(text_.tokenizer);
  if (!tokens)
    throw Error("the model cannot fill in the middle").because("its vocabulary has no tokens that mark the parts");
  return {.tokens = encode_infill(text_.tokenizer, *tokens, prefix, suffix),
          .ends = infill_ends(text_.tokenizer, *tokens),
          .answers = {}};
}

void warn_of_second_bos(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  const auto bos = tokenizer.bos();
  if (!bos || !tokenizer.adds_bos() || tokens.size() < 2 || tokens[0] != *bos || tokens[1] != *bos) return;
  warn("the text begins with the BOS token {}, and the tokenizer puts one before it: now there are two; leave it out",
       quote(tokenizer.bytes(*bos)));
}

}  // namespace cachalot
