#include "model/blocks/layer.h"

#include <algorithm>

namespace cachalot {
namespace {

template <typename List>
struct Check;
template <typename... Kinds>
struct Check<std::variant<Kinds...>> {
  static constexpr bool attention = (AttentionKind<Kinds> && ...);
  static constexpr bool feed_forward = (FeedForwardKind<Kinds> && ...);
};
static_assert(Check<AttentionSpec>::attention, "a kind of attention lacks an answer that block.h asks for");
static_assert(Check<FeedForwardSpec>::feed_forward, "a kind of feed-forward lacks an answer that block.h asks for");

// A block with its weights.
template <typename Spec, typename Weights>
Tensor run(const Spec& spec, const Weights& weights, Ops& op, const Tensor& x_TD, const StepContext& step) {
  return std::visit(
      [&](const auto& kind) {
        return kind.forward(op, std::get<typename std::decay_t<decltype(kind)>::Weights>(weights), x_TD, step);
      },
      spec);
}

template <typename Spec, typename Weights>
void list_block(const Spec& spec, Weights& weights, ParameterVisitor& visit) {
  std::visit(
      [&](const auto& kind) {
        kind.list(weights.template emplace<typename std::decay_t<decltype(kind)>::Weights>(), visit);
      },
      spec);
}

// The first layer of each kind, with how many are of it.
template <typename Spec>
std::vector<Description> describe(std::span<const LayerSpec> layers, Spec LayerSpec::* block) {
  std::vector<Description> all;
  for (size_t kind = 0; kind < std::variant_size_v<Spec>; ++kind) {
    const auto of_kind = [&](const LayerSpec& layer) { return (layer.*block).index() == kind; };
    const auto first = std::find_if(layers.begin(), layers.end(), of_kind);
    if (first == layers.end()) continue;
    const LayerShare share{std::count_if(layers.begin(), layers.end(), of_kind), std::ssize(layers)};
    all.push_back(std::visit([&](const auto& spec) { return spec.describe(share); }, (*first).*block));
  }
  return all;
}

}  // namespace

// Pre-norm: arXiv:2002.04745.
Tensor LayerSpec::forward(Ops& op, const LayerWeights& w, const Tensor& x_TD, const StepContext& step) const {
  op.mark(step.prefix + "input", x_TD);
  const Tensor normed_TD = op.rms_norm(x_TD, w.attn_norm_D, step.norm_eps);
  const Tensor attention_TD = run(attention, w.attention, op, normed_TD, step);
  op.mark(step.prefix + "attn.out", attention_TD);
  const Tensor middle_TD = op.add(x_TD, attention_TD);
  const Tensor ffn_input_TD = op.rms_norm(middle_TD, w.ffn_norm_D, step.norm_eps);
  const Tensor ffn_TD = run(ffn, w.ffn, op, ffn_input_TD, step);
  op.mark(step.prefix + "ffn.out", ffn_TD);
  return op.add(middle_TD, ffn_TD);
}

void LayerSpec::list(LayerWeights& w, ParameterVisitor& visit) const {
  visit.vector("attn.norm", w.attn_norm_D, visit.width());
  list_block(attention, w.attention, visit);
  visit.vector("ffn.norm", w.ffn_norm_D, visit.width());
  list_block(ffn, w.ffn, visit);
}

const RopeSpec& LayerSpec::rope() const {
  return std::visit([](const auto& kind) -> const RopeSpec& { return kind.rope; }, attention);
}

AttentionFacts LayerSpec::facts() const {
  return std::visit([](const auto& kind) { return kind.facts(); }, attention);
}

Cached LayerSpec::cached() const {
  return std::visit([](const auto& kind) { return kind.cached(); }, attention);
}

AttentionCost LayerSpec::attention_cost() const {
  return std::visit([](const auto& kind) { return kind.cost(); }, attention);
}

int64_t LayerSpec::ffn_row_numbers(int width) const {
  return std::visit([&](const auto& kind) { return kind.row_numbers(width); }, ffn);
}

std::vector<Description> describe_attention(std::span<const LayerSpec> layers) {
  std::vector<Description> all = describe(layers, &LayerSpec::attention);
  const auto windowed = std::count_if(layers.begin(), layers.end(), [](const auto& l) { return l.window() > 0; });
  if (windowed > 0) all[0].text += fmt::format(", {} of {} layers with a window", windowed, layers.size());
  return all;
}

std::vector<Description> describe_ffn(std::span<const LayerSpec> layers) { return describe(layers, &LayerSpec::ffn); }

int inner_width(std::span<const LayerSpec> layers) {
  const auto first = std::min_element(layers.begin(), layers.end(),
                                      [](const auto& a, const auto& b) { return a.ffn.index() < b.ffn.index(); });
  return std::visit([](const auto& kind) { return kind.inner_width(); }, first->ffn);
}

}  // namespace cachalot
