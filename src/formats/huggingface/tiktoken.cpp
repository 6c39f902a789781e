#include "formats/huggingface/tiktoken.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <unordered_set>

#include "base/error.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "text/pretokenizer/split_pattern.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

constexpr size_t kLargestTiktoken = size_t{64} << 20;  // bytes; Qwen's has 2.5 MB
constexpr size_t kLongestToken = 256;                  // bytes; Qwen's longest has 128
constexpr size_t kMostTokens = size_t{1} << 20;
constexpr int kExtras = 205;  // <|extra_0|> to <|extra_204|>
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// RFC 4648 with padding; nothing when the text is not what an encoder writes.
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text.substr(0, text.size() - padding)) {
    const size_t value = kAlphabet.find(c);
    if (value == kAlphabet.npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8));
  }
  if (bits & ((1u << count) - 1)) return std::nullopt;  // the bits that padding leaves over
  return bytes;
}

struct Line {
  std::string token;  // bytes
  int64_t rank;
};

// Throws Error, without saying where.
Line parse_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == line.npos) throw Error(fmt::format("{} is not a token, a space and a rank", quote(line)));
  const std::string_view encoded = line.substr(0, space), number = line.substr(space + 1);
  if (encoded.size() > kLongestToken * 4 / 3 + 4) {
    throw Error(fmt::format("a token of more than {} bytes", kLongestToken));
  }
  auto token = decode_base64(encoded);
  if (!token) throw Error(fmt::format("{} is not base64", quote(encoded)));
  if (token->size() > kLongestToken) throw Error(fmt::format("a token of more than {} bytes", kLongestToken));
  Line parsed{std::move(*token), 0};
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), parsed.rank);
  if (error != std::errc() || end != number.data() + number.size() || parsed.rank < 0 || number.front() == '-') {
    throw Error(fmt::format("{} is no rank", quote(number)));
  }
  return parsed;
}

template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) visit(line, number);
  }
}

void add_line(Line line, Vocabulary& v, std::unordered_set<std::string>& seen) {
  const auto tokens = static_cast<int64_t>(v.tokens.size());
  if (line.rank >= tokens) {
    throw Error(fmt::format("rank {} is out of range", line.rank))
        .because(fmt::format("the file has {} tokens, so ranks end at {}", tokens, tokens - 1));
  }
  std::string& token = v.tokens[line.rank];
  if (!token.empty()) throw Error(fmt::format("rank {} is given twice", line.rank));
  token = letters_of_bytes(line.token);
  if (!seen.insert(std::move(line.token)).second)
    throw Error(fmt::format("the token {} is listed twice", quote(token)));
}

void add_specials(Vocabulary& v) {
  const auto add = [&](std::string content) {
    const int id = static_cast<int>(v.tokens.size() + v.added.size());
    // The released code normalises the text before it looks for these.
    v.added.push_back({.id = id, .content = std::move(content), .special = true, .normalized = true});
  };
  v.eos = static_cast<int>(v.tokens.size());
  add("<|endoftext|>");
  add("<|im_start|>");
  add("<|im_end|>");
  for (int i = 0; i < kExtras; ++i) add(fmt::format("<|extra_{}|>", i));
}

}  // namespace

Vocabulary parse_qwen_tiktoken(std::string_view text, std::string_view where) {
  Vocabulary v;
  v.where = where;
  if (text.size() > kLargestTiktoken)
    throw Error(fmt::format("the file is larger than {} bytes", kLargestTiktoken)).in(v.where);
  size_t lines = 0;
  for_each_line(text, [&](std::string_view, size_t) { ++lines; });
  if (lines > kMostTokens) throw Error(fmt::format("the file has more than {} lines", kMostTokens)).in(v.where);
  v.tokens.resize(lines);
  std::unordered_set<std::string> seen;
  for_each_line(text, [&](std::string_view line, size_t number) {
    try {
      add_line(parse_line(line), v, seen);
    } catch (Error& error) { throw std::move(error).in(fmt::format("{}, line {}", where, number)); }
  });
  for (int byte = 0; byte < 256; ++byte) {
    if (!seen.contains(std::string(1, static_cast<char>(byte)))) {
      throw Error(fmt::format("there is no token for the byte 0x{:02X}", byte)).in(v.where);
    }
  }
  v.join_by_id = true;
  v.ignore_merges = true;  // as the tiktoken library looks a whole piece up first
  v.nfc = true;
  v.steps = {SplitStep{.pattern = std::string(kQwenPattern)}};
  add_specials(v);
  return v;
}

Vocabulary read_qwen_tiktoken(const std::filesystem::path& file) {
  return parse_qwen_tiktoken(read_checkpoint_text(file, kLargestTiktoken), file.string());
}

}  // namespace cachalot
