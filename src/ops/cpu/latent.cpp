#include "ops/cpu/latent.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/panels.h"
#include "ops/cpu/weights.h"

namespace cachalot {

namespace {

// Bytes of a number as panels of the kernel hold it.
int64_t number_bytes(const MatmulKernel& kernel) { return kernel.weights == DType::f32 ? 4 : 2; }

std::byte* allocate(Arena& arena, int64_t bytes) { return static_cast<std::byte*>(arena.allocate(bytes)); }

// The latents of one block of the cache as rows of tokens, in the cache's own type.
void latent_rows(const AttendMachine& m, const LatentCall& call, const std::byte* block, std::byte* rows) {
  const int64_t dim = call.cache.layer(call.layer).key_dim;
  tokens_to_rows(m.kernels, call.cache.kernel(), block, dim, kBlockTokens, call.latent_dim(), rows);
}

int32_t block_of(const CpuKvCache& cache, int layer, const AttendTask& task, int b) {
  const auto group = static_cast<size_t>(cache.layer(layer).group);
  return task.span->sequence->block_tables[group][static_cast<size_t>(b)];
}

// One block of the cache as panels; where the cache holds codes, they are decoded when another block is asked for.
class LatentBlock {
 public:
  LatentBlock(Arena& arena, const CpuKvCache& cache, int layer)
      : cache_(&cache),
        layer_(layer),
        room_(cache.coded() ? allocate(arena, cache.key_panel_bytes(layer)) : nullptr) {}

  const std::byte* panels(int32_t number) {
    if (number != number_) panels_ = cache_->key_panels(layer_, number, 0, room_);
    number_ = number;
    return panels_;
  }

 private:
  const CpuKvCache* cache_;
  int layer_;
  std::byte* room_;
  const std::byte* panels_ = nullptr;
  int32_t number_ = -1;
};

// Rows of [rows, H, inputs], of which row_of(r) gives one, prepared for multiplication with w.
template <typename RowOf>
std::byte* prepared_heads(const AttendMachine& m, const Weight& w, int64_t rows, const RowOf& row_of) {
  const MatmulKernel& kernel = matmul_kernel(m.kernels, w.held_as);
  const int64_t inputs = w.shape[2], bytes = kernel.input_bytes(inputs);
  std::byte* x = allocate(m.arena, rows * bytes);
  m.pool.for_each_chunk(rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernel.prepare(row_of(r), inputs, x + r * bytes);
  });
  return x;
}

// y[row][head] = W_head x[row][head] for every head: x is [rows, H, inputs] prepared, y is [rows, H, outputs] with
// rows of heads `y_stride` numbers apart. W is [H, outputs, inputs].
void multiply_heads(const AttendMachine& m, const Weight& w, const std::byte* x, int64_t rows, float* y,
                    int64_t y_stride) {
  const MatmulKernel& kernel = matmul_kernel(m.kernels, w.held_as);
  const int64_t heads = w.shape[0], outputs = w.shape[1], inputs = w.shape[2];
  const int64_t input_bytes = kernel.input_bytes(inputs), panels = divide_up(outputs, kernel.columns);
  m.pool.for_each_chunk(heads * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i / panels, p = i % panels, first = p * kernel.columns;
      kernel.tile(x + h * input_bytes, heads * input_bytes, rows, panels_of(w, h) + p * kernel.panel_bytes(inputs),
                  inputs, static_cast<int>(std::min<int64_t>(kernel.columns, outputs - first)),
                  y + h * y_stride + first, heads * y_stride, false);
    }
  });
}

}  // namespace

// -- Absorbed: scores and outputs in the latent space, one key for all heads

namespace {

// Cached blocks as keys, and their latent part turned into values.
class AbsorbedSource final : public AttendSource {
 public:
  AbsorbedSource(const AttendMachine& machine, const AttendCall& call) : call_(call) {
    const MatmulKernel& kernel = call.cache.kernel();
    const int64_t panels = divide_up(call.o_THV.last(), kernel.columns);
    for (int i = 0; i < machine.workers * kStretchBlocks; ++i)
      rooms_.push_back({LatentBlock(machine.arena, call.cache, call.layer),
                        allocate(machine.arena, panels * kernel.panel_bytes(kBlockTokens))});
  }

  void query(const AttendTask& task, int r, float* q_L) const override {
    std::memcpy(q_L, call_.q_THK.row(row_of(task, r)), static_cast<size_t>(call_.q_THK.last()) * sizeof(float));
  }

  const std::byte* keys(int worker, const AttendTask& task, int b) override {
    return room(worker, b).block.panels(block(task, b));
  }
  const std::byte* values(int worker, const AttendTask& task, int b, Prefetch wanted) override {
    const Room& own = room(worker, b);
    call_.cache.attention().values_of_keys(keys(worker, task, b), call_.q_THK.last(), kBlockTokens,
                                           call_.o_THV.last(), own.values, wanted);
    return own.values;
  }
  Prefetch stored_keys(const AttendTask& task, int b) const override {
    return call_.cache.stored_keys(call_.layer, block(task, b), 0);
  }

  float* output(const AttendTask& task, int r) const override { return call_.o_THV.row(row_of(task, r)); }

 private:
  int32_t block(const AttendTask& task, int b) const { return block_of(call_.cache, call_.layer, task, b); }
  int64_t row_of(const AttendTask& task, int r) const { return task.row_of(r, call_.q_THK.dim(1)); }

  const AttendCall& call_;
  struct Room {
    LatentBlock block;
    std::byte* values;  // panels
  };
  Room& room(int worker, int b) { return rooms_[static_cast<size_t>(worker * kStretchBlocks + b % kStretchBlocks)]; }
  std::vector<Room> rooms_;  // kStretchBlocks per worker
};

// Most parts that the keys of a row can be divided into.
int most_segments(const CpuKvCache& cache, std::span<const AttendSpan> spans) {
  int most = 1;
  for (const AttendSpan& span : spans)
    most = std::max(most, (span.first_position + span.tokens - 1) / (kSegmentBlocks * kBlockTokens) + 1);
  return cache.segmented() ? most : 1;
}

}  // namespace

void attend_latents(const AttendMachine& m, const AttendCall& call, std::span<const AttendSpan> spans) {
  const FoldShape shape{.matmul = call.cache.kernel(),
                        .attention = call.cache.attention(),
                        .key_dim = static_cast<int>(call.q_THK.last()),
                        .value_dim = static_cast<int>(call.o_THV.last()),
                        .spec = call.spec,
                        .segmented = call.cache.segmented(),
                        .values_are_keys = true};
  // The heads of a token share every block, whose values are made anew by each task. They are divided only when
  // threads would be idle.
  constexpr int kRowsPerTask = 64;
  const auto heads = static_cast<int>(call.q_THK.dim(1));
  int tokens = 0;
  for (const AttendSpan& span : spans) tokens += span.tokens;
  const bool few = tokens < m.workers && most_segments(call.cache, spans) < 2 * m.workers;
  const int task_heads = few ? static_cast<int>(divide_up(heads, m.workers)) : heads;
  AbsorbedSource source(m, call);
  attend_tasks(m, shape, cut_tasks(spans, std::max(1, kRowsPerTask / heads), heads, task_heads), source);
}

void project_heads(const AttendMachine& m, const Weight& w_HOI, const Tensor& x_THI, const Tensor& y_THO) {
  const std::byte* x = prepared_heads(m, w_HOI, x_THI.rows(), [&](int64_t r) { return x_THI.row(r); });
  multiply_heads(m, w_HOI, x, x_THI.dim(0), y_THO.data(), y_THO.last());
}

namespace {

// All absorbed rows of the batch side by side: decode tokens of many sequences share the passes over the weights.
class Absorbed {
 public:
  Absorbed(const AttendMachine& machine, const LatentCall& call, std::span<const AttendSpan> spans)
      : m_(machine), call_(call), spans_(spans.begin(), spans.end()) {
    for (AttendSpan& span : spans_) {
      for (int t = 0; t < span.tokens; ++t) batch_rows_.push_back(span.first_row + t);
      span.first_row = static_cast<int>(batch_rows_.size()) - span.tokens;
    }
  }

  void run() {
    const int64_t rows = std::ssize(batch_rows_), heads = call_.heads();
    const Tensor q_THL = latent_queries();
    const Tensor u_THC = m_.arena.tensor(rows, heads, call_.latent_dim());
    attend_latents(m_, {call_.cache, call_.layer, call_.spec, q_THL, u_THC}, spans_);
    write_values(u_THC);
  }

 private:
  // [k_up qn ; qr] of every row and head.
  Tensor latent_queries() {
    const int64_t rows = std::ssize(batch_rows_), heads = call_.heads(), C = call_.latent_dim(), R = call_.rope_dim();
    const Tensor q_THL = m_.arena.tensor(rows, heads, C + R);
    const std::byte* x = prepared_heads(m_, call_.weights.k_up_HCN, rows * heads,
                                        [&](int64_t r) { return call_.qn_THN.row(batch_row(r)); });
    multiply_heads(m_, call_.weights.k_up_HCN, x, rows, q_THL.data(), C + R);
    for (int64_t r = 0; r < rows * heads; ++r)
      std::memcpy(q_THL.row(r) + C, call_.qr_THR.row(batch_row(r)), static_cast<size_t>(R) * sizeof(float));
    return q_THL;
  }

  void write_values(const Tensor& u_THC) {
    const int64_t rows = std::ssize(batch_rows_), heads = call_.heads(), V = call_.value_dim();
    const Tensor o_THV = m_.arena.tensor(rows, heads, V);
    project_heads(m_, call_.weights.v_up_HVC, u_THC, o_THV);
    for (int64_t r = 0; r < rows * heads; ++r)
      std::memcpy(call_.o_THV.row(batch_row(r)), o_THV.row(r), static_cast<size_t>(V) * sizeof(float));
  }

  // Row r of [rows, H] as a row of the batch's [T, H].
  int64_t batch_row(int64_t r) const {
    const int64_t heads = call_.heads();
    return batch_rows_[static_cast<size_t>(r / heads)] * heads + r % heads;
  }

  const AttendMachine& m_;
  const LatentCall& call_;
  std::vector<AttendSpan> spans_;  // first_row counts absorbed rows only
  std::vector<int64_t> batch_rows_;
};

}  // namespace

void attend_absorbed(const AttendMachine& machine, const LatentCall& call, std::span<const AttendSpan> spans) {
  std::vector<AttendSpan> together;
  int room = kAbsorbedRows;
  const auto run = [&] {
    const auto mark = machine.arena.mark();
    if (!together.empty()) Absorbed(machine, call, together).run();
    machine.arena.rewind(mark);
    together.clear();
    room = kAbsorbedRows;
  };
  for (AttendSpan left : spans)
    while (left.tokens > 0) {
      AttendSpan now = left;
      now.tokens = std::min(left.tokens, room);
      together.push_back(now);
      left.first_row += now.tokens, left.first_position += now.tokens, left.tokens -= now.tokens;
      room -= now.tokens;
      if (room == 0) run();
    }
  run();
}

// -- Expanded: keys and values of one head are built block by block

namespace {

// Builds keys and values of one head from the cached latents. One per worker.
class Expander {
 public:
  // Holds the values of `stretch_blocks` blocks.
  Expander(const AttendMachine& machine, const LatentCall& call, int stretch_blocks)
      : m_(machine),
        call_(call),
        kernel_(call.cache.kernel()),
        value_kernel_(value_kernel(machine, call)),
        block_(machine.arena, call.cache, call.layer) {
    Arena& arena = m_.arena;
    const int64_t N = call.nope_dim(), C = call.latent_dim(), V = call.value_dim();
    k_up_CN_ = arena.tensor(C, N).data();
    k_up_row_ = arena.tensor(C).data();
    k_up_NC_ = allocate(arena, N * kernel_.input_bytes(C));
    rows_ = allocate(arena, kBlockTokens * C * number_bytes(kernel_));
    wide_ = arena.tensor(C).data();
    inputs_ = allocate(arena, kBlockTokens * value_kernel_.input_bytes(C));
    built_ = arena.tensor(std::max(N, int64_t{kBlockTokens}) * std::max(V, int64_t{kBlockTokens})).data();
    narrow_ = allocate(arena, 2 * std::max(N, int64_t{kBlockTokens}) * std::max(V, int64_t{kBlockTokens}));
    keys_ = allocate(arena, divide_up(kBlockTokens, kernel_.columns) * key_panel_bytes());
    for (int i = 0; i < stretch_blocks; ++i)
      values_.push_back(allocate(arena, divide_up(V, kernel_.columns) * kernel_.panel_bytes(kBlockTokens)));
  }

  void set_head(int head) {
    head_ = head;
    const int64_t N = call_.nope_dim(), C = call_.latent_dim();
    const Weight& k_up_HCN = call_.weights.k_up_HCN;
    const MatmulKernel& held = matmul_kernel(m_.kernels, k_up_HCN.held_as);
    for (int64_t c = 0; c < C; ++c) read_packed_row(held, panels_of(k_up_HCN, head), N, c, k_up_CN_ + c * N);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = 0; c < C; ++c) k_up_row_[c] = k_up_CN_[c * N + n];
      kernel_.prepare(k_up_row_, C, k_up_NC_ + n * kernel_.input_bytes(C));
    }
  }

  // Keys are valid until others are built, values until those of another stretch are.
  const std::byte* keys(int32_t block_number) {
    build_keys(block_.panels(block_number));
    return keys_;
  }
  // Of block b of a sequence.
  const std::byte* values(int32_t block_number, int b) {
    std::byte* values = values_[static_cast<size_t>(b) % values_.size()];
    build_values(block_.panels(block_number), values);
    return values;
  }

 private:
  static const MatmulKernel& value_kernel(const AttendMachine& m, const LatentCall& call) {
    return matmul_kernel(m.kernels, call.weights.v_up_HVC.held_as);
  }
  int64_t key_panel_bytes() const { return kernel_.panel_bytes(call_.nope_dim() + call_.rope_dim()); }

  // k[n][token] = k_up[n] . c[token]: the cached block is the panel, and the result has the inputs of a key panel as
  // its rows. The rotary key follows as it is.
  void build_keys(const std::byte* block) {
    const int64_t N = call_.nope_dim(), C = call_.latent_dim(), R = call_.rope_dim();
    const int64_t input_bytes = kernel_.input_bytes(C), block_panel = kernel_.panel_bytes(C + R);
    for (int t = 0; t < kBlockTokens; t += kernel_.columns) {
      const std::byte* panel = block + t / kernel_.columns * block_panel;
      kernel_.tile(k_up_NC_, input_bytes, N, panel, C, std::min(kernel_.columns, kBlockTokens - t), built_ + t,
                   kBlockTokens, false);
      std::memcpy(keys_ + t / kernel_.columns * key_panel_bytes() + kernel_.panel_bytes(N),
                  panel + kernel_.panel_bytes(C), static_cast<size_t>(kernel_.panel_bytes(R)));
    }
    to_panels(N, kBlockTokens, keys_, key_panel_bytes());
  }

  void build_values(const std::byte* block, std::byte* values) {
    const int64_t C = call_.latent_dim(), V = call_.value_dim();
    const int64_t input_bytes = value_kernel_.input_bytes(C), panel_bytes = value_kernel_.panel_bytes(C);
    latent_rows(m_, call_, block, rows_);
    for (int64_t t = 0; t < kBlockTokens; ++t) {
      const std::byte* row = rows_ + t * C * number_bytes(kernel_);
      const auto* numbers = reinterpret_cast<const float*>(row);
      if (kernel_.weights == DType::bf16) {
        m_.kernels.bf16_to_f32(reinterpret_cast<const uint16_t*>(row), C, wide_);
        numbers = wide_;
      }
      value_kernel_.prepare(numbers, C, inputs_ + t * input_bytes);
    }
    const std::byte* panels = panels_of(call_.weights.v_up_HVC, head_);
    for (int64_t v = 0; v < V; v += value_kernel_.columns, panels += panel_bytes)
      value_kernel_.tile(inputs_, input_bytes, kBlockTokens, panels, C,
                         static_cast<int>(std::min<int64_t>(value_kernel_.columns, V - v)), built_ + v, V, false);
    to_panels(kBlockTokens, V, values, kernel_.panel_bytes(kBlockTokens));
  }

  // built_, [inputs, outputs], as panels of the cache's kernel.
  void to_panels(int64_t inputs, int64_t outputs, std::byte* panels, int64_t panel_bytes) {
    if (kernel_.weights == DType::f32) {
      inputs_to_panels(kernel_, built_, outputs * 4, inputs, outputs, panels, panel_bytes);
      return;
    }
    m_.kernels.f32_to_bf16(built_, inputs * outputs, reinterpret_cast<uint16_t*>(narrow_));
    inputs_to_panels(kernel_, narrow_, outputs * 2, inputs, outputs, panels, panel_bytes);
  }

  const AttendMachine& m_;
  const LatentCall& call_;
  const MatmulKernel& kernel_;        // of the cache
  const MatmulKernel& value_kernel_;  // of v_up
  LatentBlock block_;
  int head_ = 0;
  float* k_up_CN_;      // the head's k_up as it is held
  float* k_up_row_;     // one column of it
  std::byte* k_up_NC_;  // its rows prepared to meet the cached block
  std::byte* rows_;     // latents of the block, token by token
  float* wide_;         // one of them in f32
  std::byte* inputs_;   // all of them prepared for v_up
  float* built_;        // keys [N, tokens] or values [tokens, V]
  std::byte* narrow_;   // the same in bf16
  std::byte* keys_;
  std::vector<std::byte*> values_;
};

}  // namespace

namespace {

class ExpandedSource final : public AttendSource {
 public:
  ExpandedSource(const AttendMachine& machine, const LatentCall& call, int stretch_blocks) : call_(call) {
    for (int i = 0; i < machine.workers; ++i) expanders_.emplace_back(machine, call, stretch_blocks);
  }

  void begin(int worker, const AttendTask& task) override {
    expanders_[static_cast<size_t>(worker)].set_head(task.first_head);
  }

  void query(const AttendTask& task, int r, float* q_K) const override {
    const int64_t row = task.row_of(r, call_.heads()), N = call_.nope_dim();
    std::memcpy(q_K, call_.qn_THN.row(row), static_cast<size_t>(N) * sizeof(float));
    std::memcpy(q_K + N, call_.qr_THR.row(row), static_cast<size_t>(call_.rope_dim()) * sizeof(float));
  }

  const std::byte* keys(int worker, const AttendTask& task, int b) override {
    return expanders_[static_cast<size_t>(worker)].keys(block_of(call_.cache, call_.layer, task, b));
  }
  const std::byte* values(int worker, const AttendTask& task, int b, Prefetch /*wanted*/) override {
    return expanders_[static_cast<size_t>(worker)].values(block_of(call_.cache, call_.layer, task, b), b);
  }

  float* output(const AttendTask& task, int r) const override {
    return call_.o_THV.row(task.row_of(r, call_.heads()));
  }

 private:
  const LatentCall& call_;
  std::vector<Expander> expanders_;
};

}  // namespace

void attend_expanded(const AttendMachine& m, const LatentCall& call, std::span<const AttendSpan> spans) {
  if (spans.empty()) return;
  const FoldShape shape{.matmul = call.cache.kernel(),
                        .attention = call.cache.attention(),
                        .key_dim = call.nope_dim() + call.rope_dim(),
                        .value_dim = call.value_dim(),
                        .spec = call.spec,
                        .segmented = false};  // building dominates, and many rows keep all threads busy
  // Building a block costs as much as attending to it with some 400 rows, so a task has as many as its caches hold.
  constexpr int kRowsPerTask = 1024;
  int longest = 0;
  for (const AttendSpan& span : spans) longest = std::max(longest, span.tokens);
  ExpandedSource source(m, call, shape.stretch_blocks());
  attend_tasks(m, shape, cut_tasks(spans, std::min(kRowsPerTask, longest), call.heads(), 1), source);
}

}  // namespace cachalot
