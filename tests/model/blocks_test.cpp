// What a new kind of block takes: a kind of the test's own, beside one of the models', answers all that is asked of a
// layer through the same visits.
#include <gtest/gtest.h>

#include "model/parameters.h"
#include "model/transformer.h"
#include "support/goldens.h"

namespace cachalot::testing {

// Adds to each token a projection of itself; of the sequence it keeps one row of numbers, whatever its length.
struct ProjectionWeights {
  Linear out;
};
struct ProjectionSpec {
  using Weights = ProjectionWeights;
  int width = 0;
  RopeSpec rope;

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext&) const {
    return op.linear(x_TD, w.out);
  }
  void list(Weights& w, ParameterVisitor& visit) const { visit.linear("attn.out", w.out, width, width, true); }
  AttentionFacts facts() const { return {.heads = 1, .kv_heads = 1, .head_dim = width}; }
  Cached cached() const { return {.per_token = {}, .state = {.state_numbers = width, .tail_numbers = 2}}; }
  AttentionCost cost() const { return {.row_numbers = width}; }
  Description describe(const LayerShare& share) const {
    return {.label = "attention", .text = "a projection" + share.text(), .section = "projection", .numbers = {}};
  }
};

using Kinds = std::variant<GqaSpec, ProjectionSpec>;
static const Kinds kGqa = GqaSpec{.heads = 4, .kv_heads = 2, .head_dim = 8, .rope = {.dim = 8}, .logn = {}},
                   kProjection = ProjectionSpec{.width = 3, .rope = {}};

TEST(Blocks, ANewKindListsItsParametersAndMakesItsWeights) {
  std::vector<Parameter> listed;
  const ParameterVisitor::Visit keep = [&](const Parameter& p, Weight&) { listed.push_back(p); };
  ParameterVisitor visit(keep, 3);
  visit.set_layer(5);
  WeightsOf<Kinds> weights;
  list(kProjection, weights, visit);
  EXPECT_TRUE(std::holds_alternative<ProjectionWeights>(weights));
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].slot, "attn.out");
  EXPECT_EQ(listed[0].shape(), (std::vector<int64_t>{3, 3}));
  EXPECT_EQ(listed[1].suffix, ".bias");
  EXPECT_EQ(listed[1].layer, 5);
}

TEST(Blocks, ANewKindComputes) {
  CpuOps op(best_kernels(), 1);
  const std::vector<float> identity = {1, 0, 0, 0, 1, 0, 0, 0, 1}, half = {0.5f, 0.5f, 0.5f};
  const auto stored = [](const std::vector<float>& numbers, std::vector<int64_t> shape) {
    return StoredTensor{
        .name = "w", .dtype = DType::f32, .shape = std::move(shape), .bytes = std::as_bytes(std::span(numbers))};
  };
  const WeightsOf<Kinds> weights =
      ProjectionWeights{{op.load_matrix({stored(identity, {3, 3})}, DType::f32), op.load_vector(stored(half, {3}))}};
  const std::vector<int32_t> row = {0};
  const Tensor x_TD = op.embed(row, op.load_matrix({stored({1, 2, 3}, {1, 3})}, DType::f32));
  const auto cache = op.make_cache({.layers = {}, .blocks_of_group = {}, .dtype = DType::f32});
  const Batch batch;
  const StepContext step{.batch = batch, .cache = *cache, .layer = -1, .angles_TR = {}, .prefix = ""};
  std::vector<float> room;
  const auto y = op.read(forward(kProjection, weights, op, x_TD, step), room);
  EXPECT_EQ(std::vector<float>(y.begin(), y.end()), (std::vector<float>{1.5f, 2.5f, 3.5f}));
}

TEST(Blocks, LayersThatKeepAStateHaveNoPlaceAmongTheBlocksOfTokens) {
  std::vector<Cached> cached;
  for (const Kinds& kind : {kGqa, kProjection, kProjection, kGqa}) cached.push_back(cachalot::cached(kind));
  const CacheLayout layout = cache_layout(cached, std::vector<int>{0, 0, 0, 7});
  EXPECT_EQ(layout.of_layer, (std::vector<int>{0, -1, -1, 1}));
  ASSERT_EQ(layout.layers.size(), 2u);
  EXPECT_EQ(layout.layers[1].key_dim, 8);
  EXPECT_EQ(layout.layers[1].group, 1);
  EXPECT_EQ(layout.group_windows, (std::vector<int>{0, 7}));
  EXPECT_EQ(layout.state_of_layer, (std::vector<int>{-1, 0, 1, -1}));
  ASSERT_EQ(layout.states.size(), 2u);
  EXPECT_EQ(layout.states[1].state_numbers, 3);
  EXPECT_EQ(layout.states[1].tail_numbers, 2);
}

TEST(Blocks, EveryKindThatThereIsIsDescribedOnce) {
  const std::vector<const Kinds*> blocks = {&kProjection, &kGqa, &kProjection};
  const auto described = describe(std::span<const Kinds* const>(blocks));
  ASSERT_EQ(described.size(), 2u);
  EXPECT_EQ(described[0].text, "4 heads of 8 on 2 kv heads");
  EXPECT_EQ(described[1].text, "a projection in 2 of 3 layers");
  EXPECT_EQ(described[1].section, "projection");
}

}  // namespace cachalot::testing
