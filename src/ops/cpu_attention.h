// Causal attention of CpuOps over the paged cache: per task a tile of query rows, folded over blocks of keys with a
// running softmax (Milakov and Gimelshein, arXiv:1805.02867). Blocks are counted from position 0 and taken in
// ascending order, so a row's result depends neither on its tile nor on how the sequence was cut.
#pragma once

#include "ops/cpu_kv_cache.h"

namespace cachalot {

// What all tasks of one attend() share.
struct AttendCall {
  const CpuKvCache& cache;
  int layer;
  AttendSpec spec;
  Tensor q_THK, o_THV;

  int heads_per_kv() const { return static_cast<int>(q_THK.dim(1)) / cache.layer(layer).kv_heads; }
};

// Rows that share keys: some tokens of one sequence with the query heads of one kv head.
struct AttendTask {
  const BatchSequence* sequence;
  int kv_head, first_token, tokens;
};

// The tasks of a batch, longest first as far as the order of tokens tells.
std::vector<AttendTask> attend_tasks(const AttendCall& call, const Batch& batch);

// Memory of one worker for any task of a call; from the step's arena.
struct AttendScratch {
  AttendScratch(Arena& arena, const AttendCall& call);

  std::byte* q;  // [rows] prepared queries
  std::byte* p;  // [rows] prepared probabilities of one block
  float* score;  // [rows, kBlockTokens]
  float* out;    // [rows, out_stride], not yet divided by the sums
  float* maximum;
  float* sum;
  int64_t q_stride_bytes, p_stride_bytes, out_stride;
};

void attend_task(const AttendCall& call, const AttendTask& task, const AttendScratch& scratch);

}  // namespace cachalot
