// The JSON of tokenizer.json in two parts: the long lists, taken while reading, and the rest as a document.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cachalot {

struct TokenizerJson {
  std::vector<std::pair<std::string, int64_t>> vocab;       // model.vocab, in file order; ids unchecked
  std::vector<std::pair<std::string, std::string>> merges;  // model.merges
  bool has_vocab = false, has_merges = false;
  nlohmann::json rest;  // everything else, at most kDeepest levels deep
};

// Merges may be "a b" strings or ["a", "b"] pairs. Throws Error on anything that is not JSON, is nested deeper than
// 64 levels, or has other things than strings and integers in these two lists.
TokenizerJson parse_tokenizer_json(std::string_view text);

}  // namespace cachalot
