#include "cli/input.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

static constexpr size_t kMaxInputBytes = size_t{1} << 30;

// Reads to the end; a pipe is as good as a file.
static std::string read_stream(std::FILE* stream, const std::string& where) {
  std::string text;
  char part[65536];
  for (size_t bytes = sizeof part; bytes == sizeof part;) {
    bytes = std::fread(part, 1, sizeof part, stream);
    if (text.size() + bytes > kMaxInputBytes)
      throw Error("more than 1 GiB of text").in(where).hint("split it into several runs");
    text.append(part, bytes);
  }
  if (std::ferror(stream)) throw Error("cannot read the file").in(where).because(std::strerror(errno));
  return text;
}

std::string read_input(const std::string& name) {
  if (name == "-") return read_stream(stdin, "standard input");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(name.c_str(), "rb"), std::fclose);
  if (!file) throw Error("cannot open the file").in(name).because(std::strerror(errno));
  return read_stream(file.get(), name);
}

std::vector<int32_t> parse_token_ids(std::string_view text, std::string_view where) {
  constexpr std::string_view separators = ", \t\r\n\v\f";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(separators); at != text.npos;) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = 0;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (code != std::errc() || stop != word.data() + word.size() || id < 0)
      throw Error(fmt::format("{} is no token id", quote(word, 40)))
          .in(where)
          .hint("give whole numbers from 0 on, separated by commas or white space");
    ids.push_back(id);
    at = text.find_first_not_of(separators, end);
  }
  if (ids.empty()) throw Error("no token ids are given").in(where);
  return ids;
}

void TokensInput::add_to(Command& command) {
  constexpr Range most = {0, 1 << 30};
  command.add({.name = "--tokens", .help = "ids separated by commas", .value = &list, .type = "1,2,3"});
  command.add({.name = "--tokens-file",
               .help = "a file of ids separated by commas or white space; - is standard input",
               .value = &file,
               .type = "FILE",
               .excludes = {"--tokens"}});
  command.add({.name = "--chunk",
               .help = "feed the tokens in chunks of N through the cache",
               .value = &chunk,
               .type = "N",
               .range = Range{1, most.max}});
  command.add({.name = "--decode-from",
               .help = "feed the first K at once and the rest one by one",
               .value = &decode_from,
               .type = "K",
               .range = most});
}

std::vector<int32_t> TokensInput::read() const {
  return file.empty() ? parse_token_ids(list, "--tokens")
                      : parse_token_ids(read_input(file), file == "-" ? "standard input" : file);
}

std::vector<std::filesystem::path> TokensInput::files_with(const Checkpoint& checkpoint) const {
  auto files = files_of(checkpoint);
  if (!file.empty() && file != "-") files.emplace_back(file);
  return files;
}

void check_fits(size_t tokens, int context) {
  if (tokens > static_cast<size_t>(context))
    throw Error(fmt::format("{} tokens are given, but the context holds {}", tokens, context))
        .hint("give fewer tokens, or raise --context");
}

}  // namespace cachalot
