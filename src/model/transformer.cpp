#include "model/transformer.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

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

CacheLayout cache_layout(std::span<const Cached> cached, std::span<const int> windows) {
  CHECK(cached.size() == windows.size());
  CacheLayout layout;
  for (size_t i = 0; i < cached.size(); ++i) {
    const StateLayer& state = cached[i].state;
    const bool recurrent = state.state_numbers > 0 || state.tail_numbers > 0;
    layout.state_of_layer.push_back(recurrent ? static_cast<int>(layout.states.size()) : -1);
    if (recurrent) layout.states.push_back(state);
    layout.of_layer.push_back(cached[i].per_token ? static_cast<int>(layout.layers.size()) : -1);
    if (!cached[i].per_token) continue;
    KvCache::Layer layer = *cached[i].per_token;
    layer.group = static_cast<int>(index_in(layout.group_windows, windows[i]));
    layout.layers.push_back(layer);
  }
  return layout;
}

CacheLayout cache_layout(const ModelSpec& spec) {
  std::vector<Cached> cached;
  std::vector<int> windows;
  for (const LayerSpec& layer : all_layers(spec)) {
    cached.push_back(layer.cached());
    windows.push_back(layer.window());
  }
  return cache_layout(cached, windows);
}

void check_writes(const ModelSpec& spec) {
  if (!spec.headless) return;
  throw Error("this model writes no text")
      .because("its checkpoint has no output head, as that of a model for embeddings")
      .hint("`cachalot serve` makes embeddings with it (/v1/embeddings)");
}

Transformer::Transformer(ModelSpec spec, ModelWeights weights)
    : spec_(std::move(spec)), weights_(std::move(weights)), layout_(cache_layout(spec_)) {
  for (const LayerSpec& layer : all_layers(spec_)) rope_of_layer_.push_back(index_in(ropes_, layer.rope()));
}

std::vector<Tensor> Transformer::rope_angles(Ops& op, const Batch& batch) const {
  std::vector<Tensor> angles;
  angles.reserve(ropes_.size());
  for (const RopeSpec& rope : ropes_) angles.push_back(rope.dim > 0 ? op.rope_angles(batch, rope) : Tensor{});
  return angles;
}

// What all layers of a step share.
struct Transformer::Step {
  const Batch& batch;
  KvCache& cache;
  States* states;
  std::vector<Tensor> angles;  // of ropes_
};

StepContext Transformer::step_of(size_t layer, const Step& step, std::string prefix) const {
  CHECK(step.states || layout_.states.empty(), "a model of recurrent layers has states");
  return {.batch = step.batch,
          .cache = step.cache,
          .layer = layout_.of_layer[layer],
          .states = step.states,
          .state_layer = layout_.state_of_layer[layer],
          .angles_TR = step.angles[rope_of_layer_[layer]],
          .prefix = std::move(prefix),
          .norm_eps = spec_.norm_eps};
}

static std::vector<int32_t> positions(const Batch& batch) {
  std::vector<int32_t> positions_T(static_cast<size_t>(batch.rows()));
  for (const BatchSequence& s : batch.sequences)
    std::iota(positions_T.begin() + s.first_row, positions_T.begin() + s.first_row + s.rows, s.first_position);
  return positions_T;
}

Tensor Transformer::forward(Ops& op, const Batch& batch, KvCache& cache, States* states) const {
  const Step step{batch, cache, states, rope_angles(op, batch)};
  const Arena::Mark mark = op.arena().mark();
  Tensor x_TD = op.embed(batch.tokens_T, weights_.embed_WD);
  if (spec_.learned_positions > 0) x_TD = op.add(x_TD, op.embed(positions(batch), weights_.positions));
  op.mark("embed", x_TD);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const StepContext context = step_of(i, step, fmt::format("layer.{}.", i));
    x_TD = op.keep_only(mark, spec_.layers[i].forward(op, weights_.layers[i], x_TD, context));
  }
  const Tensor hidden_TD = op.rms_norm(x_TD, weights_.norm_D, spec_.norm_eps);
  op.mark("final_norm", hidden_TD);
  return hidden_TD;
}

// Source: DeepSeek-V3, arXiv:2412.19437, section 2.2. Its equation writes the hidden state first; the released
// weights want the embedding first.
Tensor Transformer::forward_mtp(Ops& op, const Batch& batch, const Tensor& hidden_TD, KvCache& cache,
                                States* states) const {
  CHECK(spec_.mtp.size() == 1);
  const MtpWeights& w = weights_.mtp[0];
  const Step step{batch, cache, states, rope_angles(op, batch)};
  const Tensor embed_TD = op.rms_norm(op.embed(batch.tokens_T, weights_.embed_WD), w.embed_norm_D, spec_.norm_eps);
  const Tensor normed_TD = op.rms_norm(hidden_TD, w.hidden_norm_D, spec_.norm_eps);
  const Tensor x_TD = op.linear(op.concat(embed_TD, normed_TD), w.combine);
  const StepContext context = step_of(spec_.layers.size(), step, "mtp.");
  return op.rms_norm(spec_.mtp[0].forward(op, w.layer, x_TD, context), w.norm_D, spec_.norm_eps);
}

Tensor Transformer::head(Ops& op, const Tensor& hidden_TD) const {
  CHECK(!spec_.headless);
  const Tensor logits_TW = op.logits(hidden_TD, weights_.head);
  op.mark("logits", logits_TW);
  return logits_TW;
}

}  // namespace cachalot
