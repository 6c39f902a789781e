// The one place that asks which kind a block is of. Whoever has a block of some list of kinds asks it here.
#pragma once

#include <algorithm>
#include <span>
#include <type_traits>
#include <variant>

#include "model/blocks/block.h"

namespace cachalot {

// The weights of a block of one of the kinds in a list, in the list's order.
template <typename List>
struct WeightsOfList;
template <typename... Kinds>
struct WeightsOfList<std::variant<Kinds...>> {
  using type = std::variant<typename Kinds::Weights...>;
};
template <typename List>
using WeightsOf = typename WeightsOfList<List>::type;

template <BlockKind... Kinds>
Tensor forward(const std::variant<Kinds...>& block, const std::variant<typename Kinds::Weights...>& weights, Ops& op,
               const Tensor& x_TD, const StepContext& step) {
  return std::visit(
      [&]<typename Kind>(const Kind& kind) {
        return kind.forward(op, std::get<typename Kind::Weights>(weights), x_TD, step);
      },
      block);
}

// Makes the weights of its kind.
template <BlockKind... Kinds>
void list(const std::variant<Kinds...>& block, std::variant<typename Kinds::Weights...>& weights,
          ParameterVisitor& visit) {
  std::visit(
      [&]<typename Kind>(const Kind& kind) { kind.list(weights.template emplace<typename Kind::Weights>(), visit); },
      block);
}

// Every kind that some of the blocks are of, in the order of the list, as the first block of that kind is.
template <BlockKind... Kinds>
std::vector<Description> describe(std::span<const std::variant<Kinds...>* const> blocks) {
  std::vector<Description> all;
  for (size_t index = 0; index < sizeof...(Kinds); ++index) {
    const auto of_kind = [&](const auto* block) { return block->index() == index; };
    const auto first = std::find_if(blocks.begin(), blocks.end(), of_kind);
    if (first == blocks.end()) continue;
    const LayerShare share{std::count_if(blocks.begin(), blocks.end(), of_kind), std::ssize(blocks)};
    all.push_back(std::visit([&](const auto& kind) { return kind.describe(share); }, **first));
  }
  return all;
}

template <AttentionKind... Kinds>
const RopeSpec& rope(const std::variant<Kinds...>& block) {
  return std::visit([](const auto& kind) -> const RopeSpec& { return kind.rope; }, block);
}

template <AttentionKind... Kinds>
AttentionFacts facts(const std::variant<Kinds...>& block) {
  return std::visit([](const auto& kind) { return kind.facts(); }, block);
}

template <AttentionKind... Kinds>
Cached cached(const std::variant<Kinds...>& block) {
  return std::visit([](const auto& kind) { return kind.cached(); }, block);
}

template <AttentionKind... Kinds>
AttentionCost cost(const std::variant<Kinds...>& block) {
  return std::visit([](const auto& kind) { return kind.cost(); }, block);
}

template <FeedForwardKind... Kinds>
int64_t row_numbers(const std::variant<Kinds...>& block, int width) {
  return std::visit([&](const auto& kind) { return kind.row_numbers(width); }, block);
}

template <FeedForwardKind... Kinds>
int inner_width(const std::variant<Kinds...>& block) {
  return std::visit([](const auto& kind) { return kind.inner_width(); }, block);
}

}  // namespace cachalot
