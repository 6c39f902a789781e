// Ops on this machine's processor: the kernels of one instruction set and a pool of threads.
#pragma once

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/weights.h"
#include "ops/ops.h"

namespace cachalot {

class CpuOps final : public Ops {
 public:
  // Tensors, weights and caches lie in `memory`.
  CpuOps(const KernelTable& kernels, int threads, MemorySource memory = host_memory);

  const KernelTable& kernels() const { return kernels_; }
  // The type that inputs of matrices held so are rounded to.
  DType inputs_of(DType held_as) const { return matmul(held_as).inputs; }
  ThreadPool& pool() { return pool_; }

  Arena& arena() override { return arena_; }
  Weight load_matrix(const MatrixPart& part, DType held_as) override;
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override;
  Weight load_vector(const StoredTensor& stored) override;
  Weight load_vectors(std::span<const StoredTensor> parts) override;
  int64_t matrix_bytes(int64_t rows, int64_t columns, DType held_as) const override;
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

  std::vector<Tensor> linears(const Tensor& x_TD, std::initializer_list<const Linear*> matrices) override;
  Tensor logits(const Tensor& hidden_TD, const Linear& head) override;
  Tensor gated(const Tensor& gate_TF, const Tensor& up_TF, const Activation& form) override;
  Tensor attend_latent(const Tensor& qn_THN, const Tensor& qr_THR, const LatentWeights& w, KvCache& cache, int layer,
                       const Batch& batch, const AttendSpec& spec) override;
  Tensor experts(const Tensor& x_TD, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override;

  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override;
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override;
  int host_threads() const override { return pool_.threads(); }
  void on_host_threads(int64_t jobs, const std::function<void(int thread, int64_t i)>& job) override {
    pool_.for_each_chunk(jobs, 1, [&](int worker, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) job(worker, i);
    });
  }

 private:
  const MatmulKernel& matmul(DType held_as) const { return matmul_kernel(kernels_, held_as); }
  // Calls job(begin, end) over the rows, in parallel when the work is worth a hand-over.
  void for_rows(int64_t rows, int64_t numbers_per_row, const std::function<void(int64_t, int64_t)>& job);
  // The rows of x prepared for multiplication with matrices of the kernel.
  const std::byte* prepared(const Tensor& x_TD, const MatmulKernel& kernel);
  struct Product;
  // Computes every product's outputs from x.
  void multiply(const Tensor& x_TD, std::span<Product> products);
  Tensor like(const Tensor& x);  // an uninitialised contiguous tensor of x's shape
  // Calls write(position, block, row of the batch) for every row, and clears the blocks that begin among them.
  void for_cache_rows(CpuKvCache& cache, int layer, const Batch& batch,
                      const std::function<void(int position, int32_t block, int64_t row)>& write);
  AttendMachine machine_for(const Batch& batch, int64_t products_per_key);

  const KernelTable& kernels_;
  ThreadPool pool_;
  MemorySource memory_;
  Arena arena_;
};

}  // namespace cachalot
