#include "model/blocks/layer.h"

namespace cachalot {

// Pre-norm: arXiv:2002.04745.
Tensor LayerSpec::forward(Ops& op, const LayerWeights& w, const Tensor& x_TD, const StepContext& step) const {
  op.mark(step.prefix + "input", x_TD);
  const Tensor normed_TD = op.rms_norm(x_TD, w.attn_norm_D, step.norm_eps);
  const Tensor attention_TD = cachalot::forward(attention, w.attention, op, normed_TD, step);
  op.mark(step.prefix + "attn.out", attention_TD);
  const Tensor middle_TD = op.add(x_TD, attention_TD);
  const Tensor ffn_input_TD = op.rms_norm(middle_TD, w.ffn_norm_D, step.norm_eps);
  const Tensor ffn_TD = cachalot::forward(ffn, w.ffn, op, ffn_input_TD, step);
  op.mark(step.prefix + "ffn.out", ffn_TD);
  return op.add(middle_TD, ffn_TD);
}

void LayerSpec::list(LayerWeights& w, ParameterVisitor& visit) const {
  visit.vector("attn.norm", w.attn_norm_D, visit.width());
  cachalot::list(attention, w.attention, visit);
  visit.vector("ffn.norm", w.ffn_norm_D, visit.width());
  cachalot::list(ffn, w.ffn, visit);
}

template <typename Spec>
static std::vector<Description> describe_blocks(std::span<const LayerSpec> layers, Spec LayerSpec::* block) {
  std::vector<const Spec*> blocks;
  for (const LayerSpec& layer : layers) blocks.push_back(&(layer.*block));
  return describe(std::span<const Spec* const>(blocks));
}

std::vector<Description> describe_attention(std::span<const LayerSpec> layers) {
  std::vector<Description> all = describe_blocks(layers, &LayerSpec::attention);
  const auto windowed = std::count_if(layers.begin(), layers.end(), [](const auto& l) { return l.window() > 0; });
  if (windowed > 0) all[0].text += fmt::format(", {} of {} layers with a window", windowed, layers.size());
  return all;
}

std::vector<Description> describe_ffn(std::span<const LayerSpec> layers) {
  return describe_blocks(layers, &LayerSpec::ffn);
}

int inner_width(std::span<const LayerSpec> layers) {
  const auto first = std::min_element(layers.begin(), layers.end(),
                                      [](const auto& a, const auto& b) { return a.ffn.index() < b.ffn.index(); });
  return inner_width(first->ffn);
}

}  // namespace cachalot
