// The words that the program was started with.
#pragma once

namespace cachalot {

// Finds the command that they choose and does its work; help is printed. The result is the exit status, 2 for words
// that are not understood. Throws Error.
int run_command_line(int argc, char** argv);

}  // namespace cachalot
