#include "model/gguf_layers.h"

#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/quote.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

using nlohmann::json;

std::string ArchitectureKeys::key(std::string_view name) const { return fmt::format("{}.{}", architecture_, name); }

Error ArchitectureKeys::cannot(std::string_view what) const {
  return Error(fmt::format("{} cannot be written as GGUF", what))
      .in(config_.where())
      .because(fmt::format("the format's architecture '{}' has no words for it", architecture_));
}

// -- YaRN
//
// How llama.cpp reads the keys, in Hugging Face's: cos and sin are multiplied by m(f, 1), or with a log multiplier k
// by m(f, 1) / m(f, k), and in both cases by attn_factor; m(f, k) = 0.1 k ln f + 1 for f > 1. Where the softmax takes
// the temperature, the multiplier is 0.1 mscale_all_dim, mscale is the same, and cos and sin keep attn_factor alone.

static double temperature(double factor, double k) { return factor > 1 ? 0.1 * k * std::log(factor) + 1 : 1; }

static json read_yarn(const GgufReader& in, const GgufWords& words, double factor) {
  if (in.number_or("rope.scaling.yarn_ext_factor", 1) != 1 && in.number_or("rope.scaling.yarn_ext_factor", 1) >= 0)
    throw in.error("rope.scaling.yarn_ext_factor is neither absent nor 1, and this is not supported");
  json scaling = {{"rope_type", "yarn"}, {"factor", factor}};
  if (in.has("rope.scaling.original_context_length"))
    scaling["original_max_position_embeddings"] = in.integer("rope.scaling.original_context_length");
  if (in.has("rope.scaling.yarn_beta_fast")) scaling["beta_fast"] = in.number("rope.scaling.yarn_beta_fast");
  if (in.has("rope.scaling.yarn_beta_slow")) scaling["beta_slow"] = in.number("rope.scaling.yarn_beta_slow");
  const double log_multiplier = in.number_or("rope.scaling.yarn_log_multiplier", 0);
  const double extra = in.number_or("rope.scaling.attn_factor", 1) * in.number_or("rope.scaling.yarn_attn_factor", 1);
  if (words.yarn_in_softmax) {
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
    const double divisor = log_multiplier != 0 ? temperature(factor, log_multiplier) : 1;
    scaling["attention_factor"] = (words.yarn_in_softmax ? 1 : temperature(factor, 1) / divisor) * extra;
  }
  return scaling;
}

static void write_yarn(const RopeSpec& r, const GgufWords& words, ArchitectureKeys& out) {
  if (!r.truncate) throw out.cannot("YaRN without 'truncate'");
  out.add("rope.scaling.type", "yarn");
  out.add("rope.scaling.factor", r.factor);
  out.add("rope.scaling.original_context_length", r.trained_tokens);
  if (r.beta_fast != 32) out.add("rope.scaling.yarn_beta_fast", r.beta_fast);
  if (r.beta_slow != 1) out.add("rope.scaling.yarn_beta_slow", r.beta_slow);
  if (words.yarn_in_softmax) {
    const Config keys = rope_keys(out.config());
    const double all = keys.number_or("mscale_all_dim", 0);
    if (all != 0) {
      if (keys.number_or("mscale", all) != all) throw out.cannot("YaRN whose mscale and mscale_all_dim differ");
      out.add("rope.scaling.yarn_log_multiplier", 0.1 * all);
    }
  }
  const double stated = words.yarn_in_softmax ? 1 : temperature(r.factor, 1);
  if (std::abs(r.attention_factor / stated - 1) > 1e-6)
    out.add("rope.scaling.attn_factor", r.attention_factor / stated);
}

// -- The other scalings

static std::vector<double> stored_divisors(const GgufReader& in, const GgufTensor& stored, const json& config) {
  const int64_t count = config.at("head_dim").get<int64_t>() / 2;
  if (stored.dtype != DType::f32 || stored.shape != std::vector<int64_t>{count})
    throw in
        .error(fmt::format("tensor '{}' is {} of shape [{}]", stored.name, name(stored.dtype, stored.other_type),
                           fmt::join(stored.shape, ", ")))
        .because(fmt::format("{} numbers of type f32 are expected, half of head_dim", count));
  std::vector<float> values(static_cast<size_t>(count));
  dequantize(stored.dtype, stored.bytes, values);
  for (const float value : values)
    if (!(value > 0 && std::isfinite(value)))
      throw in.error(fmt::format("tensor '{}' holds {}, which is no divisor", stored.name, value));
  return {values.begin(), values.end()};
}

void read_rope_scaling(const GgufReader& in, const GgufWords& words, json& config) {
  // A factor without a type is linear.
  const bool scaled = in.has("rope.scale_linear") || in.has("rope.scaling.factor");
  const auto type = in.text_or("rope.scaling.type", scaled ? "linear" : "none");
  const double factor = in.number_or("rope.scaling.factor", in.number_or("rope.scale_linear", 1));
  for (const char* name : {"rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"})
    if (const double temperature = in.number_or(name, 1); temperature != 1 && (type != "yarn" || !(temperature > 0)))
      throw in.error(fmt::format("metadata key {} is {} with RoPE scaling {}, and this is not supported",
                                 quote(in.key(name)), temperature, quote(type)));
  if (type == "yarn") {
    config["rope_scaling"] = read_yarn(in, words, factor);
  } else if (type == "linear") {
    if (factor != 1) config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
  } else if (type != "none") {
    const std::string quoted = quote(type);  // the family refuses what it does not know, by name
    config["rope_scaling"] = {{"rope_type", quoted.substr(1, quoted.rfind('\'') - 1)}, {"factor", factor}};
  }
  const auto* divisors = words.rope_divisors.empty() ? nullptr : in.tensor(words.rope_divisors);
  if (!divisors) return;
  if (config.contains("rope_scaling"))
    throw in.error(fmt::format("RoPE is scaled twice: by rope.scaling.type {} and by the tensor '{}'", quote(type),
                               divisors->name));
  config["rope_scaling"] = {{"rope_type", "divisors"}, {"divisors", stored_divisors(in, *divisors, config)}};
}

void write_rope_scaling(const RopeSpec& r, const GgufWords& words, ArchitectureKeys& out) {
  switch (r.scaling) {
    case RopeScaling::none: return;
    case RopeScaling::linear:
      out.add("rope.scaling.type", "linear");
      out.add("rope.scaling.factor", r.factor);
      return;
    case RopeScaling::yarn: return write_yarn(r, words, out);
    case RopeScaling::llama3:  // a tensor of divisors says it
      if (words.rope_divisors.empty()) throw out.cannot("Llama 3's scaling of RoPE");
      return;
    default: throw out.cannot("a RoPE that changes with the length of the text");
  }
}

// -- Windows

void read_windows(const GgufReader& in, json& config) {
  const int64_t window = in.integer_or("attention.sliding_window", 0, 0);
  if (window == 0) return;
  config["sliding_window"] = window;
  const std::string pattern = in.key("attention.sliding_window_pattern");
  // Without a list of layers the number alone enables nothing, as in config.json.
  config["use_sliding_window"] = in.file().array_length(pattern).has_value();
  if (!in.file().array_length(pattern)) return;
  json types = json::array();
  for (const bool windowed : in.file().booleans(pattern))
    types.push_back(windowed ? "sliding_attention" : "full_attention");
  if (types.size() != config["num_hidden_layers"])
    throw in.error(fmt::format("attention.sliding_window_pattern has {} entries for {} layers", types.size(),
                               config["num_hidden_layers"].get<int64_t>()));
  config["layer_types"] = types;
}

void write_windows(const ModelSpec& spec, ArchitectureKeys& out) {
  std::vector<bool> windowed;
  int window = 0;
  for (const LayerSpec& layer : spec.layers) {
    windowed.push_back(layer.window() > 0);
    window = std::max(window, layer.window());
  }
  if (window == 0) return;
  out.add("attention.sliding_window", window);
  out.add("attention.sliding_window_pattern", windowed);
  warn("{}: the file states windows of {} tokens layer by layer; other programs may not read this",
       out.config().where(), window);
}

}  // namespace cachalot
