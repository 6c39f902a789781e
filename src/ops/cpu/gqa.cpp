#include "ops/cpu/gqa.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cachalot {

namespace {

// Where one worker decodes the blocks of a KV tile; empty unless the cache holds codes.
struct DecodedTile {
  std::array<WritablePanels, kTileBlocks> keys, values;
};

// Blocks are read where they lie in the cache, or decoded.
class GroupedReader final : public KvReader {
 public:
  GroupedReader(const AttendCall& call, const AttendTask& task, int kv_head, int64_t decoding_time,
                DecodedTile& decoded)
      : call_(call), task_(task), kv_head_(kv_head), decoding_time_(decoding_time), decoded_(decoded) {}

  KvBlock block(int b, int slot, ReadAhead& ahead) override {
    const int32_t number = block_of(b);
    KvBlock kv;
    if (call_.cache.coded()) ahead.prefetch_for(decoding_time_ / 2);
    kv.keys = call_.cache.keys(call_.layer, number, kv_head_, decoded_.keys[static_cast<size_t>(slot)]);
    if (call_.cache.coded()) ahead.prefetch_for(decoding_time_ / 2);
    kv.values = call_.cache.values(call_.layer, number, kv_head_, decoded_.values[static_cast<size_t>(slot)]);
    return kv;
  }
  StoredBlock stored(int b) const override {
    Prefetch keys = call_.cache.stored_keys(call_.layer, block_of(b), kv_head_),
             values = call_.cache.stored_values(call_.layer, block_of(b), kv_head_);
    if (call_.cache.coded()) keys.bytes += std::exchange(values, {}).bytes;  // they follow, and are decoded with them
    return {keys, values};
  }

 private:
  int32_t block_of(int b) const { return cache_block(call_.cache, call_.layer, task_, b); }

  const AttendCall& call_;
  const AttendTask& task_;
  const int kv_head_;
  const int64_t decoding_time_;  // of a block
  DecodedTile& decoded_;
};

class GroupedSource final : public AttendSource {
 public:
  GroupedSource(const AttendMachine& machine, const AttendCall& call, const AttendShape& shape, int task_heads)
      : call_(call),
        s_(shape),
        heads_(call.q_THK.dim(1)),
        task_heads_(task_heads),
        decoded_(static_cast<size_t>(machine.workers)) {
    if (!call.cache.coded()) return;
    for (DecodedTile& own : decoded_) {
      for (WritablePanels& keys : own.keys) keys = allocate_panels(machine.arena, call.cache.key_layout(call.layer));
      for (WritablePanels& values : own.values)
        values = allocate_panels(machine.arena, call.cache.value_layout(call.layer));
    }
  }

  void query(const AttendTask& task, int r, float* q_K) const override {
    std::memcpy(q_K, call_.q_THK.row(task.row_of(r, heads_)),
                static_cast<size_t>(call_.q_THK.last()) * sizeof(float));
  }
  std::unique_ptr<KvReader> open(int worker, const AttendTask& task) override {
    const int kv_head = task.first_head / task_heads_;
    return std::make_unique<GroupedReader>(call_, task, kv_head, s_.making_time,
                                           decoded_[static_cast<size_t>(worker)]);
  }
  float* output(const AttendTask& task, int r) override { return call_.o_THV.row(task.row_of(r, heads_)); }

 private:
  const AttendCall& call_;
  const AttendShape& s_;
  const int64_t heads_;
  const int task_heads_;
  std::vector<DecodedTile> decoded_;  // per worker
};

}  // namespace

void attend_grouped(const AttendMachine& machine, const AttendCall& call, std::span<const AttendSpan> spans) {
  constexpr int kRowsPerTask = 96;  // whole tiles of 32; scores and outputs of a task stay in the second cache
  const auto heads = static_cast<int>(call.q_THK.dim(1));
  const auto& layer = call.cache.layer(call.layer);
  const int task_heads = heads / layer.kv_heads, task_tokens = std::max(1, kRowsPerTask / task_heads);
  const AttendShape shape{.kernel = call.cache.attention(),
                          .keys = call.cache.key_layout(call.layer),
                          .values = call.cache.value_layout(call.layer),
                          .spec = call.spec,
                          .split_kv = call.cache.split_kv(),
                          .making_time = call.cache.coded() ? layer.key_dim + layer.value_dim : 0};
  GroupedSource source(machine, call, shape, task_heads);
  attend_tasks(machine, shape, cut_tasks(spans, task_tokens, heads, task_heads), source);
}

}  // namespace cachalot
