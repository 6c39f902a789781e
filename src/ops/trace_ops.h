// A decorator that forwards every verb and hands marked points to a sink. Everything is seen un-fused: fused verbs
// fall back to their plain definitions here.
#pragma once

#include <functional>

#include "ops/ops.h"

namespace cachalot {

class TraceOps : public Ops {
 public:
  using Sink = std::function<void(std::string_view point, const Tensor& tensor)>;
  // Borrows `inner` for its life.
  TraceOps(Ops& inner, Sink sink) : inner_(inner), sink_(std::move(sink)) {}

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

  Tensor embed(std::span<const int32_t> ids_T, const Weight& table) override { return inner_.embed(ids_T, table); }
  Tensor linear(const Tensor& x, const Weight& w, const Weight& bias) override { return inner_.linear(x, w, bias); }
  std::vector<Tensor> linears(const Tensor& x, std::initializer_list<const Linear*> matrices) override {
    std::vector<Tensor> results;
    for (const Linear* l : matrices) results.push_back(linear(x, l->w, l->bias));
    return results;
  }
  Tensor logits(const Tensor& hidden, const Weight& w, const Weight& bias) override {
    return inner_.logits(hidden, w, bias);
  }
  Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) override { return inner_.rms_norm(x, gain, eps); }
  Tensor add(const Tensor& a, const Tensor& b) override { return inner_.add(a, b); }
  Tensor activate(const Tensor& x, const Activation& form) override { return inner_.activate(x, form); }
  Tensor gated(const Tensor& gate, const Tensor& up, const Activation& form) override {
    return inner_.gated(gate, up, form);
  }
  Tensor sigmoid(const Tensor& x) override { return inner_.sigmoid(x); }
  Tensor scale_rows(const Tensor& x, const Tensor& factor) override { return inner_.scale_rows(x, factor); }
  Tensor concat(const Tensor& a, const Tensor& b) override { return inner_.concat(a, b); }
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
  void append_latent(KvCache& cache, int layer, const Batch& batch, const Tensor& c, const Tensor& kr) override {
    inner_.append_latent(cache, layer, batch, c, kr);
  }
  Tensor attend_latent(const Tensor& qn, const Tensor& qr, const LatentWeights& w, KvCache& cache, int layer,
                       const Batch& batch, const AttendSpec& spec) override {
    return inner_.attend_latent(qn, qr, w, cache, layer, batch, spec);
  }
  Routing route(const Tensor& logits, const Weight& correction, const MoeGateSpec& spec) override {
    return inner_.route(logits, correction, spec);
  }
  Tensor experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override {
    return inner_.experts(x, routing, w, form);
  }
  Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows) override { return inner_.gather_rows(x, rows); }
  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override { return inner_.keep_only(mark, tensor); }

  void mark(std::string_view point, const Tensor& tensor) override { sink_(point, tensor); }

 private:
  Ops& inner_;
  Sink sink_;
};

}  // namespace cachalot
