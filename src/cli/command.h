// The sub-commands of the program, one file each, as data: what words they take, and the work to do. The words are
// read in command_line.cpp, which alone knows the library for it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace cachalot {

struct Range {
  double min, max;  // inclusive; whole numbers for an option whose value is one
};

// An option, a flag or an argument.
struct Option {
  using Value = std::variant<bool*, int*, double*, std::string*, std::vector<std::string>*, std::optional<int>*,
                             std::optional<double>*, std::optional<uint64_t>*, std::optional<std::string>*>;

  std::string name;  // "--threads"; without dashes an argument, known by its place
  std::string help;
  Value value;       // where what was given goes; bool: a flag
  std::string type;  // how help calls a value: "N"
  std::string group = "Options";
  bool required = false, shows_default = false;
  int words = 1;                                         // that it takes each time it is given
  bool* stated = nullptr;                                // where it goes whether the option was given
  std::optional<Range> range;                            // of numbers
  std::vector<std::string> one_of;                       // all that a value may be; empty: anything
  std::function<std::string(std::string)> change;        // a value before it is checked
  std::function<std::string(const std::string&)> check;  // what is wrong with a value, or nothing
  std::vector<std::string> excludes, needs;              // other options of the command, by name
};

struct Command {
  std::string name, about;
  std::string footer;  // of its help
  std::vector<Option> options;
  std::function<std::string()> check;  // what is wrong with the words together, or nothing
  // What to do; the result is the exit status: 0 done, 1 failed. Bad input is thrown as Error, caught in main.
  std::function<int()> work;

  void add(Option option) { options.push_back(std::move(option)); }
  Option& option(std::string_view option_name);
};

Command run_command();
Command chat_command();
Command tokenize_command();
Command detokenize_command();
Command template_command();
Command logits_command();
Command trace_command();
Command perplexity_command();
Command inspect_command();
Command bench_command();
Command quantize_command();
Command serve_command();
Command pull_command();
Command list_command();
Command rm_command();

}  // namespace cachalot
