// Attention of CpuOps over the paged cache, as FlashAttention computes it: tiles of queries go through tiles of keys
// and values with an online softmax (Milakov and Gimelshein, arXiv:1805.02867; Dao et al., arXiv:2205.14135). Blocks
// are counted from position 0 and taken in ascending order, so a row's result depends neither on its tile nor on how
// the sequence was cut.
//
// In a cache that is not f32, kTileBlocks blocks are a KV tile: all their scores come first, then one softmax, then
// all their values. And kSplitBlocks blocks are a split of split-KV (Flash-Decoding): each is attended to by itself
// and the partial results are merged in ascending order. Who takes which split is then free, so one row's keys keep
// all threads busy whatever the number of heads. An f32 cache is one split whose KV tiles are single blocks.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "ops/cpu/kv_cache.h"
#include "ops/cpu/read_ahead.h"

namespace cachalot {

constexpr int kSplitBlocks = 8, kTileBlocks = 4;

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

// What attention needs to know of keys and values.
struct AttendShape {
  const AttentionKernel& kernel;
  PanelLayout keys, values;  // of one block
  AttendSpec spec;
  bool split_kv;
  // What making the keys and values of a block from what is cached takes, in units of ReadAhead, as far as memory is
  // prefetched meanwhile.
  int64_t making_time = 0;

  int64_t key_dim() const { return keys.inputs; }
  int64_t value_dim() const { return values.outputs; }
  int tile_blocks() const { return split_kv ? kTileBlocks : 1; }
};

// The keys and the values of one block.
struct KvBlock {
  Panels keys, values;
};

// Reads the keys and values of one task. Only the worker that has opened it calls it; it uses that worker's memory,
// so it ends before the worker opens another.
class KvReader {
 public:
  virtual ~KvReader() = default;
  // Keys and values of block b of the sequence. What is not read where it lies is made in memory of slot `slot` <
  // AttendShape::tile_blocks(), and valid until that slot is used anew; memory is prefetched meanwhile.
  virtual KvBlock block(int b, int slot, ReadAhead& ahead) = 0;
  // Where block b lies in the cache, as far as that is worth prefetching.
  virtual StoredBlock stored(int /*b*/) const { return {}; }
};

// Where rows come from and go to. Called by several workers at once.
class AttendSource {
 public:
  virtual ~AttendSource() = default;
  // Writes the query of row r; K numbers.
  virtual void query(const AttendTask& task, int r, float* q_K) const = 0;
  virtual std::unique_ptr<KvReader> open(int worker, const AttendTask& task) = 0;
  virtual float* output(const AttendTask& task, int r) = 0;  // V numbers
};

// The block of the cache that holds block b of the task's sequence.
inline int32_t cache_block(const CpuKvCache& cache, int layer, const AttendTask& task, int b) {
  const auto group = static_cast<size_t>(cache.layer(layer).group);
  return task.span->sequence->block_tables[group][static_cast<size_t>(b)];
}

// Attention of all tasks' rows, on the machine's threads.
void attend_tasks(const AttendMachine& machine, const AttendShape& shape, std::span<const AttendTask> tasks,
                  AttendSource& source);

}  // namespace cachalot
