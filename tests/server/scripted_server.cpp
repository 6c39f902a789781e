// A server whose model is a script: for clients' tests of what no real model does on demand. Its text side is that of
// a test checkpoint; it answers what the last message or prompt asks for, in words:
//
//   say TEXT          TEXT, once for each answer, with its number in the place of {n}
//   reason TEXT       "<think>\nHm, so.\n</think>\n\nTEXT"
//   calls [CALL, …]   "Let me look." and these calls of tools, each {"name": …, "arguments": …}; where the prompt
//   ends
//                     with results of tools, "It says RESULT" of each
//   endless           "on and on " for ever
//   fail              "so far" and then an error
//   wait SECONDS      nothing for so long, and then "at last"
//   steps [[CALL, …], …] then TEXT
//                     for agents, which ask once more with the results of calls: the calls of the first step, after
//                     their results those of the next, and in the end TEXT, each behind some reasoning where the
//                     prompt leaves it open; without tools "Notes"
//
// usage: scripted_server MODEL_FOLDER [KEY [CONTEXT [OTHER_NAME…]]]. Its address comes on stdout; it ends when stdin
// does.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

#include "server/anthropic/anthropic.h"
#include "server/health.h"
#include "server/openai/openai.h"
#include "server/responses/responses.h"
#include "server/router.h"
#include "server/scripted.h"

namespace cachalot::testing {
namespace {

constexpr std::chrono::milliseconds kStep{2};

// What stands behind the last of these words that the prompt has.
std::string order_in(std::string_view prompt, std::string_view word) {
  const size_t at = prompt.rfind(word);
  if (at == prompt.npos) return "";
  prompt.remove_prefix(at + word.size());
  return std::string(prompt.substr(0, prompt.find("<|")));
}

// What the user said last; of a text without turns all of it.
std::string_view last_turn(std::string_view prompt) {
  constexpr std::string_view kUser = "<|im_start|>user\n";
  const size_t at = prompt.rfind(kUser);
  if (at == prompt.npos) return prompt;
  prompt.remove_prefix(at + kUser.size());
  return prompt.substr(0, prompt.find("<|im_end|>"));
}

class Script {
 public:
  Script(const Tokenizer& tokenizer, int end) : tokenizer_(tokenizer), end_(end) {}

  std::vector<ScriptedAnswer> operator()(const Request& request) const {
    const std::string prompt = tokenizer_.decode(request.prompt);
    std::vector<ScriptedAnswer> answers;
    for (int i = 0; i < request.answers; ++i) answers.push_back(answer(prompt, i));
    return answers;
  }

 private:
  ScriptedAnswer saying(std::string text, int i) const {
    if (const size_t at = text.find("{n}"); at != text.npos) text.replace(at, 3, std::to_string(i));
    ScriptedAnswer answer{.tokens = tokenizer_.encode(text), .error = {}};
    answer.tokens.push_back(end_);
    return answer;
  }
  ScriptedAnswer calling(const nlohmann::ordered_json& list, int i, std::string text = "") const {
    text += "Let me look.";
    for (const auto& call : list) text += "\n<tool_call>\n" + call.dump() + "\n</tool_call>";
    return saying(text, i);
  }
  // What stands in the last turn's results of tools.
  static std::string results(std::string_view prompt) {
    constexpr std::string_view kOpen = "<tool_response>\n", kClose = "\n</tool_response>";
    std::string said;
    for (size_t at = prompt.rfind("<|im_start|>user"); (at = prompt.find(kOpen, at)) != prompt.npos;) {
      at += kOpen.size();
      said += (said.empty() ? "It says " : " and ");
      said += prompt.substr(at, prompt.find(kClose, at) - at);
    }
    return said;
  }
  // The calls, or the words, that are next: those of as many results as stand behind the order are done.
  ScriptedAnswer next_step(const std::string& prompt, const std::string& order, int i) const {
    if (prompt.find("<tools>") == prompt.npos) return saying("Notes", i);
    constexpr std::string_view kResult = "<tool_response>", kThen = " then ";
    size_t results = 0;
    for (size_t at = prompt.rfind(order); (at = prompt.find(kResult, at)) != prompt.npos; at += kResult.size())
      ++results;
    const std::string thought = prompt.ends_with("</think>\n\n") ? "" : "<think>\nHm, so.\n</think>\n\n";
    const size_t then = order.rfind(kThen), text = then + kThen.size();
    for (const auto& step : nlohmann::ordered_json::parse("[" + order.substr(0, then))) {
      if (results == 0) return calling(step, i, thought);
      results -= std::min(results, step.size());
    }
    return saying(thought + order.substr(text, order.find('\n', text) - text), i);
  }
  ScriptedAnswer answer(const std::string& prompt, int i) const {
    if (const std::string order = order_in(prompt, "steps ["); !order.empty()) return next_step(prompt, order, i);
    if (const std::string text = results(prompt); !text.empty()) return saying(text, i);
    const std::string_view turn = last_turn(prompt);
    if (const std::string list = order_in(turn, "calls "); !list.empty())
      return calling(nlohmann::ordered_json::parse(list), i);
    if (turn.find("endless") != turn.npos)
      return {.tokens = tokenizer_.encode("on and on "), .error = {}, .endless = true};
    if (turn.find("fail") != turn.npos)
      return {.tokens = tokenizer_.encode("so far"), .error = "the script says that it fails"};
    if (const std::string text = order_in(turn, "reason "); !text.empty())
      return saying("<think>\nHm, so.\n</think>\n\n" + text, i);
    if (const std::string seconds = order_in(turn, "wait "); !seconds.empty()) {
      ScriptedAnswer answer = saying("at last", i);
      answer.silent_steps = static_cast<int>(std::stod(seconds) * 1000 / static_cast<double>(kStep.count()));
      return answer;
    }
    return saying(order_in(turn, "say "), i);
  }

  const Tokenizer& tokenizer_;
  int end_;
};

int serve(const char* folder, const std::string& key, int context, std::vector<std::string> other_names) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const TextModel text = TextModel::read(checkpoint);
  const GenerationDefaults defaults = GenerationDefaults::read(checkpoint, text.tokenizer);
  const ServedModel model{.id = "scripted",
                          .other_names = std::move(other_names),
                          .created = std::time(nullptr),
                          .text = text,
                          .defaults = defaults,
                          .prompts = PromptWriter(text, defaults.end_tokens),
                          .context = context,
                          .vocab = text.tokenizer.size(),
                          .width = kScriptedWidth};
  ScriptedGenerator generator(Script(text.tokenizer, *text.tokenizer.eos()));
  generator.room = 64;
  Health health;
  health.ready();
  RouterOptions options;
  if (!key.empty()) options.keys = Keys::parse(key, "the command line");
  Router router(std::move(options), health);
  const auto add = [&](const char* path, auto endpoint) {
    router.add({"POST", path, [&, endpoint](Call& call) {
                  RequestNotes notes;
                  endpoint(call.http, model, generator, Caller{call.caller, ""}, notes);
                }});
  };
  add("/v1/chat/completions", openai::chat_completions);
  add("/v1/completions", openai::completions);
  add("/v1/embeddings", openai::embeddings);
  const auto add_messages = [&](const char* path, CallHandler handler, const char* method = "POST") {
    router.add({.method = method, .path = path, .handler = std::move(handler), .shape = anthropic::error_response});
  };
  add_messages("/v1/messages", [&](Call& call) {
    RequestNotes notes;
    anthropic::messages(call.http, model, generator, Caller{call.caller, ""}, notes);
  });
  add_messages("/v1/messages/count_tokens", [&](Call& call) {
    RequestNotes notes;
    anthropic::count_tokens(call.http, model, notes);
  });
  for (const char* method : {"GET", "POST"})
    add_messages("/v1/messages/*", [](Call& call) { anthropic::not_here(call.http); }, method);
  responses::ResponseStore store({});
  router.add({"POST", "/v1/responses", [&](Call& call) {
                RequestNotes notes;
                responses::create(call.http, model, generator, store, Caller{call.caller, ""}, notes);
              }});
  router.add({"POST", "/v1/responses/input_tokens", [&](Call& call) {
                RequestNotes notes;
                responses::count_input(call.http, model, store, Caller{call.caller, ""}, notes);
              }});
  const auto kept = [&](const char* method, auto endpoint) {
    router.add({method, "/v1/responses/*",
                [&, endpoint](Call& call) { endpoint(call.http, store, Caller{call.caller, ""}, call.rest); }});
  };
  kept("GET", responses::get_kept);
  kept("DELETE", responses::delete_kept);
  kept("POST", responses::post_to_kept);
  router.add({"GET", "/v1/models", [&](Call& call) { openai::models(call.http, model); }});
  router.add({"GET", "/v1/models/*", [&](Call& call) {
                RequestNotes notes;
                openai::one_model(call.http, model, call.rest, notes);
              }});
  // How many requests run: clients that cancel look here.
  router.add({"GET", "/running", [&](Call& call) { call.http.send({200, std::to_string(generator.running())}); }});

  std::atomic<bool> ending = false;
  std::thread steps([&] {
    while (!ending) {
      generator.step();
      std::this_thread::sleep_for(kStep);
    }
  });
  {
    http::Server server(
        "127.0.0.1", 0, {}, [&](http::Exchange& exchange) { router.handle(exchange); },
        [&](int status, std::string_view why, std::string_view path) { return router.refuse(status, why, path); });
    fmt::print("{}\n", server.address());
    std::fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {}
  }
  ending = true;
  steps.join();
  return 0;
}

}  // namespace
}  // namespace cachalot::testing

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: scripted_server MODEL_FOLDER [KEY [CONTEXT [OTHER_NAME…]]]\n");
    return 2;
  }
  try {
    return cachalot::testing::serve(argv[1], argc > 2 ? argv[2] : "", argc > 3 ? std::stoi(argv[3]) : 4096,
                                    {argv + std::min(argc, 4), argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "scripted_server: {}\n", error.what());
    return 1;
  }
}
