// What is common to all kinds of blocks: what a kind answers, and what it is told. Shape letters: docs/tensors.md.
//
// A kind is one file: a struct of facts that families state (its spec) and all that follows from them — its weights,
// its parameters, what it caches, what it costs, what `inspect` says of it, and its forward pass. The kinds are
// listed in list.h; whoever wants to know something of a layer asks the layer, never which kind it is.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/parameter.h"
#include "ops/ops.h"

namespace cachalot {

// What a block needs of the step besides its input.
struct StepContext {
  const Batch& batch;
  KvCache& cache;
  int layer;                 // its place in the cache
  States* states = nullptr;  // null where no layer of the model keeps a state
  int state_layer = -1;      // its place there
  Tensor angles_TR;          // cos and sin of this layer's RoPE
  std::string prefix;        // "layer.3.", the start of its marked points
  double norm_eps = 1e-6;    // of the norms within a block that are the model's
};

// What a layer keeps of a sequence from step to step.
struct Cached {
  std::optional<KvCache::Layer> per_token;  // numbers of each token, in blocks; the group is the layout's to give
  StateLayer state;                         // numbers of the sequence as a whole, however long it is
};

// What others may know of an attention.
struct AttentionFacts {
  int heads = 0, kv_heads = 0;
  int head_dim = 0;  // numbers of a query or key, rotary ones included
  int window = 0;    // keys visible to a query up to itself, itself included; 0 = all
  int ahead = 0;     // keys visible after it
};

struct AttentionCost {
  int64_t row_numbers = 0;  // of one row that are alive at once: queries, keys, values, and what is between them
  int64_t absorbed_row_numbers = 0;  // further ones of a row of which few are computed together (kAbsorbedRows)
  // Multiplications and additions per row and key that it sees: in a step of one row of the sequence, and of many.
  double ops_per_key_of_one = 0, ops_per_key_of_many = 0;
  double ops_per_row = 0;  // and per row, however many came before: of a recurrence
};

// Of a list of layers, those that are of one kind.
struct LayerShare {
  int64_t layers, of;
  std::string text() const { return fmt::format(" in {} of {} layers", layers, of); }
};

// A kind in a model, as `inspect` tells it.
struct Description {
  std::string_view label;  // of its line for people
  std::string text;
  std::string_view section;  // of a script's report; empty: it has none
  std::vector<std::pair<std::string_view, int64_t>> numbers;
};

template <typename Kind>
concept BlockKind = requires(const Kind& s, typename Kind::Weights& w, Ops& op, const Tensor& x_TD,
                             const StepContext& step, ParameterVisitor& visit) {
  { s.forward(op, w, x_TD, step) } -> std::same_as<Tensor>;  // [T, D] -> [T, D], without the residual
  s.list(w, visit);                                          // its parameters, in the order of all files
  { s.describe(LayerShare{}) } -> std::same_as<Description>;
};

// What mixes tokens. `rope` is {.dim = 0} where positions are told otherwise.
template <typename Kind>
concept AttentionKind = BlockKind<Kind> && requires(const Kind& s) {
  { s.rope } -> std::convertible_to<const RopeSpec&>;
  { s.facts() } -> std::same_as<AttentionFacts>;
  { s.cached() } -> std::same_as<Cached>;
  { s.cost() } -> std::same_as<AttentionCost>;
};

// What works on each token by itself.
template <typename Kind>
concept FeedForwardKind = BlockKind<Kind> && requires(const Kind& s, int width) {
  { s.inner_width() } -> std::same_as<int>;           // F of one network
  { s.row_numbers(width) } -> std::same_as<int64_t>;  // of one row that are alive at once
};

}  // namespace cachalot
