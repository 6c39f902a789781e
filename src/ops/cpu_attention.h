// Attention of CpuOps over the paged cache: queries in tiles, folded over blocks of keys with a running softmax
// (Milakov and Gimelshein, arXiv:1805.02867). Blocks are counted from position 0 and taken in ascending order, so a
// row's result depends neither on its tile nor on how the sequence was cut.
#pragma once

#include <atomic>

#include "base/thread_pool.h"
#include "ops/cpu_kv_cache.h"

namespace cachalot {

// Tokens of one sequence that attend: batch rows first_row, first_row + 1, … at consecutive positions.
struct AttendSpan {
  const BatchSequence* sequence;
  int first_row, tokens, first_position;
};

// Part of a span: some tokens with some query heads.
struct AttendTask {
  const AttendSpan* span;
  int first_token, tokens;
  int first_head, heads;

  int rows() const { return tokens * heads; }
  int first_position() const { return span->first_position + first_token; }
};

// Cuts spans into tasks of at most `tokens` tokens and `heads` heads, later tokens first: they see more keys.
std::vector<AttendTask> cut_tasks(std::span<const AttendSpan> spans, int tokens, int all_heads, int heads);

// Calls work(worker, task) for all tasks, on `workers` threads of the pool.
template <typename Work>
void run_tasks(ThreadPool& pool, int workers, std::span<const AttendTask> tasks, const Work& work) {
  std::atomic<size_t> next{0};
  const auto loop = [&](int worker) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks.size();) work(worker, tasks[i]);
  };
  if (workers == 1)
    loop(0);
  else
    pool.run(loop);
}

// What folding needs to know of keys and values; the kernel is that of the cache's type.
struct FoldShape {
  const KernelTable& kernels;
  const MatmulKernel& kernel;
  int key_dim, value_dim;
  AttendSpec spec;
};

// Memory of one worker for tasks of at most `rows` rows; from the step's arena.
struct FoldScratch {
  FoldScratch(Arena& arena, const FoldShape& shape, int64_t rows);

  std::byte* q;  // [rows] prepared queries
  std::byte* p;  // [rows] prepared probabilities of one block
  float* score;  // [rows, kBlockTokens]
  float* out;    // [rows, out_stride], not yet divided by the sums
  float* maximum;
  float* sum;
  int64_t q_stride_bytes, p_stride_bytes, out_stride;
};

// One task under way. Its rows are the task's tokens by its heads, the heads of one token adjacent.
class Fold {
 public:
  Fold(const FoldShape& shape, const FoldScratch& scratch, const AttendTask& task);

  int rows() const { return rows_; }
  // Row r as a row of [T, H] with `all_heads` heads, the first token being row `first_row`.
  int64_t row_of(int r, int first_row, int64_t all_heads) const {
    return (first_row + r / task_.heads) * all_heads + task_.first_head + r % task_.heads;
  }
  void set_query(int r, const float* q_K);
  // Blocks [first_block, last_block] hold all keys that any row sees.
  int first_block() const;
  int last_block() const;
  // Adds the keys of block b: panels whose outputs are its tokens, and the values as panels whose inputs they are.
  void add_block(int b, const std::byte* key_panels, const std::byte* value_panels);
  void write_output(int r, float* o_V) const;

 private:
  int first_visible(int position) const;
  int last_visible(int position) const;

  const FoldShape& s_;
  const FoldScratch& m_;
  const AttendTask& task_;
  const int rows_, sequence_tokens_;
};

}  // namespace cachalot
