#include "ops/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cachalot {

static constexpr int kRowsPerTask = 48;  // scores and outputs of a task stay in the first two caches

static int tokens_per_task(const AttendCall& call) { return std::max(1, kRowsPerTask / call.heads_per_kv()); }

std::vector<AttendTask> attend_tasks(const AttendCall& call, const Batch& batch) {
  std::vector<AttendTask> tasks;
  const int step = tokens_per_task(call);
  for (const BatchSequence& s : batch.sequences)
    for (int first = 0; first < s.rows; first += step)
      for (int g = 0; g < call.cache.layer(call.layer).kv_heads; ++g)
        tasks.push_back({&s, g, first, std::min(step, s.rows - first)});
  std::reverse(tasks.begin(), tasks.end());  // later tokens see more keys
  return tasks;
}

AttendScratch::AttendScratch(Arena& arena, const AttendCall& call) {
  const auto& layer = call.cache.layer(call.layer);
  const int64_t rows = int64_t{tokens_per_task(call)} * call.heads_per_kv();
  const auto aligned = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  q_stride_bytes = aligned(call.cache.kernel().input_bytes(layer.key_dim));
  p_stride_bytes = call.cache.kernel().input_bytes(kBlockTokens);
  out_stride = aligned(4 * layer.value_dim) / 4;
  q = static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * q_stride_bytes)));
  p = static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * p_stride_bytes)));
  score = arena.tensor(rows, kBlockTokens).data;
  out = arena.tensor(rows, out_stride).data;
  maximum = arena.tensor(rows).data;
  sum = arena.tensor(rows).data;
}

namespace {

// One task under way.
class Fold {
 public:
  Fold(const AttendCall& call, const AttendTask& task, const AttendScratch& scratch)
      : call_(call),
        task_(task),
        m_(scratch),
        kernels_(call.cache.kernels()),
        kernel_(call.cache.kernel()),
        layer_(call.cache.layer(call.layer)),
        heads_(call.heads_per_kv()),
        rows_(task.tokens * heads_),
        first_position_(task.sequence->first_position + task.first_token) {}

  void run() {
    for (int r = 0; r < rows_; ++r)
      kernel_.prepare(call_.q_THK.row(query_row(r)), layer_.key_dim, m_.q + r * m_.q_stride_bytes);
    std::fill(m_.maximum, m_.maximum + rows_, -INFINITY);
    std::fill(m_.sum, m_.sum + rows_, 0.0f);
    std::fill(m_.out, m_.out + rows_ * m_.out_stride, 0.0f);

    const auto table = task_.sequence->block_tables[static_cast<size_t>(layer_.group)];
    const int last_position = first_position_ + task_.tokens - 1;
    for (int b = first_visible(first_position_) / kBlockTokens; b <= last_position / kBlockTokens; ++b)
      fold_block(b * kBlockTokens, table[static_cast<size_t>(b)]);

    for (int r = 0; r < rows_; ++r) {
      float* o_V = call_.o_THV.row(query_row(r));
      std::memcpy(o_V, m_.out + r * m_.out_stride, static_cast<size_t>(layer_.value_dim) * sizeof(float));
      kernels_.scale(o_V, layer_.value_dim, 1.0f / m_.sum[r]);
    }
  }

 private:
  // Row r of the task as a row of [T, H]: the heads of one token are adjacent.
  int64_t query_row(int r) const {
    return (task_.sequence->first_row + task_.first_token + r / heads_) * call_.q_THK.dim(1) +
           task_.kv_head * heads_ + r % heads_;
  }
  int first_visible(int position) const {
    return call_.spec.window > 0 ? std::max(0, position - call_.spec.window + 1) : 0;
  }

  void fold_block(int block_position, int32_t block) {
    score_block(call_.cache.keys(call_.layer, block, task_.kv_head));
    for (int r = 0; r < rows_; ++r) {
      const int position = first_position_ + r / heads_;
      const int begin = std::clamp(first_visible(position) - block_position, 0, kBlockTokens);
      const int end = std::clamp(position + 1 - block_position, begin, kBlockTokens);
      float* score = m_.score + r * kBlockTokens;
      const float factor =
          kernels_.softmax_block(score, kBlockTokens, begin, end, call_.spec.scale, &m_.maximum[r], &m_.sum[r]);
      if (factor != 1.0f) kernels_.scale(m_.out + r * m_.out_stride, layer_.value_dim, factor);
      kernel_.prepare(score, kBlockTokens, m_.p + r * m_.p_stride_bytes);
    }
    add_values(call_.cache.values(call_.layer, block, task_.kv_head));
  }

  // Scores are q times panels whose outputs are the block's tokens.
  void score_block(const std::byte* panels) {
    for (int c = 0; c < kBlockTokens; c += kernel_.columns, panels += kernel_.panel_bytes(layer_.key_dim))
      kernel_.tile(m_.q, m_.q_stride_bytes, rows_, panels, layer_.key_dim,
                   std::min(kernel_.columns, kBlockTokens - c), m_.score + c, kBlockTokens, false);
  }
  // Outputs grow by the probabilities times panels whose outputs are the components of a value.
  void add_values(const std::byte* panels) {
    for (int c = 0; c < layer_.value_dim; c += kernel_.columns, panels += kernel_.panel_bytes(kBlockTokens))
      kernel_.tile(m_.p, m_.p_stride_bytes, rows_, panels, kBlockTokens,
                   std::min(kernel_.columns, layer_.value_dim - c), m_.out + c, m_.out_stride, true);
  }

  const AttendCall& call_;
  const AttendTask& task_;
  const AttendScratch& m_;
  const KernelTable& kernels_;
  const MatmulKernel& kernel_;
  const KvCache::Layer& layer_;
  const int heads_, rows_, first_position_;
};

}  // namespace

void attend_task(const AttendCall& call, const AttendTask& task, const AttendScratch& scratch) {
  Fold(call, task, scratch).run();
}

}  // namespace cachalot
