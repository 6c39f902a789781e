// Models with recurrent layers, of random weights.
#pragma once

#include <cmath>

#include "base/random.h"
#include "engine/engine.h"
#include "model/parameters.h"
#include "ops/cpu/cpu_ops.h"

namespace cachalot::testing {

inline LayerSpec layer_of(AttentionSpec attention) {
  return {.attention = std::move(attention), .ffn = FfnSpec{.hidden = 20}};
}

// Recurrent layers alone, or among layers that keep something of each token, in two groups of blocks.
inline ModelSpec model_spec(bool mixed, bool module = false) {
  ModelSpec spec{.family = "recurrent", .width = 24, .vocab = 61, .context = 4096};
  const GqaSpec attention{.heads = 4, .kv_heads = 2, .head_dim = 8, .rope = {.dim = 8}, .logn = {}};
  GqaSpec windowed = attention;
  windowed.window = 40;
  spec.layers.push_back(layer_of(RecurrenceSpec{.channels = 10}));
  if (mixed) spec.layers.push_back(layer_of(attention));
  spec.layers.push_back(layer_of(RecurrenceSpec{.channels = 7}));
  if (mixed) spec.layers.push_back(layer_of(windowed));
  if (module) spec.mtp.push_back(layer_of(RecurrenceSpec{.channels = 5}));
  return spec;
}

inline ModelWeights random_weights(Ops& op, const ModelSpec& spec) {
  ModelWeights weights;
  uint64_t seed = 0;
  for_each_parameter(spec, weights, [&](const Parameter& p, Weight& w) {
    CHECK(p.stack == 0);
    const bool vector = p.kind == Parameter::Kind::vector;
    std::vector<float> numbers =
        random_normal(p.elements(), ++seed, vector ? 0.3 : 1.5 / std::sqrt(static_cast<double>(p.columns)));
    if (vector)
      for (float& x : numbers) x += 1;
    const StoredTensor stored{
        .name = p.slot, .dtype = DType::f32, .shape = p.shape(), .bytes = std::as_bytes(std::span(numbers))};
    w = vector ? op.load_vector(stored) : op.load_matrix({stored}, DType::f32);
  });
  return weights;
}

struct Model {
  std::unique_ptr<Ops> ops;
  Transformer transformer;

  Model(std::unique_ptr<Ops> own, const ModelSpec& spec)
      : ops(std::move(own)), transformer(spec, random_weights(*ops, spec)) {}
};
inline Model cpu_model(const ModelSpec& spec, const KernelTable& kernels, int threads = 1) {
  return {std::make_unique<CpuOps>(kernels, threads), spec};
}

using Tokens = std::vector<int32_t>;

inline Tokens some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  Tokens tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}

}  // namespace cachalot::testing
