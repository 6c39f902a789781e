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
//
// usage: scripted_server MODEL_FOLDER [KEY]. Its address comes on stdout; it ends when stdin does.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

#include "server/health.h"
#include "server/openai/openai.h"
#include "server/router.h"
#include "server/scripted.h"

namespace cachalot::testing {
namespace {

constexpr std::chrono::milliseconds kStep{2};

// What stands behind the last of these words that the prompt has.
std::string order_in(const std::string& prompt, const std::string& word) {
  const size_t at = prompt.rfind(word);
  if (at == prompt.npos) return "";
  const size_t begin = at + word.size();
  return prompt.substr(begin, prompt.find("<|", begin) - begin);
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
  ScriptedAnswer calling(const std::string& list, int i) const {
    std::string text = "Let me look.";
    for (const auto& call : nlohmann::ordered_json::parse(list))
      text += "\n<tool_call>\n" + call.dump() + "\n</tool_call>";
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
  ScriptedAnswer answer(const std::string& prompt, int i) const {
    if (const std::string text = results(prompt); !text.empty()) return saying(text, i);
    if (const std::string list = order_in(prompt, "calls "); !list.empty()) return calling(list, i);
    if (prompt.find("endless") != prompt.npos)
      return {.tokens = tokenizer_.encode("on and on "), .error = {}, .endless = true};
    if (prompt.find("fail") != prompt.npos)
      return {.tokens = tokenizer_.encode("so far"), .error = "the script says that it fails"};
    if (const std::string text = order_in(prompt, "reason "); !text.empty())
      return saying("<think>\nHm, so.\n</think>\n\n" + text, i);
    if (const std::string seconds = order_in(prompt, "wait "); !seconds.empty()) {
      ScriptedAnswer answer = saying("at last", i);
      answer.silent_steps = static_cast<int>(std::stod(seconds) * 1000 / static_cast<double>(kStep.count()));
      return answer;
    }
    return saying(order_in(prompt, "say "), i);
  }

  const Tokenizer& tokenizer_;
  int end_;
};

int serve(const char* folder, const char* key) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const TextModel text = TextModel::read(checkpoint);
  const GenerationDefaults defaults = GenerationDefaults::read(checkpoint, text.tokenizer);
  const ServedModel model{.id = "scripted",
                          .created = std::time(nullptr),
                          .text = text,
                          .defaults = defaults,
                          .prompts = PromptWriter(text, defaults.end_tokens),
                          .context = 4096,
                          .vocab = text.tokenizer.size(),
                          .width = kScriptedWidth};
  ScriptedGenerator generator(Script(text.tokenizer, *text.tokenizer.eos()));
  generator.room = 64;
  Health health;
  health.ready();
  RouterOptions options;
  if (key) options.keys = Keys::parse(key, "the command line");
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
        [&](int status, std::string_view why) { return router.refuse(status, why); });
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
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: scripted_server MODEL_FOLDER [KEY]\n");
    return 2;
  }
  try {
    return cachalot::testing::serve(argv[1], argc > 2 ? argv[2] : nullptr);
  } catch (const std::exception& error) {
    fmt::print(stderr, "scripted_server: {}\n", error.what());
    return 1;
  }
}
