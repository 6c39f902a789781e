#include "ops/cpu/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

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

int64_t round_up(int64_t n, int64_t multiple) { return divide_up(n, multiple) * multiple; }

// The state of the online softmax: what rows have of some of their keys.
class Partial {
 public:
  Partial(Arena& arena, int64_t rows, int64_t value_dim, int64_t out_stride)
      : value_dim_(value_dim),
        stride_(out_stride),
        out_(arena.tensor(rows, out_stride).data()),
        maximum_(arena.tensor(rows).data()),
        sum_(arena.tensor(rows).data()) {}

  // Of `rows` rows, none of any key.
  void clear(int rows) {
    std::fill(maximum_, maximum_ + rows, kNone);
    std::fill(sum_, sum_ + rows, 0.0f);
    std::fill(out_, out_ + rows * stride_, 0.0f);
  }

  // Scores of row r and `count` keys become probabilities; see softmax_block in kernels/table.h.
  void softmax(const KernelTable& kernels, int r, float* score, int count, int begin, int end, float scale) {
    const float factor = kernels.softmax_block(score, count, begin, end, scale, &maximum_[r], &sum_[r]);
    if (factor != 1.0f) kernels.scale(out(r), value_dim_, factor);
  }

  // This and then `more`, whose rows serve as memory. A row that has seen nothing of `more` is not touched: that it
  // was looked at at all is its neighbours' doing.
  void merge(const KernelTable& kernels, int rows, Partial& more) {
    for (int r = 0; r < rows; ++r) {
      if (more.maximum_[r] == kNone && more.sum_[r] == 0) continue;
      const float top = std::max(maximum_[r], more.maximum_[r]), zero_point = top == kNone ? 0 : top;
      const float keep = std::exp(maximum_[r] - zero_point), take = std::exp(more.maximum_[r] - zero_point);
      if (keep != 1.0f) kernels.scale(out(r), value_dim_, keep);
      if (take != 1.0f) kernels.scale(more.out(r), value_dim_, take);
      kernels.add(out(r), more.out(r), value_dim_, out(r));
      sum_[r] = sum_[r] * keep + more.sum_[r] * take;
      maximum_[r] = top;
    }
  }

  // The row's output, divided by its sum.
  void write(const KernelTable& kernels, int r, float* o_V) const {
    std::memcpy(o_V, out_ + r * stride_, static_cast<size_t>(value_dim_) * sizeof(float));
    kernels.scale(o_V, value_dim_, 1.0f / sum_[r]);
  }

  float* out(int r) { return out_ + r * stride_; }
  int64_t stride() const { return stride_; }

 private:
  static constexpr float kNone = -std::numeric_limits<float>::infinity();

  int64_t value_dim_, stride_;
  float* out_;      // [rows, stride], not yet divided by the sums
  float* maximum_;  // of the scores; -inf where a row has seen none of the keys
  float* sum_;      // of the probabilities relative to it
};

// Memory of one worker for tasks of at most `rows` rows. Rows lie apart by no multiple of a page, which caches
// dislike.
struct Scratch {
  Scratch(Arena& arena, const AttendShape& shape, int64_t rows, int64_t out_stride)
      : q_stride_bytes(round_up(shape.kernel.input_bytes(shape.key_dim()), 64)),
        p_stride_bytes(shape.kernel.input_bytes(shape.tile_blocks() * kBlockTokens) + 64),
        score_stride(shape.tile_blocks() * kBlockTokens + 16),
        q(allocate_bytes(arena, rows * q_stride_bytes)),
        p(allocate_bytes(arena, rows * p_stride_bytes)),
        score(arena.tensor(rows, score_stride).data()),
        query(arena.tensor(shape.key_dim()).data()),
        split(arena, rows, shape.value_dim(), out_stride),
        total(arena, rows, shape.value_dim(), out_stride) {}

  int64_t q_stride_bytes, p_stride_bytes, score_stride;
  std::byte* q;  // [rows] prepared queries
  std::byte* p;  // [rows] prepared probabilities of one KV tile
  float* score;  // [rows, score_stride]
  float* query;  // one of them as it comes
  Partial split, total;
};

// Which keys the rows of a task see.
class Visible {
 public:
  Visible(const AttendSpec& spec, const AttendTask& task)
      : spec_(spec), task_(task), tokens_(task.span->sequence->first_position + task.span->sequence->rows) {}

  // Blocks [first_block, last_block] hold all keys that any row sees.
  int first_block() const { return first(task_.first_position()) / kBlockTokens; }
  int last_block() const { return last(task_.first_position() + task_.tokens - 1) / kBlockTokens; }
  // Rows before this one see nothing of block b.
  int first_row(int b) const {
    return std::max(0, b * kBlockTokens - spec_.ahead - task_.first_position()) * task_.heads;
  }
  // Of `count` keys from `position` on, row r sees [begin, end).
  std::pair<int, int> of_row(int r, int position, int count) const {
    const int own = task_.first_position() + r / task_.heads;
    const int begin = std::clamp(first(own) - position, 0, count);
    return {begin, std::clamp(last(own) + 1 - position, begin, count)};
  }

 private:
  int first(int position) const { return spec_.window > 0 ? std::max(0, position - spec_.window + 1) : 0; }
  int last(int position) const { return std::min(position + spec_.ahead, tokens_ - 1); }

  const AttendSpec& spec_;
  const AttendTask& task_;
  const int tokens_;
};

// One task on one worker, from its queries on.
class TaskAttention {
 public:
  TaskAttention(const KernelTable& kernels, const AttendShape& shape, Scratch& scratch, AttendSource& source,
                int worker, const AttendTask& task)
      : kernels_(kernels),
        s_(shape),
        m_(scratch),
        visible_(shape.spec, task),
        rows_(task.rows()),
        reader_(source.open(worker, task)) {
    for (int r = 0; r < rows_; ++r) {
      source.query(task, r, m_.query);
      s_.kernel.prepare(m_.query, s_.key_dim(), m_.q + r * m_.q_stride_bytes);
    }
  }

  // Of the blocks [first, last].
  ReadAhead read_ahead(int first, int last) const {
    const int64_t block_time = s_.making_time + keys_time() + softmax_time() + values_time();
    return {*reader_, first, last, s_.tile_blocks(), block_time};
  }

  // Blocks [first, last], tile by tile, into `to`, which is cleared before.
  void attend(Partial& to, int first, int last, ReadAhead& ahead) {
    const int tile = s_.tile_blocks();
    to.clear(rows_);
    for (int end; first <= last; first = end + 1) {
      end = std::min(last, first - first % tile + tile - 1);
      add_tile(to, first, end, ahead);
    }
  }

 private:
  // What phases take per block, in units of ReadAhead; measured with some rows of one token. A component of a value
  // takes twice as long as one of a key, since its sums outlive the block; a row's softmax as long as 20.
  int64_t keys_time() const { return s_.key_dim(); }
  int64_t softmax_time() const { return int64_t{20} * rows_; }
  int64_t values_time() const { return 2 * s_.value_dim(); }

  void add_tile(Partial& to, int first, int last, ReadAhead& ahead);
  void add_scores(int b, const Panels& keys, float* scores, ReadAhead& ahead);
  void softmax(Partial& to, int first, int last, ReadAhead& ahead);
  void add_values(Partial& to, int row, std::span<const Panels> values, const std::byte* p, ReadAhead& ahead);

  const KernelTable& kernels_;
  const AttendShape& s_;
  Scratch& m_;
  const Visible visible_;
  const int rows_;
  const std::unique_ptr<KvReader> reader_;
};

// Blocks [first, last] of one KV tile.
void TaskAttention::add_tile(Partial& to, int first, int last, ReadAhead& ahead) {
  while (last >= first && visible_.first_row(last) >= rows_) --last;
  if (last < first) return;
  std::array<Panels, kTileBlocks> values;
  for (int b = first; b <= last; ++b) {
    const KvBlock kv = reader_->block(b, b - first, ahead);
    add_scores(b, kv.keys, m_.score + int64_t{b - first} * kBlockTokens, ahead);
    values[static_cast<size_t>(b - first)] = kv.values;
  }
  softmax(to, first, last, ahead);
  // Blocks of which the same rows see something are one chain.
  for (int b = first; b <= last;) {
    int same = b;
    while (same < last && visible_.first_row(same + 1) == visible_.first_row(b)) ++same;
    add_values(to, visible_.first_row(same),
               std::span(values).subspan(static_cast<size_t>(b - first), static_cast<size_t>(same - b + 1)),
               m_.p + s_.kernel.input_bytes(int64_t{b - first} * kBlockTokens), ahead);
    b = same + 1;
  }
}

// Scores of the rows that see something of block b, in columns of their own.
void TaskAttention::add_scores(int b, const Panels& keys, float* scores, ReadAhead& ahead) {
  const int64_t columns = keys.layout().columns();
  const int first = visible_.first_row(b);
  for (int64_t i = 0; i < keys.panels(); ++i) {
    const std::byte* panel = keys.panel(i);
    s_.kernel.multiply(m_.q + first * m_.q_stride_bytes, m_.q_stride_bytes, rows_ - first, {&panel, 1}, s_.key_dim(),
                       scores + first * m_.score_stride + i * columns, m_.score_stride, false,
                       ahead.during(keys_time() * columns / kBlockTokens));
  }
}

void TaskAttention::softmax(Partial& to, int first, int last, ReadAhead& ahead) {
  const int count = (last - first + 1) * kBlockTokens;
  for (int r = visible_.first_row(first); r < rows_; ++r) {
    const auto [begin, end] = visible_.of_row(r, first * kBlockTokens, count);
    float* score = m_.score + r * m_.score_stride;
    to.softmax(kernels_, r, score, count, begin, end, s_.spec.scale);
    s_.kernel.prepare(score, count, m_.p + r * m_.p_stride_bytes);
    ahead.prefetch_for(softmax_time() / rows_ * (last - first + 1));
  }
}

// Values of neighbouring blocks times the probabilities of the rows from `row` on, which begin at p.
void TaskAttention::add_values(Partial& to, int row, std::span<const Panels> values, const std::byte* p,
                               ReadAhead& ahead) {
  const PanelLayout& layout = s_.values;
  const auto blocks = std::ssize(values);
  std::array<const std::byte*, kTileBlocks> panels;
  for (int64_t i = 0; i < layout.panels(); ++i) {
    for (size_t b = 0; b < values.size(); ++b) panels[b] = values[b].panel(i);
    s_.kernel.multiply(p + row * m_.p_stride_bytes, m_.p_stride_bytes, rows_ - row, {panels.data(), values.size()},
                       kBlockTokens, to.out(row) + layout.first_output(i), to.stride(), true,
                       ahead.during(values_time() * layout.columns() * blocks / s_.value_dim()));
  }
}

// The threads' way through all tasks.
class Attention {
 public:
  Attention(const AttendMachine& machine, const AttendShape& shape, std::span<const AttendTask> tasks,
            AttendSource& source)
      : m_(machine), s_(shape), tasks_(tasks), source_(source) {
    out_stride_ = round_up(shape.value_dim(), shape.values.columns()) + 16;
    int most_rows = 0;
    for (const AttendTask& task : tasks) most_rows = std::max(most_rows, task.rows());
    for (int i = 0; i < machine.workers; ++i) scratch_.emplace_back(machine.arena, shape, most_rows, out_stride_);
    for (const AttendTask& task : tasks) splits_ = std::max(splits_, splits_of(task).second + 1);
  }

  // Each task by one worker, or, when there are few of them, each split of each.
  void run() {
    constexpr int kTasksPerWorker = 4;  // as many are in balance whatever they cost
    if (m_.workers == 1 || splits_ == 1 || std::ssize(tasks_) >= int64_t{kTasksPerWorker} * m_.workers)
      for_all(std::ssize(tasks_), [&](int worker, int64_t i) { whole(worker, tasks_[static_cast<size_t>(i)]); });
    else
      by_splits();
  }

 private:
  int split_of(int block) const { return s_.split_kv ? block / kSplitBlocks : 0; }
  // The first and the last split that the task sees.
  std::pair<int, int> splits_of(const AttendTask& task) const {
    const Visible visible(s_.spec, task);
    return {split_of(visible.first_block()), split_of(visible.last_block())};
  }
  // The first and the last block of splits [first, last] that the task sees.
  std::pair<int, int> blocks_of(const AttendTask& task, int first, int last) const {
    const Visible visible(s_.spec, task);
    if (!s_.split_kv) return {visible.first_block(), visible.last_block()};
    return {std::max(visible.first_block(), first * kSplitBlocks),
            std::min(visible.last_block(), last * kSplitBlocks + kSplitBlocks - 1)};
  }
  TaskAttention begin(int worker, const AttendTask& task) {
    return {m_.kernels, s_, scratch_[static_cast<size_t>(worker)], source_, worker, task};
  }
  Partial partial(const AttendTask& task) { return {m_.arena, task.rows(), s_.value_dim(), out_stride_}; }
  void write_outputs(const AttendTask& task, const Partial& from) {
    for (int r = 0; r < task.rows(); ++r) from.write(m_.kernels, r, source_.output(task, r));
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

  void whole(int worker, const AttendTask& task) {
    Scratch& own = scratch_[static_cast<size_t>(worker)];
    const auto [first, last] = splits_of(task);
    TaskAttention attention = begin(worker, task);
    const auto [first_block, last_block] = blocks_of(task, first, last);
    ReadAhead ahead = attention.read_ahead(first_block, last_block);
    for (int split = first; split <= last; ++split) {
      const auto [begin, end] = blocks_of(task, split, split);
      attention.attend(split == first ? own.total : own.split, begin, end, ahead);
      if (split > first) own.total.merge(m_.kernels, task.rows(), own.split);
    }
    write_outputs(task, own.total);
  }

  // Some splits of all tasks at a time, which bounds the memory for their partial results. A worker takes
  // neighbouring ones, so that it goes from one to the next without waiting for memory.
  void by_splits() {
    constexpr int kAtOnce = 32;
    const int64_t tasks = std::ssize(tasks_);
    const int at_once = static_cast<int>(divide_up(splits_, divide_up(splits_, kAtOnce)));
    std::vector<Partial> totals, parts;
    for (const AttendTask& task : tasks_) {
      totals.push_back(partial(task));
      totals.back().clear(task.rows());
      for (int i = 0; i < at_once; ++i) parts.push_back(partial(task));
    }
    const auto part = [&](int64_t task, int i) -> Partial& { return parts[static_cast<size_t>(task * at_once + i)]; };
    for (int from = 0; from < splits_; from += at_once) {
      const int count = std::min(at_once, splits_ - from);
      m_.pool.for_each_chunk(tasks * count, 1, [&](int worker, int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t t = begin / count;
          const int first = static_cast<int>(begin % count),
                    last = static_cast<int>(std::min<int64_t>(first + end - begin, count)) - 1;
          attend_splits(worker, tasks_[static_cast<size_t>(t)], from + first, from + last,
                        [&](int split) -> Partial& { return part(t, split - from); });
          begin += last - first + 1;
        }
      });
      for_all(tasks, [&](int, int64_t t) {
        const auto i = static_cast<size_t>(t);
        for (int split = 0; split < count; ++split) totals[i].merge(m_.kernels, tasks_[i].rows(), part(t, split));
      });
    }
    for_all(tasks,
            [&](int, int64_t t) { write_outputs(tasks_[static_cast<size_t>(t)], totals[static_cast<size_t>(t)]); });
  }

  // Splits [first, last] of a task, each into part(split).
  template <typename Part>
  void attend_splits(int worker, const AttendTask& task, int first, int last, const Part& part) {
    TaskAttention attention = begin(worker, task);
    const auto [first_block, last_block] = blocks_of(task, first, last);
    ReadAhead ahead = attention.read_ahead(first_block, last_block);
    for (int split = first; split <= last; ++split) {
      const auto [begin, end] = blocks_of(task, split, split);
      attention.attend(part(split), begin, end, ahead);
    }
  }

  const AttendMachine& m_;
  const AttendShape& s_;
  const std::span<const AttendTask> tasks_;
  AttendSource& source_;
  int64_t out_stride_ = 0;
  int splits_ = 1;
  std::vector<Scratch> scratch_;
};

}  // namespace

void attend_tasks(const AttendMachine& machine, const AttendShape& shape, std::span<const AttendTask> tasks,
                  AttendSource& source) {
  if (!tasks.empty()) Attention(machine, shape, tasks, source).run();
}

}  // namespace cachalot
