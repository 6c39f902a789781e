// Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B) and Qwen3-MoE: the dense families' attention with a softmax router;
// Qwen2's has a shared expert beside the routed ones, weighted by a sigmoid of its own.
#include <nlohmann/json.hpp>

#include "model/family.h"
#include "model/gguf_reader.h"

namespace cachalot {

// A model of 0 experts is a dense one.
static bool no_experts(const Config& c) { return c.integer("num_experts") == 0; }

static Defaults defaults(const Defaults& own) {
  Defaults defaults = {{"max_position_embeddings", 32768}, {"rms_norm_eps", 1e-6},    {"use_sliding_window", false},
                       {"sliding_window", 4096},           {"norm_topk_prob", false}, {"decoder_sparse_step", 1}};
  defaults.insert(defaults.end(), own.begin(), own.end());
  return defaults;
}

static ModelSpec qwen2_spec(const Config& config) {
  static const Defaults kDefaults = defaults(
      {{"num_key_value_heads", 16}, {"num_experts_per_tok", 4}, {"qkv_bias", true}, {"max_window_layers", 28}});
  const Config c = config.with_defaults(kDefaults);
  ModelSpec m =
      dense_decoder_spec(c, {.qkv_bias = c.boolean_or("qkv_bias", false), .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::even_below_max_window_layers);
  if (no_experts(c)) return m;
  MoeSpec moe = qwen_moe_spec(c);
  moe.shared.hidden = c.integer("shared_expert_intermediate_size", 1);
  moe.shared_gate = true;
  set_qwen_moe(c, moe, m);
  return m;
}

static ModelSpec qwen3_spec(const Config& config) {
  static const Defaults kDefaults =
      defaults({{"num_key_value_heads", 4}, {"num_experts_per_tok", 8}, {"attention_bias", false}});
  // transformers 5 keeps and saves the number of experts under the name that other families use.
  const Config c = config.with_alias("num_local_experts", "num_experts").with_defaults(kDefaults);
  const bool bias = c.boolean_or("attention_bias", false);
  ModelSpec m = dense_decoder_spec(
      c, {.qkv_bias = bias, .out_bias = bias, .qk_norm = true, .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::all);
  if (!no_experts(c)) set_qwen_moe(c, qwen_moe_spec(c), m);
  return m;
}

// -- GGUF

static std::vector<GgufKey> expert_keys(bool normalised, const std::vector<GgufKey>& own = {}) {
  std::vector<GgufKey> keys = {
      // config.json           GGUF                  spec
      {"num_experts", "expert_count", &MoeGateSpec::experts},
      {"num_experts_per_tok", "expert_used_count", &MoeGateSpec::active},
      {"moe_intermediate_size",
       "expert_feed_forward_length",
       [](const MoeSpec& moe) { return moe.expert.hidden; },
       {.absent = Absent::left_out}},
      {"norm_topk_prob", "expert_weights_norm", &MoeGateSpec::normalised, {.absent = normalised}}};
  keys.insert(keys.end(), own.begin(), own.end());
  return decoder_keys({keys, gqa_keys()});
}

// Files of old leave it to the tensors how wide experts are.
static void complete_width(const GgufReader& in, const char* key, std::string_view tensor, nlohmann::json& config) {
  if (!config.contains(key)) config[key] = in.rows_of(tensor);
}

static void complete(const GgufReader& in, nlohmann::json& config) {
  in.integer("expert_count");  // a file without experts is of another architecture
  complete_gqa(in, config);
  complete_width(in, "moe_intermediate_size", ".ffn_gate_exps.weight", config);
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = nlohmann::json::array();
}

static void complete_qwen2(const GgufReader& in, nlohmann::json& config) {
  complete(in, config);
  complete_width(in, "shared_expert_intermediate_size", ".ffn_gate_shexp.weight", config);
}

static void complete_qwen3(const GgufReader& in, nlohmann::json& config) {
  complete(in, config);
  if (!config.contains("layer_types")) return;
  for (const auto& type : config["layer_types"])
    if (type == "full_attention")
      throw in.error("attention.sliding_window_pattern leaves layers without a window, and this is not supported");
}

static std::string_view unsaid_of_qwen2(const ModelSpec& m) {
  return part_of<GqaSpec>(m)->qkv_bias ? "" : "attention without biases";
}

static const std::vector<IgnoredTensor> kIgnored = {{"*.rotary_emb.inv_freq", "computed from the config"}};

extern const Family kQwen2Moe, kQwen3Moe;
const Family kQwen2Moe = {
    .name = "qwen2_moe",
    .hf_classes = {"Qwen2MoeForCausalLM", "Qwen2MoeModel"},
    .spec = qwen2_spec,
    .weights = moe_names({
        // slot          safetensors                                      GGUF
        {"shared.gate", "model.layers.{}.mlp.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp"},
        {"shared.up", "model.layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp"},
        {"shared.down", "model.layers.{}.mlp.shared_expert.down_proj", "blk.{}.ffn_down_shexp"},
        {"shared.scale", "model.layers.{}.mlp.shared_expert_gate", "blk.{}.ffn_gate_inp_shexp"},
    }),
    .ignored = kIgnored,
    .gguf = {.architecture = "qwen2moe",
             .keys = expert_keys(/*normalised=*/false, {{"shared_expert_intermediate_size",
                                                         "expert_shared_feed_forward_length",
                                                         [](const MoeSpec& moe) { return moe.shared.hidden; },
                                                         {.absent = Absent::left_out}}}),
             .complete = complete_qwen2,
             .unsaid = unsaid_of_qwen2,
             .usual_pre_tokenizer = "qwen2"}};

const Family kQwen3Moe = {.name = "qwen3_moe",
                          .hf_classes = {"Qwen3MoeForCausalLM", "Qwen3MoeModel"},
                          .spec = qwen3_spec,
                          .weights = moe_names({
                              // slot         safetensors                         GGUF
                              {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"},
                              {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"},
                          }),
                          .ignored = kIgnored,
                          .gguf = {.architecture = "qwen3moe",
                                   .keys = expert_keys(/*normalised=*/true),
                                   .biases = {{"attention_bias", "attn.q"}},
                                   .complete = complete_qwen3,
                                   .usual_pre_tokenizer = "qwen2"},
                          .replies = {.calls = {CallForm::tagged_json, CallForm::tagged_xml}}};

}  // namespace cachalot
