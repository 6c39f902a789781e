// Attention of CpuOps over the paged cache: queries in tiles, folded over blocks of keys with a running softmax
// (Milakov and Gimelshein, arXiv:1805.02867). Blocks are counted from position 0 and taken in ascending order, so a
// row's result depends neither on its tile nor on how the sequence was cut.
//
// In a cache that is not f32, kSegmentBlocks blocks, counted from position 0, are a segment: each is folded by itself
// and the results are merged in ascending order. Who folds which segment is then free, so one row's keys keep all
// threads busy whatever the number of heads. In a segment kStretchBlocks blocks at a time are a stretch: all their
// scores come first, then their softmax, then their values.
#pragma once

#include "base/thread_pool.h"
#include "ops/cpu/kv_cache.h"

namespace cachalot {

constexpr int kSegmentBlocks = 8, kStretchBlocks = 4;

// Tokens of one sequence that attend: batch rows first_row, first_row + 1, … at consecutive positions.
struct AttendSpan {
  const BatchSequence* sequence;
  int first_row, tokens, first_position;
};

// Part of a span: some tokens with some query heads. Its rows are the tokens by the heads, the heads of one token
// adjacent.
struct AttendTask {
  const AttendSpan* span;
  int first_token, tokens;
  int first_head, heads;

  int rows() const { return tokens * heads; }
  int first_position() const { return span->first_position + first_token; }
  int first_row() const { return span->first_row + first_token; }
  // Row r as a row of [T, H] with `all_heads` heads.
  int64_t row_of(int r, int64_t all_heads) const {
    return (first_row() + r / heads) * all_heads + first_head + r % heads;
  }
};

// Cuts spans into tasks of at most `tokens` tokens and `heads` heads, later tokens first: they see more keys.
std::vector<AttendTask> cut_tasks(std::span<const AttendSpan> spans, int tokens, int all_heads, int heads);

// What attention needs of the machine.
struct AttendMachine {
  const KernelTable& kernels;
  ThreadPool& pool;
  Arena& arena;
  int workers;
};

// One call of Ops::attend. MLA: K = L and V = C.
struct AttendCall {
  const CpuKvCache& cache;
  int layer;
  AttendSpec spec;
  Tensor q_THK, o_THV;
};

// What folding needs to know of keys and values; the kernels are those of the panels' type.
struct FoldShape {
  const MatmulKernel& matmul;
  const AttentionKernel& attention;
  int key_dim, value_dim;
  AttendSpec spec;
  bool segmented;
  bool values_are_keys = false;  // values are made of the keys: that takes time, but no memory of the cache

  int stretch_blocks() const { return segmented ? kStretchBlocks : 1; }
};

// Where rows come from and go to. Called by several workers at once.
class AttendSource {
 public:
  virtual ~AttendSource() = default;
  // Before a worker asks for blocks of a task.
  virtual void begin(int /*worker*/, const AttendTask& /*task*/) {}
  // Writes the query of row r; K numbers.
  virtual void query(const AttendTask& task, int r, float* q_K) const = 0;
  // Panels of block b: outputs are tokens, or inputs are tokens. A worker asks for the keys of a stretch, then for
  // its values, and that order makes it fast, not right: either may be asked for alone. Keys are valid until others
  // are asked for, values until those of another stretch are.
  virtual const std::byte* keys(int worker, const AttendTask& task, int b) = 0;
  // `wanted` only where values are keys: what to ask for meanwhile.
  virtual const std::byte* values(int worker, const AttendTask& task, int b, Prefetch wanted) = 0;
  // What keys() and values() will read, as far as that is memory of the cache.
  virtual Prefetch stored_keys(const AttendTask& /*task*/, int /*b*/) const { return {}; }
  virtual Prefetch stored_values(const AttendTask& /*task*/, int /*b*/) const { return {}; }
  virtual float* output(const AttendTask& task, int r) const = 0;  // V numbers
};

// Attention of all tasks' rows, on the machine's threads.
void attend_tasks(const AttendMachine& machine, const FoldShape& shape, std::span<const AttendTask> tasks,
                  AttendSource& source);

}  // namespace cachalot
