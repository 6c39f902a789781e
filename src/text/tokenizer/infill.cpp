#include "text/tokenizer/infill.h"

#include <algorithm>

namespace cachalot {
namespace {

struct Spelling {
  std::string_view prefix, suffix, middle;
};
constexpr Spelling kSpellings[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},     // Qwen2.5 and its coders, CodeGemma
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},     // DeepSeek: the hole stands between the two
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},           // StarCoder, SmolLM, Granite
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},           // SantaCoder
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},  // GLM-4
    {"▁<PRE>", "▁<SUF>", "▁<MID>"},                             // CodeLlama
};

constexpr std::string_view kBetweenFiles[] = {"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<fim_pad>",
                                              "<fim-pad>",   "<repo_name>",   "<reponame>",   "<file_sep>",
                                              "<filename>",  "▁<EOT>"};

}  // namespace

std::optional<InfillTokens> infill_tokens(const Tokenizer& tokenizer) {
  if (const auto stated = tokenizer.stated_infill()) return stated;
  for (const Spelling& spelling : kSpellings) {
    const auto prefix = tokenizer.find(spelling.prefix), suffix = tokenizer.find(spelling.suffix),
               middle = tokenizer.find(spelling.middle);
    if (prefix && suffix && middle) return InfillTokens{.prefix = *prefix, .suffix = *suffix, .middle = *middle};
  }
  return std::nullopt;
}

std::vector<int> infill_ends(const Tokenizer& tokenizer, const InfillTokens& tokens) {
  std::vector<int> ends = {tokens.prefix, tokens.suffix, tokens.middle};
  for (const std::string_view text : kBetweenFiles)
    if (const auto id = tokenizer.find(text)) ends.push_back(*id);
  return ends;
}

std::vector<int> encode_infill(const Tokenizer& tokenizer, const InfillTokens& tokens, std::string_view prefix,
                               std::string_view suffix) {
  std::vector<int> ids;
  if (tokenizer.adds_bos()) ids.push_back(*tokenizer.bos());
  const auto add = [&](int mark, std::string_view text) {
    ids.push_back(mark);
    const std::vector<int> part = tokenizer.encode(text, /*special=*/false);
    ids.insert(ids.end(), part.begin(), part.end());
  };
  add(tokens.prefix, prefix);
  add(tokens.suffix, suffix);
  ids.push_back(tokens.middle);
  return ids;
}

}  // namespace cachalot
