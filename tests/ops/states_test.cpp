// Slots of recurrent states: what is written where, and what a copy takes along.
#include <gtest/gtest.h>

#include "ops/cpu/cpu_ops.h"
#include "ops/plain_ops.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using Numbers = std::vector<float>;

std::vector<std::unique_ptr<Ops>> all_ops() {
  std::vector<std::unique_ptr<Ops>> all;
  all.push_back(std::make_unique<PlainOps>());
  all.push_back(std::make_unique<CpuOps>(best_kernels(), 2));
  all.push_back(std::make_unique<testing::GuardedOps>(best_kernels(), 1));
  return all;
}

constexpr StateLayer kLayers[] = {{.state_numbers = 5, .tail_numbers = 3}, {.state_numbers = 2, .tail_numbers = 0}};

// [rows, columns] of numbers that count up from `first`.
Tensor counting(Ops& op, float first, int rows, int columns) {
  Numbers numbers(static_cast<size_t>(rows * columns));
  for (float& x : numbers) x = first++;
  const StoredTensor stored{
      .name = "x", .dtype = DType::f32, .shape = {rows, columns}, .bytes = std::as_bytes(std::span(numbers))};
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  for (int r = 0; r < rows; ++r) ids[static_cast<size_t>(r)] = r;
  return op.embed(ids, op.load_matrix({stored}, DType::f32));
}
Numbers read(Ops& op, const Tensor& x) {
  std::vector<float> room;
  const auto numbers = op.read(x, room);
  return {numbers.begin(), numbers.end()};
}
Batch rows_of(std::initializer_list<BatchSequence> sequences) {
  Batch batch;
  for (BatchSequence s : sequences) {
    s.first_row = static_cast<int>(batch.rows());
    batch.tokens_T.resize(batch.tokens_T.size() + static_cast<size_t>(s.rows));
    batch.sequences.push_back(s);
  }
  return batch;
}

TEST(States, TakeTwoStatesAndTheRowsOfTwoChunksPerLayer) {
  for (const auto& op : all_ops()) {
    const int64_t bytes = 4 * (2 * (5 + 64 * 3) + 2 * 2);
    EXPECT_EQ(op->state_slot_bytes(kLayers), bytes);
    EXPECT_EQ(op->make_states(kLayers, 3)->bytes_per_slot(), bytes);
    EXPECT_EQ(op->state_slot_bytes({}), 0);
  }
}

TEST(States, KeepTheRowsOfTheLastTwoChunksOfEverySlot) {
  for (const auto& op : all_ops()) {
    const auto states = op->make_states(kLayers, 3);
    for (int slot = 0; slot < 3; ++slot) op->clear_state(*states, slot);
    const Batch batch = rows_of(
        {{.rows = 2, .first_position = 63, .state_slot = 2}, {.rows = 200, .first_position = 0, .state_slot = 0}});
    op->append_rows(*states, 0, batch, counting(*op, 0, 202, 3));
    const Numbers end = read(*op, states->tail(0, 2, 0)), next = read(*op, states->tail(0, 2, 1));
    EXPECT_EQ(Numbers(end.end() - 3, end.end()), (Numbers{0, 1, 2}));
    EXPECT_EQ(Numbers(next.begin(), next.begin() + 6), (Numbers{3, 4, 5, 0, 0, 0}));
    // Of 200 rows: chunk 2 whole, eight rows of chunk 3 over those of chunk 1.
    const Numbers two = read(*op, states->tail(0, 0, 2)), three = read(*op, states->tail(0, 0, 3));
    EXPECT_EQ(two[0], 3 * (2 + 128));
    EXPECT_EQ(two[191], 3 * (2 + 191) + 2);
    EXPECT_EQ(three[0], 3 * (2 + 192));
    EXPECT_EQ(three[8 * 3], 3 * (2 + 72));
    EXPECT_EQ(read(*op, states->tail(0, 1, 0)), Numbers(192, 0.0f));
  }
}

TEST(States, AChunksStateStandsBesideItsSuccessors) {
  for (const auto& op : all_ops()) {
    const auto states = op->make_states(kLayers, 2);
    op->clear_state(*states, 0);
    op->clear_state(*states, 1);
    op->set_state(*states, 1, 1, 6, counting(*op, 10, 1, 2));
    op->set_state(*states, 1, 1, 7, counting(*op, 20, 1, 2));
    EXPECT_EQ(read(*op, states->state(1, 1, 6)), (Numbers{10, 11}));
    EXPECT_EQ(read(*op, states->state(1, 1, 7)), (Numbers{20, 21}));
    EXPECT_EQ(read(*op, states->state(1, 0, 7)), (Numbers{0, 0}));
    EXPECT_EQ(read(*op, states->state(0, 1, 7)), Numbers(5, 0.0f));
  }
}

TEST(States, ACopiedSlotGoesItsOwnWay) {
  for (const auto& op : all_ops()) {
    const auto states = op->make_states(kLayers, 3);
    for (int slot = 0; slot < 3; ++slot) op->clear_state(*states, slot);
    op->set_state(*states, 0, 0, 1, counting(*op, 1, 1, 5));
    op->append_rows(*states, 0, rows_of({{.rows = 1, .first_position = 64, .state_slot = 0}}),
                    counting(*op, 7, 1, 3));
    op->copy_state(*states, 0, 2);
    op->copy_state(*states, 2, 2);
    op->set_state(*states, 0, 0, 1, counting(*op, 100, 1, 5));
    EXPECT_EQ(read(*op, states->state(0, 2, 1)), (Numbers{1, 2, 3, 4, 5}));
    const Numbers rows = read(*op, states->tail(0, 2, 1));
    EXPECT_EQ(Numbers(rows.begin(), rows.begin() + 3), (Numbers{7, 8, 9}));
    EXPECT_EQ(read(*op, states->state(0, 1, 1)), Numbers(5, 0.0f));
    op->clear_state(*states, 2);
    EXPECT_EQ(read(*op, states->state(0, 2, 1)), Numbers(5, 0.0f));
    EXPECT_EQ(read(*op, states->state(0, 0, 1))[0], 100);
  }
}

}  // namespace
}  // namespace cachalot
