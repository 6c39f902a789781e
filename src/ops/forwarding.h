// What decorators are made of: every plain verb goes to another Ops, and fused ones fall apart into plain ones
// (plain.cpp), so a decorator that overrides a plain verb sees all there is to see.
#pragma once

#include "ops/ops.h"

namespace cachalot {

class ForwardingOps : public Ops {
 public:
  // Borrows `inner` for its life.
  explicit ForwardingOps(Ops& inner) : inner_(inner) {}

  Arena& arena() override { return inner_.arena(); }
  Weight load_matrix(const MatrixPart& part, DType held_as) override { return inner_.load_matrix(part, held_as); }
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override {
    return inner_.load_matrices(parts, held_as);
  }
  Weight load_vector(const StoredTensor& s) override { return inner_.load_vector(s); }
  Weight load_vectors(std::span<const StoredTensor> parts) override { return inner_.load_vectors(parts); }
  int64_t matrix_bytes(int64_t rows, int64_t columns, DType held_as) const override {
    return inner_.matrix_bytes(rows, columns, held_as);
  }
  std::unique_ptr<KvCache> make_cache(const KvCacheSpec& spec) override { return inner_.make_cache(spec); }
  int64_t cache_block_bytes(const KvCache::Layer& layer, DType dtype) const override {
    return inner_.cache_block_bytes(layer, dtype);
  }
  std::unique_ptr<States> make_states(std::span<const StateLayer> layers, int slots) override {
    return inner_.make_states(layers, slots);
  }
  int64_t state_slot_bytes(std::span<const StateLayer> layers) const override {
    return inner_.state_slot_bytes(layers);
  }
  void copy_block(KvCache& cache, int group, int32_t from, int32_t to) override {
    inner_.copy_block(cache, group, from, to);
  }
  std::vector<std::byte> export_block(const KvCache& cache, int group, int32_t block) override {
    return inner_.export_block(cache, group, block);
  }
  void import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) override {
    inner_.import_block(cache, group, block, bytes);
  }
  void copy_state(States& states, int from, int to) override { inner_.copy_state(states, from, to); }
  void clear_state(States& states, int slot) override { inner_.clear_state(states, slot); }

  Tensor embed(std::span<const int32_t> ids_T, const Weight& table) override { return inner_.embed(ids_T, table); }
  Tensor linear(const Tensor& x, const Linear& l) override { return inner_.linear(x, l); }
  Tensor linear_per_head(const Tensor& x, const Weight& w) override { return inner_.linear_per_head(x, w); }
  Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) override { return inner_.rms_norm(x, gain, eps); }
  Tensor add(const Tensor& a, const Tensor& b) override { return inner_.add(a, b); }
  Tensor multiply(const Tensor& a, const Tensor& b) override { return inner_.multiply(a, b); }
  Tensor activate(const Tensor& x, const Activation& form) override { return inner_.activate(x, form); }
  Tensor sigmoid(const Tensor& x) override { return inner_.sigmoid(x); }
  Tensor scale_rows(const Tensor& x, const Tensor& factor) override { return inner_.scale_rows(x, factor); }
  Tensor concat(const Tensor& a, const Tensor& b) override { return inner_.concat(a, b); }
  Tensor zeros(int64_t rows, int64_t columns) override { return inner_.zeros(rows, columns); }
  Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows) override { return inner_.gather_rows(x, rows); }
  Tensor scatter_add(const Tensor& y, const Tensor& x, std::span<const int32_t> rows) override {
    return inner_.scatter_add(y, x, rows);
  }
  Tensor rope_angles(const Batch& batch, const RopeSpec& spec) override { return inner_.rope_angles(batch, spec); }
  Tensor rope(const Tensor& x, const Tensor& angles, RopePairing pairing) override {
    return inner_.rope(x, angles, pairing);
  }
  Tensor logn_factors(const Batch& batch, const LogNSpec& spec) override { return inner_.logn_factors(batch, spec); }
  void append(KvCache& cache, int layer, const Batch& batch, const Tensor& k, const Tensor& v) override {
    inner_.append(cache, layer, batch, k, v);
  }
  Tensor attend(const Tensor& q, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) override {
    return inner_.attend(q, cache, layer, batch, spec);
  }
  void append_rows(States& states, int layer, const Batch& batch, const Tensor& x) override {
    inner_.append_rows(states, layer, batch, x);
  }
  void set_state(States& states, int layer, int slot, int chunk, const Tensor& state) override {
    inner_.set_state(states, layer, slot, chunk, state);
  }
  Routing route(const Tensor& logits, const Weight& correction, const MoeGateSpec& spec) override {
    return inner_.route(logits, correction, spec);
  }

  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override { return inner_.keep_only(mark, tensor); }
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override {
    return inner_.read(tensor, room);
  }
  int host_threads() const override { return inner_.host_threads(); }
  void on_host_threads(int64_t jobs, const std::function<void(int thread, int64_t i)>& job) override {
    inner_.on_host_threads(jobs, job);
  }
  void mark(std::string_view point, const Tensor& tensor) override { inner_.mark(point, tensor); }

 protected:
  Ops& inner() { return inner_; }

 private:
  Ops& inner_;
};

}  // namespace cachalot
