// cachalot chat: a conversation in the terminal. Every turn reads the whole conversation again.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/answer_printer.h"
#include "cli/command.h"
#include "cli/generate.h"
#include "cli/line_reader.h"
#include "cli/options.h"

namespace cachalot {
namespace {

struct ChatOptions {
  ModelOptions model;
  SpeculationOptions speculation;
  SamplingOptions sampling;
  std::string system;
};

constexpr const char* kHelp = R"(  /help           this list
  /reset          forget the conversation
  /system TEXT    set the system message (and forget the conversation); without TEXT: have none
  /retry          ask for another answer to the last message
  /exit           leave, as Ctrl-D does
Ctrl-C stops an answer or drops the line. A backslash at the end of a line goes on with the next one.
)";

class Conversation {
 public:
  Conversation(const LoadedModel& model, const ChatOptions& options)
      : model_(model),
        engine_(*model.ops, *model.transformer, model.engine_options()),
        options_{.sampling = options.sampling.over(model.defaults),
                 .max_tokens = options.sampling.max_tokens,
                 .stops = options.sampling.stops} {
    start(options.system);
  }

  // Forgets everything; "" for no system message.
  void start(const std::string& system) {
    system_ = system;
    messages_ = asked_ = Json::array();
    if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
  }
  const std::string& system() const { return system_; }

  void say(const std::string& text, const Interrupt& interrupt) {
    asked_ = messages_;
    asked_.push_back({{"role", "user"}, {"content", text}});
    answer(interrupt);
  }

  // Asks the last question again, and forgets what was answered. Returns false when there was none.
  bool retry(const Interrupt& interrupt) {
    if (asked_.empty()) return false;
    answer(interrupt);
    return true;
  }

 private:
  using Json = nlohmann::ordered_json;

  // Answers the last of the messages asked, which become the conversation then. When there is no answer, the
  // conversation stays as it was and the program goes on.
  void answer(const Interrupt& interrupt) {
    AnswerPrinter printer;
    try {
      const Prompt prompt = chat_prompt(*model_.text, {{"messages", asked_}, {"add_generation_prompt", true}});
      const Answer answer = generate(engine_, model_, prompt, options_, printer.sink(), interrupt);
      printer.finish();
      ++options_.sampling.seed;  // or /retry would say the same again
      const Style style = style_of(stderr);
      cachalot::say(fmt::format("{}{}{}\n", style.dim, statistics(answer, model_.engine_options()), style.plain));
      if (answer.text.empty() && answer.finish == FinishReason::cancelled) return;  // nothing was said
      Json message = {{"role", "assistant"}, {"content", answer.text}};
      if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
      messages_ = asked_;
      messages_.push_back(std::move(message));
    } catch (const Error& error) {
      printer.finish();
      note("{}\n  the conversation is as it was; /reset begins a new one", error.what());
    }
  }

  const LoadedModel& model_;
  Engine engine_;
  AnswerOptions options_;
  std::string system_;
  Json messages_;  // what was said
  Json asked_;     // what the model was asked last: messages that end in the user's; empty before that
};

// A line that begins with a slash. Returns false when the user wants to leave.
bool obey(const std::string& line, Conversation& conversation, const Interrupt& interrupt) {
  const std::string word = line.substr(0, line.find(' '));
  const size_t rest = line.find_first_not_of(' ', word.size());
  const std::string argument = rest == std::string::npos ? "" : line.substr(rest);
  if (word == "/exit" || word == "/quit") return false;
  if (word == "/help") {
    say(kHelp);
  } else if (word == "/reset") {
    conversation.start(conversation.system());
    say("The conversation is forgotten.\n");
  } else if (word == "/system") {
    conversation.start(argument);
    say(fmt::format("A new conversation, {} a system message.\n", argument.empty() ? "without" : "with"));
  } else if (word == "/retry") {
    if (!conversation.retry(interrupt)) say("There is no message yet.\n");
  } else {
    say(fmt::format("There is no command {}; /help lists them. (A space in front sends the line to the model.)\n",
                    printable(word)));
  }
  return true;
}

int chat(const ChatOptions& o) {
  const LoadedModel model = o.model.load(o.speculation);
  if (!model.text->chat_template)
    throw Error("this checkpoint has no chat template, so there is no conversation to have")
        .in(o.model.model)
        .because("it is a base model, or its template is missing")
        .hint("complete text with `cachalot run --raw`");
  model.text->chat_template->check();
  Conversation conversation(model, o);
  LineReader reader;
  Interrupt interrupt;
  if (reader.interactive())
    say(fmt::format("{} ({}, context of {} tokens). /help lists commands, Ctrl-D leaves.\n", printable(o.model.model),
                    model.transformer->spec().family, model.plan.context));
  while (const auto line = reader.read("> ")) {
    interrupt.reset();
    if (line->cancelled || line->text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    if (line->text.starts_with('/')) {
      if (!obey(line->text, conversation, interrupt)) break;
    } else {
      conversation.say(line->text, interrupt);
    }
    if (!reader.interactive() && interrupt.requested()) return kInterruptedStatus;
  }
  if (reader.interactive()) say("\n");
  return 0;
}

}  // namespace

Command chat_command() {
  auto o = std::make_shared<ChatOptions>();
  Command command{.name = "chat", .about = "Talk with a model"};
  o->model.add_to(command);
  command.add({.name = "--system", .help = "the system message", .value = &o->system, .type = "TEXT"});
  o->speculation.add_to(command);
  o->sampling.add_to(command);
  command.footer = std::string("In the conversation:\n") + kHelp + R"(
Every turn reads the whole conversation again. Without a terminal each line of standard input is a message.)";
  command.work = [o] { return chat(*o); };
  return command;
}

}  // namespace cachalot
