#include "formats/huggingface/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/huggingface/tiktoken.h"
#include "formats/huggingface/tokenizer_json.h"
#include "formats/json_text.h"

namespace cachalot {
namespace {

using nlohmann::json;

constexpr size_t kLargestTokenizer = size_t{256} << 20;  // bytes
constexpr int kMostSteps = 64;                           // of a pre-tokeniser

// A field of an object, null counting as absent.
const json* field(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_field(const json& object, const char* key, std::string_view of) {
  const json* value = field(object, key);
  if (!value || !value->is_string()) throw Error(fmt::format("{} has no text '{}'", of, key));
  return value->get<std::string>();
}

bool flag(const json& object, const char* key, bool fallback, std::string_view of) {
  const json* value = field(object, key);
  if (!value) return fallback;
  if (!value->is_boolean()) throw Error(fmt::format("'{}' of {} is neither true nor false", key, of));
  return value->get<bool>();
}

std::string type_of(const json& component, std::string_view of) {
  if (!component.is_object()) throw Error(fmt::format("the {} is not an object", of));
  return text_field(component, "type", of);
}

Error unsupported(std::string_view part, std::string_view type) {
  return Error(fmt::format("the {} {} is not supported", part, quote(type)))
      .hint("cachalot runs byte-level BPE tokenizers, as DeepSeek, Qwen and Llama 3 have");
}

// The components of a Sequence one after the other, or the one component that there is.
template <typename Visit>
void for_each_component(const json* component, const char* list, std::string_view of, Visit visit) {
  if (!component) return;
  if (type_of(*component, of) != "Sequence") return visit(*component);
  const json* parts = field(*component, list);
  if (!parts || !parts->is_array()) throw Error(fmt::format("the Sequence of the {} has no '{}'", of, list));
  for (const json& part : *parts) for_each_component(&part, list, of, visit);
}

SplitBehaviour behaviour_of(std::string_view name) {
  if (name == "Isolated") return SplitBehaviour::isolated;
  if (name == "Removed") return SplitBehaviour::removed;
  if (name == "MergedWithPrevious") return SplitBehaviour::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehaviour::merged_with_next;
  if (name == "Contiguous") return SplitBehaviour::contiguous;
  throw unsupported("behaviour of a Split", name);
}

SplitStep split_step(const json& part) {
  SplitStep step;
  const json* pattern = field(part, "pattern");
  const json* regex = pattern ? field(*pattern, "Regex") : nullptr;
  const json* literal = pattern ? field(*pattern, "String") : nullptr;
  const json* text = regex ? regex : literal;
  if (!text || !text->is_string() || (regex && literal)) {
    throw Error("the 'pattern' of a Split is neither {\"Regex\": …} nor {\"String\": …}");
  }
  step.pattern = text->get<std::string>();
  step.literal = literal != nullptr;
  step.behaviour = behaviour_of(text_field(part, "behavior", "a Split"));
  step.invert = flag(part, "invert", false, "a Split");
  return step;
}

void read_pre_tokenizer(const json& file, Vocabulary& v) {
  bool byte_level = false;
  for_each_component(field(file, "pre_tokenizer"), "pretokenizers", "pre-tokeniser", [&](const json& part) {
    if (v.steps.size() == kMostSteps)
      throw Error(fmt::format("the pre-tokeniser has more than {} steps", kMostSteps));
    const std::string type = type_of(part, "pre-tokeniser");
    if (byte_level) throw Error(fmt::format("the pre-tokeniser goes on with {} after ByteLevel", quote(type)));
    if (type == "Split") {
      v.steps.emplace_back(split_step(part));
    } else if (type == "Digits") {
      v.steps.emplace_back(DigitsStep{flag(part, "individual_digits", false, "Digits")});
    } else if (type == "ByteLevel") {
      v.steps.emplace_back(ByteLevelStep{.add_prefix_space = flag(part, "add_prefix_space", true, "ByteLevel"),
                                         .use_regex = flag(part, "use_regex", true, "ByteLevel")});
      byte_level = true;
    } else {
      throw unsupported("pre-tokeniser", type);
    }
  });
  if (!byte_level) throw Error("the pre-tokeniser has no ByteLevel step").because("only byte-level BPE is supported");
}

void read_normalizer(const json& file, Vocabulary& v) {
  for_each_component(field(file, "normalizer"), "normalizers", "normaliser", [&](const json& part) {
    const std::string type = type_of(part, "normaliser");
    if (type != "NFC") throw unsupported("normaliser", type);
    v.nfc = true;
  });
  for_each_component(field(file, "decoder"), "decoders", "decoder", [&](const json& part) {
    const std::string type = type_of(part, "decoder");
    if (type != "ByteLevel") throw unsupported("decoder", type);
  });
}

// Options of the model that change ids and that no byte-level vocabulary needs.
void refuse_model_options(const json& model) {
  if (const json* type = field(model, "type"); type && *type != "BPE") {
    throw unsupported("model", type->is_string() ? type->get<std::string>() : type->dump());
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const json* value = field(model, key); value && *value != json("")) {
      throw Error(fmt::format("the model's '{}' is not supported", key));
    }
  }
  if (const json* dropout = field(model, "dropout"); dropout && *dropout != 0) {
    throw Error("the model's 'dropout' is not supported").because("it makes the ids a matter of chance");
  }
  for (const char* key : {"byte_fallback", "fuse_unk"}) {
    if (flag(model, key, false, "the model")) throw Error(fmt::format("the model's '{}' is not supported", key));
  }
}

// Real vocabularies have no gaps to speak of; an id far beyond their number is a lie that would cost memory.
int checked_id(int64_t id, size_t tokens, std::string_view content) {
  const int64_t limit = static_cast<int64_t>(tokens) * 2 + 4096;
  if (id < 0 || id >= limit) {
    throw Error(fmt::format("the token {} has id {}, which is out of range", quote(content), id))
        .because(fmt::format("the file names {} tokens", tokens));
  }
  return static_cast<int>(id);
}

void read_added(const json& list, size_t tokens, Vocabulary& v) {
  for (const json& entry : list) {
    const json* id = field(entry, "id");
    if (!id || !id->is_number_integer()) throw Error("an entry of 'added_tokens' has no integer 'id'");
    AddedToken t;
    t.content = text_field(entry, "content", "an entry of 'added_tokens'");
    const bool huge = id->is_number_unsigned() && id->get<uint64_t>() > INT64_MAX;
    t.id = checked_id(huge ? -1 : id->get<int64_t>(), tokens, t.content);
    const std::string of = "the added token " + quote(t.content);
    t.special = flag(entry, "special", false, of);
    t.single_word = flag(entry, "single_word", false, of);
    t.lstrip = flag(entry, "lstrip", false, of);
    t.rstrip = flag(entry, "rstrip", false, of);
    t.normalized = flag(entry, "normalized", !t.special, of);
    v.added.push_back(std::move(t));
  }
}

void place_tokens(TokenizerJson& file, size_t tokens, Vocabulary& v) {
  int64_t last = -1;
  for (const auto& [token, id] : file.vocab) last = std::max<int64_t>(last, checked_id(id, tokens, token));
  v.tokens.resize(last + 1);
  for (auto& [token, id] : file.vocab) {
    if (!v.tokens[id].empty() && v.tokens[id] != token) {
      throw Error(fmt::format("id {} is taken twice, by {} and {}", id, quote(v.tokens[id]), quote(token)));
    }
    v.tokens[id] = std::move(token);
  }
}

std::optional<int> find_token(const Vocabulary& v, std::string_view content) {
  for (const AddedToken& t : v.added) {
    if (t.content == content) return t.id;
  }
  const auto found = std::find(v.tokens.begin(), v.tokens.end(), content);
  if (content.empty() || found == v.tokens.end()) return std::nullopt;
  return static_cast<int>(found - v.tokens.begin());
}

// What a TemplateProcessing puts around a single text: at most one token before it, the BOS, and one after it, the
// EOS.
void read_template(const json& part, Vocabulary& v) {
  const json* single = field(part, "single");
  if (!single || !single->is_array()) throw Error("the post-processor has no template for single texts");
  bool after = false;
  for (const json& item : *single) {
    if (field(item, "Sequence")) {
      after = true;
      continue;
    }
    const json* special = field(item, "SpecialToken");
    if (!special) throw Error("the post-processor's template has an item that is neither Sequence nor SpecialToken");
    const std::string name = text_field(*special, "id", "a SpecialToken");
    const auto id = find_token(v, name);
    if (!id) throw Error(fmt::format("the post-processor adds {}, which is no token", quote(name)));
    bool& adds = after ? v.add_eos : v.add_bos;
    if (adds) throw Error("the post-processor adds more than one token on one side of the text");
    adds = true;
    (after ? v.added_eos : v.added_bos) = (after ? v.eos : v.bos) = id;
  }
  if (!after) throw Error("the post-processor's template leaves out the text");
}

void read_post_processor(const json& file, Vocabulary& v) {
  for_each_component(field(file, "post_processor"), "processors", "post-processor", [&](const json& part) {
    const std::string type = type_of(part, "post-processor");
    if (type == "TemplateProcessing") return read_template(part, v);
    if (type != "ByteLevel") throw unsupported("post-processor", type);  // ByteLevel only changes offsets
  });
}

// A special token in tokenizer_config.json: its text, or an object with it.
std::optional<std::string> configured_text(const json& config, const char* key) {
  const json* value = field(config, key);
  if (value && value->is_object()) value = field(*value, "content");
  return value && value->is_string() ? std::optional(value->get<std::string>()) : std::nullopt;
}

std::optional<int> configured_token(const json& config, const char* key, const Vocabulary& v) {
  const auto text = configured_text(config, key);
  return text ? find_token(v, *text) : std::nullopt;
}

// `added_tokens_decoder` may know tokens that tokenizer.json does not; where both know one, tokenizer.json counts.
void add_configured_tokens(const json& config, Vocabulary& v) {
  const json* decoder = field(config, "added_tokens_decoder");
  if (!decoder || !decoder->is_object()) return;
  std::unordered_set<int> ids;
  std::unordered_set<std::string_view> contents(v.tokens.begin(), v.tokens.end());
  for (const AddedToken& t : v.added) {
    ids.insert(t.id);
    contents.insert(t.content);
  }
  json missing = json::array();
  for (const auto& [key, entry] : decoder->items()) {
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
      throw Error(fmt::format("the key {} of 'added_tokens_decoder' is no token id", quote(key)));
    }
    const int id = std::stoi(key);
    if (ids.contains(id) || contents.contains(text_field(entry, "content", "an entry of 'added_tokens_decoder'"))) {
      continue;
    }
    missing.push_back(entry);
    missing.back()["id"] = id;
  }
  read_added(missing, v.tokens.size() + v.added.size() + missing.size(), v);
}

void read_config(const json& config, Vocabulary& v) {
  if (!config.is_object()) throw Error("the file does not hold an object");
  add_configured_tokens(config, v);
  for (const char* name : {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"})
    if (auto text = configured_text(config, name); text && !text->empty())
      v.named.emplace_back(name, std::move(*text));
  if (const auto bos = configured_token(config, "bos_token", v)) v.bos = bos;
  if (const auto eos = configured_token(config, "eos_token", v)) v.eos = eos;
  v.add_bos = flag(config, "add_bos_token", v.add_bos, "the file");
  v.add_eos = flag(config, "add_eos_token", v.add_eos, "the file");
}

void read_tokenizer(TokenizerJson file, Vocabulary& v) {
  const json* model = field(file.rest, "model");
  if (!model) throw Error("the file has no 'model'");
  refuse_model_options(*model);
  if (!file.has_vocab || !file.has_merges) {
    throw Error(fmt::format("the model has no '{}'", file.has_vocab ? "merges" : "vocab"));
  }
  v.merges = std::move(file.merges);
  v.ignore_merges = flag(*model, "ignore_merges", false, "the model");
  const json none = json::array(), *added = field(file.rest, "added_tokens");
  if (added && !added->is_array()) throw Error("'added_tokens' is not a list");
  const size_t tokens = file.vocab.size() + (added ? added->size() : 0);
  place_tokens(file, tokens, v);
  read_added(added ? *added : none, tokens, v);
  if (const json* unknown = field(*model, "unk_token")) {
    if (!unknown->is_string()) throw Error("the model's 'unk_token' is no text");
    v.unknown = find_token(v, unknown->get<std::string>());
  }
  read_normalizer(file.rest, v);
  read_pre_tokenizer(file.rest, v);
  read_post_processor(file.rest, v);
}

Error no_tokenizer(const std::filesystem::path& folder) {
  Error error = Error("there is no tokenizer.json").in(folder.string());
  if (is_there(folder / "tokenizer.model")) {
    return std::move(error)
        .because("the folder has a tokenizer.model, which is SentencePiece's format")
        .hint("only byte-level BPE is supported");
  }
  return std::move(error).hint("copy it from the repository that the checkpoint was published in");
}

}  // namespace

Vocabulary parse_hf_vocabulary(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                               std::string_view where) {
  Vocabulary v;
  v.where = where;
  try {
    read_tokenizer(parse_tokenizer_json(tokenizer_json), v);
  } catch (Error& error) { throw std::move(error).in(std::string(where) + "/tokenizer.json"); }
  if (tokenizer_config_json.empty()) return v;
  const std::string config = std::string(where) + "/tokenizer_config.json";
  const json parsed = parse_json(tokenizer_config_json, config);
  try {
    read_config(parsed, v);
  } catch (Error& error) { throw std::move(error).in(config); }
  return v;
}

Vocabulary read_hf_vocabulary(const std::filesystem::path& folder) {
  const auto tokenizer = folder / "tokenizer.json", config = folder / "tokenizer_config.json";
  if (!is_there(tokenizer)) {
    if (is_there(folder / kQwenTiktoken)) return read_qwen_tiktoken(folder / kQwenTiktoken);
    throw no_tokenizer(folder);
  }
  const std::string config_text = is_there(config) ? read_checkpoint_text(config) : "";
  return parse_hf_vocabulary(read_checkpoint_text(tokenizer, kLargestTokenizer), config_text, folder.string());
}

}  // namespace cachalot
