// The text sides of the test checkpoints, as a server has them; no weights are read.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "server/anthropic/anthropic.h"
#include "server/api_error.h"
#include "server/openai/openai.h"
#include "server/recorded_exchange.h"
#include "server/responses/responses.h"
#include "server/scripted.h"
#include "support/test_models.h"

namespace cachalot::testing {

using Json = nlohmann::ordered_json;

struct Served {
  Checkpoint checkpoint;
  TextModel text = TextModel::read(checkpoint);
  GenerationDefaults defaults = GenerationDefaults::read(checkpoint, text.tokenizer);
  ServedModel model{.id = "org/model",
                    .created = 1'700'000'000,
                    .text = text,
                    .defaults = defaults,
                    .prompts = PromptWriter(text, defaults.end_tokens),
                    .context = 4096,
                    .vocab = text.tokenizer.size(),
                    .width = kScriptedWidth};

  // Perhaps with another chat template than the checkpoint's.
  explicit Served(const std::filesystem::path& path, const std::optional<std::string>& chat_template = {})
      : checkpoint(Checkpoint::open(path)), text(read(checkpoint, chat_template)) {}

 private:
  static TextModel read(const Checkpoint& checkpoint, const std::optional<std::string>& chat_template) {
    TextModel text = TextModel::read(checkpoint);
    if (chat_template) text.chat_template.emplace(*chat_template, "", "");
    return text;
  }
};

// gqa: Qwen3's vocabulary and template; mla: DeepSeek-V3's.
inline const Served& served(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Served>> all;
  auto& one = all[name];
  if (!one) one = std::make_unique<Served>(test_model(name));
  return *one;
}

// Failures become answers, as the router makes them of what handlers throw.
inline void answered(RecordedExchange& exchange, const std::function<void()>& work,
                     const ErrorShape& shape = openai_error) {
  try {
    work();
  } catch (const ApiError& error) { exchange.send(shape(error)); } catch (const Busy& busy) {
    exchange.send(shape({busy.status, busy.why}));
  } catch (const Error& error) { exchange.send(shape({400, error.what()})); }
}

// Asks one endpoint, while the generator makes a step whenever somebody waits.
struct Asking {
  const ServedModel& model;
  ScriptedGenerator& generator;
  Caller caller = {.name = "somebody", .salt = "salt"};
  RequestNotes notes = {};
  responses::ResponseStore responses{{}};

  RecordedExchange exchange(const Json& body) {
    RecordedExchange exchange(body.dump());
    exchange.meanwhile = [this] { generator.step(); };
    return exchange;
  }
  RecordedExchange chat(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { openai::chat_completions(e, model, generator, caller, notes); });
    return e;
  }
  RecordedExchange embed(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { openai::embeddings(e, model, generator, caller, notes); });
    return e;
  }
  RecordedExchange complete(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { openai::completions(e, model, generator, caller, notes); });
    return e;
  }
  RecordedExchange count_input(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { responses::count_input(e, model, responses, caller, notes); });
    return e;
  }
  RecordedExchange respond(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { responses::create(e, model, generator, responses, caller, notes); });
    return e;
  }
  RecordedExchange message(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { anthropic::messages(e, model, generator, caller, notes); }, anthropic::error_response);
    return e;
  }
  RecordedExchange count(const Json& body) {
    RecordedExchange e = exchange(body);
    answered(e, [&] { anthropic::count_tokens(e, model, notes); }, anthropic::error_response);
    return e;
  }
};

inline Json user(const std::string& text) { return {{"role", "user"}, {"content", text}}; }

// What a script says: texts, each followed by the model's end token.
inline ScriptedGenerator::Script saying(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  std::vector<ScriptedAnswer> answers;
  for (const std::string& text : texts) {
    answers.push_back({.tokens = tokenizer.encode(text)});
    answers.back().tokens.push_back(*tokenizer.eos());
  }
  return [answers](const Request&) { return answers; };
}

}  // namespace cachalot::testing
