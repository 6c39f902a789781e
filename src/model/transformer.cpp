#include "model/transformer.h"

#include <algorithm>
#include <numeric>

namespace cachalot {

// Index of `value` in `list`, which grows when it is new.
template <typename T>
static size_t index_in(std::vector<T>& list, const T& value) {
  const auto at = std::find(list.begin(), list.end(), value);
  if (at != list.end()) return static_cast<size_t>(at - list.begin());
  list.push_back(value);
  return list.size() - 1;
}

// Layers, then MTP modules.
static std::vector<LayerSpec> all_layers(const ModelSpec& spec) {
  std::vector<LayerSpec> all = spec.layers;
  all.insert(all.end(), spec.mtp.begin(), spec.mtp.end());
  return all;
}

CacheLayout cache_layout(const ModelSpec& spec) {
  CacheLayout layout;
  for (const LayerSpec& layer : all_layers(spec)) {
    KvCache::Layer cached{};
    if (const GqaSpec* a = layer.gqa())
      cached = {.kv_heads = a->kv_heads, .key_dim = a->cached_head_dim(), .value_dim = a->cached_head_dim()};
    else
      cached = {.kv_heads = 1,
                .key_dim = layer.mla()->kv_rank + layer.mla()->rope.dim,
                .value_dim = 0,
                .latent_dim = layer.mla()->kv_rank};
    cached.group = static_cast<int>(index_in(layout.group_windows, layer.window()));
    layout.layers.push_back(cached);
  }
  return layout;
}

Transformer::Transformer(ModelSpec spec, ModelWeights weights)
    : spec_(std::move(spec)), weights_(std::move(weights)) {
  for (const LayerSpec& layer : all_layers(spec_)) rope_of_layer_.push_back(index_in(ropes_, layer.rope()));
}

std::vector<Tensor> Transformer::rope_angles(Ops& op, const Batch& batch) const {
  std::vector<Tensor> angles;
  angles.reserve(ropes_.size());
  for (const RopeSpec& rope : ropes_) angles.push_back(rope.dim > 0 ? op.rope_angles(batch, rope) : Tensor{});
  return angles;
}

// Attention and feed-forward with their residuals. Pre-norm: arXiv:2002.04745.
Tensor Transformer::block(Ops& op, const LayerSpec& s, const LayerWeights& w, const Tensor& x_TD,
                          const StepContext& step) const {
  op.mark(step.prefix + "input", x_TD);
  const Tensor normed_TD = op.rms_norm(x_TD, w.attn_norm_D, spec_.norm_eps);
  const Tensor attention_TD =
      s.gqa() ? gqa(op, *s.gqa(), std::get<GqaWeights>(w.attention), normed_TD, spec_.norm_eps, step)
              : mla(op, *s.mla(), std::get<MlaWeights>(w.attention), normed_TD, step);
  op.mark(step.prefix + "attn.out", attention_TD);
  const Tensor middle_TD = op.add(x_TD, attention_TD);
  const Tensor ffn_input_TD = op.rms_norm(middle_TD, w.ffn_norm_D, spec_.norm_eps);
  const Tensor ffn_TD =
      s.dense() ? ffn(op, *s.dense(), std::get<FfnWeights>(w.ffn), ffn_input_TD, step.prefix + "ffn.hidden")
                : moe(op, *s.moe(), std::get<MoeWeights>(w.ffn), ffn_input_TD, step);
  op.mark(step.prefix + "ffn.out", ffn_TD);
  return op.add(middle_TD, ffn_TD);
}

static std::vector<int32_t> positions(const Batch& batch) {
  std::vector<int32_t> positions_T(static_cast<size_t>(batch.rows()));
  for (const BatchSequence& s : batch.sequences)
    std::iota(positions_T.begin() + s.first_row, positions_T.begin() + s.first_row + s.rows, s.first_position);
  return positions_T;
}

Tensor Transformer::forward(Ops& op, const Batch& batch, KvCache& cache) const {
  const std::vector<Tensor> angles = rope_angles(op, batch);
  const Arena::Mark mark = op.arena().mark();
  Tensor x_TD = op.embed(batch.tokens_T, weights_.embed_WD);
  if (spec_.learned_positions > 0) x_TD = op.add(x_TD, op.embed(positions(batch), weights_.positions));
  op.mark("embed", x_TD);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StepContext step{batch, cache, static_cast<int>(i), angles[rope_of_layer_[i]], fmt::format("layer.{}.", i)};
    x_TD = op.keep_only(mark, block(op, spec_.layers[i], weights_.layers[i], x_TD, step));
  }
  const Tensor hidden_TD = op.rms_norm(x_TD, weights_.norm_D, spec_.norm_eps);
  op.mark("final_norm", hidden_TD);
  return hidden_TD;
}

// Source: DeepSeek-V3, arXiv:2412.19437, section 2.2. Its equation writes the hidden state first; the released
// weights want the embedding first.
Tensor Transformer::forward_mtp(Ops& op, const Batch& batch, const Tensor& hidden_TD, KvCache& cache) const {
  CHECK(spec_.mtp.size() == 1);
  const MtpWeights& w = weights_.mtp[0];
  const size_t layer = spec_.layers.size();
  const std::vector<Tensor> angles = rope_angles(op, batch);
  const Tensor embed_TD = op.rms_norm(op.embed(batch.tokens_T, weights_.embed_WD), w.embed_norm_D, spec_.norm_eps);
  const Tensor normed_TD = op.rms_norm(hidden_TD, w.hidden_norm_D, spec_.norm_eps);
  const Tensor x_TD = op.linear(op.concat(embed_TD, normed_TD), w.combine);
  const StepContext step{batch, cache, static_cast<int>(layer), angles[rope_of_layer_[layer]], "mtp."};
  return op.rms_norm(block(op, spec_.mtp[0], w.layer, x_TD, step), w.norm_D, spec_.norm_eps);
}

Tensor Transformer::head(Ops& op, const Tensor& hidden_TD) const {
  const Tensor logits_TW = op.logits(hidden_TD, weights_.head);
  op.mark("logits", logits_TW);
  return logits_TW;
}

}  // namespace cachalot
