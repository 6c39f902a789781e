// cachalot run: one answer, streamed.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/answer_printer.h"
#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/statistics.h"
#include "formats/json_text.h"
#include "session/answer.h"

namespace cachalot {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  SpeculationOptions speculation;
  ChatOptions chat;
  std::string prompt;
  std::optional<std::string> system, tools;
  bool raw = false, json = false;
};

using Json = nlohmann::ordered_json;

// In the shape that templates take. Throws Error when they are none.
Json read_tools(const std::string& path) {
  Json tools = parse_ordered_json(read_text_file(path), path);
  try {
    static_cast<void>(Tools(tools));
  } catch (Error& error) { throw std::move(error).in(path); }
  for (Json& tool : tools) {
    if (!tool.contains("function")) tool = {{"type", "function"}, {"function", tool}};
    if (const auto fault = fault_of_tool_name(tool["function"]["name"].get_ref<const std::string&>()); !fault.empty())
      throw Error("the name of a tool " + fault).in(path);
  }
  return tools;
}

// What asks for more than a base model can do.
std::string needs_template(const RunOptions& o) {
  return o.system ? "--system" : o.tools ? "--tools" : o.chat.given();
}

Prompt prepare(const RunOptions& o, const TextModel& text, const PromptWriter& prompts) {
  std::string prompt = o.prompt == "-" ? read_input("-") : o.prompt;
  if (o.raw) return prompts.raw(prompt);
  if (o.prompt == "-" && prompt.ends_with('\n'))
    prompt.pop_back();  // the end of a file's last line is no part of a question
  if (!text.chat_template) {
    if (const std::string option = needs_template(o); !option.empty())
      throw Error(fmt::format("the checkpoint has no chat template, so {} has no effect", option))
          .hint("leave it out; a base model completes the prompt as it is");
    note("the checkpoint has no chat template (a base model): the prompt is completed as it is, as with --raw");
    return prompts.raw(prompt);
  }
  ChatRequest request = o.chat.request(*text.chat_template);
  if (o.system) request.messages.push_back({.role = ChatRole::system, .text = *o.system});
  request.messages.push_back({.role = ChatRole::user, .text = std::move(prompt)});
  if (o.tools) request.tools = read_tools(*o.tools);
  return prompts.ask(request);
}

Json calls_json(const std::vector<ReplyPart>& calls) {
  Json list = Json::array();
  for (const ReplyPart& call : calls) list.push_back({{"name", call.name}, {"arguments", Json::parse(call.text)}});
  return list;
}

Json report(const Answer& answer, const LoadedModel& model, uint64_t seed) {
  return {{"text", answer.text},
          {"reasoning", answer.reasoning},
          {"tool_calls", calls_json(answer.calls)},
          {"tokens", answer.tokens},
          {"finish_reason", name(answer.finish)},
          {"prompt_tokens", answer.prompt_tokens},
          {"speculation",
           {{"form", name(model.speculation)}, {"drafted", answer.drafted}, {"accepted", answer.accepted}}},
          {"seed", seed},
          {"timings",
           {{"load_ms", model.load_ms},
            {"prefill_tokens_per_s", answer.prefill_tokens_per_s()},
            {"decode_tokens_per_s", answer.decode_tokens_per_s()}}}};
}

void print_statistics(const Answer& answer, const LoadedModel& model, const SamplingParams& sampling) {
  const Style style = style_of(stderr);
  const std::string seed = sampling.temperature > 0 ? fmt::format("; seed {}", sampling.seed) : "";
  say(fmt::format("{}{}; loaded in {:.2f} s{}{}\n", style.dim, statistics(answer, model.engine_options()),
                  model.load_ms / 1000, seed, style.plain));
}

int run(const RunOptions& o) {
  const LoadedModel model = o.model.load(o.speculation);
  const Prompt prompt = prepare(o, *model.text, PromptWriter(*model.text, model.defaults.end_tokens));
  const AnswerOptions options{
      .sampling = o.sampling.over(model.defaults), .max_tokens = o.sampling.max_tokens, .stops = o.sampling.stops};
  const Interrupt interrupt;  // of the answer; before it Ctrl-C ends the program
  Engine engine(*model.ops, *model.transformer, model.engine_options());
  const auto cancelled = [&] { return interrupt.requested(); };
  Answer answer;
  if (o.json) {
    answer = cachalot::answer(engine, model, prompt, options, {}, cancelled);
    fmt::print("{}\n", report(answer, model, options.sampling.seed).dump());
  } else {
    AnswerPrinter printer;
    answer = cachalot::answer(engine, model, prompt, options, printer.sink(), cancelled);
    printer.finish();
    print_statistics(answer, model, options.sampling);
  }
  return answer.finish == FinishReason::cancelled ? kInterruptedStatus : 0;
}

}  // namespace

Command run_command() {
  auto o = std::make_shared<RunOptions>();
  Command command{.name = "run", .about = "Answer one prompt"};
  o->model.add_to(command);
  command.add({.name = "PROMPT",
               .help = "what to answer; - reads it from standard input",
               .value = &o->prompt,
               .required = true});
  command.add({.name = "--system", .help = "the system message", .value = &o->system, .type = "TEXT"});
  command.add({.name = "--tools",
               .help = "tools that the model may call: a JSON list of functions, as OpenAI's API has it",
               .value = &o->tools,
               .type = "FILE"});
  command.add({.name = "--raw",
               .help = "complete the text as it is, without the chat template",
               .value = &o->raw,
               .excludes = {"--system", "--tools", "--think", "--max-thinking-tokens", "--template-var"}});
  add_json_flag(command, o->json);
  o->chat.add_to(command);
  o->speculation.add_to(command);
  o->sampling.add_to(command);
  command.footer = R"(Examples:
  cachalot run tiny-r1 "What is 47 + 86?"
  cachalot run ./Qwen3-0.6B - --system "Answer in one sentence." < question.txt
  cachalot run ./Llama-3-8B --raw "Once upon a time" --max-tokens 100 --seed 1

With - the line break at the end of the input is left out, but not with --raw. Reasoning is shown dimmed on a terminal and left out of pipes; --json gives both. Ctrl-C ends the answer.)";
  command.work = [o] { return run(*o); };
  return command;
}

}  // namespace cachalot
