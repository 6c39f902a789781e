// One family of checkpoints, as data: which classes it serves, how its config becomes a ModelSpec, what its tensors
// are called in each container, and what else GGUF calls differently. docs/adding-a-model.md walks through one.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "formats/config.h"
#include "model/gguf_words.h"
#include "model/spec.h"
#include "text/chat/reply_format.h"

namespace cachalot {

struct SlotName {
  std::string_view slot;         // the block's name for it
  std::string_view safetensors;  // without ".weight" / ".bias"; {} is the layer
  std::string_view gguf;
};

// A tensor that checkpoints carry and the model does not use. `pattern` may hold one *, which matches anything.
struct IgnoredTensor {
  std::string_view pattern;
  std::string_view reason;
};

// How chat models write a conversation that carry no template and name a format in its place (generation_config.json:
// chat_format).
struct ChatFormat {
  std::string_view name;  // empty: there are no such models
  std::string_view chat_template;
  std::vector<std::string_view> ends;  // tokens that end an answer
};

struct Family {
  std::string_view name;
  std::vector<std::string_view> hf_classes;  // config.json: architectures[0]; the class without a head comes second
  ModelSpec (*spec)(const Config& config);
  std::vector<SlotName> weights;
  std::vector<IgnoredTensor> ignored;
  GgufWords gguf;
  ChatFormat chat;
  ReplyFormats replies;
};

using Families = std::span<const Family* const>;
// All that run here, each a file in families/.
Families all_families();

// The family of a config: by its class, or by its model_type (which is the family's name) where it names no class.
// Throws Error that names the class and lists what runs.
const Family& family_of(const Config& config, Families families = all_families());
// The same; nullptr when there is none.
const Family* find_family(const Config& config, Families families = all_families());

// The names that Llama's block made common, {embed, attn.*, ffn.*, norm, head}, and a family's own after them. A slot
// that is listed more than once is stored in more than one way: the first name that a checkpoint has counts. {} is
// the layer, {e} the expert; a name without {e} is a stack of all experts.
std::vector<SlotName> decoder_names(std::vector<SlotName> own = {});
// Names of a mixture of experts as Hugging Face and GGUF spell them in every family.
std::vector<SlotName> moe_names(std::vector<SlotName> own = {});

// -- Shared readings of config keys that mean the same in every family
//
// A key that is left out means what the family's class in transformers says, which the family states with
// Config::with_defaults before it reads. A key that is null means what a getter's fallback says. Sizes that the
// shapes of tensors show have no defaults: a config without them is torn, not terse.

// width, vocab, layers, norm_eps, tied_head, context; refuses activations other than SiLU.
ModelSpec decoder_spec(const Config& config);
// What the config says of attention, into `stated`: head counts and head size (unless stated; width / heads where the
// config has none).
GqaSpec gqa_heads(const Config& config, const ModelSpec& model, GqaSpec stated);
// The same and RoPE.
GqaSpec gqa_spec(const Config& config, const ModelSpec& model, const GqaSpec& stated);
// decoder_spec with all layers alike: gqa_spec and a gated feed-forward of intermediate_size.
ModelSpec dense_decoder_spec(const Config& config, const GqaSpec& attention, bool ffn_bias = false);
// Which layers Qwen's classes give a window with use_sliding_window when no layer_types lists them.
enum class WindowRule {
  from_max_window_layers,        // qwen2, qwen3: i >= max_window_layers
  even_below_max_window_layers,  // qwen2_moe: even i < max_window_layers
  all                            // qwen3_moe, whatever layer_types says
};
// The window of each layer; 0 = none.
std::vector<int> windows_of_layers(const Config& config, int layers, WindowRule rule);
void set_windows(const Config& config, ModelSpec& spec, WindowRule rule);
// Qwen's mixture of experts: softmax over num_experts. Layer i is one unless mlp_only_layers lists it or
// decoder_sparse_step does not divide i + 1.
MoeSpec qwen_moe_spec(const Config& config);
void set_qwen_moe(const Config& config, const MoeSpec& moe, ModelSpec& spec);
// The width of `key` shared experts side by side, 0 without the key. Throws Error when it is more than a size may be.
int shared_hidden(const Config& config, std::string_view key, int expert_hidden);
// Throws Error when the gate cannot choose as many experts as it should.
void check_gate(const Config& config, const MoeGateSpec& gate);
// The keys of RoPE, gathered from rope_scaling or rope_parameters and from beside them.
Config rope_keys(const Config& config);
// What they say. Throws Error for a scaling that is not known.
RopeSpec rope_spec(const Config& config, int dim, RopePairing pairing);
// A number that must be above 0.
double positive(const Config& config, std::string_view key);
double positive(const Config& config, std::string_view key, double fallback);

}  // namespace cachalot
