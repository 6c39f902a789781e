// The program: finds the command, runs it, and turns every failure into a message and an exit status.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "base/ending.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/help_format.h"
#include "cli/suggest.h"
#include "cli/terminal.h"

namespace cachalot {
namespace {

constexpr int kFailed = 1, kWrongUsage = 2;

constexpr const char* kAbout =
    "Cachalot runs, inspects and measures language models of the DeepSeek, Qwen and Llama kinds on this machine's "
    "processor.";
constexpr const char* kExamples = R"(Examples:
  cachalot run tiny-r1 "What is 47 + 86?"       one answer from a model that ships
  cachalot chat ./Qwen3-0.6B                    a conversation
  cachalot inspect model.gguf                   what a checkpoint holds and whether it runs
  cachalot bench ./Qwen3-0.6B                   how fast it is, and how fast it could be here

MODEL is a Hugging Face folder, a .gguf file, the name of a model that ships, or a repository in the local Hugging Face
cache. `cachalot COMMAND --help` explains a command. Results go to stdout, everything else to stderr.)";

void add_commands(CLI::App& program, Work& chosen) {
  add_run(program, chosen);
  add_chat(program, chosen);
  add_inspect(program, chosen);
  add_bench(program, chosen);
  add_tokenize(program, chosen);
  add_detokenize(program, chosen);
  add_template(program, chosen);
  add_logits(program, chosen);
  add_trace(program, chosen);
  add_perplexity(program, chosen);
  add_quantize(program, chosen);
}

// The command that the words chose, or the program itself.
const CLI::App& chosen_command(const CLI::App& program) {
  const auto parsed = program.get_subcommands();
  return parsed.empty() ? program : *parsed.front();
}

int wrong_usage(const std::string& command, const std::string& what, const std::string& hint) {
  say(fmt::format("{}: {}\n  hint: {}\n", command, what, hint));
  return kWrongUsage;
}

// Says what was wrong with the words, and the likeliest thing that was meant.
int wrong_words(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(program);
  const std::string title = &command == &program ? "cachalot" : "cachalot " + command.get_name();
  const auto left = program.remaining(true);
  if (!left.empty()) {
    const bool option = left.front().size() > 1 && left.front().front() == '-';
    std::string what = (option ? "there is no option " : "one argument too many: ") + quote(left.front());
    const std::string meant = option ? likeliest(left.front(), long_options(command)) : "";
    if (!meant.empty()) what += fmt::format("; did you mean {}?", meant);
    if (!option && command.get_name() == "run") return wrong_usage(title, what, "put the whole prompt in quotes");
    return wrong_usage(title, what, fmt::format("`{} --help` lists the options", title));
  }
  std::string what = error.what();
  if (const std::string_view vague = "Could not convert: "; what.starts_with(vague))
    what = "the value is not understood: " + what.substr(vague.size());
  return wrong_usage(title, what, fmt::format("`{} --help` explains the command", title));
}

int parse_and_run(int argc, char** argv) {
  CLI::App program(kAbout, "cachalot");
  program.footer(kExamples);
  program.set_version_flag("--version", "cachalot " CACHALOT_VERSION);
  program.formatter(std::make_shared<HelpFormat>());
  program.require_subcommand(1);
  Work chosen;
  add_commands(program, chosen);

  if (argc < 2) {
    say(program.help());
    return kWrongUsage;
  }
  const std::string first = argv[1];
  const auto names = command_names(program);
  if (!first.starts_with('-') && std::find(names.begin(), names.end(), first) == names.end()) {
    const std::string meant = likeliest(first, names);
    return wrong_usage("cachalot",
                       fmt::format("there is no command {}{}", quote(first),
                                   meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)),
                       "`cachalot --help` lists the commands");
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) { return program.exit(help); } catch (const CLI::ParseError& error) {
    return wrong_words(program, error);
  }
  return chosen();
}

// A stream that is closed gets a descriptor that can neither be read nor written; else the next file that is opened,
// perhaps the result, would be taken for it.
void hold_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0) open("/", O_PATH);
}

// Says what was thrown. Memory may be out, also for the saying.
void say_failure() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    say("cachalot: out of memory\n  hint: lower --context, or take a smaller model\n");
  } catch (const std::exception& error) {
    try {
      say(fmt::format("cachalot: {}\n", printable(error.what())));
    } catch (...) { say("cachalot: out of memory\n"); }
  } catch (...) { say("cachalot: failed for a reason that is not known\n"); }
}

// Where memory is so short that not even an exception can be made, or runs out before main(), there is nothing to
// catch.
[[noreturn]] void on_terminate() {
  bool out_of_memory = !std::current_exception();
  try {
    if (!out_of_memory) throw;
  } catch (const std::bad_alloc&) { out_of_memory = true; } catch (...) {
  }
  if (!out_of_memory) {
    say("cachalot: bug: something was thrown that nothing catches\n");
    std::abort();
  }
  remove_unfinished_files();
  say("cachalot: out of memory\n");
  _exit(kFailed);
}

// Before all other objects are made.
[[gnu::constructor(101)]] void hear_terminate() { std::set_terminate(on_terminate); }

int run_program(int argc, char** argv) noexcept {
  try {
    const int status = parse_and_run(argc, argv);
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
    say("cachalot: the output could not be written\n");
  } catch (...) {
    std::fflush(stdout);
    say_failure();
  }
  return kFailed;
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
  cachalot::hold_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may grow no further is an error like a full disk
  std::setlocale(LC_CTYPE, "");   // for line editing; numbers stay as in C
  return cachalot::run_program(argc, argv);
}
