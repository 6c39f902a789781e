// What a config says of RoPE, read as transformers reads it (modeling_rope_utils.py): where the keys are looked for,
// what each means when it is left out, and which are refused.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"

namespace cachalot {

Config rope_keys(const Config& c) {
  // rope_scaling is the older name. An empty one says nothing.
  auto object = c.object("rope_scaling");
  if (!object || object->json().empty()) object = c.object("rope_parameters");
  Config s = object ? *object : Config(nlohmann::json::object(), c.where());
  for (const auto& [key, value] : s.json().items())
    if (value.is_object())
      throw Error(fmt::format("a RoPE of its own for layers of type '{}' is not supported", key)).in(s.where());
  for (const char* key : {"rope_theta", "partial_rotary_factor"})
    if (!s.has(key) && c.has(key)) s = s.with(key, c.json()[key]);
  // What stands beside the object counts before what stands in it.
  if (const char* key = "original_max_position_embeddings"; c.has(key)) s = s.with(key, c.json()[key]);
  return s;
}

// yarn, llama3, longrope: the length that the model was first trained at.
static int trained_tokens(const Config& s, const Config& c) {
  return s.integer_or("original_max_position_embeddings", c.integer("max_position_embeddings", 1), 1);
}

// yarn, longrope: without a factor, by how much the context has grown.
static double factor_or_growth(const Config& s, const Config& c, int trained) {
  return s.has("factor") ? positive(s, "factor") : c.integer("max_position_embeddings", 1) / double(trained);
}

// 0 stands for the default.
static double positive_unless_zero(const Config& s, std::string_view key, double fallback) {
  return s.number_or(key, 0) == 0 ? fallback : positive(s, key);
}

static void read_yarn(const Config& s, const Config& c, RopeSpec& rope) {
  rope.scaling = RopeScaling::yarn;
  rope.trained_tokens = trained_tokens(s, c);
  rope.factor = factor_or_growth(s, c, rope.trained_tokens);
  rope.beta_fast = positive_unless_zero(s, "beta_fast", 32);
  rope.beta_slow = positive_unless_zero(s, "beta_slow", 1);
  rope.truncate = s.with_defaults({{"truncate", true}}).boolean_or("truncate", false);
  const auto optional = [&](std::string_view key) {
    return s.has(key) ? std::optional(s.number(key)) : std::nullopt;
  };
  if (s.has("attn_factor"))
    warn("{}: 'attn_factor' is ignored, as the reference does; it reads 'attention_factor'", s.where());
  rope.attention_factor = s.has("attention_factor")
                              ? s.number("attention_factor")
                              : yarn_attention_factor(rope.factor, optional("mscale"), optional("mscale_all_dim"));
}

static void read_llama3(const Config& s, const Config& c, RopeSpec& rope) {
  rope.scaling = RopeScaling::llama3;
  rope.trained_tokens = trained_tokens(s, c);
  rope.factor = positive(s, "factor");
  rope.low_freq_factor = positive(s, "low_freq_factor");
  rope.high_freq_factor = positive(s, "high_freq_factor");
  if (rope.high_freq_factor == rope.low_freq_factor)
    throw Error("high_freq_factor equals low_freq_factor").in(s.where());
}

// A positive number for each pair of a head.
static std::vector<double> numbers_of_pairs(const Config& s, std::string_view key, int dim) {
  std::vector<double> numbers = s.numbers(key);
  if (static_cast<int>(numbers.size()) != dim / 2)
    throw Error(fmt::format("'{}' holds {} numbers for {} pairs", key, numbers.size(), dim / 2)).in(s.where());
  for (const double number : numbers)
    if (!(number > 0)) throw Error(fmt::format("'{}' holds {}, which is not positive", key, number)).in(s.where());
  return numbers;
}

static void read_longrope(const Config& s, const Config& c, RopeSpec& rope) {
  rope.scaling = RopeScaling::longrope;
  rope.trained_tokens = trained_tokens(s, c);
  rope.factor = factor_or_growth(s, c, rope.trained_tokens);
  rope.divisors = numbers_of_pairs(s, "short_factor", rope.dim);
  rope.long_divisors = numbers_of_pairs(s, "long_factor", rope.dim);
  rope.attention_factor = s.has("attention_factor") ? s.number("attention_factor")
                          : rope.factor <= 1
                              ? 1
                              : std::sqrt(1 + std::log(rope.factor) / std::log(double(rope.trained_tokens)));
}

static void read_dynamic(const Config& s, const Config& c, RopeSpec& rope) {
  rope.scaling = RopeScaling::dynamic;
  rope.factor = positive(s, "factor");
  rope.trained_tokens = c.integer("max_position_embeddings", 1);
  if (rope.dim == 2) throw Error("dynamic scaling needs more than one pair of components in a head").in(s.where());
}

RopeSpec rope_spec(const Config& c, int dim, RopePairing pairing) {
  RopeSpec rope{.dim = dim, .pairing = pairing};
  if (dim % 2 != 0) throw Error(fmt::format("a head of {} components cannot be rotated in pairs", dim)).in(c.where());
  const Config s = rope_keys(c);
  rope.base = positive(s, "rope_theta", 10000);
  // No class of these families rotates a part of a head: transformers ignores the key, or fails.
  if (const double part = s.number_or("partial_rotary_factor", 1); part != 1)
    throw Error(fmt::format("partial_rotary_factor {} is not supported", part)).in(s.where());

  const std::string type = s.text_or("rope_type", s.text_or("type", "default"));
  if (type == "default") return rope;
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
    rope.factor = positive(s, "factor");
  } else if (type == "dynamic") {
    read_dynamic(s, c, rope);
  } else if (type == "yarn") {
    read_yarn(s, c, rope);
  } else if (type == "longrope") {
    read_longrope(s, c, rope);
  } else if (type == "llama3") {
    read_llama3(s, c, rope);
  } else if (type == "divisors") {  // GGUF's llama3
    rope.scaling = RopeScaling::divisors;
    rope.divisors = numbers_of_pairs(s, "divisors", dim);
  } else {
    throw Error(fmt::format("RoPE scaling of type '{}' is not supported", type))
        .in(s.where())
        .because("known types: default, linear, dynamic, yarn, longrope, llama3");
  }
  return rope;
}

}  // namespace cachalot
