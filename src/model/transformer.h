// A decoder-only transformer: specs and weights in, hidden states and logits out. No I/O, no threads of its own.
#pragma once

#include "model/blocks.h"

namespace cachalot {

class Transformer {
 public:
  Transformer(ModelSpec spec, ModelWeights weights);

  const ModelSpec& spec() const { return spec_; }

  // One step: appends the batch's rows to the cache and returns their hidden states after the final norm, [T, D]. The
  // result lives in the arena from `arena().mark()` at entry on.
  Tensor forward(Ops& op, const Batch& batch, KvCache& cache) const;

  // One step of the module that predicts the token after the next (spec().mtp): row i of the batch carries the token
  // that follows, at the position of the token before it; hidden_TD are forward()'s rows of those positions. Returns
  // hidden states for head(), of the same rows.
  Tensor forward_mtp(Ops& op, const Batch& batch, const Tensor& hidden_TD, KvCache& cache) const;

  // Logits of hidden states: [T, D] -> [T, W]. A step of its own, so that long inputs stream their rows.
  Tensor head(Ops& op, const Tensor& hidden_TD) const;

 private:
  std::vector<Tensor> rope_angles(Ops& op, const Batch& batch) const;
  Tensor block(Ops& op, const LayerSpec& s, const LayerWeights& w, const Tensor& x_TD, const StepContext& step) const;

  ModelSpec spec_;
  ModelWeights weights_;
  std::vector<RopeSpec> ropes_;        // the distinct ones
  std::vector<size_t> rope_of_layer_;  // of the layers, then of the MTP modules
};

// The cache's layers for a spec, those of MTP modules last: layers with the same window share a group, whose window
// is group_windows[g] (0 = all).
struct CacheLayout {
  std::vector<KvCache::Layer> layers;
  std::vector<int> group_windows;
};
CacheLayout cache_layout(const ModelSpec& spec);

}  // namespace cachalot
