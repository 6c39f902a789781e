// From a spec to GGUF's metadata (gguf_config.h): the way back of gguf_config.cpp.
#include <fmt/ranges.h>

#include "base/error.h"
#include "model/gguf_config.h"
#include "model/gguf_layers.h"

namespace cachalot {

// Layers may differ as the format can say: dense ones before those of experts, where it counts them.
static void check_layers(const ModelSpec& spec, const GgufWords& words, const ArchitectureKeys& out) {
  int dense = 0;
  bool experts = false;
  for (const LayerSpec& layer : spec.layers) {
    const auto* moe = std::get_if<MoeSpec>(&layer.ffn);
    if (!moe && experts) throw out.cannot("a dense layer after one of experts");
    if (moe && moe->router_bias) throw out.cannot("a bias on the router");
    experts |= moe != nullptr;
    dense += !moe;
  }
  const bool counted = std::any_of(words.keys.begin(), words.keys.end(),
                                   [](const GgufKey& k) { return k.key == "leading_dense_block_count"; });
  if (experts && dense > 0 && !counted) throw out.cannot("a dense layer among those of experts");
}

// A file says by its tensors which biases there are, where the config says it; else they are the family's.
static void check_biases(const ModelSpec& spec, const GgufWords& words, const ArchitectureKeys& out) {
  const auto* gqa = part_of<GqaSpec>(spec);
  const bool stated = std::any_of(words.biases.begin(), words.biases.end(),
                                  [](const BiasFlag& flag) { return flag.config_key == "attention_bias"; });
  if (gqa && gqa->out_bias && !stated) throw out.cannot("a bias on attention's output");
}

std::string_view gguf_architecture(const Family& family, const Config& config, Families families) {
  if (!family.gguf.architecture.empty() && !family.gguf.read_only) return family.gguf.architecture;
  std::vector<std::string_view> known;
  for (const Family* other : families)
    if (!other->gguf.architecture.empty() && !other->gguf.read_only) known.push_back(other->name);
  throw Error(fmt::format("models of class '{}' cannot be written as GGUF", family.hf_classes[0]))
      .in(config.where())
      .because(fmt::format("these can: {}", fmt::join(known, ", ")));
}

void add_gguf_metadata(const Family& family, const Config& config, const ModelSpec& spec, GgufMetadata& metadata) {
  const GgufWords& words = family.gguf;
  ArchitectureKeys out(words.architecture, config, metadata);
  check_layers(spec, words, out);
  check_biases(spec, words, out);
  if (words.unsaid)
    if (const auto what = words.unsaid(spec); !what.empty()) throw out.cannot(what);
  for (const GgufKey& k : words.keys) {
    const bool other_name = !k.config_key.empty() && std::any_of(words.keys.data(), &k, [&](const GgufKey& before) {
      return before.config_key == k.config_key;
    });
    const auto value = other_name ? std::nullopt : k.written(spec, config);
    if (!value) continue;
    if (const auto* number = std::get_if<int>(&*value); number && !k.reading.per_layer && *number < k.reading.min)
      continue;
    std::visit([&](const auto& fact) { out.add(k.key, fact); }, *value);
  }
  write_rope_scaling(spec.layers[0].rope(), words, out);
  write_windows(spec, out);
}

}  // namespace cachalot
