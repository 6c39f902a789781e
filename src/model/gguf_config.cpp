#include "model/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/quote.h"
#include "formats/gguf/tokenizer.h"
#include "model/gguf_layers.h"
#include "model/gguf_reader.h"

namespace cachalot {

using nlohmann::json;

// Metadata that changes the arithmetic in ways that no family has.
static constexpr std::string_view kForeignKeys[] = {
    "attn_logit_softcapping", "final_logit_softcapping",  "logit_scale",
    "residual_scale",         "embedding_scale",          "attention.scale",
    "attention.clamp_kqv",    "attention.max_alibi_bias", "attention.temperature_scale"};

static void refuse_foreign_keys(const GgufReader& in) {
  for (const auto name : kForeignKeys)
    if (in.has(name) && in.file().number(in.key(name)) != 0)
      throw in.error(
          fmt::format("metadata key {} changes the arithmetic, and this is not supported", quote(in.key(name))));
  if (!in.flag_or("attention.causal", true))
    throw in.error("the model attends to later tokens (attention.causal is false), and this is not supported");
}

// -- The tables

static json read_value(const GgufReader& in, const GgufKey& k) {
  if (k.type == 0) return k.reading.per_layer ? in.layer_integer(k.key) : in.integer(k.key, k.reading.min);
  if (k.type == 1) return in.number(k.key);
  return in.file().boolean(in.key(k.key));
}

// What a file without the key means.
static void set_absent(const GgufReader& in, const GgufKey& k, json& config) {
  const std::string name(k.config_key);
  if (const auto* absent = std::get_if<Absent>(&k.reading.absent)) {
    if (*absent == Absent::refused) read_value(in, k);  // throws
    if (*absent == Absent::null) config[name] = nullptr;
    return;
  }
  std::visit(
      [&](const auto& value) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, Absent>) config[name] = value;
      },
      k.reading.absent);
}

static void read_keys(const GgufReader& in, const std::vector<GgufKey>& keys, json& config) {
  const bool experts = in.integer_or("expert_count", 0, 0) > 0;
  for (const GgufKey& k : keys) {
    if (k.config_key.empty() || (k.of_experts && !experts)) continue;
    const GgufKey *first = nullptr, *stored = nullptr;  // of all that are listed for the config's key
    for (const GgufKey& name : keys) {
      if (name.config_key != k.config_key) continue;
      if (!first) first = &name;
      if (!stored && in.has(name.key)) stored = &name;
    }
    if (first != &k) continue;
    if (stored)
      config[std::string(k.config_key)] = read_value(in, *stored);
    else
      set_absent(in, k, config);
  }
  if (!config.contains("num_nextn_predict_layers")) return;
  // The format counts the blocks of modules that predict further tokens.
  const auto blocks = config["num_hidden_layers"].get<int64_t>(),
             mtp = config["num_nextn_predict_layers"].get<int64_t>();
  if (mtp >= blocks) throw in.error(fmt::format("{} of {} blocks are said to predict further tokens", mtp, blocks));
  for (int64_t block = blocks - mtp; block < blocks; ++block)
    if (in.has_tensors(fmt::format("blk.{}.", block)) && !in.has_tensors(fmt::format("blk.{}.nextn.", block)))
      throw in.error(
          fmt::format("block {} is said to predict further tokens, and its tensors are those of a layer", block));
  config["num_hidden_layers"] = blocks - mtp;
}

// The tensor of a slot, in its first layer where layers have it; nullptr when the file has none.
static const GgufTensor* tensor_of(const GgufReader& in, const Family& family, std::string_view slot,
                                   std::string_view suffix) {
  for (const SlotName& name : family.weights) {
    if (name.slot != slot || name.gguf.empty()) continue;
    std::string text(name.gguf);
    if (const auto at = text.find("{}"); at != text.npos) text.replace(at, 2, "0");
    if (const auto* found = in.tensor(text.append(suffix))) return found;
  }
  return nullptr;
}

static void read_tensors(const GgufReader& in, const Family& family, json& config) {
  for (const BiasFlag& flag : family.gguf.biases)
    config[std::string(flag.config_key)] = tensor_of(in, family, flag.slot, ".bias") != nullptr;
  config["tie_word_embeddings"] = tensor_of(in, family, "head", ".weight") == nullptr;
  if (config.contains("vocab_size")) return;
  const auto* embedding = tensor_of(in, family, "embed", ".weight");
  if (embedding && embedding->shape.size() == 2) {
    config["vocab_size"] = embedding->shape[0];
  } else if (const auto tokens = in.file().array_length("tokenizer.ggml.tokens")) {
    config["vocab_size"] = *tokens;
  }
}

// -- What has no table

static void read_tokens(const GgufReader& in, json& config) {
  if (const auto bos = gguf_token_id(in.file(), "bos_token_id")) config["bos_token_id"] = *bos;
  json ends = json::array();
  for (const auto* name : {"eos_token_id", "eot_token_id", "eom_token_id"})
    if (const auto id = gguf_token_id(in.file(), name); id && std::find(ends.begin(), ends.end(), *id) == ends.end())
      ends.push_back(*id);
  if (ends.size() == 1) config["eos_token_id"] = ends[0];
  if (ends.size() > 1) config["eos_token_id"] = ends;
}

// The architecture of no family: its name, and what files of every architecture state, or may state per layer.
static json unknown_config(const GgufReader& in) {
  json config = {{"architectures", json::array({in.quoted_architecture()})},
                 {"model_type", in.quoted_architecture()}};
  const auto is_common = [](const GgufKey& k) {
    return k.type == 0 && (k.reading.per_layer || k.reading.absent == GgufReading().absent) && !k.config_key.empty();
  };
  for (const GgufKey& k : decoder_keys({gqa_keys()}))
    if (is_common(k) && in.has(k.key))
      if (const auto number = in.same_in_all_layers(k.key)) config[std::string(k.config_key)] = *number;
  return config;
}

static const Family* family_of_file(const GgufReader& in, Families families) {
  for (const Family* family : families)
    if (!family->gguf.architecture.empty() && family->gguf.architecture == in.architecture() &&
        (!family->gguf.is_own || family->gguf.is_own(in)))
      return family;
  return nullptr;
}

static json translated(const GgufReader& in, const Family& family) {
  const GgufWords& words = family.gguf;
  refuse_foreign_keys(in);
  json config = {
      {"architectures", json::array({family.hf_classes[0]})}, {"model_type", family.name}, {"hidden_act", "silu"}};
  read_keys(in, words.keys, config);
  read_tensors(in, family, config);
  read_windows(in, config);
  if (words.complete) words.complete(in, config);
  read_rope_scaling(in, words, config);
  read_tokens(in, config);
  return config;
}

Config gguf_config(std::span<const GgufFile> shards, Families families) {
  const GgufReader in(shards);
  const Family* family = family_of_file(in, families);
  return Config(family ? translated(in, *family) : unknown_config(in), in.file().where());
}

Config model_config(const Checkpoint& checkpoint, Families families) {
  return checkpoint.config() ? *checkpoint.config() : gguf_config(checkpoint.gguf_shards(), families);
}

const Family* find_family(const Checkpoint& checkpoint, Families families) {
  if (checkpoint.config()) return find_family(*checkpoint.config(), families);
  return checkpoint.gguf() ? family_of_file(GgufReader(checkpoint.gguf_shards()), families) : nullptr;
}

std::string_view usual_pre_tokenizer(std::string_view architecture, Families families) {
  for (const Family* family : families)
    if (family->gguf.architecture == architecture && !family->gguf.usual_pre_tokenizer.empty())
      return family->gguf.usual_pre_tokenizer;
  return kUsualPreTokenizer;
}

}  // namespace cachalot
