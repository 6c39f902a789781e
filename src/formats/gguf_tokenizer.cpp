#include "formats/gguf_tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "text/split_pattern.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

void isolate(Vocabulary& v, std::string_view pattern) {
  v.steps.emplace_back(SplitStep{.pattern = std::string(pattern)});
}

// Qwen's files are normalised to form C although GGUF does not say so: their tokenizer.json does, and the ids follow
// it.
void set_pre_tokenizer(std::string_view pre, Vocabulary& v) {
  if (pre == "qwen2" || pre == "deepseek-r1-qwen") {
    isolate(v, kQwenPattern);
    v.nfc = true;
  } else if (pre == "llama-bpe") {
    isolate(v, kLlama3Pattern);
    v.ignore_merges = true;
    v.add_bos = true;
  } else if (pre == "deepseek-v3") {
    for (const auto pattern : kDeepseekV3Patterns) isolate(v, pattern);
  } else if (pre == "deepseek-llm") {
    for (const auto pattern : kDeepseekLlmPatterns) isolate(v, pattern);
    v.steps.emplace_back(DigitsStep{.individual = true});
  } else if (pre == "default" || pre == "gpt-2") {
    v.steps.emplace_back(ByteLevelStep{.use_regex = true});
  } else {
    throw Error(fmt::format("the pre-tokeniser {} is not supported", quote(pre)))
        .in(v.where)
        .because(
            "tokenizer.ggml.pre; known are qwen2, deepseek-r1-qwen, deepseek-v3, deepseek-llm, llama-bpe, gpt-2");
  }
}

std::optional<int> token_id(const GgufFile& file, std::string_view key, size_t tokens) {
  if (!file.has(key)) return std::nullopt;
  return static_cast<int>(file.integer(key, 0, static_cast<int64_t>(tokens) - 1));
}

void read_tokens(const GgufFile& file, Vocabulary& v) {
  const std::vector<std::string_view> tokens = file.texts("tokenizer.ggml.tokens");
  const std::vector<int64_t> types = file.integers("tokenizer.ggml.token_type");
  if (tokens.empty()) throw Error("the file has no 'tokenizer.ggml.tokens'").in(v.where);
  if (!types.empty() && types.size() != tokens.size()) {
    throw Error(fmt::format("'tokenizer.ggml.token_type' has {} entries for {} tokens", types.size(), tokens.size()))
        .in(v.where);
  }
  v.tokens.resize(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    switch (types.empty() ? kNormal : types[id]) {
      case kNormal:
      case kByte: v.tokens[id] = tokens[id]; break;
      case kUnused: break;  // a padding row of the embedding
      case kUnknown:
      case kControl:
      case kUserDefined:
        if (!tokens[id].empty()) {
          v.added.push_back(
              {.id = static_cast<int>(id), .content = std::string(tokens[id]), .special = types[id] != kUserDefined});
        }
        break;
      default: throw Error(fmt::format("token {} is of the unknown type {}", id, types[id])).in(v.where);
    }
  }
}

void read_merges(const GgufFile& file, Vocabulary& v) {
  const std::vector<std::string_view> merges = file.texts("tokenizer.ggml.merges");
  if (merges.empty()) throw Error("the file has no 'tokenizer.ggml.merges'").in(v.where);
  v.merges.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      throw Error(fmt::format("the merge {} is not two tokens with a space between", quote(merge))).in(v.where);
    }
    v.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
}

// Without types nothing tells the special tokens apart; the ones that the file names by id are.
void mark_named_tokens(Vocabulary& v) {
  if (!v.added.empty()) return;
  for (const auto id : {v.bos, v.eos}) {
    if (!id || v.tokens[*id].empty()) continue;
    v.added.push_back({.id = *id, .content = std::move(v.tokens[*id]), .special = true});
    v.tokens[*id].clear();
  }
}

}  // namespace

Vocabulary read_gguf_vocabulary(const GgufFile& file) {
  Vocabulary v;
  v.where = file.where();
  const std::string_view model = file.text_or("tokenizer.ggml.model", "");
  if (model.empty())
    throw Error("the file carries no tokenizer").in(v.where).because("there is no 'tokenizer.ggml.model'");
  if (model != "gpt2") {
    throw Error(fmt::format("the tokenizer model {} is not supported", quote(model)))
        .in(v.where)
        .hint("cachalot runs byte-level BPE tokenizers ('gpt2'), as DeepSeek, Qwen and Llama 3 have");
  }
  if (!file.has("tokenizer.ggml.pre")) {
    warn("{}: the file names no pre-tokeniser (tokenizer.ggml.pre), so GPT-2's is taken; ids may be wrong",
         file.where());
  }
  set_pre_tokenizer(file.text_or("tokenizer.ggml.pre", "default"), v);
  read_tokens(file, v);
  read_merges(file, v);
  v.bos = token_id(file, "tokenizer.ggml.bos_token_id", v.tokens.size());
  v.eos = token_id(file, "tokenizer.ggml.eos_token_id", v.tokens.size());
  v.unknown = token_id(file, "tokenizer.ggml.unknown_token_id", v.tokens.size());
  v.add_bos = file.boolean_or("tokenizer.ggml.add_bos_token", v.add_bos && v.bos);
  v.add_eos = file.boolean_or("tokenizer.ggml.add_eos_token", false);
  mark_named_tokens(v);
  return v;
}

}  // namespace cachalot
