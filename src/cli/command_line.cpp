// Hands the commands to the library that reads words. No other file includes it: it takes seconds to compile.
#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/help_format.h"
#include "cli/suggest.h"

namespace cachalot {
namespace {

constexpr int kWrongUsage = 2;

constexpr const char* kAbout =
    "Cachalot runs, inspects and measures language models of the DeepSeek, Qwen and Llama kinds on this machine's "
    "processor.";
constexpr const char* kExamples = R"(Examples:
  cachalot run tiny-r1 "What is 47 + 86?"       one answer from a model that ships
  cachalot pull Qwen/Qwen3-0.6B                 fetch a model from the Hugging Face hub
  cachalot chat Qwen/Qwen3-0.6B                 a conversation
  cachalot inspect model.gguf                   what a checkpoint holds and whether it runs
  cachalot bench ./Qwen3-0.6B                   how fast it is, and how fast it could be here

MODEL is a Hugging Face folder, a .gguf file, the name of a model that ships, or a repository of the Hugging Face hub,
REPO[@REVISION][:TYPE], as far as it is here (`cachalot list`) or fetched (`cachalot pull`, --pull).
`cachalot COMMAND --help` explains a command. Results go to stdout, everything else to stderr.)";

std::vector<Command> all_commands() {
  return {run_command(),        chat_command(),     inspect_command(), bench_command(), tokenize_command(),
          detokenize_command(), template_command(), logits_command(),  trace_command(), perplexity_command(),
          quantize_command(),   serve_command(),    pull_command(),    list_command(),  rm_command()};
}

// -- Commands, told to the library

// The option itself, and how its value is called in help.
CLI::Option* declare(CLI::App& app, const Option& option) {
  if (auto* const* flag = std::get_if<bool*>(&option.value)) return app.add_flag(option.name, **flag, option.help);
  return std::visit([&](auto* value) { return app.add_option(option.name, *value, option.help); }, option.value)
      ->type_name(option.type);
}

bool is_whole(const Option::Value& value) {
  return std::holds_alternative<int*>(value) || std::holds_alternative<std::optional<int>*>(value);
}

// (The library's own check lets NaN pass.)
auto within(Range range) {
  return [range](const std::string& text) -> std::string {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= range.min && value <= range.max) return {};
    return fmt::format("'{}' is no number from {} to {}", text, range.min, range.max);
  };
}

std::optional<int64_t> whole(const std::string& text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}
auto whole_within(Range range) {
  return [range](const std::string& text) -> std::string {
    const auto value = whole(text);
    if (value && static_cast<double>(*value) >= range.min && static_cast<double>(*value) <= range.max) return {};
    return fmt::format("'{}' is no whole number from {:.0f} to {:.0f}", text, range.min, range.max);
  };
}
// (The library takes 010 for 8, as C does.)
std::string without_zeros(const std::string& text) {
  const auto value = whole(text);
  return value ? std::to_string(*value) : text;
}

void add_option(CLI::App& app, const Option& option) {
  CLI::Option* declared = declare(app, option)->required(option.required)->group(option.group);
  if (option.shows_default) declared->capture_default_str();
  if (option.words > 1) declared->expected(option.words);
  if (std::holds_alternative<std::vector<std::string>*>(option.value) && option.words == 1)
    declared->allow_extra_args(false);
  if (option.range && is_whole(option.value))
    declared->transform(without_zeros)->check(whole_within(*option.range));
  else if (option.range)
    declared->check(within(*option.range));
  if (!option.one_of.empty()) declared->check(CLI::IsMember(option.one_of));
  if (option.change) declared->transform(option.change);
  if (option.check) declared->check(option.check);
}

// What is wrong with the words together, in the command's own words.
class WrongTogether : public CLI::ParseError {
 public:
  explicit WrongTogether(const std::string& what) : ParseError("WrongTogether", what, kWrongUsage) {}
};

void add_command(CLI::App& program, const Command& command, const Command*& chosen) {
  CLI::App& app = *program.add_subcommand(command.name, command.about);
  app.footer(command.footer);
  for (const Option& option : command.options) add_option(app, option);
  for (const Option& option : command.options) {
    CLI::Option* declared = app.get_option(option.name);
    for (const std::string& other : option.excludes) declared->excludes(app.get_option(other));
    for (const std::string& other : option.needs) declared->needs(app.get_option(other));
  }
  app.callback([&app, &command, &chosen] {
    for (const Option& option : command.options)
      if (option.stated) *option.stated = !app.get_option(option.name)->empty();
    if (const std::string wrong = command.check ? command.check() : ""; !wrong.empty()) throw WrongTogether(wrong);
    chosen = &command;
  });
}

// -- What was wrong with the words

// The command that the words chose, or the program itself.
const CLI::App& chosen_command(const CLI::App& program) {
  const auto parsed = program.get_subcommands();
  return parsed.empty() ? program : *parsed.front();
}

std::vector<std::string> long_options(const CLI::App& command) {  // with their dashes
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

bool is_of_a_command(const CLI::App& program, const std::string& option) {
  const auto commands = program.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(commands.begin(), commands.end(),
                     [&](const CLI::App* c) { return c->get_option_no_throw(option) != nullptr; });
}

int wrong_usage(const std::string& command, const std::string& what, const std::string& hint) {
  say(fmt::format("{}: {}\n  hint: {}\n", command, what, hint));
  return kWrongUsage;
}

// Says what was wrong with the words, and the likeliest thing that was meant.
int wrong_words(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(program);
  const std::string title = &command == &program ? "cachalot" : "cachalot " + command.get_name();
  auto left = program.remaining(true);
  if (left.size() > 1 && left.front() == "--") left.erase(left.begin());
  if (!left.empty()) {
    const bool option = left.front().size() > 1 && left.front().front() == '-';
    std::string what = (option ? "there is no option " : "one argument too many: ") + quote(left.front());
    const std::string meant = option ? likeliest(left.front(), long_options(command)) : "";
    if (&command == &program && option && is_of_a_command(program, left.front()))
      return wrong_usage(title, quote(left.front()) + " stands before the command",
                         "options come after the command: cachalot COMMAND " + left.front());
    if (!meant.empty()) what += fmt::format("; did you mean {}?", meant);
    if (!option && command.get_name() == "run") return wrong_usage(title, what, "put the whole prompt in quotes");
    return wrong_usage(title, what, fmt::format("`{} --help` lists the options", title));
  }
  std::string what = error.what();
  if (const std::string_view vague = "Could not convert: "; what.starts_with(vague))
    what = "the value is not understood: " + what.substr(vague.size());
  return wrong_usage(title, what, fmt::format("`{} --help` explains the command", title));
}

int no_such_command(std::string_view word, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  const std::string meant = likeliest(word, names);
  return wrong_usage("cachalot",
                     fmt::format("there is no command {}{}", quote(word),
                                 meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant)),
                     "`cachalot --help` lists the commands");
}

// As the library takes them. "--option=" is an option whose value is empty; the library would take the next word for
// it.
std::vector<std::string> words_from_the_last(int argc, char** argv) {
  std::vector<std::string> words;
  bool options = true;
  for (int i = 1; i < argc; ++i) {
    words.emplace_back(argv[i]);
    options = options && words.back() != "--";
    if (!options || !words.back().starts_with("--") || words.back().find('=') != words.back().size() - 1) continue;
    words.back().pop_back();
    words.emplace_back();
  }
  std::reverse(words.begin(), words.end());
  return words;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  const std::vector<Command> commands = all_commands();
  CLI::App program(kAbout, "cachalot");
  program.footer(kExamples);
  program.set_version_flag("--version", "cachalot " CACHALOT_VERSION);
  program.formatter(std::make_shared<HelpFormat>());
  program.require_subcommand(1);
  const Command* chosen = nullptr;
  for (const Command& command : commands) add_command(program, command, chosen);

  if (argc < 2) {
    say(program.help());
    return kWrongUsage;
  }
  const std::string_view first = argv[1];
  const bool known = std::any_of(commands.begin(), commands.end(), [&](const Command& c) { return c.name == first; });
  if (!first.starts_with('-') && !known) return no_such_command(first, commands);
  try {
    program.parse(words_from_the_last(argc, argv));
  } catch (const CLI::Success& help) { return program.exit(help); } catch (const CLI::ParseError& error) {
    return wrong_words(program, error);
  }
  return chosen->work();
}

}  // namespace cachalot
