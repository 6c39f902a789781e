// cachalot chat: a conversation in the terminal.
#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/answer_printer.h"
#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "cli/statistics.h"
#include "session/conversation.h"

namespace cachalot {
namespace {

struct TalkOptions {
  ModelOptions model;
  ChatOptions chat;
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

// Asks by `ask` and shows the answer. When there is none, says why: the conversation is as it was, and goes on.
template <typename Ask>
void show(const LoadedModel& model, const Ask& ask) {
  AnswerPrinter printer;
  try {
    const Answer answer = ask(printer.sink());
    printer.finish();
    const Style style = style_of(stderr);
    say(fmt::format("{}{}{}\n", style.dim, statistics(answer, model.engine_options()), style.plain));
  } catch (const Error& error) {
    printer.finish();
    note("{}\n  the conversation is as it was; /reset begins a new one", error.what());
  }
}

// A line that begins with a slash. Returns false when the user wants to leave.
bool obey(const std::string& line, const LoadedModel& model, Conversation& conversation,
          const std::function<bool()>& cancelled) {
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
    if (conversation.can_retry())
      show(model, [&](const AnswerSink& sink) { return conversation.retry(sink, cancelled); });
    else
      say("There is no message yet.\n");
  } else {
    say(fmt::format("There is no command {}; /help lists them. (A space in front sends the line to the model.)\n",
                    printable(word)));
  }
  return true;
}

int chat(const TalkOptions& o) {
  const LoadedModel model = o.model.load(o.speculation);
  if (!model.text->chat_template)
    throw Error("this checkpoint has no chat template, so there is no conversation to have")
        .in(o.model.model)
        .because("it is a base model, or its template is missing")
        .hint("complete text with `cachalot run --raw`");
  model.text->chat_template->check();
  Conversation conversation(
      model,
      {.sampling = o.sampling.over(model.defaults), .max_tokens = o.sampling.max_tokens, .stops = o.sampling.stops},
      o.chat.request(*model.text->chat_template));
  conversation.start(o.system);
  LineReader reader;
  Interrupt interrupt;
  const auto cancelled = [&] { return interrupt.requested(); };
  if (reader.interactive())
    say(fmt::format("{} ({}, context of {} tokens). /help lists commands, Ctrl-D leaves.\n", printable(o.model.model),
                    model.transformer->spec().family, model.plan.context));
  while (const auto line = reader.read("> ")) {
    if (!reader.interactive() && interrupt.requested()) return kInterruptedStatus;
    interrupt.reset();
    if (line->cancelled || line->text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    if (line->text.starts_with('/')) {
      if (!obey(line->text, model, conversation, cancelled)) break;
    } else {
      show(model, [&](const AnswerSink& sink) { return conversation.say(line->text, sink, cancelled); });
    }
    if (!reader.interactive() && interrupt.requested()) return kInterruptedStatus;
  }
  if (reader.interactive()) say("\n");
  return !reader.interactive() && interrupt.requested() ? kInterruptedStatus : 0;
}

}  // namespace

Command chat_command() {
  auto o = std::make_shared<TalkOptions>();
  Command command{.name = "chat", .about = "Talk with a model"};
  o->model.add_to(command);
  command.add({.name = "--system", .help = "the system message", .value = &o->system, .type = "TEXT"});
  o->chat.add_to(command);
  o->speculation.add_to(command);
  o->sampling.add_to(command);
  command.footer = std::string("In the conversation:\n") + kHelp + R"(
Without a terminal each line of standard input is a message.)";
  command.work = [o] { return chat(*o); };
  return command;
}

}  // namespace cachalot
