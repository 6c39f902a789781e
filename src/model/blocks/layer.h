// A layer, made of two blocks. A new kind of block is one file here and its place in one of the two lists (list.h);
// the compiler says what it lacks (block.h). Only visit.h asks which kind a block is of.
#pragma once

#include <span>

#include "model/blocks/list.h"
#include "model/blocks/visit.h"

namespace cachalot {

struct LayerWeights {
  Weight attn_norm_D, ffn_norm_D;
  WeightsOf<AttentionSpec> attention;
  WeightsOf<FeedForwardSpec> ffn;
};

struct LayerSpec {
  AttentionSpec attention;
  FeedForwardSpec ffn;

  // Attention and feed-forward with their norms and residuals: [T, D] -> [T, D].
  Tensor forward(Ops& op, const LayerWeights& w, const Tensor& x_TD, const StepContext& step) const;
  // Its parameters; makes the weights of its kinds.
  void list(LayerWeights& w, ParameterVisitor& visit) const;

  // Answers of its attention.
  const RopeSpec& rope() const { return cachalot::rope(attention); }
  AttentionFacts facts() const { return cachalot::facts(attention); }
  int heads() const { return facts().heads; }
  int window() const { return facts().window; }
  int ahead() const { return facts().ahead; }
  Cached cached() const { return cachalot::cached(attention); }
  AttentionCost attention_cost() const { return cost(attention); }

  // And of its feed-forward.
  int64_t ffn_row_numbers(int width) const { return row_numbers(ffn, width); }
};

// Every kind that some layer is of, in the order of the lists, as the first layer of that kind is.
std::vector<Description> describe_attention(std::span<const LayerSpec> layers);
std::vector<Description> describe_ffn(std::span<const LayerSpec> layers);
// F of one network, of the first kind in the list that there is.
int inner_width(std::span<const LayerSpec> layers);

}  // namespace cachalot
