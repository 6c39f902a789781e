// An Ops whose memory the host cannot touch outside its verbs: what would run on a device runs on it, and what
// follows a pointer that is not its own dies. Every verb, fused ones too, is CpuOps' own, so all bits are CpuOps'.
#pragma once

#include <sys/mman.h>

#include <algorithm>

#include "ops/cpu/cpu_ops.h"

namespace cachalot::testing {

// Pages that can be closed to everybody.
class GuardedMemory {
 public:
  MemorySource source() {
    return [this](size_t bytes) {
      auto* memory = static_cast<std::byte*>(::mmap(nullptr, rounded(bytes), PROT_READ | PROT_WRITE,
                                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
      CHECK(memory != MAP_FAILED);
      blocks_.push_back({memory, rounded(bytes)});
      return std::shared_ptr<std::byte>(memory, [this](std::byte* block) { give_back(block); });
    };
  }
  void open() { protect(PROT_READ | PROT_WRITE); }
  void close() { protect(PROT_NONE); }

 private:
  struct Block {
    std::byte* memory;
    size_t bytes;
  };
  static size_t rounded(size_t bytes) { return (std::max<size_t>(1, bytes) + 4095) / 4096 * 4096; }
  void protect(int mode) {
    for (const Block& b : blocks_) CHECK(::mprotect(b.memory, b.bytes, mode) == 0);
  }
  void give_back(std::byte* memory) {
    const auto at = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.memory == memory; });
    ::munmap(memory, at->bytes);
    blocks_.erase(at);
  }

  std::vector<Block> blocks_;
};

class GuardedOps final : public Ops {
  template <typename Verb>
  auto inside(const Verb& verb) {
    ++verbs_;
    memory_.open();
    auto result = verb();
    memory_.close();
    return result;
  }

 public:
  GuardedOps(const KernelTable& kernels, int threads) : ops_(kernels, threads, memory_.source()) {}

  int verbs() const { return verbs_; }

  Arena& arena() override { return ops_.arena(); }  // reckons with pointers, follows none
  Weight load_matrix(const MatrixPart& part, DType held_as) override {
    return inside([&] { return ops_.load_matrix(part, held_as); });
  }
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override {
    return inside([&] { return ops_.load_matrices(parts, held_as); });
  }
  Weight load_vector(const StoredTensor& s) override {
    return inside([&] { return ops_.load_vector(s); });
  }
  Weight load_vectors(std::span<const StoredTensor> parts) override {
    return inside([&] { return ops_.load_vectors(parts); });
  }
  int64_t matrix_bytes(int64_t rows, int64_t columns, DType held_as) const override {
    return ops_.matrix_bytes(rows, columns, held_as);
  }
  std::unique_ptr<KvCache> make_cache(const KvCacheSpec& spec) override {
    return inside([&] { return ops_.make_cache(spec); });
  }
  int64_t cache_block_bytes(const KvCache::Layer& layer, DType dtype) const override {
    return ops_.cache_block_bytes(layer, dtype);
  }
  std::unique_ptr<States> make_states(std::span<const StateLayer> layers, int slots) override {
    return inside([&] { return ops_.make_states(layers, slots); });
  }
  int64_t state_slot_bytes(std::span<const StateLayer> layers) const override {
    return ops_.state_slot_bytes(layers);
  }
  void copy_block(KvCache& cache, int group, int32_t from, int32_t to) override {
    inside([&] { return ops_.copy_block(cache, group, from, to), 0; });
  }
  std::vector<std::byte> export_block(const KvCache& cache, int group, int32_t block) override {
    return inside([&] { return ops_.export_block(cache, group, block); });
  }
  void import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) override {
    inside([&] { return ops_.import_block(cache, group, block, bytes), 0; });
  }
  void copy_state(States& states, int from, int to) override {
    inside([&] { return ops_.copy_state(states, from, to), 0; });
  }
  void clear_state(States& states, int slot) override {
    inside([&] { return ops_.clear_state(states, slot), 0; });
  }

  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    return inside([&] { return ops_.embed(ids, table); });
  }
  Tensor linear(const Tensor& x, const Linear& l) override {
    return inside([&] { return ops_.linear(x, l); });
  }
  Tensor linear_per_head(const Tensor& x, const Weight& w) override {
    return inside([&] { return ops_.linear_per_head(x, w); });
  }
  Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) override {
    return inside([&] { return ops_.rms_norm(x, gain, eps); });
  }
  Tensor add(const Tensor& a, const Tensor& b) override {
    return inside([&] { return ops_.add(a, b); });
  }
  Tensor multiply(const Tensor& a, const Tensor& b) override {
    return inside([&] { return ops_.multiply(a, b); });
  }
  Tensor activate(const Tensor& x, const Activation& form) override {
    return inside([&] { return ops_.activate(x, form); });
  }
  Tensor sigmoid(const Tensor& x) override {
    return inside([&] { return ops_.sigmoid(x); });
  }
  Tensor scale_rows(const Tensor& x, const Tensor& factor) override {
    return inside([&] { return ops_.scale_rows(x, factor); });
  }
  Tensor concat(const Tensor& a, const Tensor& b) override {
    return inside([&] { return ops_.concat(a, b); });
  }
  Tensor zeros(int64_t rows, int64_t columns) override {
    return inside([&] { return ops_.zeros(rows, columns); });
  }
  Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows) override {
    return inside([&] { return ops_.gather_rows(x, rows); });
  }
  Tensor scatter_add(const Tensor& y, const Tensor& x, std::span<const int32_t> rows) override {
    return inside([&] { return ops_.scatter_add(y, x, rows); });
  }
  Tensor rope_angles(const Batch& batch, const RopeSpec& spec) override {
    return inside([&] { return ops_.rope_angles(batch, spec); });
  }
  Tensor rope(const Tensor& x, const Tensor& angles, RopePairing pairing) override {
    return inside([&] { return ops_.rope(x, angles, pairing); });
  }
  Tensor logn_factors(const Batch& batch, const LogNSpec& spec) override {
    return inside([&] { return ops_.logn_factors(batch, spec); });
  }
  void append(KvCache& cache, int layer, const Batch& batch, const Tensor& k, const Tensor& v) override {
    inside([&] { return ops_.append(cache, layer, batch, k, v), 0; });
  }
  Tensor attend(const Tensor& q, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) override {
    return inside([&] { return ops_.attend(q, cache, layer, batch, spec); });
  }
  void append_rows(States& states, int layer, const Batch& batch, const Tensor& x) override {
    inside([&] { return ops_.append_rows(states, layer, batch, x), 0; });
  }
  void set_state(States& states, int layer, int slot, int chunk, const Tensor& state) override {
    inside([&] { return ops_.set_state(states, layer, slot, chunk, state), 0; });
  }
  Routing route(const Tensor& logits, const Weight& correction, const MoeGateSpec& spec) override {
    return inside([&] { return ops_.route(logits, correction, spec); });
  }

  std::vector<Tensor> linears(const Tensor& x, std::initializer_list<const Linear*> matrices) override {
    return inside([&] { return ops_.linears(x, matrices); });
  }
  Tensor logits(const Tensor& hidden, const Linear& head) override {
    return inside([&] { return ops_.logits(hidden, head); });
  }
  Tensor gated(const Tensor& gate, const Tensor& up, const Activation& form) override {
    return inside([&] { return ops_.gated(gate, up, form); });
  }
  Tensor attend_latent(const Tensor& qn, const Tensor& qr, const LatentWeights& w, KvCache& cache, int layer,
                       const Batch& batch, const AttendSpec& spec) override {
    return inside([&] { return ops_.attend_latent(qn, qr, w, cache, layer, batch, spec); });
  }
  Tensor experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override {
    return inside([&] { return ops_.experts(x, routing, w, form); });
  }

  // Memory is closed: what is sampled is the host's copy.
  int host_threads() const override { return ops_.host_threads(); }
  void on_host_threads(int64_t jobs, const std::function<void(int thread, int64_t i)>& job) override {
    ops_.on_host_threads(jobs, job);
  }
  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override {
    return inside([&] { return ops_.keep_only(mark, tensor); });
  }
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override {
    inside([&] {
      std::vector<float> unused;
      const auto numbers = ops_.read(tensor, unused);
      return room.assign(numbers.begin(), numbers.end()), 0;
    });
    return room;
  }

 private:
  GuardedMemory memory_;
  CpuOps ops_;
  int verbs_ = 0;
};

}  // namespace cachalot::testing
