#include "ops/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cachalot {

std::vector<AttendTask> cut_tasks(std::span<const AttendSpan> spans, int tokens, int all_heads, int heads) {
  std::vector<AttendTask> tasks;
  for (const AttendSpan& span : spans)
    for (int first = 0; first < span.tokens; first += tokens)
      for (int head = 0; head < all_heads; head += heads)
        tasks.push_back(
            {&span, first, std::min(tokens, span.tokens - first), head, std::min(heads, all_heads - head)});
  std::reverse(tasks.begin(), tasks.end());
  return tasks;
}

FoldScratch::FoldScratch(Arena& arena, const FoldShape& shape, int64_t rows) {
  const auto aligned = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  q_stride_bytes = aligned(shape.kernel.input_bytes(shape.key_dim));
  p_stride_bytes = shape.kernel.input_bytes(kBlockTokens);
  out_stride = aligned(4 * int64_t{shape.value_dim}) / 4;
  q = static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * q_stride_bytes)));
  p = static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * p_stride_bytes)));
  score = arena.tensor(rows, kBlockTokens).data;
  out = arena.tensor(rows, out_stride).data;
  maximum = arena.tensor(rows).data;
  sum = arena.tensor(rows).data;
}

Fold::Fold(const FoldShape& shape, const FoldScratch& scratch, const AttendTask& task)
    : s_(shape),
      m_(scratch),
      task_(task),
      rows_(task.rows()),
      sequence_tokens_(task.span->sequence->first_position + task.span->sequence->rows) {
  std::fill(m_.maximum, m_.maximum + rows_, -INFINITY);
  std::fill(m_.sum, m_.sum + rows_, 0.0f);
  std::fill(m_.out, m_.out + rows_ * m_.out_stride, 0.0f);
}

void Fold::set_query(int r, const float* q_K) { s_.kernel.prepare(q_K, s_.key_dim, m_.q + r * m_.q_stride_bytes); }

int Fold::first_visible(int position) const {
  return s_.spec.window > 0 ? std::max(0, position - s_.spec.window + 1) : 0;
}
int Fold::last_visible(int position) const { return std::min(position + s_.spec.ahead, sequence_tokens_ - 1); }

int Fold::first_block() const { return first_visible(task_.first_position()) / kBlockTokens; }
int Fold::last_block() const { return last_visible(task_.first_position() + task_.tokens - 1) / kBlockTokens; }

void Fold::add_block(int b, const std::byte* key_panels, const std::byte* value_panels) {
  const MatmulKernel& kernel = s_.kernel;
  const int block_position = b * kBlockTokens;
  // Tokens before this one see nothing of the block.
  const int first = std::max(0, block_position - s_.spec.ahead - task_.first_position()) * task_.heads;
  if (first >= rows_) return;
  const int rows = rows_ - first;
  const auto* q = m_.q + first * m_.q_stride_bytes;
  auto* p = m_.p + first * m_.p_stride_bytes;
  float* scores = m_.score + int64_t{first} * kBlockTokens;
  float* out = m_.out + first * m_.out_stride;

  for (int c = 0; c < kBlockTokens; c += kernel.columns, key_panels += kernel.panel_bytes(s_.key_dim))
    kernel.tile(q, m_.q_stride_bytes, rows, key_panels, s_.key_dim, std::min(kernel.columns, kBlockTokens - c),
                scores + c, kBlockTokens, false);
  for (int r = 0; r < rows; ++r) {
    const int position = task_.first_position() + (first + r) / task_.heads;
    const int begin = std::clamp(first_visible(position) - block_position, 0, kBlockTokens);
    const int end = std::clamp(last_visible(position) + 1 - block_position, begin, kBlockTokens);
    float* score = scores + int64_t{r} * kBlockTokens;
    const float factor = s_.kernels.softmax_block(score, kBlockTokens, begin, end, s_.spec.scale,
                                                  &m_.maximum[first + r], &m_.sum[first + r]);
    if (factor != 1.0f) s_.kernels.scale(out + r * m_.out_stride, s_.value_dim, factor);
    kernel.prepare(score, kBlockTokens, p + r * m_.p_stride_bytes);
  }
  for (int c = 0; c < s_.value_dim; c += kernel.columns, value_panels += kernel.panel_bytes(kBlockTokens))
    kernel.tile(p, m_.p_stride_bytes, rows, value_panels, kBlockTokens, std::min(kernel.columns, s_.value_dim - c),
                out + c, m_.out_stride, true);
}

void Fold::write_output(int r, float* o_V) const {
  std::memcpy(o_V, m_.out + r * m_.out_stride, static_cast<size_t>(s_.value_dim) * sizeof(float));
  s_.kernels.scale(o_V, s_.value_dim, 1.0f / m_.sum[r]);
}

}  // namespace cachalot
