// A decoder-only transformer: specs and weights in, hidden states and logits out. No I/O, no threads of its own.
#pragma once

#include "model/weights.h"

namespace cachalot {

// What is cached for a spec's layers and then its MTP modules, as each says (Cached): layers with the same window
// share a group, whose window is group_windows[g] (0 = all).
struct CacheLayout {
  std::vector<KvCache::Layer> layers;  // those that keep something of each token
  std::vector<int> of_layer;           // of the model: which of them; -1: none
  std::vector<int> group_windows;
  std::vector<StateLayer> states;   // those that keep a state of the sequence
  std::vector<int> state_of_layer;  // of the model: which of them; -1: none
};
CacheLayout cache_layout(const ModelSpec& spec);
// The same of layers that keep `cached` and see `windows`.
CacheLayout cache_layout(std::span<const Cached> cached, std::span<const int> windows);

// Throws Error where no token can follow: the checkpoint has no output head.
void check_writes(const ModelSpec& spec);

class Transformer {
 public:
  Transformer(ModelSpec spec, ModelWeights weights);

  const ModelSpec& spec() const { return spec_; }
  // The distinct ones of its layers and modules.
  std::span<const RopeSpec> ropes() const { return ropes_; }

  // One step: appends the batch's rows to the cache and to the states, which may be null where no layer keeps one,
  // and returns their hidden states after the final norm, [T, D]. The result lives in the arena from `arena().mark()`
  // at entry on.
  Tensor forward(Ops& op, const Batch& batch, KvCache& cache, States* states = nullptr) const;

  // One step of the module that predicts the token after the next (spec().mtp): row i of the batch carries the token
  // that follows, at the position of the token before it; hidden_TD are forward()'s rows of those positions. Returns
  // hidden states for head(), of the same rows.
  Tensor forward_mtp(Ops& op, const Batch& batch, const Tensor& hidden_TD, KvCache& cache,
                     States* states = nullptr) const;

  // Logits of hidden states: [T, D] -> [T, W]. A step of its own, so that long inputs stream their rows.
  Tensor head(Ops& op, const Tensor& hidden_TD) const;

 private:
  std::vector<Tensor> rope_angles(Ops& op, const Batch& batch) const;
  struct Step;
  StepContext step_of(size_t layer, const Step& step, std::string prefix) const;

  ModelSpec spec_;
  ModelWeights weights_;
  std::vector<RopeSpec> ropes_;
  std::vector<size_t> rope_of_layer_;  // of the layers, then of the MTP modules
  CacheLayout layout_;
};

}  // namespace cachalot
