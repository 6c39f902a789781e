// Ops as a textbook has them: numbers in rows of f32, sums in f64, one thread, no fused verb of its own. It runs
// whole models, slowly: the oracle of every other Ops, and the pattern for one on another machine. Of MLA's two forms
// it has the absorbed one, which serves every row, whatever its sequence states.
#pragma once

#include "ops/ops.h"

namespace cachalot {

class PlainOps final : public Ops {
 public:
  Arena& arena() override { return arena_; }
  // Weights are held as f32, whatever is asked for.
  Weight load_matrix(const MatrixPart& part, DType held_as) override;
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override;
  Weight load_vector(const StoredTensor& stored) override;
  Weight load_vectors(std::span<const StoredTensor> parts) override;
  int64_t matrix_bytes(int64_t rows, int64_t columns, DType held_as) const override;
  // CHECKs that the cache is to be f32.
  std::unique_ptr<KvCache> make_cache(const KvCacheSpec& spec) override;
  int64_t cache_block_bytes(const KvCache::Layer& layer, DType dtype) const override;
  std::unique_ptr<States> make_states(std::span<const StateLayer> layers, int slots) override;
  int64_t state_slot_bytes(std::span<const StateLayer> layers) const override;
  void copy_block(KvCache& cache, int group, int32_t from, int32_t to) override;
  std::vector<std::byte> export_block(const KvCache& cache, int group, int32_t block) override;
  void import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) override;
  void copy_state(States& states, int from, int to) override;
  void clear_state(States& states, int slot) override;

  Tensor embed(std::span<const int32_t> ids_T, const Weight& table_WD) override;
  Tensor linear(const Tensor& x_TD, const Linear& l) override;
  Tensor linear_per_head(const Tensor& x_THI, const Weight& w_HOI) override;
  Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) override;
  Tensor add(const Tensor& a, const Tensor& b) override;
  Tensor multiply(const Tensor& a, const Tensor& b) override;
  Tensor activate(const Tensor& x, const Activation& form) override;
  Tensor sigmoid(const Tensor& x) override;
  Tensor scale_rows(const Tensor& x, const Tensor& factor_T1) override;
  Tensor concat(const Tensor& a, const Tensor& b) override;
  Tensor zeros(int64_t rows, int64_t columns) override;
  Tensor gather_rows(const Tensor& x_TD, std::span<const int32_t> rows) override;
  Tensor scatter_add(const Tensor& y_TD, const Tensor& x_MD, std::span<const int32_t> rows) override;
  Tensor rope_angles(const Batch& batch, const RopeSpec& spec) override;
  Tensor rope(const Tensor& x_THK, const Tensor& angles_TR, RopePairing pairing) override;
  Tensor logn_factors(const Batch& batch, const LogNSpec& spec) override;
  void append(KvCache& cache, int layer, const Batch& batch, const Tensor& k_TGK, const Tensor& v_TGV) override;
  Tensor attend(const Tensor& q_THK, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) override;
  void append_rows(States& states, int layer, const Batch& batch, const Tensor& x_TN) override;
  void set_state(States& states, int layer, int slot, int chunk, const Tensor& state_1N) override;
  Routing route(const Tensor& logits_TE, const Weight& correction_E, const MoeGateSpec& spec) override;

  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override;
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override;

 private:
  Tensor like(const Tensor& x);  // an uninitialised contiguous tensor of x's shape
  Arena arena_;
};

}  // namespace cachalot
