#include "ops/cpu_attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/cpu_weights.h"

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

namespace {

int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// What rows have gathered from some keys.
struct Gathered {
  Gathered(Arena& arena, int64_t rows, int64_t out_stride)
      : out(arena.tensor(rows, out_stride).data), maximum(arena.tensor(rows).data), sum(arena.tensor(rows).data) {}

  float* out;      // [rows, out_stride], not yet divided by the sums
  float* maximum;  // of the scores; -inf where a row has seen none of the keys
  float* sum;      // of the probabilities relative to it
};

// Memory of one worker for tasks of at most `rows` rows.
struct Scratch {
  Scratch(Arena& arena, const FoldShape& shape, int64_t rows, int64_t out_stride)
      : q_stride_bytes(round_up(shape.matmul.input_bytes(shape.key_dim), 64)),
        p_stride_bytes(shape.matmul.input_bytes(kBlockTokens)),
        q(static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * q_stride_bytes)))),
        p(static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * p_stride_bytes)))),
        score(arena.tensor(rows, kBlockTokens).data),
        query(arena.tensor(shape.key_dim).data),
        segment(arena, rows, out_stride),
        total(arena, rows, out_stride) {}

  int64_t q_stride_bytes, p_stride_bytes;
  std::byte* q;  // [rows] prepared queries
  std::byte* p;  // [rows] prepared probabilities of one block
  float* score;  // [rows, kBlockTokens]
  float* query;  // one of them as it comes
  Gathered segment, total;
};

// One task on one worker.
class Fold {
 public:
  Fold(const KernelTable& kernels, const FoldShape& shape, const Scratch& scratch, const AttendTask& task,
       int64_t out_stride)
      : kernels_(kernels),
        s_(shape),
        m_(scratch),
        task_(task),
        rows_(task.rows()),
        sequence_tokens_(task.span->sequence->first_position + task.span->sequence->rows),
        out_stride_(out_stride) {}

  // Blocks [first_block, last_block] hold all keys that any row sees.
  int first_block() const { return first_visible(task_.first_position()) / kBlockTokens; }
  int last_block() const { return last_visible(task_.first_position() + task_.tokens - 1) / kBlockTokens; }

  void set_queries(const AttendSource& source) const {
    for (int r = 0; r < rows_; ++r) {
      source.query(task_, r, m_.query);
      s_.matmul.prepare(m_.query, s_.key_dim, m_.q + r * m_.q_stride_bytes);
    }
  }

  void clear(const Gathered& to) const {
    std::fill(to.maximum, to.maximum + rows_, -std::numeric_limits<float>::infinity());
    std::fill(to.sum, to.sum + rows_, 0.0f);
    std::fill(to.out, to.out + rows_ * out_stride_, 0.0f);
  }

  void add_block(const Gathered& to, int b, const BlockPanels& panels) const;
  // to = to and then `more`. A row that has seen nothing of `more` is not touched: that it was asked at all is its
  // neighbours' doing.
  void merge(const Gathered& to, const Gathered& more) const;
  void write_outputs(const Gathered& from, const AttendSource& source) const;

 private:
  int first_visible(int position) const {
    return s_.spec.window > 0 ? std::max(0, position - s_.spec.window + 1) : 0;
  }
  int last_visible(int position) const { return std::min(position + s_.spec.ahead, sequence_tokens_ - 1); }

  const KernelTable& kernels_;
  const FoldShape& s_;
  const Scratch& m_;
  const AttendTask& task_;
  const int rows_, sequence_tokens_;
  const int64_t out_stride_;
};

// What the next block will be read from, shared out among the phases of this one by the time that they take: memory
// that is asked for faster than it comes keeps the loads waiting, and is idle in phases that ask for nothing.
class Ahead {
 public:
  Ahead(Wanted wanted, int64_t time) : left_(wanted), bytes_(wanted.bytes), time_(time) {}

  // The share of the next `time`, in whole lines.
  Wanted during(int64_t time) {
    passed_ += time;
    const int64_t due = std::min(round_up(bytes_ * passed_ / time_, 64), bytes_);
    const Wanted share{left_.at, due - (bytes_ - left_.bytes)};
    left_ = {left_.at + share.bytes, left_.bytes - share.bytes};
    return share;
  }

 private:
  Wanted left_;
  int64_t bytes_, time_, passed_ = 0;
};

void Fold::add_block(const Gathered& to, int b, const BlockPanels& panels) const {
  const int block_position = b * kBlockTokens, columns = s_.matmul.columns;
  // Tokens before this one see nothing of the block.
  const int first = std::max(0, block_position - s_.spec.ahead - task_.first_position()) * task_.heads;
  if (first >= rows_) return;
  const int rows = rows_ - first;
  auto* p = m_.p + first * m_.p_stride_bytes;
  float* scores = m_.score + int64_t{first} * kBlockTokens;
  float* out = to.out + first * out_stride_;

  // Measured with some rows of one token: a value's component takes twice as long as a key's, whose sums are fewer; a
  // row of scores as long as 20.
  const int64_t score_panels = divide_up(kBlockTokens, columns), value_panels = divide_up(s_.value_dim, columns);
  constexpr int64_t kScoresTime = 20;
  const int64_t keys_time = s_.key_dim / score_panels, values_time = 2 * columns;
  Ahead ahead(panels.next, score_panels * keys_time + rows * kScoresTime + value_panels * values_time);

  for (int64_t i = 0; i < score_panels; ++i)
    s_.attention.tile(m_.q + first * m_.q_stride_bytes, m_.q_stride_bytes, rows,
                      panels.keys + i * s_.matmul.panel_bytes(s_.key_dim), s_.key_dim, scores + i * columns,
                      kBlockTokens, false, ahead.during(keys_time));
  for (int r = 0; r < rows; ++r) {
    const int position = task_.first_position() + (first + r) / task_.heads;
    const int begin = std::clamp(first_visible(position) - block_position, 0, kBlockTokens);
    const int end = std::clamp(last_visible(position) + 1 - block_position, begin, kBlockTokens);
    float* score = scores + int64_t{r} * kBlockTokens;
    const float factor = kernels_.softmax_block(score, kBlockTokens, begin, end, s_.spec.scale,
                                                &to.maximum[first + r], &to.sum[first + r]);
    if (factor != 1.0f) kernels_.scale(out + r * out_stride_, s_.value_dim, factor);
    s_.matmul.prepare(score, kBlockTokens, p + r * m_.p_stride_bytes);
    const Wanted wanted = ahead.during(kScoresTime);
    for (int64_t byte = 0; byte < wanted.bytes; byte += 64) __builtin_prefetch(wanted.at + byte, 0, 2);
  }
  for (int64_t i = 0; i < value_panels; ++i)
    s_.attention.tile(p, m_.p_stride_bytes, rows, panels.values + i * s_.matmul.panel_bytes(kBlockTokens),
                      kBlockTokens, out + i * columns, out_stride_, true, ahead.during(values_time));
}

void Fold::merge(const Gathered& to, const Gathered& more) const {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  for (int r = 0; r < rows_; ++r) {
    if (more.maximum[r] == kNone && more.sum[r] == 0) continue;
    const float top = std::max(to.maximum[r], more.maximum[r]), zero_point = top == kNone ? 0 : top;
    const float keep = std::exp(to.maximum[r] - zero_point), take = std::exp(more.maximum[r] - zero_point);
    float *out = to.out + r * out_stride_, *out_more = more.out + r * out_stride_;
    if (keep != 1.0f) kernels_.scale(out, s_.value_dim, keep);
    if (take != 1.0f) kernels_.scale(out_more, s_.value_dim, take);
    kernels_.add(out, out_more, s_.value_dim, out);
    to.sum[r] = to.sum[r] * keep + more.sum[r] * take;
    to.maximum[r] = top;
  }
}

void Fold::write_outputs(const Gathered& from, const AttendSource& source) const {
  for (int r = 0; r < rows_; ++r) {
    float* o_V = source.output(task_, r);
    std::memcpy(o_V, from.out + r * out_stride_, static_cast<size_t>(s_.value_dim) * sizeof(float));
    kernels_.scale(o_V, s_.value_dim, 1.0f / from.sum[r]);
  }
}

// The threads' way through all tasks.
class Attention {
 public:
  Attention(const AttendMachine& machine, const FoldShape& shape, std::span<const AttendTask> tasks,
            AttendSource& source)
      : m_(machine), s_(shape), tasks_(tasks), source_(source) {
    out_stride_ = round_up(round_up(shape.value_dim, shape.matmul.columns), 16);
    for (const AttendTask& task : tasks) most_rows_ = std::max(most_rows_, task.rows());
    for (int i = 0; i < machine.workers; ++i) scratch_.emplace_back(machine.arena, shape, most_rows_, out_stride_);
    for (const AttendTask& task : tasks)
      segments_ = std::max(segments_, segment_of(fold_of(0, task).last_block()) + 1);
  }

  // Each task by one worker, or, when there are few of them, each segment of each.
  void run() {
    constexpr int kTasksPerWorker = 4;  // as many are in balance whatever they cost
    if (m_.workers == 1 || segments_ == 1 || std::ssize(tasks_) >= int64_t{kTasksPerWorker} * m_.workers)
      for_all(std::ssize(tasks_), [&](int worker, int64_t i) { whole(worker, tasks_[static_cast<size_t>(i)]); });
    else
      by_segments();
  }

 private:
  int segment_of(int block) const { return s_.segmented ? block / kSegmentBlocks : 0; }
  Fold fold_of(int worker, const AttendTask& task) const {
    return {m_.kernels, s_, scratch_[static_cast<size_t>(worker)], task, out_stride_};
  }

  template <typename Work>
  void for_all(int64_t count, const Work& work) {
    std::atomic<int64_t> next{0};
    const auto loop = [&](int worker) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(worker, i);
    };
    if (m_.workers == 1)
      loop(0);
    else
      m_.pool.run(loop);
  }

  // The blocks of one segment that the task sees, into `to`. The worker will go on to `last_wanted`.
  void fold_segment(int worker, const AttendTask& task, const Fold& fold, int segment, const Gathered& to,
                    int last_wanted) {
    int first = fold.first_block(), last = fold.last_block();
    if (s_.segmented) {
      first = std::max(first, segment * kSegmentBlocks);
      last = std::min(last, segment * kSegmentBlocks + kSegmentBlocks - 1);
    }
    fold.clear(to);
    for (int b = first; b <= last; ++b) fold.add_block(to, b, source_.block(worker, task, b, last_wanted));
  }

  void whole(int worker, const AttendTask& task) {
    const Fold fold = fold_of(worker, task);
    const Scratch& own = scratch_[static_cast<size_t>(worker)];
    fold.set_queries(source_);
    source_.begin(worker, task);
    const int first = segment_of(fold.first_block()), last = segment_of(fold.last_block());
    fold_segment(worker, task, fold, first, own.total, fold.last_block());
    for (int segment = first + 1; segment <= last; ++segment) {
      fold_segment(worker, task, fold, segment, own.segment, fold.last_block());
      fold.merge(own.total, own.segment);
    }
    fold.write_outputs(own.total, source_);
  }

  // Some segments of all tasks at a time, which bounds the memory for what they have gathered. A worker takes
  // neighbouring ones, so that it can go on from one to the next without waiting for memory.
  void by_segments() {
    constexpr int kAtOnce = 32;
    const int64_t tasks = std::ssize(tasks_);
    std::vector<Gathered> totals, parts;
    for (const AttendTask& task : tasks_) {
      totals.emplace_back(m_.arena, task.rows(), out_stride_);
      fold_of(0, task).clear(totals.back());
    }
    const int at_once = static_cast<int>(divide_up(segments_, divide_up(segments_, kAtOnce)));
    for (const AttendTask& task : tasks_)
      for (int i = 0; i < at_once; ++i) parts.emplace_back(m_.arena, task.rows(), out_stride_);

    for (int from = 0; from < segments_; from += at_once) {
      const int count = std::min(at_once, segments_ - from);
      m_.pool.for_each_chunk(tasks * count, 1, [&](int worker, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t t = i / count, last = std::min(end, (t + 1) * count) - 1;
          const AttendTask& task = tasks_[static_cast<size_t>(t)];
          const Fold fold = fold_of(worker, task);
          if (i == begin || i % count == 0) {
            fold.set_queries(source_);
            source_.begin(worker, task);
          }
          const auto segment_at = [&](int64_t item) { return from + static_cast<int>(item % count); };
          fold_segment(worker, task, fold, segment_at(i), parts[static_cast<size_t>(t * at_once + i % count)],
                       std::min(fold.last_block(), segment_at(last) * kSegmentBlocks + kSegmentBlocks - 1));
        }
      });
      for_all(tasks, [&](int worker, int64_t t) {
        const Fold fold = fold_of(worker, tasks_[static_cast<size_t>(t)]);
        for (int i = 0; i < count; ++i)
          fold.merge(totals[static_cast<size_t>(t)], parts[static_cast<size_t>(t * at_once + i)]);
      });
    }
    for_all(tasks, [&](int worker, int64_t t) {
      fold_of(worker, tasks_[static_cast<size_t>(t)]).write_outputs(totals[static_cast<size_t>(t)], source_);
    });
  }

  const AttendMachine& m_;
  const FoldShape& s_;
  const std::span<const AttendTask> tasks_;
  AttendSource& source_;
  int64_t out_stride_ = 0;
  int most_rows_ = 0, segments_ = 1;
  std::vector<Scratch> scratch_;
};

}  // namespace

void attend_tasks(const AttendMachine& machine, const FoldShape& shape, std::span<const AttendTask> tasks,
                  AttendSource& source) {
  if (!tasks.empty()) Attention(machine, shape, tasks, source).run();
}

}  // namespace cachalot
