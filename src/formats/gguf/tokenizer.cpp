#include "formats/gguf/tokenizer.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "formats/gguf/ends.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

// As llama.cpp, "undefined" is normal: nothing was said of the token.
enum TokenType : int64_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

void read_tokens(const GgufFile& file, Vocabulary& v) {
  const std::vector<std::string_view> tokens = file.texts("tokenizer.ggml.tokens");
  const std::vector<int64_t> types = file.integers("tokenizer.ggml.token_type");
  if (tokens.empty()) throw Error("the file has no 'tokenizer.ggml.tokens'").in(v.where);
  if (!types.empty() && types.size() < tokens.size()) {  // what is beyond the tokens means nothing
    throw Error(fmt::format("'tokenizer.ggml.token_type' has {} entries for {} tokens", types.size(), tokens.size()))
        .in(v.where);
  }
  v.tokens.resize(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    switch (types.empty() ? kNormal : types[id]) {
      case kUndefined:
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
  if (!file.has("tokenizer.ggml.merges")) throw Error("the file has no 'tokenizer.ggml.merges'").in(v.where);
  const std::vector<std::string_view> merges = file.texts("tokenizer.ggml.merges");
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

// Makes a token that stands among the ordinary ones a special one.
void mark_special(Vocabulary& v, int id) {
  std::string& token = v.tokens[id];
  v.added.push_back({.id = id, .content = token, .special = true});
  token.clear();
}

// Without types nothing tells the special tokens apart; the ones that the file names by id are.
void mark_named_tokens(Vocabulary& v) {
  if (!v.added.empty()) return;
  for (const auto id : {v.bos, v.eos})
    if (id && !v.tokens[*id].empty()) mark_special(v, *id);
}

// A token with the text of a known end is special whatever its type says, as in llama.cpp. But one that merges make
// or go on with is a piece of ordinary text: Qwen2's vocabulary has "</s>" from HTML.
void mark_end_tokens(const GgufFile& file, Vocabulary& v) {
  for (AddedToken& token : v.added) token.special |= is_end_text(token.content);
  std::vector<int> found;
  for (size_t id = 0; id < v.tokens.size(); ++id)
    if (is_end_text(v.tokens[id])) found.push_back(static_cast<int>(id));
  for (const int id : found) {
    const std::string& token = v.tokens[id];
    const auto concerns = [&](const auto& merge) {
      return merge.first == token || merge.second == token || merge.first + merge.second == token;
    };
    if (std::any_of(v.merges.begin(), v.merges.end(), concerns)) continue;
    warn("{}: token {} ({}) looks like the end of an answer but is not said to be special; it is taken for one",
         file.where(), id, quote(token));
    mark_special(v, id);
  }
}

// Whether BOS or EOS goes with every text; a token that the file does not name cannot.
bool adds(const GgufFile& file, std::string_view what, bool usually, std::optional<int> token) {
  const std::string key = fmt::format("tokenizer.ggml.add_{}_token", what);
  const bool asked = file.boolean_or(key, usually);
  if (asked && !token && file.has(key))
    warn("{}: {} is true, but the file names no such token; none is added", file.where(), key);
  return asked && token;
}

std::string_view pre_tokenizer_of(const GgufFile& file, std::string_view usual) {
  const std::string_view named = file.text_or("tokenizer.ggml.pre", "");
  if (!named.empty() && named != "default") return named;
  warn(
      "{}: the file names no pre-tokeniser (tokenizer.ggml.pre); assumed: '{}', as most files of its architecture; "
      "ids may be wrong",
      file.where(), usual);
  return usual;
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

// Each has two names; the older ones come second.
std::optional<InfillTokens> read_infill(const GgufFile& file) {
  const auto id = [&](std::string_view name, std::string_view older) {
    const auto now = gguf_token_id(file, name);
    return now ? now : gguf_token_id(file, older);
  };
  const auto prefix = id("fim_pre_token_id", "prefix_token_id"), suffix = id("fim_suf_token_id", "suffix_token_id"),
             middle = id("fim_mid_token_id", "middle_token_id");
  if (!prefix || !suffix || !middle) return std::nullopt;
  return InfillTokens{.prefix = *prefix, .suffix = *suffix, .middle = *middle};
}

}  // namespace

std::optional<int> gguf_token_id(const GgufFile& file, std::string_view name) {
  const std::string key = fmt::format("tokenizer.ggml.{}", name);
  if (!file.has(key)) return std::nullopt;
  constexpr int64_t any = int64_t{1} << 62;
  const int64_t id = file.integer(key, -any, any);
  const int64_t tokens = file.array_length("tokenizer.ggml.tokens").value_or(1 << 30);
  return id >= 0 && id < tokens ? std::optional(static_cast<int>(id)) : std::nullopt;
}

Vocabulary read_gguf_vocabulary(const GgufFile& file, std::string_view usual) {
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
  const std::string_view pre = pre_tokenizer_of(file, usual);
  if (!set_pre_tokenizer(pre, v)) {
    throw Error(fmt::format("the pre-tokeniser {} is not supported", quote(pre)))
        .in(v.where)
        .because("tokenizer.ggml.pre; known are " + known_pre_tokenizers());
  }
  read_tokens(file, v);
  read_merges(file, v);
  v.bos = gguf_token_id(file, "bos_token_id");
  v.eos = gguf_token_id(file, "eos_token_id");
  v.add_bos = adds(file, "bos", v.add_bos, v.bos);
  v.add_eos = adds(file, "eos", false, v.eos);
  if (file.boolean_or("tokenizer.ggml.add_space_prefix", false))
    warn(
        "{}: tokenizer.ggml.add_space_prefix is true; byte-level BPE puts no space in front of a text, here as in "
        "llama.cpp",
        file.where());
  mark_named_tokens(v);
  mark_end_tokens(file, v);
  read_named_tokens(file, v);
  v.infill = read_infill(file);
  return v;
}

// -- Writing

namespace {

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

// Readers of GGUF leave out a byte without a token, whatever token the file calls unknown.
void warn_of_lost_bytes(const Vocabulary& v) {
  if (!v.unknown) return;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string letter = letters_of_bytes(std::string(1, static_cast<char>(byte)));
    if (std::find(v.tokens.begin(), v.tokens.end(), letter) != v.tokens.end()) continue;
    warn("{}: byte 0x{:02X} has no token and is read as {}; GGUF cannot say that, and it is left out there", v.where,
         byte, quote(v.tokens[static_cast<size_t>(*v.unknown)]));
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
  warn_of_lost_bytes(v);

  out.add("tokenizer.ggml.model", "gpt2");
  out.add("tokenizer.ggml.pre", name_of_pre_tokenizer(v));
  out.add_array("tokenizer.ggml.tokens", tokens);
  out.add_array("tokenizer.ggml.token_type", types);
  out.add_array("tokenizer.ggml.merges", merges);
  // The format adds the tokens that it calls so.
  const auto bos = v.add_bos && v.added_bos ? v.added_bos : v.bos,
             eos = v.add_eos && v.added_eos ? v.added_eos : v.eos;
  if (bos) out.add("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(*bos));
  if (eos) out.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(*eos));
  write_named_tokens(v, out);
  if (v.infill) {
    out.add("tokenizer.ggml.fim_pre_token_id", static_cast<uint32_t>(v.infill->prefix));
    out.add("tokenizer.ggml.fim_suf_token_id", static_cast<uint32_t>(v.infill->suffix));
    out.add("tokenizer.ggml.fim_mid_token_id", static_cast<uint32_t>(v.infill->middle));
  }
  out.add("tokenizer.ggml.add_bos_token", v.add_bos);
  out.add("tokenizer.ggml.add_eos_token", v.add_eos);
}

}  // namespace cachalot
