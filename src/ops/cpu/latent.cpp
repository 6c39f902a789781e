#include "ops/cpu/latent.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/panels.h"
#include "ops/cpu/weights.h"

namespace cachalot {

namespace {

// The inputs of every head, prepared for multiplication with its matrix.
struct PreparedHeads {
  const std::byte* memory;
  int64_t head_bytes;

  const std::byte* head(int64_t h) const { return memory + h * head_bytes; }
};

// Rows of [rows, H, inputs], of which row_of(row * H + head) gives one, prepared for multiplication with w.
template <typename RowOf>
PreparedHeads prepared_heads(const AttendMachine& m, const Weight& w, int64_t rows, const RowOf& row_of) {
  const MatmulKernel& kernel = *panels_of(w).layout().kernel;
  const int64_t heads = w.shape[0], inputs = w.shape[2], head_bytes = kernel.inputs_bytes(rows, inputs);
  std::byte* x = allocate_bytes(m.arena, heads * head_bytes);
  m.pool.for_each_chunk(rows * heads, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernel.prepare(row_of(r), inputs, r / heads, rows, x + r % heads * head_bytes);
  });
  return {x, head_bytes};
}

// y[row][head] = W_head x[row][head] for every head: y is [rows, H, outputs] with rows of heads `y_stride` numbers
// apart. W is [H, outputs, inputs].
void multiply_heads(const AttendMachine& m, const Weight& w, const PreparedHeads& x, int64_t rows, float* y,
                    int64_t y_stride) {
  const PanelLayout layout = panels_of(w).layout();
  const int64_t heads = w.shape[0], panels = layout.panels();
  m.pool.for_each_chunk(heads * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i / panels, p = i % panels;
      panels_of(w, h).part(p, p + 1).multiply(x.head(h), rows, y + h * y_stride + layout.first_output(p),
                                              heads * y_stride);
    }
  });
}

}  // namespace

// -- Absorbed: scores and outputs in the latent space, one key for all heads

namespace {

// Where one worker decodes the blocks of a KV tile, unless they are read where they lie, and makes values of them.
struct AbsorbedTile {
  std::array<WritablePanels, kTileBlocks> keys, values;
};

// Cached blocks as keys, and their latent part turned into values.
class AbsorbedReader final : public KvReader {
 public:
  AbsorbedReader(const AttendCall& call, const AttendShape& shape, const AttendTask& task, AbsorbedTile& own)
      : call_(call), s_(shape), task_(task), own_(own) {}

  KvBlock block(int b, int slot, ReadAhead& ahead) override {
    const WritablePanels &room = own_.keys[static_cast<size_t>(slot)],
                         &values = own_.values[static_cast<size_t>(slot)];
    const Panels keys = call_.cache.keys(call_.layer, block_of(b), 0, room);
    s_.kernel.values_of_keys(keys.panel(0), s_.key_dim(), kBlockTokens, s_.value_dim(), values.panel(0),
                             ahead.during(s_.making_time));
    return {keys, values};
  }
  StoredBlock stored(int b) const override { return {call_.cache.stored_keys(call_.layer, block_of(b), 0), {}}; }

 private:
  int32_t block_of(int b) const { return cache_block(call_.cache, call_.layer, task_, b); }

  const AttendCall& call_;
  const AttendShape& s_;
  const AttendTask& task_;
  AbsorbedTile& own_;
};

class AbsorbedSource final : public AttendSource {
 public:
  AbsorbedSource(const AttendMachine& machine, const AttendCall& call, const AttendShape& shape)
      : call_(call), s_(shape), tiles_(static_cast<size_t>(machine.workers)) {
    for (AbsorbedTile& own : tiles_)
      for (size_t i = 0; i < kTileBlocks; ++i) {
        if (call.cache.coded()) own.keys[i] = allocate_panels(machine.arena, shape.keys);
        own.values[i] = allocate_panels(machine.arena, shape.values);
      }
  }

  void query(const AttendTask& task, int r, float* q_L) const override {
    std::memcpy(q_L, call_.q_THK.row(row_of(task, r)), static_cast<size_t>(call_.q_THK.last()) * sizeof(float));
  }
  std::unique_ptr<KvReader> open(int worker, const AttendTask& task) override {
    return std::make_unique<AbsorbedReader>(call_, s_, task, tiles_[static_cast<size_t>(worker)]);
  }
  float* output(const AttendTask& task, int r) override { return call_.o_THV.row(row_of(task, r)); }

 private:
  int64_t row_of(const AttendTask& task, int r) const { return task.row_of(r, call_.q_THK.dim(1)); }

  const AttendCall& call_;
  const AttendShape& s_;
  std::vector<AbsorbedTile> tiles_;  // per worker
};

// Most splits that the keys of a row can be divided into.
int most_splits(const CpuKvCache& cache, std::span<const AttendSpan> spans) {
  int most = 1;
  for (const AttendSpan& span : spans)
    most = std::max(most, (span.first_position + span.tokens - 1) / (kSplitBlocks * kBlockTokens) + 1);
  return cache.split_kv() ? most : 1;
}

}  // namespace

void attend_latents(const AttendMachine& m, const AttendCall& call, std::span<const AttendSpan> spans) {
  const int64_t C = call.o_THV.last();
  const AttendShape shape{.kernel = call.cache.attention(),
                          .keys = call.cache.key_layout(call.layer),
                          .values = call.cache.layout(C, kBlockTokens),
                          .spec = call.spec,
                          .split_kv = call.cache.split_kv(),
                          .making_time = 2 * C};
  // The heads of a token share every block, whose values are made anew by each task. They are divided only when
  // threads would be idle.
  constexpr int kRowsPerTask = 64;
  const auto heads = static_cast<int>(call.q_THK.dim(1));
  int tokens = 0;
  for (const AttendSpan& span : spans) tokens += span.tokens;
  const bool few = tokens < m.workers && most_splits(call.cache, spans) < 2 * m.workers;
  const int task_heads = few ? static_cast<int>(divide_up(heads, m.workers)) : heads;
  AbsorbedSource source(m, call, shape);
  attend_tasks(m, shape, cut_tasks(spans, std::max(1, kRowsPerTask / heads), heads, task_heads), source);
}

void project_heads(const AttendMachine& m, const Weight& w_HOI, const Tensor& x_THI, const Tensor& y_THO) {
  const PreparedHeads x = prepared_heads(m, w_HOI, x_THI.dim(0), [&](int64_t r) { return x_THI.row(r); });
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
    const PreparedHeads x =
        prepared_heads(m_, call_.weights.k_up_HCN, rows, [&](int64_t r) { return call_.qn_THN.row(batch_row(r)); });
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
  std::vector<AttendSpan> batch;
  int room = kAbsorbedRows;
  const auto run = [&] {
    const auto mark = machine.arena.mark();
    if (!batch.empty()) Absorbed(machine, call, batch).run();
    machine.arena.rewind(mark);
    batch.clear();
    room = kAbsorbedRows;
  };
  for (AttendSpan left : spans)
    while (left.tokens > 0) {
      AttendSpan now = left;
      now.tokens = std::min(left.tokens, room);
      batch.push_back(now);
      left.first_row += now.tokens, left.first_position += now.tokens, left.tokens -= now.tokens;
      room -= now.tokens;
      if (room == 0) run();
    }
  run();
}

// -- Expanded: keys and values of one head are built block by block

namespace {

// Where one worker builds the keys and values of a head, block by block.
struct ExpandedTile {
  ExpandedTile(Arena& arena, const LatentCall& call, const AttendShape& shape) {
    const MatmulKernel &cached = *shape.keys.kernel, &v_up = *panels_of(call.weights.v_up_HVC).layout().kernel;
    const int64_t N = call.nope_dim(), C = call.latent_dim(), V = call.value_dim();
    if (call.cache.coded()) block = allocate_panels(arena, call.cache.key_layout(call.layer));
    k_up_CN = arena.tensor(C, N).data();
    row_C = arena.tensor(C).data();
    k_up_NC = allocate_bytes(arena, cached.inputs_bytes(N, C));
    latents = allocate_bytes(arena, kBlockTokens * C * int64_t{sizeof(float)});
    inputs = allocate_bytes(arena, v_up.inputs_bytes(kBlockTokens, C));
    built = arena.tensor(std::max(N, V), kBlockTokens).data();
    narrow = reinterpret_cast<uint16_t*>(allocate_bytes(arena, 2 * std::max(N, V) * kBlockTokens));
    keys = allocate_panels(arena, shape.keys);
    values = allocate_panels(arena, shape.values);
  }

  WritablePanels block;  // latents and rotary keys of 64 tokens, where the cache holds codes
  float* k_up_CN;        // the head's k_up as it is held
  float* row_C;          // one column of it, or one latent, in f32
  std::byte* k_up_NC;    // its rows prepared to meet the cached block
  std::byte* latents;    // of the block, token by token, in the cache's type
  std::byte* inputs;     // all of them prepared for v_up
  float* built;          // keys [N, tokens] or values [tokens, V]
  uint16_t* narrow;      // the same in bf16
  WritablePanels keys, values;
};

// Builds keys and values of one head from the cached latents.
class ExpandedReader final : public KvReader {
 public:
  ExpandedReader(const AttendMachine& machine, const LatentCall& call, const AttendTask& task, ExpandedTile& own)
      : m_(machine), call_(call), task_(task), own_(own), v_up_(panels_of(call.weights.v_up_HVC, task.first_head)) {
    const int64_t N = call_.nope_dim(), C = call_.latent_dim();
    const Panels k_up = panels_of(call.weights.k_up_HCN, task.first_head);
    for (int64_t c = 0; c < C; ++c) read_packed_row(k_up, c, own_.k_up_CN + c * N);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = 0; c < C; ++c) own_.row_C[c] = own_.k_up_CN[c * N + n];
      own_.keys.layout().kernel->prepare(own_.row_C, C, n, N, own_.k_up_NC);
    }
  }

  KvBlock block(int b, int /*slot: one is all*/, ReadAhead& /*ahead*/) override {
    const int32_t number = cache_block(call_.cache, call_.layer, task_, b);
    const Panels latents = call_.cache.keys(call_.layer, number, 0, own_.block);
    build_keys(latents);
    build_values(latents);
    return {own_.keys, own_.values};
  }

 private:
  // k[n][token] = k_up[n] . c[token]: the cached block is the packed matrix, and the result has the inputs of the
  // keys as its rows. The rotary key follows as it is.
  void build_keys(const Panels& block) {
    const int64_t N = call_.nope_dim(), C = call_.latent_dim(), R = call_.rope_dim();
    block.slice(0, C).multiply(own_.k_up_NC, N, own_.built, kBlockTokens);
    to_panels(own_.keys.slice(0, N));
    const Panels from = block.slice(C, R);
    const WritablePanels to = own_.keys.slice(N, R);
    for (int64_t i = 0; i < to.panels(); ++i)
      std::memcpy(to.panel(i), from.panel(i), static_cast<size_t>(to.layout().panel_bytes()));
  }

  void build_values(const Panels& block) {
    const int64_t C = call_.latent_dim();
    outputs_to_rows(m_.kernels, block.slice(0, C), own_.latents);
    const MatmulKernel& kernel = *v_up_.layout().kernel;
    for (int64_t t = 0; t < kBlockTokens; ++t) {
      const auto* numbers = reinterpret_cast<const float*>(own_.latents) + t * C;
      if (narrow()) {
        m_.kernels.bf16_to_f32(reinterpret_cast<const uint16_t*>(own_.latents) + t * C, C, own_.row_C);
        numbers = own_.row_C;
      }
      kernel.prepare(numbers, C, t, kBlockTokens, own_.inputs);
    }
    v_up_.multiply(own_.inputs, kBlockTokens, own_.built, call_.value_dim());
    to_panels(own_.values);
  }

  // What is built, [inputs, outputs], as panels of the cache's kernel.
  void to_panels(const WritablePanels& panels) {
    const PanelLayout& layout = panels.layout();
    if (narrow()) m_.kernels.f32_to_bf16(own_.built, layout.inputs * layout.outputs, own_.narrow);
    inputs_to_panels(
        narrow() ? reinterpret_cast<const std::byte*>(own_.narrow) : reinterpret_cast<const std::byte*>(own_.built),
        panels);
  }
  bool narrow() const { return own_.keys.layout().kernel->weights == DType::bf16; }

  const AttendMachine& m_;
  const LatentCall& call_;
  const AttendTask& task_;
  ExpandedTile& own_;
  const Panels v_up_;
};

class ExpandedSource final : public AttendSource {
 public:
  ExpandedSource(const AttendMachine& machine, const LatentCall& call, const AttendShape& shape)
      : m_(machine), call_(call) {
    for (int i = 0; i < machine.workers; ++i) tiles_.emplace_back(machine.arena, call, shape);
  }

  void query(const AttendTask& task, int r, float* q_K) const override {
    const int64_t row = task.row_of(r, call_.heads()), N = call_.nope_dim();
    std::memcpy(q_K, call_.qn_THN.row(row), static_cast<size_t>(N) * sizeof(float));
    std::memcpy(q_K + N, call_.qr_THR.row(row), static_cast<size_t>(call_.rope_dim()) * sizeof(float));
  }
  std::unique_ptr<KvReader> open(int worker, const AttendTask& task) override {
    return std::make_unique<ExpandedReader>(m_, call_, task, tiles_[static_cast<size_t>(worker)]);
  }
  float* output(const AttendTask& task, int r) override { return call_.o_THV.row(task.row_of(r, call_.heads())); }

 private:
  const AttendMachine& m_;
  const LatentCall& call_;
  std::vector<ExpandedTile> tiles_;  // per worker
};

}  // namespace

void attend_expanded(const AttendMachine& m, const LatentCall& call, std::span<const AttendSpan> spans) {
  if (spans.empty()) return;
  const AttendShape shape{.kernel = call.cache.attention(),
                          .keys = call.cache.layout(kBlockTokens, call.nope_dim() + call.rope_dim()),
                          .values = call.cache.layout(call.value_dim(), kBlockTokens),
                          .spec = call.spec,
                          .split_kv = false};  // building dominates, and many rows keep all threads busy
  // Building a block costs as much as attending to it with some 400 rows, so a task has as many as its caches hold.
  constexpr int kRowsPerTask = 1024;
  int longest = 0;
  for (const AttendSpan& span : spans) longest = std::max(longest, span.tokens);
  ExpandedSource source(m, call, shape);
  attend_tasks(m, shape, cut_tasks(spans, std::min(kRowsPerTask, longest), call.heads(), 1), source);
}

}  // namespace cachalot
