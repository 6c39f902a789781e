// What commands read: standard input, files, lists of token ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "formats/checkpoint_files.h"

namespace cachalot {

// The whole of standard input, or of the file `name` when that is not "-". Throws Error beyond 1 GiB.
std::string read_input(const std::string& name);

// Ids separated by commas or white space, each in [0, 2^31). `where` names them in errors. Throws Error; none is an
// error.
std::vector<int32_t> parse_token_ids(std::string_view text, std::string_view where);

// Tokens of --tokens or --tokens-file, of which one must be given, and how --chunk and --decode-from feed them to a
// model.
struct TokensInput {
  std::string list, file;
  int chunk = 0;         // tokens per step; 0: as many as are good
  int decode_from = -1;  // from this one on one by one; -1: never

  void add_to(Command& command);
  bool given() const { return !list.empty() || !file.empty(); }
  std::vector<int32_t> read() const;  // throws Error
  // All that is read: these tokens and the checkpoint.
  std::vector<std::filesystem::path> files_with(const Checkpoint& checkpoint) const;
};

// Throws Error when so many tokens are more than the context holds.
void check_fits(size_t tokens, int context);

}  // namespace cachalot
