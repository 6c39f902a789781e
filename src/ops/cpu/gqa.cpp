#include "ops/cpu/gqa.h"

#include <algorithm>
#include <cstring>

namespace cachalot {

namespace {

// Blocks are read where they lie in the cache, or decoded.
class GroupedSource final : public AttendSource {
 public:
  GroupedSource(const AttendMachine& machine, const AttendCall& call, int task_heads)
      : call_(call),
        heads_(call.q_THK.dim(1)),
        task_heads_(task_heads),
        decoded_(static_cast<size_t>(machine.workers)) {
    if (!call.cache.coded()) return;
    const auto room = [&](int64_t bytes) {
      return static_cast<std::byte*>(machine.arena.allocate(static_cast<size_t>(bytes)));
    };
    for (Decoded& own : decoded_) {
      own.keys = room(call.cache.key_panel_bytes(call.layer));
      for (std::byte*& values : own.values) values = room(call.cache.value_panel_bytes(call.layer));
    }
  }

  void query(const AttendTask& task, int r, float* q_K) const override {
    std::memcpy(q_K, call_.q_THK.row(task.row_of(r, heads_)),
                static_cast<size_t>(call_.q_THK.last()) * sizeof(float));
  }

  const std::byte* keys(int worker, const AttendTask& task, int b) override {
    return call_.cache.key_panels(call_.layer, block_of(task, b), kv_head(task),
                                  decoded_[static_cast<size_t>(worker)].keys);
  }
  const std::byte* values(int worker, const AttendTask& task, int b, Prefetch /*wanted*/) override {
    return call_.cache.value_panels(call_.layer, block_of(task, b), kv_head(task),
                                    decoded_[static_cast<size_t>(worker)].values[b % kStretchBlocks]);
  }
  Prefetch stored_keys(const AttendTask& task, int b) const override {
    return call_.cache.stored_keys(call_.layer, block_of(task, b), kv_head(task));
  }
  Prefetch stored_values(const AttendTask& task, int b) const override {
    return call_.cache.stored_values(call_.layer, block_of(task, b), kv_head(task));
  }

  float* output(const AttendTask& task, int r) const override { return call_.o_THV.row(task.row_of(r, heads_)); }

 private:
  struct Decoded {
    std::byte *keys = nullptr, *values[kStretchBlocks] = {};
  };
  int32_t block_of(const AttendTask& task, int b) const {
    const auto group = static_cast<size_t>(call_.cache.layer(call_.layer).group);
    return task.span->sequence->block_tables[group][static_cast<size_t>(b)];
  }
  int kv_head(const AttendTask& task) const { return task.first_head / task_heads_; }

  const AttendCall& call_;
  const int64_t heads_;
  const int task_heads_;
  std::vector<Decoded> decoded_;  // per worker
};

}  // namespace

void attend_grouped(const AttendMachine& machine, const AttendCall& call, std::span<const AttendSpan> spans) {
  constexpr int kRowsPerTask = 96;  // whole tiles of 32; scores and outputs of a task stay in the second cache
  const auto& layer = call.cache.layer(call.layer);
  const auto heads = static_cast<int>(call.q_THK.dim(1));
  const int task_heads = heads / layer.kv_heads, task_tokens = std::max(1, kRowsPerTask / task_heads);
  const FoldShape shape{.matmul = call.cache.kernel(),
                        .attention = call.cache.attention(),
                        .key_dim = layer.key_dim,
                        .value_dim = layer.value_dim,
                        .spec = call.spec,
                        .segmented = call.cache.segmented()};
  GroupedSource source(machine, call, task_heads);
  attend_tasks(machine, shape, cut_tasks(spans, task_tokens, heads, task_heads), source);
}

}  // namespace cachalot
