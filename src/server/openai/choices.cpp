#include "server/openai/choices.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace cachalot::openai {
namespace {

Json usage_json(const ReplyUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

// The text of an object whose list of choices is empty, with these: each is told for itself, since a choice with
// log-probabilities takes many times the memory of its text.
std::string with_choices(const std::string& object, const std::function<void(std::string&)>& tell) {
  constexpr std::string_view kList = "\"choices\":[";
  const size_t at = object.find(kList) + kList.size();
  std::string text = object.substr(0, at);
  tell(text);
  return text.append(object, at);
}

}  // namespace

Json ChoiceTeller::envelope(bool chunk) const {
  return {{"id", std::string(id_prefix()) + random_id()},           {"object", object(chunk)},
          {"created", static_cast<int64_t>(std::time(nullptr))},    {"model", choices_asked_.model.id},
          {"system_fingerprint", choices_asked_.model.fingerprint}, {"choices", Json::array()}};
}

// Nothing is said before there is something to say: who measures the time to the first token takes it from the first
// event.
void ChoiceTeller::begin(EventStream&) {
  envelope_ = envelope(/*chunk=*/true);
  prompt_ = prompt_token_ids();
  beginning_ = beginning();
}

// A chunk for each.
void ChoiceTeller::add(Json choices, const Runs& runs, EventStream& events) {
  for (Json& choice : choices) {
    Json chunk = envelope_;
    chunk["choices"].push_back(std::move(choice));
    if (!prompt_.is_null()) chunk["prompt_token_ids"] = std::exchange(prompt_, nullptr);
    if (choices_asked_.usage_always || choices_asked_.usage_at_end)
      chunk["usage"] = choices_asked_.usage_always ? usage_json(runs.usage()) : Json(nullptr);
    events.add(dump(chunk));
  }
}

void ChoiceTeller::tell(const RunNews& news, const Runs& runs, EventStream& events) {
  Json choices = chunks(news, runs.reply(news.run));
  if (!choices.empty()) add(std::exchange(beginning_, Json::array()), runs, events);
  add(std::move(choices), runs, events);
}

void ChoiceTeller::end(const Runs& runs, EventStream& events) {
  if (choices_asked_.usage_at_end) {
    Json chunk = envelope_;
    chunk["usage"] = usage_json(runs.usage());
    events.add(dump(chunk));
  }
  events.add("[DONE]");
}

void ChoiceTeller::fail(const ApiError& error, EventStream& events) {
  events.add(openai_error(error).body);
  events.add("[DONE]");
}

std::string ChoiceTeller::whole(std::vector<RunNews> all, const Runs& runs) {
  Json json = envelope(/*chunk=*/false);
  if (Json prompt = prompt_token_ids(); !prompt.is_null()) json["prompt_token_ids"] = std::move(prompt);
  json["usage"] = usage_json(runs.usage());
  return with_choices(dump(json), [&](std::string& text) {
    for (RunNews& one : all) {
      if (&one != &all.front()) text += ',';
      text += dump(choice(one, runs.reply(one.run)));
      one.news.tokens = {};
    }
  });
}

std::vector<int32_t> token_ids(const std::vector<ReplyToken>& tokens, const std::optional<ReplyEnd>& end) {
  std::vector<int32_t> ids;
  for (const ReplyToken& token : tokens) ids.push_back(token.token);
  if (end && end->stop_token) ids.push_back(*end->stop_token);
  return ids;
}

Json stop_reason(const ReplyEnd& end, const Asked& asked) {
  if (!end.stop_text.empty()) return end.stop_text;
  const auto& asked_for = asked.stop_tokens;
  if (end.stop_token && std::find(asked_for.begin(), asked_for.end(), *end.stop_token) != asked_for.end())
    return *end.stop_token;
  return nullptr;
}

}  // namespace cachalot::openai
