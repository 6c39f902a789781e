// DeepSeek-V2 (V2-Lite, V2, V2.5) and DeepSeek-V3 (V3, R1): multi-head latent attention and DeepSeekMoE. The two
// differ in their routers and in V3's module that predicts the token after the next.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"
#include "model/gguf_reader.h"

namespace cachalot {

static MlaSpec mla_spec(const Config& c, RopePairing pairing) {
  MlaSpec a;
  a.heads = c.integer("num_attention_heads", 1, 1 << 16);
  a.q_rank = c.integer_or("q_lora_rank", 0, 0, 1 << 20);
  a.kv_rank = c.integer("kv_lora_rank", 1, 1 << 20);
  a.nope_dim = c.integer("qk_nope_head_dim", 1, 1 << 16);
  a.value_dim = c.integer("v_head_dim", 1, 1 << 16);
  a.bias = c.boolean_or("attention_bias", false);
  a.rope = rope_spec(c, c.integer("qk_rope_head_dim", 1, 1 << 16), pairing);
  if (a.kv_rank % 2 != 0 || a.nope_dim % 2 != 0)
    throw Error("kv_lora_rank and qk_nope_head_dim must be even")
        .in(c.where())
        .because("the cache holds its numbers in pairs");

  // YaRN's temperature enters the softmax squared, and not cos and sin, where mscale_all_dim is given; so it does, as
  // the reference has it, with every other scaling.
  a.softmax_scale = 1 / std::sqrt(static_cast<double>(a.nope_dim + a.rope.dim));
  if (a.rope.scaling != RopeScaling::none) {
    const double mscale = rope_keys(c).number_or("mscale_all_dim", 0);
    if (mscale != 0) a.softmax_scale *= std::pow(yarn_mscale(a.rope.factor, mscale), 2);
  }
  return a;
}

// The parts of a router that both generations state with the same keys.
static MoeSpec moe_spec(const Config& c) {
  MoeSpec moe;
  moe.gate.experts = c.integer("n_routed_experts", 1, 1 << 16);
  moe.gate.active = c.integer("num_experts_per_tok", 1, 1 << 16);
  moe.gate.normalised = c.boolean_or("norm_topk_prob", false);
  moe.gate.scale = c.number("routed_scaling_factor");
  moe.expert.hidden = c.integer("moe_intermediate_size", 1);
  moe.shared.hidden = shared_hidden(c, "n_shared_experts", moe.expert.hidden);
  return moe;
}

static void read_groups(const Config& c, GroupScore score, MoeGateSpec& gate) {
  gate.groups = c.integer_or("n_group", 1, 1, gate.experts);
  gate.active_groups = c.integer_or("topk_group", 1, 1, gate.experts);
  gate.group_score = score;
}

static ModelSpec decoder(const Config& c, const MlaSpec& attention, const std::optional<MoeSpec>& moe) {
  ModelSpec m = decoder_spec(c);
  const int first = c.integer_or("first_k_dense_replace", 0, 0), step = c.integer_or("moe_layer_freq", 1, 1);
  for (size_t i = 0; i < m.layers.size(); ++i) {
    m.layers[i].attention = attention;
    const auto layer = static_cast<int>(i);
    if (moe && layer >= first && layer % step == 0)
      m.layers[i].ffn = *moe;
    else
      m.layers[i].ffn = FfnSpec{.hidden = c.integer("intermediate_size", 1), .form = {}, .bias = false};
  }
  return m;
}

// All layers are dense where the number of experts is null, as the released code has it. Left out it is missing.
static bool no_experts(const Config& c) { return c.says_null("n_routed_experts"); }

static std::optional<MoeSpec> v2_moe(const Config& c) {
  if (no_experts(c)) return std::nullopt;
  MoeSpec moe = moe_spec(c);
  const std::string method = c.text_or("topk_method", "greedy");
  if (method == "group_limited_greedy")
    read_groups(c, GroupScore::best, moe.gate);
  else if (method != "greedy")
    throw Error(fmt::format("topk_method '{}' is not supported", method))
        .in(c.where())
        .because("known in DeepSeek-V2: greedy, group_limited_greedy");
  if (const auto scoring = c.text_or("scoring_func", "softmax"); scoring != "softmax")
    throw Error(fmt::format("scoring_func '{}' is not supported", scoring)).in(c.where()).because("known: softmax");
  // The released code multiplies by the factor only what it does not normalise, and never normalises one expert.
  moe.gate.normalised = moe.gate.normalised && moe.gate.active > 1;
  if (moe.gate.normalised) moe.gate.scale = 1;
  check_gate(c, moe.gate);
  return moe;
}

static const Defaults kV2Defaults = {
    {"max_position_embeddings", 2048}, {"rms_norm_eps", 1e-6},    {"q_lora_rank", 1536},
    {"attention_bias", false},         {"n_shared_experts", 2},   {"routed_scaling_factor", 1.0},
    {"topk_method", "greedy"},         {"norm_topk_prob", false}, {"first_k_dense_replace", 0}};

static ModelSpec v2_spec(const Config& config) {
  const Config c = config.with_alias("num_experts", "n_routed_experts").with_defaults(kV2Defaults);
  return decoder(c, mla_spec(c, RopePairing::pairs), v2_moe(c));
}

static std::optional<MoeSpec> v3_moe(const Config& c) {
  if (no_experts(c)) return std::nullopt;
  MoeSpec moe = moe_spec(c);
  for (const auto& [key, known] : {std::pair{"topk_method", "noaux_tc"}, {"scoring_func", "sigmoid"}})
    if (const auto text = c.text_or(key, known); text != known)
      throw Error(fmt::format("{} '{}' is not supported", key, text))
          .in(c.where())
          .because(fmt::format("known in DeepSeek-V3: {}", known));
  moe.gate.score = GateScore::sigmoid;
  moe.correction_bias = true;
  read_groups(c, GroupScore::sum_of_best_two, moe.gate);
  check_gate(c, moe.gate);
  return moe;
}

static const Defaults kV3Defaults = {{"max_position_embeddings", 4096},
                                     {"rms_norm_eps", 1e-6},
                                     {"q_lora_rank", 1536},
                                     {"attention_bias", false},
                                     {"rope_interleave", true},
                                     {"n_shared_experts", 1},
                                     {"num_experts_per_tok", 8},
                                     {"n_group", 8},
                                     {"topk_group", 4},
                                     {"routed_scaling_factor", 2.5},
                                     {"norm_topk_prob", true},
                                     {"first_k_dense_replace", 3},
                                     {"num_nextn_predict_layers", 1}};

static ModelSpec v3_spec(const Config& config) {
  Config c = config.with_alias("num_local_experts", "n_routed_experts");
  if (!c.has("num_nextn_predict_layers")) c = c.with_alias("num_mtp_layers", "num_nextn_predict_layers");
  c = c.with_defaults(kV3Defaults);
  const auto pairing = c.boolean_or("rope_interleave", false) ? RopePairing::pairs : RopePairing::halves;
  const MlaSpec attention = mla_spec(c, pairing);
  const auto moe = v3_moe(c);
  ModelSpec m = decoder(c, attention, moe);
  m.stored_mtp = c.integer_or("num_nextn_predict_layers", 0, 0, 16);
  if (m.stored_mtp > 0 && moe) m.mtp = {{attention, *moe}};  // the first drafts one token; others would follow on it
  return m;
}

static std::vector<SlotName> names() {
  return moe_names({
      // slot              safetensors                                 GGUF
      {"attn.q_down", "model.layers.{}.self_attn.q_a_proj", "blk.{}.attn_q_a"},
      {"attn.q_down_norm", "model.layers.{}.self_attn.q_a_layernorm", "blk.{}.attn_q_a_norm"},
      {"attn.q_up", "model.layers.{}.self_attn.q_b_proj", "blk.{}.attn_q_b"},
      {"attn.kv_down", "model.layers.{}.self_attn.kv_a_proj_with_mqa", "blk.{}.attn_kv_a_mqa"},
      {"attn.kv_norm", "model.layers.{}.self_attn.kv_a_layernorm", "blk.{}.attn_kv_a_norm"},
      {"attn.kv_up", "model.layers.{}.self_attn.kv_b_proj", "blk.{}.attn_kv_b"},
      {"attn.k_up", "", "blk.{}.attn_k_b"},
      {"attn.v_up", "", "blk.{}.attn_v_b"},
      {"moe.correction", "model.layers.{}.mlp.gate.e_score_correction_bias", "blk.{}.exp_probs_b.bias"},
      {"shared.gate", "model.layers.{}.mlp.shared_experts.gate_proj", "blk.{}.ffn_gate_shexp"},
      {"shared.up", "model.layers.{}.mlp.shared_experts.up_proj", "blk.{}.ffn_up_shexp"},
      {"shared.down", "model.layers.{}.mlp.shared_experts.down_proj", "blk.{}.ffn_down_shexp"},
      {"mtp.embed_norm", "model.layers.{}.enorm", "blk.{}.nextn.enorm"},
      {"mtp.hidden_norm", "model.layers.{}.hnorm", "blk.{}.nextn.hnorm"},
      {"mtp.combine", "model.layers.{}.eh_proj", "blk.{}.nextn.eh_proj"},
      {"mtp.norm", "model.layers.{}.shared_head.norm", "blk.{}.nextn.shared_head_norm"},
  });
}

static const std::vector<IgnoredTensor> kIgnored = {
    {"*.rotary_emb.inv_freq", "computed from the config"},
    {"model.layers.*.embed_tokens.weight", "the prediction module's copy of the embedding"},
    {"model.layers.*.shared_head.head.weight", "the prediction module's copy of the output head"},
    {"blk.*.nextn.embed_tokens.weight", "the prediction module's copy of the embedding"},
    {"blk.*.nextn.shared_head_head.weight", "the prediction module's copy of the output head"},
    {"blk.*.attn_k_b.weight", "made from attn_kv_b, which the file has too"},
    {"blk.*.attn_v_b.weight", "made from attn_kv_b, which the file has too"}};

// -- GGUF: one architecture for both

static bool is_v3(const GgufReader& in) {
  return in.integer_or("expert_count", 0, 0) > 0 && in.integer_or("expert_gating_func", 1, 0) == 2;
}
static bool is_v2(const GgufReader& in) { return !is_v3(in); }

static int dense_layers(const ModelSpec& m, const MoeSpec&) {
  return static_cast<int>(std::count_if(m.layers.begin(), m.layers.end(), [](const LayerSpec& layer) {
    return std::holds_alternative<FfnSpec>(layer.ffn);
  }));
}

static const std::vector<GgufKey> kExpertKeys = {
    // config.json          GGUF                           spec
    {"n_routed_experts", "expert_count", &MoeGateSpec::experts},
    {"num_experts_per_tok", "expert_used_count", &MoeGateSpec::active},
    {"moe_intermediate_size", "expert_feed_forward_length", [](const MoeSpec& moe) { return moe.expert.hidden; }},
    {"norm_topk_prob", "expert_weights_norm", &MoeGateSpec::normalised, {.absent = false}},
    {"n_shared_experts",
     "expert_shared_count",
     [](const MoeSpec& moe) { return moe.shared.hidden / moe.expert.hidden; },
     {.absent = 0, .min = 0}},
    {"routed_scaling_factor", "expert_weights_scale", &MoeGateSpec::scale, {.absent = 1.0}},
    {"first_k_dense_replace", "leading_dense_block_count", dense_layers, {.absent = 0, .min = 0}},
    {"", "expert_gating_func", [](const MoeGateSpec& gate) { return gate.score == GateScore::sigmoid ? 2 : 1; }},
    {"n_group", "expert_group_count", &MoeGateSpec::groups, {.absent = Absent::left_out}},
    {"topk_group", "expert_group_used_count", &MoeGateSpec::active_groups, {.absent = Absent::left_out}}};

// Files are made for the form over the latent, with one key and value head; the sizes of the others are *_mla.
static const std::vector<GgufKey> kLatentKeys = {
    // config.json  GGUF                      spec
    {"", "attention.head_count_kv", [](const MlaSpec&) { return 1; }},
    {"", "attention.key_length", [](const MlaSpec& a) { return a.kv_rank + a.rope.dim; }},
    {"", "attention.value_length", &MlaSpec::kv_rank},
    {"", "attention.key_length_mla", [](const MlaSpec& a) { return a.nope_dim + a.rope.dim; }},
    {"", "attention.value_length_mla", &MlaSpec::value_dim},
    {"kv_lora_rank", "attention.kv_lora_rank", &MlaSpec::kv_rank},
    {"q_lora_rank", "attention.q_lora_rank", &MlaSpec::q_rank, {.absent = Absent::null}},
    {"qk_rope_head_dim", "rope.dimension_count", [](const MlaSpec& a) { return a.rope.dim; }}};

// Old files lack the groups. The two published models that route by groups are known by their number of experts.
static void complete_groups(const GgufReader& in, nlohmann::json& config) {
  const auto experts = config["n_routed_experts"].get<int64_t>();
  const std::pair<int, int> groups = experts == 256   ? std::pair(8, 4)
                                     : experts == 160 ? std::pair(8, 3)
                                                      : std::pair(1, 1);
  if (config.contains("n_group") && !config.contains("topk_group") && config["n_group"] > 1 &&
      config["n_group"] != groups.first)
    throw in.error("experts form groups, and nothing says how many of them may be used (expert_group_used_count)");
  const bool stated = config.contains("n_group") && config.contains("topk_group");
  if (!config.contains("n_group")) config["n_group"] = groups.first;
  if (!config.contains("topk_group")) config["topk_group"] = groups.second;
  if (groups.first > 1 && !stated)
    warn("{}: nothing is said of groups of experts; assumed: the best {} of {}, as published with {} experts",
         in.file().where(), config["topk_group"].get<int64_t>(), config["n_group"].get<int64_t>(), experts);
}

static void complete_experts(const GgufReader& in, nlohmann::json& config) {
  complete_groups(in, config);
  config["moe_layer_freq"] = 1;
  if (config["routed_scaling_factor"] == 0) config["routed_scaling_factor"] = 1.0;
  config["scoring_func"] = is_v3(in) ? "sigmoid" : "softmax";
  config["topk_method"] = is_v3(in) ? "noaux_tc" : config["n_group"] > 1 ? "group_limited_greedy" : "greedy";
}

static void complete(const GgufReader& in, nlohmann::json& config) {
  const bool split = in.has("attention.key_length_mla");  // else of the layout before that form
  const int64_t key_length = in.integer(split ? "attention.key_length_mla" : "attention.key_length"),
                rotated = config["qk_rope_head_dim"].get<int64_t>();
  if (rotated >= key_length)
    throw in.error(fmt::format("{} of {} components of a key are rotated", rotated, key_length));
  config["num_key_value_heads"] = config["num_attention_heads"];
  config["qk_nope_head_dim"] = key_length - rotated;
  config["v_head_dim"] = in.integer(split ? "attention.value_length_mla" : "attention.value_length");
  config["attention_bias"] = false;
  if (config.contains("n_routed_experts"))
    complete_experts(in, config);
  else
    config["n_routed_experts"] = nullptr;  // dense
}

static std::string_view unsaid(const ModelSpec& m) {
  const auto& a = *part_of<MlaSpec>(m);
  if (a.bias) return "latent attention with biases";
  if (a.rope.pairing != RopePairing::pairs) return "latent attention that rotates halves";
  if (a.rope.scaling != RopeScaling::yarn && a.softmax_scale != 1 / std::sqrt(double(a.nope_dim + a.rope.dim)))
    return "a softmax scale of its own without YaRN";
  return "";
}

static GgufWords gguf_words(bool (*is_own)(const GgufReader& file)) {
  return {.architecture = "deepseek2",
          .is_own = is_own,
          .keys = decoder_keys({kExpertKeys, kLatentKeys}),
          .complete = complete,
          .unsaid = unsaid,
          .yarn_in_softmax = true,
          .usual_pre_tokenizer = "deepseek-llm"};  // V3's files are younger than the key
}

extern const Family kDeepseekV2, kDeepseekV3;
const Family kDeepseekV2 = {.name = "deepseek_v2",
                            .hf_classes = {"DeepseekV2ForCausalLM", "DeepseekV2Model"},
                            .spec = v2_spec,
                            .weights = names(),
                            .ignored = kIgnored,
                            .gguf = gguf_words(is_v2),
                            .replies = {.calls = {CallForm::deepseek_v3}}};
const Family kDeepseekV3 = {.name = "deepseek_v3",
                            .hf_classes = {"DeepseekV3ForCausalLM", "DeepseekV3Model"},
                            .spec = v3_spec,
                            .weights = names(),
                            .ignored = kIgnored,
                            .gguf = gguf_words(is_v3),
                            .replies = {.calls = {CallForm::deepseek_v3, CallForm::deepseek_v31, CallForm::dsml}}};

}  // namespace cachalot
