// A decoder-only transformer: specs and weights in, hidden states and logits out. No I/O, no threads of its own.
#pragma once

#include "model/blocks.h"

namespace cachalot {

class Transformer {
 public:
  Transformer(ModelSpec spec, ModelWeights weights);

  const ModelSpec& spec() const { return spec_; }
  int64_t weight_bytes() const { return weight_bytes_; }

  // One step: appends the batch's rows to the cache and returns their hidden states after the final norm, [T, D]. The
  // result lives in the arena from `arena().mark()` at entry on.
  Tensor forward(Ops& op, const Batch& batch, KvCache& cache) const;

  // Logits of hidden states: [T, D] -> [T, W]. A step of its own, so that long inputs stream their rows.
  Tensor head(Ops& op, const Tensor& hidden_TD) const;

 private:
  ModelSpec spec_;
  ModelWeights weights_;
  std::vector<RopeSpec> ropes_;  // the distinct ones
  std::vector<size_t> rope_of_layer_;
  int64_t weight_bytes_ = 0;
};

// The cache's layers for a spec: layers with the same window share a group, whose window is group_windows[g] (0 =
// all).
struct CacheLayout {
  std::vector<KvCache::Layer> layers;
  std::vector<int> group_windows;
};
CacheLayout cache_layout(const ModelSpec& spec);

}  // namespace cachalot
