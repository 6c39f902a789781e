// The sub-commands of the program, one file each. add_X declares the command's options; when the user chose it,
// `chosen` becomes the work to do, whose result is the exit status: 0 done, 1 failed. Bad input is thrown as Error,
// caught in main.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

namespace cachalot {

using Work = std::function<int()>;

// A sub-command of `program`. (Here alone is one made: where it is, the compiler makes half of CLI11 once more.)
CLI::App& new_command(CLI::App& program, const std::string& name, const std::string& description);

void add_run(CLI::App& program, Work& chosen);
void add_chat(CLI::App& program, Work& chosen);
void add_tokenize(CLI::App& program, Work& chosen);
void add_detokenize(CLI::App& program, Work& chosen);
void add_template(CLI::App& program, Work& chosen);
void add_logits(CLI::App& program, Work& chosen);
void add_trace(CLI::App& program, Work& chosen);
void add_perplexity(CLI::App& program, Work& chosen);
void add_inspect(CLI::App& program, Work& chosen);
void add_bench(CLI::App& program, Work& chosen);
void add_quantize(CLI::App& program, Work& chosen);

// When the user chooses `command`, `chosen` becomes body(options).
template <typename Options>
void when_chosen(CLI::App& command, Work& chosen, const std::shared_ptr<Options>& options,
                 int (*body)(const Options&)) {
  command.callback([&chosen, options, body] { chosen = [options, body] { return body(*options); }; });
}

}  // namespace cachalot
