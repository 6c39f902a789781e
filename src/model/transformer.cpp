#include "model/transformer.h"

#include <algorithm>

namespace cachalot {

// Index of `value` in `list`, which grows when it is new.
template <typename T>
static size_t index_in(std::vector<T>& list, const T& value) {
  const auto at = std::find(list.begin(), list.end(), value);
  if (at != list.end()) return static_cast<size_t>(at - list.begin());
  list.push_back(value);
  return list.size() - 1;
}

CacheLayout cache_layout(const ModelSpec& spec) {
  CacheLayout layout;
  for (const LayerSpec& layer : spec.layers) {
    const GqaSpec& a = layer.attention;
    layout.layers.push_back({.kv_heads = a.kv_heads,
                             .key_dim = a.head_dim,
                             .value_dim = a.head_dim,
                             .group = static_cast<int>(index_in(layout.group_windows, a.window))});
  }
  return layout;
}

static int64_t held_bytes(const ModelWeights& m) {
  int64_t bytes = m.embed_WD.held_bytes + m.norm_D.held_bytes + m.head_WD.held_bytes;
  for (const LayerWeights& l : m.layers) {
    for (const Linear* linear : {&l.attn.q, &l.attn.k, &l.attn.v, &l.attn.out, &l.ffn.gate, &l.ffn.up, &l.ffn.down})
      bytes += linear->w.held_bytes + linear->bias.held_bytes;
    for (const Weight* w : {&l.attn_norm_D, &l.ffn_norm_D, &l.attn.q_norm_K, &l.attn.k_norm_K})
      bytes += w->held_bytes;
  }
  return bytes;
}

Transformer::Transformer(ModelSpec spec, ModelWeights weights)
    : spec_(std::move(spec)), weights_(std::move(weights)) {
  for (const LayerSpec& layer : spec_.layers) rope_of_layer_.push_back(index_in(ropes_, layer.attention.rope));
  weight_bytes_ = held_bytes(weights_);
}

Tensor Transformer::forward(Ops& op, const Batch& batch, KvCache& cache) const {
  std::vector<Tensor> angles;
  for (const RopeSpec& rope : ropes_) angles.push_back(op.rope_angles(batch, rope));

  const Arena::Mark mark = op.arena().mark();
  Tensor x_TD = op.embed(batch.tokens_T, weights_.embed_WD);
  op.mark("embed", x_TD);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const LayerSpec& s = spec_.layers[i];
    const LayerWeights& w = weights_.layers[i];
    const StepContext step{batch, cache, static_cast<int>(i), angles[rope_of_layer_[i]], fmt::format("layer.{}.", i)};
    op.mark(step.prefix + "input", x_TD);
    const Tensor attention_TD =
        gqa(op, s.attention, w.attn, op.rms_norm(x_TD, w.attn_norm_D, spec_.norm_eps), spec_.norm_eps, step);
    op.mark(step.prefix + "attn.out", attention_TD);
    const Tensor middle_TD = op.add(x_TD, attention_TD);
    const Tensor ffn_TD = swiglu(op, w.ffn, op.rms_norm(middle_TD, w.ffn_norm_D, spec_.norm_eps), step);
    op.mark(step.prefix + "ffn.out", ffn_TD);
    x_TD = op.keep_only(mark, op.add(middle_TD, ffn_TD));
  }
  const Tensor hidden_TD = op.rms_norm(x_TD, weights_.norm_D, spec_.norm_eps);
  op.mark("final_norm", hidden_TD);
  return hidden_TD;
}

Tensor Transformer::head(Ops& op, const Tensor& hidden_TD) const {
  const Tensor logits_TW = op.linear(hidden_TD, spec_.tied_head ? weights_.embed_WD : weights_.head_WD, {});
  op.mark("logits", logits_TW);
  return logits_TW;
}

}  // namespace cachalot
