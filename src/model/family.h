// One family of checkpoints, as data: which classes it serves, how its config becomes a ModelSpec, and what its
// tensors are called in each container. docs/adding-a-model.md walks through one.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "formats/hf_config.h"
#include "model/spec.h"

namespace cachalot {

// How ranks of a multi-machine run share a weight.
enum class Split { none, rows, columns };

struct SlotName {
  std::string_view slot;         // the block's name for it
  std::string_view safetensors;  // without ".weight" / ".bias"; {} is the layer
  std::string_view gguf;
  Split split;
};

// A tensor that checkpoints carry and the model does not use. `pattern` may hold one *, which matches anything.
struct IgnoredTensor {
  std::string_view pattern;
  std::string_view reason;
};

struct Family {
  std::string_view name;
  std::vector<std::string_view> hf_classes;  // config.json: architectures[0]
  ModelSpec (*spec)(const Config& config);
  std::vector<SlotName> weights;
  std::vector<IgnoredTensor> ignored;
};

std::span<const Family* const> all_families();

// The family of a config. Throws Error that names the class and lists what runs.
const Family& family_of(const Config& config);

// The names that Llama's block made common, {embed, attn.*, ffn.*, norm, head}, and a family's own after them.
std::vector<SlotName> decoder_names(std::vector<SlotName> own = {});

// -- Shared readings of config keys that mean the same in every family

// width, vocab, layers, norm_eps, tied_head, context; refuses activations other than SiLU.
ModelSpec decoder_spec(const Config& config);
// decoder_spec with all layers alike: `attention` and `ffn` as the family states them, completed with what the config
// says: head counts, head size (unless stated; width / heads where the config has none), RoPE, ffn width.
ModelSpec dense_decoder_spec(const Config& config, GqaSpec attention, SwigluSpec ffn = {});
// Qwen's windows, layer by layer (window_of_layer).
void set_windows(const Config& config, ModelSpec& spec);
// rope_theta with rope_scaling, or rope_parameters. Throws Error for a scaling that is not known.
RopeSpec rope_spec(const Config& config, int dim, RopePairing pairing);
// Qwen's rule: layer_types when present, else the layers from max_window_layers on, and only with use_sliding_window.
int window_of_layer(const Config& config, int layer);

}  // namespace cachalot
