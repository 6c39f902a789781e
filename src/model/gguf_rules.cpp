// Keys of GGUF that mean the same in every family (declared in gguf_words.h), and what parts of a spec they are of.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/quote.h"
#include "model/gguf_reader.h"
#include "model/gguf_words.h"

namespace cachalot {

// -- Parts of a spec

template <>
const ModelSpec* part_of<ModelSpec>(const ModelSpec& m) {
  return &m;
}

template <>
const RopeSpec* part_of<RopeSpec>(const ModelSpec& m) {
  return &m.layers[0].rope();
}

template <>
const GqaSpec* part_of<GqaSpec>(const ModelSpec& m) {
  return std::get_if<GqaSpec>(&m.layers[0].attention);
}

template <>
const MlaSpec* part_of<MlaSpec>(const ModelSpec& m) {
  return std::get_if<MlaSpec>(&m.layers[0].attention);
}

template <>
const MoeSpec* part_of<MoeSpec>(const ModelSpec& m) {
  for (const LayerSpec& layer : m.layers)
    if (const auto* moe = std::get_if<MoeSpec>(&layer.ffn)) return moe;
  return nullptr;
}

template <>
const MoeGateSpec* part_of<MoeGateSpec>(const ModelSpec& m) {
  const auto* moe = part_of<MoeSpec>(m);
  return moe ? &moe->gate : nullptr;
}

// -- Keys

static std::optional<int> prediction_modules(const ModelSpec& m) {
  return m.mtp.empty() ? std::nullopt : std::optional(static_cast<int>(m.mtp.size()));
}

// Of the last dense layer; a model without one has no use for what its config says all the same.
static int feed_forward_width(const ModelSpec& m, const Config& c) {
  int width = c.integer_or("intermediate_size", 0, 0);
  for (const LayerSpec& layer : m.layers)
    if (const auto* dense = std::get_if<FfnSpec>(&layer.ffn)) width = dense->hidden;
  return width;
}

std::vector<GgufKey> decoder_keys(const std::vector<std::vector<GgufKey>>& more) {
  std::vector<GgufKey> keys = {
      // config.json         GGUF           spec
      {"num_hidden_layers", "block_count",
       [](const ModelSpec& m) { return static_cast<int>(m.layers.size() + m.mtp.size()); }},
      {"num_nextn_predict_layers", "nextn_predict_layers", prediction_modules, {.absent = 0, .min = 0}},
      {"max_position_embeddings", "context_length", &ModelSpec::context},
      {"hidden_size", "embedding_length", &ModelSpec::width},
      {"vocab_size", "vocab_size", &ModelSpec::vocab, {.absent = Absent::left_out}},
      {"num_attention_heads",
       "attention.head_count",
       [](const ModelSpec& m) { return m.layers[0].heads(); },
       {.per_layer = true}},
      {"rms_norm_eps", "attention.layer_norm_rms_epsilon", &ModelSpec::norm_eps},
      {"rms_norm_eps", "attention.layer_norm_epsilon", &ModelSpec::norm_eps},  // in files of some converters
      {"rope_theta", "rope.freq_base", &RopeSpec::base, {.absent = 10000.0}},
      {"intermediate_size", "feed_forward_length", feed_forward_width, {.per_layer = true}}};
  for (const auto& part : more) keys.insert(keys.end(), part.begin(), part.end());
  return keys;
}

std::vector<GgufKey> gqa_keys() {
  return {{"num_key_value_heads",
           "attention.head_count_kv",
           &GqaSpec::kv_heads,
           {.absent = Absent::left_out, .per_layer = true}},
          {"head_dim", "attention.key_length", &GqaSpec::head_dim, {.absent = Absent::left_out}},
          {"", "attention.value_length", &GqaSpec::head_dim},
          {"", "rope.dimension_count", &GqaSpec::head_dim}};
}

void complete_heads(const GgufReader& in, std::string_view head_size, nlohmann::json& config) {
  const auto heads = config["num_attention_heads"].get<int64_t>(), width = config["hidden_size"].get<int64_t>();
  if (heads < 1) throw in.error(fmt::format("attention.head_count is {}", heads));
  if (!config.contains("num_key_value_heads")) config["num_key_value_heads"] = heads;
  const std::string key(head_size);
  if (!config.contains(key)) config[key] = width / heads;
  const auto head_dim = config[key].get<int64_t>();
  if (in.integer_or("attention.value_length", head_dim) != head_dim)
    throw in
        .error(fmt::format("keys have {} components and values {}", head_dim, in.integer("attention.value_length")))
        .because("the architecture " + quote(in.architecture()) + " has one head size");
  if (const int64_t rotated = in.integer_or("rope.dimension_count", head_dim); rotated != head_dim)
    throw in.error(
        fmt::format("only {} of {} components of a head are rotated, and this is not supported", rotated, head_dim));
}

void complete_gqa(const GgufReader& in, nlohmann::json& config) { complete_heads(in, "head_dim", config); }

}  // namespace cachalot
