// POST /v1/completions.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "server/dialect/logprobs.h"
#include "server/json_body.h"
#include "server/openai/choices.h"
#include "server/openai/openai.h"
#include "server/openai/prompts.h"
#include "text/unicode.h"

namespace cachalot::openai {
namespace {

size_t code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// A prompt and how it reads before the answer.
struct Given {
  Prompt prompt;
  std::string text;
  bool bos = false;  // the first token is a BOS that the text does not have
  size_t points = code_points(text);
};

Given given_text(const AskedCompletion& asked, const std::string& text) {
  check_size(asked, text.size());
  const Tokenizer& tokenizer = asked.model.text.tokenizer;
  const bool whole = asked.add_special_tokens;
  return {.prompt = {.tokens = whole ? tokenizer.encode_with_bos(text) : tokenizer.encode(text),
                     .ends = {},
                     .answers = {}},
          .text = text,
          .bos = whole && tokenizer.adds_bos()};
}

Given given_tokens(const AskedCompletion& asked, std::vector<int> tokens) {
  std::string text = asked.echo ? asked.model.text.tokenizer.decode(tokens) : "";
  return {.prompt = {.tokens = std::move(tokens), .ends = {}, .answers = {}}, .text = std::move(text)};
}

Given given_infill(const AskedCompletion& asked, const Value& prompt) {
  if (!prompt.json.is_string()) prompt.expect("one text, where there is a suffix");
  if (asked.echo) throw bad_field("echo", "and suffix exclude each other");
  check_size(asked, prompt.text().size() + asked.suffix->size());
  try {
    return {.prompt = asked.model.prompts.infill(prompt.text(), *asked.suffix), .text = {}};
  } catch (const Error& error) { throw bad_field("suffix", error.what()); }
}

// A short body may ask for the log-probabilities of a long prompt many times over.
void check_told(const AskedCompletion& asked, const std::vector<Given>& all) {
  if (!asked.echo || !asked.logprobs) return;
  size_t told = 0;
  for (const Given& given : all)
    told +=
        given.prompt.tokens.size() * static_cast<size_t>(asked.answers) * (static_cast<size_t>(*asked.logprobs) + 1);
  if (told > kMostPromptLogprobs)
    throw bad_field("logprobs", fmt::format("asks, with echo and n, for {} log-probabilities of prompts; at most {} "
                                            "are told at once",
                                            told, kMostPromptLogprobs));
}

std::vector<Given> read_prompts(const AskedCompletion& asked) {
  if (!asked.prompt) throw bad_field("prompt", "is missing");
  const Value value{"prompt", *asked.prompt};
  std::vector<Given> all;
  if (asked.suffix) {
    all.push_back(given_infill(asked, value));
  } else {
    for_each_prompt(
        value, asked.model.vocab, [&](const std::string& text) { all.push_back(given_text(asked, text)); },
        [&](std::vector<int> tokens) { all.push_back(given_tokens(asked, std::move(tokens))); });
  }
  for (const Given& given : all)
    if (given.prompt.tokens.empty()) value.refuse("is empty; a model goes on with at least one token");
  if (all.size() * static_cast<size_t>(asked.answers) > kMostPrompts)
    throw bad_field("n",
                    fmt::format("asks for {} answers to each of {} prompts; at most {} answers are given at once",
                                asked.answers, all.size(), kMostPrompts));
  check_told(asked, all);
  return all;
}

class CompletionTeller : public ChoiceTeller {
 public:
  CompletionTeller(const AskedCompletion& asked, const std::vector<Given>& given)
      : ChoiceTeller(asked),
        asked_(asked),
        given_(given),
        choices_(given.size() * static_cast<size_t>(asked.answers)) {}

 protected:
  std::string_view id_prefix() const override { return "cmpl-"; }
  std::string_view object(bool) const override { return "text_completion"; }

  // The prompts, unless their log-probabilities are to come with them.
  Json beginning() override {
    Json choices = Json::array();
    if (!asked_.echo || asked_.logprobs) return choices;
    for (size_t i = 0; i < choices_.size(); ++i) {
      choices_[i].echoed = true;
      choices.push_back(json(i, given_of(i).text, nullptr, nullptr));
    }
    return choices;
  }

  Json chunks(const RunNews& run, const Reply& reply) override {
    Json told = tell(run, reply);
    const bool ends = run.news.end.has_value();
    const bool ids = asked_.tells_token_ids && !run.news.tokens.empty();
    if (!ends && told["text"].get_ref<const std::string&>().empty() && told["logprobs"].is_null() && !ids)
      return Json::array();
    add_ids(run, told);
    if (ends) told["stop_reason"] = stop_reason(*run.news.end, asked_);
    return Json::array({std::move(told)});
  }

  Json choice(const RunNews& run, const Reply& reply) override {
    Json told = tell(run, reply);
    told["stop_reason"] = stop_reason(*run.news.end, asked_);
    add_ids(run, told);
    return told;
  }

 private:
  struct Choice {
    bool echoed = false, knows_prompt = false;  // the prompt's text was told, its tokens' ids
    std::string told;                           // of the answer
    size_t bytes = 0, points = 0;               // a place in it: of the last token that was told
  };

  size_t index(const RunNews& run) const {
    return run.run * static_cast<size_t>(asked_.answers) + static_cast<size_t>(run.news.answer);
  }
  const Given& given_of(size_t choice) const { return given_[choice / static_cast<size_t>(asked_.answers)]; }

  static Json json(size_t index, std::string text, Json logprobs, Json finish) {
    return {{"index", index},
            {"text", std::move(text)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }

  Json tell(const RunNews& run, const Reply& reply) {
    const size_t i = index(run);
    Choice& choice = choices_[i];
    CompletionLogprobs logprobs;
    std::string text;
    if (asked_.echo && !choice.echoed) {
      choice.echoed = true;
      text = given_of(i).text;
      if (asked_.logprobs) add_prompt(given_of(i), reply, logprobs);
    }
    const std::string news = text_of(run.news.parts, ReplyPart::Kind::content);
    text += news;
    if (asked_.logprobs) {
      choice.told += news;
      for (const ReplyToken& token : run.news.tokens)
        logprobs.add(tokenizer(), token.token, token.logprobs, offset(i, token.begin));
      // The token that ended the answer was chosen as the others were; who sums up probabilities needs it.
      if (run.news.end && run.news.end->stop_token && !run.news.end->logprobs.empty())
        logprobs.add(tokenizer(), *run.news.end->stop_token, run.news.end->logprobs, offset(i, choice.told.size()));
    }
    return json(i, std::move(text), asked_.logprobs && !logprobs.empty() ? logprobs.take() : Json(nullptr),
                run.news.end ? Json(finish_reason(*run.news.end)) : Json(nullptr));
  }

  void add_ids(const RunNews& run, Json& told) {
    if (!asked_.tells_token_ids) return;
    const size_t i = index(run);
    told["token_ids"] = token_ids(run.news.tokens, run.news.end);
    if (!std::exchange(choices_[i].knows_prompt, true)) told["prompt_token_ids"] = given_of(i).prompt.tokens;
  }

  void add_prompt(const Given& given, const Reply& reply, CompletionLogprobs& logprobs) const {
    StreamDecoder decoder(tokenizer(), /*skip_special=*/false);
    const auto& known = reply.prompt_logprobs();
    size_t at = 0;
    for (size_t i = 0; i < given.prompt.tokens.size(); ++i) {
      const int32_t token = given.prompt.tokens[i];
      logprobs.add(tokenizer(), token, i < known.size() ? known[i] : std::vector<TokenLogprob>(),
                   std::min(at, given.points));
      const std::string text = decoder.push(token);
      if (i > 0 || !given.bos) at += code_points(text);
    }
  }

  // Of a token of choice i, whose text begins at this byte of the answer's, in code points of the choice's text.
  // Tokens come in order.
  size_t offset(size_t i, size_t begin) {
    Choice& choice = choices_[i];
    begin = std::min(begin, choice.told.size());
    choice.points += code_points(std::string_view(choice.told).substr(choice.bytes, begin - choice.bytes));
    choice.bytes = begin;
    return choice.points + (asked_.echo ? given_of(i).points : 0);
  }

  const Tokenizer& tokenizer() const { return asked_.model.text.tokenizer; }

  const AskedCompletion& asked_;
  const std::vector<Given>& given_;
  std::vector<Choice> choices_;
};

}  // namespace

void completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                 RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  const AskedCompletion asked = read_completion(body, model);
  const std::vector<Given> given = read_prompts(asked);
  std::vector<Run> runs;
  for (const Given& one : given) runs.push_back(run_of(asked, one.prompt, caller));
  CompletionTeller teller(asked, given);
  follow(exchange, asked.stream, std::move(runs), generator, teller, notes);
}

}  // namespace cachalot::openai
