#include "ops/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/cpu/weights.h"

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
      : out(arena.tensor(rows, out_stride).data()),
        maximum(arena.tensor(rows).data()),
        sum(arena.tensor(rows).data()) {}

  float* out;      // [rows, out_stride], not yet divided by the sums
  float* maximum;  // of the scores; -inf where a row has seen none of the keys
  float* sum;      // of the probabilities relative to it
};

// Memory of one worker for tasks of at most `rows` rows. Rows lie apart by no multiple of a page, which caches
// dislike.
struct Scratch {
  Scratch(Arena& arena, const FoldShape& shape, int stretch_blocks, int64_t rows, int64_t out_stride)
      : q_stride_bytes(round_up(shape.matmul.input_bytes(shape.key_dim), 64)),
        p_stride_bytes(shape.matmul.input_bytes(stretch_blocks * kBlockTokens) + 64),
        score_stride(stretch_blocks * kBlockTokens + 16),
        q(static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * q_stride_bytes)))),
        p(static_cast<std::byte*>(arena.allocate(static_cast<size_t>(rows * p_stride_bytes)))),
        score(arena.tensor(rows, score_stride).data()),
        query(arena.tensor(shape.key_dim).data()),
        segment(arena, rows, out_stride),
        total(arena, rows, out_stride) {}

  int64_t q_stride_bytes, p_stride_bytes, score_stride;
  std::byte* q;  // [rows] prepared queries
  std::byte* p;  // [rows] prepared probabilities of one stretch
  float* score;  // [rows, score_stride]
  float* query;  // one of them as it comes
  Gathered segment, total;
};

// What a task will read of the cache from a block on, shared out among the phases of the work by the time that they
// take: memory that is asked for faster than it comes keeps the loads waiting, and it is idle in phases that ask for
// nothing. The order is that of reading: the keys of a stretch, then its values.
class ReadAhead {
 public:
  // `block_time` is what a block takes, in the units of during().
  ReadAhead(const AttendSource& source, const AttendTask& task, int first_block, int last_block, int stretch_blocks,
            int64_t block_time)
      : source_(source), task_(task), last_(last_block), stretch_blocks_(stretch_blocks), block_time_(block_time) {
    if (first_block > last_block) return;
    begin_stretch(first_block);
    block_bytes_ = source.stored_keys(task, first_block).bytes + source.stored_values(task, first_block).bytes;
    // Keys come first and take less of the time than of the memory: so much is asked for before it is due.
    due_ = stretch_blocks * block_bytes_ * 3 / 4;
  }

  // What is to be asked for during the next `time`, in whole lines; of what lies apart the rest waits.
  Prefetch during(int64_t time) {
    if (block_bytes_ == 0) return {};
    due_ += block_bytes_ * time / block_time_;
    while (left_.bytes == 0 && block_ <= last_) next_piece();
    const Prefetch share{left_.at, std::clamp<int64_t>(round_up(due_, 64), 0, left_.bytes)};
    left_ = {left_.at + share.bytes, left_.bytes - share.bytes}, due_ -= share.bytes;
    return share;
  }

 private:
  void begin_stretch(int block) {
    stretch_ = block_ = block;
    stretch_last_ = std::min(last_, block - block % stretch_blocks_ + stretch_blocks_ - 1);
    left_ = source_.stored_keys(task_, block_);
  }
  void next_piece() {
    if (++block_ <= stretch_last_) {
      left_ = of_values_ ? source_.stored_values(task_, block_) : source_.stored_keys(task_, block_);
    } else if (!of_values_) {
      of_values_ = true, block_ = stretch_;
      left_ = source_.stored_values(task_, block_);
    } else {
      of_values_ = false;
      if (block_ <= last_) begin_stretch(block_);
    }
  }

  const AttendSource& source_;
  const AttendTask& task_;
  int last_, stretch_blocks_, stretch_ = 0, stretch_last_ = 0, block_ = 0;
  bool of_values_ = false;
  Prefetch left_;
  int64_t block_time_, block_bytes_ = 0, due_ = 0;
};

// One task on one worker.
class Fold {
 public:
  Fold(const KernelTable& kernels, const FoldShape& shape, const Scratch& scratch, AttendSource& source, int worker,
       const AttendTask& task, int64_t out_stride)
      : kernels_(kernels),
        s_(shape),
        m_(scratch),
        source_(source),
        worker_(worker),
        task_(task),
        rows_(task.rows()),
        sequence_tokens_(task.span->sequence->first_position + task.span->sequence->rows),
        out_stride_(out_stride) {}

  // Blocks [first_block, last_block] hold all keys that any row sees.
  int first_block() const { return first_visible(task_.first_position()) / kBlockTokens; }
  int last_block() const { return last_visible(task_.first_position() + task_.tokens - 1) / kBlockTokens; }

  void begin() const {
    source_.begin(worker_, task_);
    for (int r = 0; r < rows_; ++r) {
      source_.query(task_, r, m_.query);
      s_.matmul.prepare(m_.query, s_.key_dim, m_.q + r * m_.q_stride_bytes);
    }
  }

  void clear(const Gathered& to) const {
    std::fill(to.maximum, to.maximum + rows_, -std::numeric_limits<float>::infinity());
    std::fill(to.sum, to.sum + rows_, 0.0f);
    std::fill(to.out, to.out + rows_ * out_stride_, 0.0f);
  }

  // Blocks [first, last] of one stretch.
  void add_stretch(const Gathered& to, int first, int last, ReadAhead& ahead) const;
  // to = to and then `more`. A row that has seen nothing of `more` is not touched: that it was asked at all is its
  // neighbours' doing.
  void merge(const Gathered& to, const Gathered& more) const;
  void write_outputs(const Gathered& from) const;
  // What phases take, as ReadAhead wants it; measured with some rows of one token. A component of a value takes twice
  // as long as one of a key, since its sums outlive the block; a row's softmax as long as 20.
  int64_t keys_time() const { return s_.key_dim; }
  int64_t softmax_time() const { return int64_t{20} * rows_; }
  int64_t values_time() const { return 2 * s_.value_dim; }
  int64_t making_time() const { return s_.values_are_keys ? 2 * s_.value_dim : 0; }
  int64_t block_time() const { return keys_time() + softmax_time() + making_time() + values_time(); }

 private:
  int first_visible(int position) const {
    return s_.spec.window > 0 ? std::max(0, position - s_.spec.window + 1) : 0;
  }
  int last_visible(int position) const { return std::min(position + s_.spec.ahead, sequence_tokens_ - 1); }

  // Rows before this one see nothing of block b.
  int first_row_of(int b) const {
    return std::max(0, b * kBlockTokens - s_.spec.ahead - task_.first_position()) * task_.heads;
  }
  void add_scores(int b, float* scores, ReadAhead& ahead) const;
  void add_values(const Gathered& to, int first, int last, const std::byte* p, ReadAhead& ahead) const;

  const KernelTable& kernels_;
  const FoldShape& s_;
  const Scratch& m_;
  AttendSource& source_;
  const int worker_;
  const AttendTask& task_;
  const int rows_, sequence_tokens_;
  const int64_t out_stride_;
};

// Scores of the rows that see something of block b, in columns of their own.
void Fold::add_scores(int b, float* scores, ReadAhead& ahead) const {
  const int columns = s_.matmul.columns, first = first_row_of(b);
  const std::byte* keys = source_.keys(worker_, task_, b);
  for (int i = 0; i * columns < kBlockTokens; ++i) {
    const std::byte* panel = keys + i * s_.matmul.panel_bytes(s_.key_dim);
    s_.attention.tile(m_.q + first * m_.q_stride_bytes, m_.q_stride_bytes, rows_ - first, {&panel, 1}, s_.key_dim,
                      scores + first * m_.score_stride + int64_t{i} * columns, m_.score_stride, false,
                      ahead.during(keys_time() * columns / kBlockTokens));
  }
}

// Values of blocks [first, last], of which the same rows see something, times probabilities that begin at p.
void Fold::add_values(const Gathered& to, int first, int last, const std::byte* p, ReadAhead& ahead) const {
  const int columns = s_.matmul.columns, row = first_row_of(last);
  const auto blocks = static_cast<size_t>(last - first + 1);
  const std::byte* panels[kStretchBlocks];
  for (size_t i = 0; i < blocks; ++i)
    panels[i] = source_.values(worker_, task_, first + static_cast<int>(i),
                               s_.values_are_keys ? ahead.during(making_time()) : Prefetch{});
  for (int64_t column = 0; column < s_.value_dim; column += columns) {
    s_.attention.tile(p + row * m_.p_stride_bytes, m_.p_stride_bytes, rows_ - row, {panels, blocks}, kBlockTokens,
                      to.out + row * out_stride_ + column, out_stride_, true,
                      ahead.during(values_time() * columns * static_cast<int64_t>(blocks) / s_.value_dim));
    for (size_t i = 0; i < blocks; ++i) panels[i] += s_.matmul.panel_bytes(kBlockTokens);
  }
}

void Fold::add_stretch(const Gathered& to, int first, int last, ReadAhead& ahead) const {
  while (last >= first && first_row_of(last) >= rows_) --last;
  if (last < first) return;
  const int tokens = (last - first + 1) * kBlockTokens, position = first * kBlockTokens;
  for (int b = first; b <= last; ++b) add_scores(b, m_.score + int64_t{b - first} * kBlockTokens, ahead);
  for (int r = first_row_of(first); r < rows_; ++r) {
    const int own_position = task_.first_position() + r / task_.heads;
    const int begin = std::clamp(first_visible(own_position) - position, 0, tokens);
    const int end = std::clamp(last_visible(own_position) + 1 - position, begin, tokens);
    float* score = m_.score + r * m_.score_stride;
    const float factor = kernels_.softmax_block(score, tokens, begin, end, s_.spec.scale, &to.maximum[r], &to.sum[r]);
    if (factor != 1.0f) kernels_.scale(to.out + r * out_stride_, s_.value_dim, factor);
    s_.matmul.prepare(score, tokens, m_.p + r * m_.p_stride_bytes);
    const Prefetch wanted = ahead.during(softmax_time() / rows_ * (last - first + 1));
    for (int64_t byte = 0; byte < wanted.bytes; byte += 64) __builtin_prefetch(wanted.at + byte, 0, 2);
  }
  for (int b = first; b <= last;) {
    int same = b;
    while (same < last && first_row_of(same + 1) == first_row_of(b)) ++same;
    add_values(to, b, same, m_.p + s_.matmul.input_bytes(int64_t{b - first} * kBlockTokens), ahead);
    b = same + 1;
  }
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

void Fold::write_outputs(const Gathered& from) const {
  for (int r = 0; r < rows_; ++r) {
    float* o_V = source_.output(task_, r);
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
    out_stride_ = round_up(shape.value_dim, shape.matmul.columns) + 16;
    for (const AttendTask& task : tasks) most_rows_ = std::max(most_rows_, task.rows());
    for (int i = 0; i < machine.workers; ++i)
      scratch_.emplace_back(machine.arena, shape, stretch_blocks(), most_rows_, out_stride_);
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
  int stretch_blocks() const { return s_.stretch_blocks(); }
  Fold fold_of(int worker, const AttendTask& task) {
    return {m_.kernels, s_, scratch_[static_cast<size_t>(worker)], source_, worker, task, out_stride_};
  }
  // The blocks of segments [first, last] that the task sees.
  std::pair<int, int> blocks_of(const Fold& fold, int first, int last) const {
    if (!s_.segmented) return {fold.first_block(), fold.last_block()};
    return {std::max(fold.first_block(), first * kSegmentBlocks),
            std::min(fold.last_block(), last * kSegmentBlocks + kSegmentBlocks - 1)};
  }
  ReadAhead read_ahead(const AttendTask& task, const Fold& fold, int first_segment, int last_segment) const {
    const auto [first, last] = blocks_of(fold, first_segment, last_segment);
    return {source_, task, first, last, stretch_blocks(), fold.block_time()};
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

  void fold_segment(const Fold& fold, int segment, const Gathered& to, ReadAhead& ahead) const {
    fold.clear(to);
    auto [block, last] = blocks_of(fold, segment, segment);
    while (block <= last) {
      const int end = std::min(last, block - block % stretch_blocks() + stretch_blocks() - 1);
      fold.add_stretch(to, block, end, ahead);
      block = end + 1;
    }
  }

  void whole(int worker, const AttendTask& task) {
    const Fold fold = fold_of(worker, task);
    const Scratch& own = scratch_[static_cast<size_t>(worker)];
    fold.begin();
    const int first = segment_of(fold.first_block()), last = segment_of(fold.last_block());
    ReadAhead ahead = read_ahead(task, fold, first, last);
    fold_segment(fold, first, own.total, ahead);
    for (int segment = first + 1; segment <= last; ++segment) {
      fold_segment(fold, segment, own.segment, ahead);
      fold.merge(own.total, own.segment);
    }
    fold.write_outputs(own.total);
  }

  // Some segments of all tasks at a time, which bounds the memory for what they have gathered. A worker takes
  // neighbouring ones, so that it goes from one to the next without waiting for memory.
  void by_segments() {
    constexpr int kAtOnce = 32;
    const int64_t tasks = std::ssize(tasks_);
    const int at_once = static_cast<int>(divide_up(segments_, divide_up(segments_, kAtOnce)));
    std::vector<Gathered> totals, parts;
    for (const AttendTask& task : tasks_) {
      totals.emplace_back(m_.arena, task.rows(), out_stride_);
      fold_of(0, task).clear(totals.back());
      for (int i = 0; i < at_once; ++i) parts.emplace_back(m_.arena, task.rows(), out_stride_);
    }
    const auto part = [&](int64_t task, int i) -> const Gathered& {
      return parts[static_cast<size_t>(task * at_once + i)];
    };
    for (int from = 0; from < segments_; from += at_once) {
      const int count = std::min(at_once, segments_ - from);
      m_.pool.for_each_chunk(tasks * count, 1, [&](int worker, int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t t = begin / count;
          const int first = static_cast<int>(begin % count),
                    last = static_cast<int>(std::min<int64_t>(first + end - begin, count)) - 1;
          const AttendTask& task = tasks_[static_cast<size_t>(t)];
          const Fold fold = fold_of(worker, task);
          fold.begin();
          ReadAhead ahead = read_ahead(task, fold, from + first, from + last);
          for (int i = first; i <= last; ++i) fold_segment(fold, from + i, part(t, i), ahead);
          begin += last - first + 1;
        }
      });
      for_all(tasks, [&](int worker, int64_t t) {
        const Fold fold = fold_of(worker, tasks_[static_cast<size_t>(t)]);
        for (int i = 0; i < count; ++i) fold.merge(totals[static_cast<size_t>(t)], part(t, i));
      });
    }
    for_all(tasks, [&](int worker, int64_t t) {
      fold_of(worker, tasks_[static_cast<size_t>(t)]).write_outputs(totals[static_cast<size_t>(t)]);
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
