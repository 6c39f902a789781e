#include "formats/gguf_tokenizer.h"

#include <fmt/ranges.h>

#include <algorithm>

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
bool set_pre_tokenizer(std::string_view pre, Vocabulary& v) {
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
    return false;
  }
  return true;
}

// Those of the names above that a file is written with.
constexpr std::string_view kWritten[] = {"qwen2", "llama-bpe", "deepseek-v3", "deepseek-llm", "gpt-2"};

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

// What chat templates and GGUF call the tokens that only templates know.
constexpr std::pair<const char*, const char*> kNamedTokens[] = {
    {"unk_token", "tokenizer.ggml.unknown_token_id"},
    {"sep_token", "tokenizer.ggml.seperator_token_id"},  // as GGUF spells it
    {"pad_token", "tokenizer.ggml.padding_token_id"},
    {"cls_token", "tokenizer.ggml.cls_token_id"},
    {"mask_token", "tokenizer.ggml.mask_token_id"}};

// An id that is no token's names nothing: converters write a padding id whether the vocabulary has it or not.
void read_named_tokens(const GgufFile& file, Vocabulary& v) {
  for (const auto& [name, key] : kNamedTokens) {
    const int64_t id = file.integer_or(key, -1, INT32_MIN, UINT32_MAX);
    if (id < 0 || id >= std::ssize(v.tokens)) continue;
    const auto added = std::find_if(v.added.begin(), v.added.end(), [&](const AddedToken& t) { return t.id == id; });
    const std::string& token = v.tokens[static_cast<size_t>(id)];
    std::string text = added != v.added.end() ? added->content : bytes_of_letters(token).value_or(token);
    if (!text.empty()) v.named.emplace_back(name, std::move(text));
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
  const std::string_view pre = file.text_or("tokenizer.ggml.pre", "default");
  if (!set_pre_tokenizer(pre, v)) {
    throw Error(fmt::format("the pre-tokeniser {} is not supported", quote(pre)))
        .in(v.where)
        .because(
            "tokenizer.ggml.pre; known are qwen2, deepseek-r1-qwen, deepseek-v3, deepseek-llm, llama-bpe, gpt-2");
  }
  read_tokens(file, v);
  read_merges(file, v);
  v.bos = token_id(file, "tokenizer.ggml.bos_token_id", v.tokens.size());
  v.eos = token_id(file, "tokenizer.ggml.eos_token_id", v.tokens.size());
  v.unknown = token_id(file, "tokenizer.ggml.unknown_token_id", v.tokens.size());
  v.add_bos = file.boolean_or("tokenizer.ggml.add_bos_token", v.add_bos && v.bos);
  v.add_eos = file.boolean_or("tokenizer.ggml.add_eos_token", false);
  mark_named_tokens(v);
  read_named_tokens(file, v);
  return v;
}

// -- Writing

namespace {

// A closing ByteLevel step that splits nothing is what every byte-level vocabulary has, named or not.
std::vector<PreTokenizerStep> telling_steps(std::vector<PreTokenizerStep> steps) {
  if (steps.empty()) return steps;
  const auto* last = std::get_if<ByteLevelStep>(&steps.back());
  if (last && !last->use_regex && !last->add_prefix_space) steps.pop_back();
  return steps;
}

std::string_view name_of_pre_tokenizer(const Vocabulary& v) {
  for (const bool nfc_counts : {true, false}) {
    for (const std::string_view name : kWritten) {
      Vocabulary known;
      set_pre_tokenizer(name, known);
      if (telling_steps(known.steps) != telling_steps(v.steps) || known.ignore_merges != v.ignore_merges) continue;
      if (known.nfc == v.nfc) return name;
      if (nfc_counts) continue;
      warn("{}: GGUF's '{}' {} normal form C, this tokenizer {}; texts that are not in it may get other ids", v.where,
           name, known.nfc ? "implies" : "does not know", v.nfc ? "asks for it" : "does not");
      return name;
    }
  }
  throw Error("the tokenizer cannot be written as GGUF")
      .in(v.where)
      .because(fmt::format("GGUF names its pre-tokenisers, and this one is none of {}", fmt::join(kWritten, ", ")));
}

std::optional<uint32_t> id_of(const Vocabulary& v, const std::string& text) {
  for (const AddedToken& t : v.added)
    if (t.content == text) return static_cast<uint32_t>(t.id);
  const auto token = std::find(v.tokens.begin(), v.tokens.end(), letters_of_bytes(text));
  if (token == v.tokens.end()) return std::nullopt;
  return static_cast<uint32_t>(token - v.tokens.begin());
}

void write_named_tokens(const Vocabulary& v, GgufMetadata& out) {
  for (const auto& [name, key] : kNamedTokens) {
    const auto named = std::find_if(v.named.begin(), v.named.end(), [&](const auto& n) { return n.first == name; });
    const bool is_unknown = std::string_view(name) == "unk_token";
    if (is_unknown && v.unknown) {
      out.add(key, static_cast<uint32_t>(*v.unknown));
    } else if (named != v.named.end()) {
      if (const auto id = id_of(v, named->second)) out.add(key, *id);
    }
  }
}

void warn_of_lost_marks(const Vocabulary& v) {
  for (const AddedToken& token : v.added) {
    if (!token.lstrip && !token.rstrip && !token.single_word) continue;
    warn("{}: GGUF cannot say that the token {} takes white space with it or stands alone", v.where,
         quote(token.content));
    return;
  }
}

}  // namespace

void write_gguf_vocabulary(const Vocabulary& v, int64_t rows, GgufMetadata& out) {
  if (v.join_by_id)
    throw Error("a tiktoken vocabulary cannot be written as GGUF")
        .in(v.where)
        .because("it has no list of merges")
        .hint("convert it to a tokenizer.json first");
  std::vector<std::string> tokens = v.tokens;
  int64_t count = std::max<int64_t>(rows, std::ssize(tokens));
  for (const AddedToken& token : v.added) count = std::max<int64_t>(count, token.id + 1);
  if (count > rows)
    throw Error(fmt::format("the tokenizer has ids up to {}, but the embedding has {} rows", count - 1, rows))
        .in(v.where);
  tokens.resize(static_cast<size_t>(count));
  std::vector<int32_t> types(tokens.size(), kNormal);
  for (const AddedToken& token : v.added) {
    const auto id = static_cast<size_t>(token.id);
    tokens[id] = token.content;
    types[id] = token.special ? kControl : kUserDefined;
  }
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!tokens[id].empty()) continue;
    tokens[id] = fmt::format("[PAD{}]", id);
    types[id] = kUnused;
  }
  std::vector<std::string> merges;
  merges.reserve(v.merges.size());
  for (const auto& [left, right] : v.merges) merges.push_back(fmt::format("{} {}", left, right));
  warn_of_lost_marks(v);

  out.add("tokenizer.ggml.model", "gpt2");
  out.add("tokenizer.ggml.pre", name_of_pre_tokenizer(v));
  out.add_array("tokenizer.ggml.tokens", tokens);
  out.add_array("tokenizer.ggml.token_type", types);
  out.add_array("tokenizer.ggml.merges", merges);
  if (v.bos) out.add("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*v.bos));
  if (v.eos) out.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(*v.eos));
  write_named_tokens(v, out);
  out.add("tokenizer.ggml.add_bos_token", v.add_bos);
  out.add("tokenizer.ggml.add_eos_token", v.add_eos);
}

}  // namespace cachalot
