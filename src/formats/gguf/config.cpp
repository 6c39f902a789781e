#include "formats/gguf/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "formats/gguf/tokenizer.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

using nlohmann::json;

namespace {
enum class Layout { dense, qwen1, qwen_moe, mla };

struct Translation {
  std::string_view arch, hf_class, model_type;
  Layout layout;
};
}  // namespace

static constexpr Translation kTranslations[] = {
    {"llama", "LlamaForCausalLM", "llama", Layout::dense},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", Layout::dense},
    {"qwen3", "Qwen3ForCausalLM", "qwen3", Layout::dense},
    {"qwen", "QWenLMHeadModel", "qwen", Layout::qwen1},
    {"qwen2moe", "Qwen2MoeForCausalLM", "qwen2_moe", Layout::qwen_moe},
    {"qwen3moe", "Qwen3MoeForCausalLM", "qwen3_moe", Layout::qwen_moe},
    {"deepseek2", "DeepseekV2ForCausalLM", "deepseek_v2", Layout::mla},  // or V3, see translate_mla()
};

// Metadata that changes the arithmetic in ways that no translated architecture has.
static constexpr std::string_view kForeignKeys[] = {
    "attn_logit_softcapping", "final_logit_softcapping",  "logit_scale",
    "residual_scale",         "embedding_scale",          "attention.scale",
    "attention.clamp_kqv",    "attention.max_alibi_bias", "attention.temperature_scale"};

// Values of general.type for files beside a model. They open like an architecture of that name, and nothing runs it.
static constexpr std::string_view kOtherTypes[] = {"adapter", "imatrix", "mmproj"};

// GGUF keeps numbers as f32 where config.json has decimals. The shortest decimal that reads back as the same f32 is
// the number that the converter was given, so that both containers lead to the same arithmetic.
static double as_decimal(double stored) {
  const auto narrow = static_cast<float>(stored);
  if (narrow != stored) return stored;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, narrow).ptr;
  double decimal = stored;
  std::from_chars(text, end, decimal);
  return decimal;
}

namespace {

class Translator {
 public:
  explicit Translator(std::span<const GgufFile> shards) : shards_(shards), file_(shards[0]) {
    // What is no model at all may go without an architecture, or name that of the model it is made for.
    const auto type = file_.text_or("general.type", "model");
    const bool other = std::find(std::begin(kOtherTypes), std::end(kOtherTypes), type) != std::end(kOtherTypes);
    arch_ = other ? type : file_.text("general.architecture");
  }

  json run() {
    const auto* known = std::find_if(std::begin(kTranslations), std::end(kTranslations),
                                     [&](const Translation& t) { return t.arch == arch_; });
    if (known == std::end(kTranslations)) return unknown();
    refuse_foreign_keys();
    out_["architectures"] = json::array({known->hf_class});
    out_["model_type"] = known->model_type;
    translate_sizes();
    if (known->layout == Layout::mla) {
      translate_mla();
    } else {
      translate_heads();
    }
    if (known->layout == Layout::qwen1) translate_qwen1();
    if (known->layout == Layout::qwen_moe) translate_qwen_moe();
    translate_rope(known->layout);
    translate_window();
    translate_tokens();
    return std::move(out_);
  }

 private:
  std::string key(std::string_view name) const { return fmt::format("{}.{}", arch_, name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }
  int64_t integer(std::string_view name, int64_t min = 1) const { return file_.integer(key(name), min); }
  int64_t integer_or(std::string_view name, int64_t fallback, int64_t min = 1) const {
    return has(name) ? integer(name, min) : fallback;
  }
  double number(std::string_view name) const { return as_decimal(file_.number(key(name))); }
  double number_or(std::string_view name, double fallback) const { return has(name) ? number(name) : fallback; }
  Error error(std::string what) const { return Error(std::move(what)).in(file_.where()); }

  const GgufTensor* tensor(std::string_view name) const {
    for (const GgufFile& shard : shards_)
      if (const auto* found = shard.find(name)) return found;
    return nullptr;
  }

  // A number that may be stored once per layer. Nothing when the layers differ.
  std::optional<int64_t> same_in_all_layers(std::string_view name) const {
    const auto numbers = file_.integers(key(name));
    if (numbers.empty() || std::any_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n != numbers[0]; }))
      return std::nullopt;
    if (numbers[0] < 0 || numbers[0] > 1 << 30)
      throw error(fmt::format("metadata key {} is {}", quote(key(name)), numbers[0]));
    return numbers[0];
  }

  int64_t layer_integer(std::string_view name) const {
    if (!has(name)) throw error(fmt::format("metadata key {} is missing", quote(key(name))));
    const auto number = same_in_all_layers(name);
    if (!number) throw error(fmt::format("metadata key {} differs between the layers", quote(key(name))));
    return *number;
  }

  json unknown() {
    out_["architectures"] = json::array({quoted_arch()});
    out_["model_type"] = quoted_arch();
    static constexpr std::pair<std::string_view, std::string_view> kCommon[] = {
        {"embedding_length", "hidden_size"},
        {"block_count", "num_hidden_layers"},
        {"attention.head_count", "num_attention_heads"},
        {"attention.head_count_kv", "num_key_value_heads"},
        {"feed_forward_length", "intermediate_size"},
        {"context_length", "max_position_embeddings"}};
    for (const auto& [name, hf_name] : kCommon)
      if (has(name))
        if (const auto number = same_in_all_layers(name)) out_[std::string(hf_name)] = *number;
    return std::move(out_);
  }

  // The name as it is when it is plain text; a config is JSON and must stay valid UTF-8.
  std::string quoted_arch() const {
    const std::string quoted = quote(arch_);
    return quoted.substr(1, quoted.rfind('\'') - 1);
  }

  void refuse_foreign_keys() const {
    for (const auto name : kForeignKeys)
      if (has(name) && file_.number(key(name)) != 0)
        throw error(
            fmt::format("metadata key {} changes the arithmetic, and this is not supported", quote(key(name))));
    if (!file_.boolean_or(key("attention.causal"), true))
      throw error("the model attends to later tokens (attention.causal is false), and this is not supported");
  }

  void translate_sizes() {
    out_["hidden_size"] = integer("embedding_length");
    const int64_t blocks = integer("block_count"), mtp = integer_or("nextn_predict_layers", 0, 0);
    if (mtp >= blocks) throw error(fmt::format("{} of {} blocks are said to predict further tokens", mtp, blocks));
    out_["num_hidden_layers"] = blocks - mtp;
    out_["num_nextn_predict_layers"] = mtp;
    out_["num_attention_heads"] = layer_integer("attention.head_count");
    out_["intermediate_size"] = layer_integer("feed_forward_length");
    out_["max_position_embeddings"] = integer("context_length");
    // Qwen1 files of some converters have it under the name of the other norm.
    const bool other_name = !has("attention.layer_norm_rms_epsilon") && has("attention.layer_norm_epsilon");
    out_["rms_norm_eps"] = number(other_name ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
    out_["hidden_act"] = "silu";
    out_["tie_word_embeddings"] = tensor("output.weight") == nullptr;
    translate_vocabulary();
  }

  void translate_vocabulary() {
    const auto* embedding = tensor("token_embd.weight");
    if (has("vocab_size")) {
      out_["vocab_size"] = integer("vocab_size");
    } else if (embedding && embedding->shape.size() == 2) {
      out_["vocab_size"] = embedding->shape[0];
    } else if (const auto tokens = file_.array_length("tokenizer.ggml.tokens")) {
      out_["vocab_size"] = *tokens;
    }
  }

  void translate_heads() {
    const auto heads = out_["num_attention_heads"].get<int64_t>(), width = out_["hidden_size"].get<int64_t>();
    if (heads < 1) throw error(fmt::format("attention.head_count is {}", heads));
    out_["num_key_value_heads"] = has("attention.head_count_kv") ? layer_integer("attention.head_count_kv") : heads;
    const int64_t head_dim = integer_or("attention.key_length", width / heads);
    if (integer_or("attention.value_length", head_dim) != head_dim)
      throw error(fmt::format("keys have {} components and values {}", head_dim, integer("attention.value_length")))
          .because("the architecture " + quote(arch_) + " has one head size");
    if (const int64_t rotated = integer_or("rope.dimension_count", head_dim); rotated != head_dim)
      throw error(fmt::format("only {} of {} components of a head are rotated, and this is not supported", rotated,
                              head_dim));
    out_["head_dim"] = head_dim;
    if (arch_ == "llama" || arch_ == "qwen3" || arch_ == "qwen3moe")
      out_["attention_bias"] = tensor("blk.0.attn_q.bias") != nullptr;
    if (arch_ == "llama") {
      out_["mlp_bias"] = tensor("blk.0.ffn_gate.bias") != nullptr;
      if (integer_or("expert_count", 0, 0) > 0) {  // Mixtral shares the name
        out_["architectures"] = json::array({"MixtralForCausalLM"});
        out_["model_type"] = "mixtral";
      }
    }
  }

  void translate_qwen1() {
    out_["kv_channels"] = out_["head_dim"];
    out_["layer_norm_epsilon"] = out_["rms_norm_eps"];
    out_["no_bias"] = true;
    // The format has no keys for NTK and LogN. What released them: 1.8B, 7B and 14B (told by its width) have both
    // from the length they were trained at, 72B (told by its base) has neither.
    const bool scaled = number_or("rope.freq_base", 10000) == 10000;
    const bool is_14b = out_["hidden_size"] == 5120;
    out_["seq_length"] = std::min<int64_t>(is_14b ? 2048 : 8192, out_["max_position_embeddings"].get<int64_t>());
    out_["use_dynamic_ntk"] = out_["use_logn_attn"] = scaled;
    warn("{}: GGUF cannot say how Qwen1 reads long texts; assumed: dynamic NTK and LogN {} {} tokens", file_.where(),
         scaled ? "from" : "off, trained at", out_["seq_length"].get<int64_t>());
  }

  // Rows of a stacked tensor of experts [E, rows, columns], or of a plain one [rows, columns].
  int64_t rows_of(std::string_view part) const {
    for (const GgufFile& shard : shards_)
      for (const GgufTensor& candidate : shard.tensors())
        if (candidate.name.ends_with(part) && candidate.shape.size() >= 2)
          return candidate.shape[candidate.shape.size() - 2];
    throw error(fmt::format("neither metadata nor a tensor *{} says how wide the experts are", part));
  }

  void translate_qwen_moe() {
    out_["num_experts"] = integer("expert_count");
    out_["num_experts_per_tok"] = integer("expert_used_count");
    out_["moe_intermediate_size"] =
        has("expert_feed_forward_length") ? integer("expert_feed_forward_length") : rows_of(".ffn_gate_exps.weight");
    out_["norm_topk_prob"] = file_.boolean_or(key("expert_weights_norm"), arch_ == "qwen3moe");
    out_["decoder_sparse_step"] = 1;
    out_["mlp_only_layers"] = json::array();
    if (arch_ == "qwen2moe")
      out_["shared_expert_intermediate_size"] = has("expert_shared_feed_forward_length")
                                                    ? integer("expert_shared_feed_forward_length")
                                                    : rows_of(".ffn_gate_shexp.weight");
  }

  void translate_mla() {
    const int64_t rotated = integer("rope.dimension_count");
    const bool split =
        has("attention.key_length_mla");  // files for llama.cpp's latent form: key_length is the latent's
    const int64_t key_length = integer(split ? "attention.key_length_mla" : "attention.key_length");
    if (rotated >= key_length)
      throw error(fmt::format("{} of {} components of a key are rotated", rotated, key_length));
    out_["num_key_value_heads"] = out_["num_attention_heads"];
    out_["qk_rope_head_dim"] = rotated;
    out_["qk_nope_head_dim"] = key_length - rotated;
    out_["v_head_dim"] = integer(split ? "attention.value_length_mla" : "attention.value_length");
    out_["kv_lora_rank"] = integer("attention.kv_lora_rank");
    out_["q_lora_rank"] = has("attention.q_lora_rank") ? json(integer("attention.q_lora_rank")) : json();
    out_["attention_bias"] = false;
    out_["n_routed_experts"] = nullptr;  // dense
    if (integer_or("expert_count", 0, 0) > 0) translate_deepseek_experts();
  }

  void translate_deepseek_experts() {
    const int64_t experts = integer("expert_count");
    const bool sigmoid = integer_or("expert_gating_func", 1, 0) == 2;
    // Old files lack the groups. The two published models that route by groups are known by their number of experts.
    const std::pair<int64_t, int64_t> groups = experts == 256   ? std::pair(8, 4)
                                               : experts == 160 ? std::pair(8, 3)
                                                                : std::pair(1, 1);
    out_["n_routed_experts"] = experts;
    out_["n_shared_experts"] = integer_or("expert_shared_count", 0, 0);
    out_["num_experts_per_tok"] = integer("expert_used_count");
    out_["moe_intermediate_size"] = integer("expert_feed_forward_length");
    out_["first_k_dense_replace"] = integer_or("leading_dense_block_count", 0, 0);
    out_["moe_layer_freq"] = 1;
    out_["n_group"] = integer_or("expert_group_count", groups.first);
    out_["topk_group"] = integer_or("expert_group_used_count", groups.second);
    if (groups.first > 1 && !(has("expert_group_count") && has("expert_group_used_count")))
      warn("{}: nothing is said of groups of experts; assumed: the best {} of {}, as published with {} experts",
           file_.where(), out_["topk_group"].get<int64_t>(), out_["n_group"].get<int64_t>(), experts);
    const double scale = number_or("expert_weights_scale", 1);
    out_["routed_scaling_factor"] = scale == 0 ? 1.0 : scale;
    out_["norm_topk_prob"] = file_.boolean_or(key("expert_weights_norm"), false);
    out_["scoring_func"] = sigmoid ? "sigmoid" : "softmax";
    out_["topk_method"] = sigmoid ? "noaux_tc" : out_["n_group"] > 1 ? "group_limited_greedy" : "greedy";
    if (sigmoid) {
      out_["architectures"] = json::array({"DeepseekV3ForCausalLM"});
      out_["model_type"] = "deepseek_v3";
    }
  }

  void translate_rope(Layout layout) {
    out_["rope_theta"] = number_or("rope.freq_base", 10000);
    if (layout == Layout::qwen1) out_["rotary_emb_base"] = out_["rope_theta"];
    const auto type = file_.text_or(key("rope.scaling.type"), has("rope.scale_linear") ? "linear" : "none");
    const double factor = number_or("rope.scaling.factor", number_or("rope.scale_linear", 1));
    const auto* divisors = arch_ == "llama" ? tensor("rope_freqs.weight") : nullptr;
    if (type == "yarn") {
      out_["rope_scaling"] = yarn(factor, layout);
    } else if (type == "linear") {
      if (factor != 1) out_["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
    } else if (type != "none") {
      const std::string quoted = quote(type);  // the family refuses what it does not know, by name
      out_["rope_scaling"] = {{"rope_type", quoted.substr(1, quoted.rfind('\'') - 1)}, {"factor", factor}};
    }
    if (!divisors) return;
    if (out_.contains("rope_scaling"))
      throw error("RoPE is scaled twice: by rope.scaling.type " + quote(type) +
                  " and by the tensor 'rope_freqs.weight'");
    out_["rope_scaling"] = {{"rope_type", "divisors"}, {"divisors", stored_divisors(*divisors)}};
  }

  // How llama.cpp reads these keys, in Hugging Face's: cos and sin are multiplied by m(f, 1), or with a log
  // multiplier k by m(f, 1) / m(f, k), and in both cases by attn_factor; m(f, k) = 0.1 k ln f + 1 for f > 1.
  json yarn(double factor, Layout layout) const {
    if (number_or("rope.scaling.yarn_ext_factor", 1) != 1 && number_or("rope.scaling.yarn_ext_factor", 1) >= 0)
      throw error("rope.scaling.yarn_ext_factor is neither absent nor 1, and this is not supported");
    json scaling = {{"rope_type", "yarn"}, {"factor", factor}};
    if (has("rope.scaling.original_context_length"))
      scaling["original_max_position_embeddings"] = integer("rope.scaling.original_context_length");
    if (has("rope.scaling.yarn_beta_fast")) scaling["beta_fast"] = number("rope.scaling.yarn_beta_fast");
    if (has("rope.scaling.yarn_beta_slow")) scaling["beta_slow"] = number("rope.scaling.yarn_beta_slow");
    const double log_multiplier = number_or("rope.scaling.yarn_log_multiplier", 0);
    const double extra = number_or("rope.scaling.attn_factor", 1) * number_or("rope.scaling.yarn_attn_factor", 1);
    if (layout == Layout::mla) {
      // Here the multiplier is 0.1 mscale_all_dim, mscale is the same, and the softmax scale takes its square.
      if (log_multiplier != 0) {
        scaling["mscale"] = scaling["mscale_all_dim"] = as_decimal(static_cast<float>(10 * log_multiplier));
      } else {
        scaling["attention_factor"] = 1.0;
      }
    } else if (log_multiplier != 0) {
      scaling["mscale"] = 1.0;
      scaling["mscale_all_dim"] = log_multiplier;
    }
    if (extra != 1) {
      const auto m = [&](double k) { return factor > 1 ? 0.1 * k * std::log(factor) + 1 : 1.0; };
      const double base = layout == Layout::mla ? 1 : m(1) / (log_multiplier != 0 ? m(log_multiplier) : 1);
      scaling["attention_factor"] = base * extra;
    }
    return scaling;
  }

  std::vector<double> stored_divisors(const GgufTensor& stored) const {
    const int64_t count = out_.at("head_dim").get<int64_t>() / 2;
    if (stored.dtype != DType::f32 || stored.shape != std::vector<int64_t>{count})
      throw error(fmt::format("tensor 'rope_freqs.weight' is {} of shape [{}]", name(stored.dtype, stored.other_type),
                              fmt::join(stored.shape, ", ")))
          .because(fmt::format("{} numbers of type f32 are expected, half of head_dim", count));
    std::vector<float> values(count);
    dequantize(stored.dtype, stored.bytes, values);
    for (const float value : values)
      if (!(value > 0 && std::isfinite(value)))
        throw error(fmt::format("tensor 'rope_freqs.weight' holds {}, which is no divisor", value));
    return {values.begin(), values.end()};
  }

  void translate_window() {
    if (!has("attention.sliding_window")) return;
    const int64_t window = integer("attention.sliding_window", 0);
    if (window == 0) return;
    out_["sliding_window"] = window;
    const auto pattern = file_.array_length(key("attention.sliding_window_pattern"));
    // Without a list of layers the number alone enables nothing, as in config.json.
    out_["use_sliding_window"] = pattern.has_value();
    if (!pattern) return;
    json types = json::array();
    for (const bool windowed : file_.booleans(key("attention.sliding_window_pattern")))
      types.push_back(windowed ? "sliding_attention" : "full_attention");
    if (types.size() != out_["num_hidden_layers"])
      throw error(fmt::format("attention.sliding_window_pattern has {} entries for {} layers", types.size(),
                              out_["num_hidden_layers"].get<int64_t>()));
    if (arch_ == "qwen3moe" && std::find(types.begin(), types.end(), "full_attention") != types.end())
      throw error("attention.sliding_window_pattern leaves layers without a window, and this is not supported");
    out_["layer_types"] = types;
  }

  void translate_tokens() {
    if (const auto bos = gguf_token_id(file_, "bos_token_id")) out_["bos_token_id"] = *bos;
    json ends = json::array();
    for (const auto* name : {"eos_token_id", "eot_token_id", "eom_token_id"})
      if (const auto id = gguf_token_id(file_, name); id && std::find(ends.begin(), ends.end(), *id) == ends.end())
        ends.push_back(*id);
    if (ends.size() == 1) out_["eos_token_id"] = ends[0];
    if (ends.size() > 1) out_["eos_token_id"] = ends;
  }

  std::span<const GgufFile> shards_;
  const GgufFile& file_;
  std::string_view arch_;
  json out_ = json::object();
};

}  // namespace

Config gguf_config(std::span<const GgufFile> shards) { return Config(Translator(shards).run(), shards[0].where()); }

}  // namespace cachalot
