#include "cli/command.h"

namespace cachalot {

CLI::App& new_command(CLI::App& program, const std::string& name, const std::string& description) {
  return *program.add_subcommand(name, description);
}

}  // namespace cachalot
