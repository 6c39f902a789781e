// The seam: the verbs that a transformer is written in, and the nouns they take. Blocks (model/) know nothing else of
// the machine. Tensors, weights, caches and the arena's memory all belong to an Ops, and the host reads numbers only
// through read().
//
// Plain verbs are what an implementation must have. Fused verbs do what several plain ones do, and have a body made
// of those (plain.cpp): their definition, their fallback, and what decorators see. PlainOps is the slow readable
// implementation and the oracle of the others; CpuOps is the fast one; TraceOps looks at what passes.
//
// Verbs never write their inputs: append, append_rows, set_state and those of whole blocks and slots alone change the
// cache and the states. Results live in the step's arena.
// A verb's result for a row depends on that row's sequence alone, bit for bit: not on the batch, chunking or threads.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "formats/stored_tensor.h"
#include "ops/batch.h"
#include "ops/moe_gate.h"
#include "ops/rope.h"
#include "tensor/arena.h"
#include "tensor/tensor.h"

namespace cachalot {

// One stored matrix, or what becomes one: `transposed` swaps its rows and columns.
struct MatrixPart {
  StoredTensor stored;
  bool transposed = false;

  int64_t rows() const { return transposed ? stored.columns() : stored.rows(); }
  int64_t columns() const { return transposed ? stored.rows() : stored.columns(); }
};

// A parameter as the Ops that loaded it holds it; only that Ops knows the bytes. Copies share them. Empty when the
// model has none (a bias that is absent). rank and shape are the mathematical ones: [out, in] for a matrix,
// [E, out, in] for the matrices of E experts or heads.
struct Weight {
  struct Storage {
    virtual ~Storage() = default;
  };
  int rank = 0;
  std::array<int64_t, Tensor::kMaxRank> shape{};
  DType held_as = DType::f32;
  int64_t held_bytes = 0;
  int64_t first = 0;  // of the matrices or vectors in the storage, the first of this weight
  std::shared_ptr<Storage> storage;

  explicit operator bool() const { return storage != nullptr; }
  // Matrix or vector i of a stack. Of an empty weight, an empty one.
  Weight part(int64_t i) const;
};

// The cache of all layers. Opaque: only append and attend know its layout.
struct KvCache {
  struct Layer {
    int kv_heads, key_dim, value_dim;
    // MLA (kv_heads 1, key_dim L, value_dim 0): the first latent_dim = C components of the one key are the latent,
    // the others the rotary key. Nothing else is cached: the latent is the value, too.
    int latent_dim = 0;
    int group = 0;  // layers of one group share their block tables
  };
  virtual ~KvCache() = default;
  virtual int64_t bytes_per_block(int group) const = 0;  // over all layers of the group
};

struct KvCacheSpec {
  std::vector<KvCache::Layer> layers;
  std::vector<int> blocks_of_group;  // how many blocks each group has
  DType dtype = DType::bf16;         // f32, bf16 or q8_0
};

// What a recurrent layer keeps of a sequence. Its state is fixed at the start of each chunk of kBlockTokens
// positions, counted from 0; the open chunk is a tail of rows to which tokens are appended. The output at position p
// is a function of the state of p's chunk and of the chunk's rows up to p, and the state of the next chunk is one of
// the state and all rows of the chunk. So prefill and decoding are one definition, no bit depends on how a sequence
// was cut into steps, and what a refused draft wrote is simply overwritten.
struct StateLayer {
  int64_t state_numbers = 0;  // f32 numbers at the start of a chunk; of the first chunk they are zeros
  int64_t tail_numbers = 0;   // and of each token of a chunk
};

// The states of all recurrent layers in slots, one slot per sequence. Of each layer a slot holds the states of two
// chunks, chunk c at c % 2, and the rows of two. Rows that may be taken back are fewer than kBlockTokens in a step
// and cross one boundary at most, so the chunk that the last certain row lies in is there until its successor is
// certain. So a copy of a slot serves whoever goes on where its sequence is or earlier in that chunk, at its start
// for one; also in the chunk before, as long as no row, guessed or not, lay past the open one.
struct States {
  virtual ~States() = default;
  virtual int64_t bytes_per_slot() const = 0;
  // Views for verbs to read.
  virtual Tensor state(int layer, int slot, int chunk) const = 0;  // [1, state_numbers]
  virtual Tensor tail(int layer, int slot, int chunk) const = 0;   // [kBlockTokens, tail_numbers]
};

struct AttendSpec {
  float scale = 1;  // multiplies q·k
  int window = 0;   // keys visible to a query up to itself, itself included; 0 = all
  int ahead = 0;    // keys visible after it, as far as they are in the cache
};

struct Activation {
  enum class Form { silu /* z * sigmoid(beta z) */, gelu /* z * Phi(z), exact */ };
  Form form = Form::silu;
  double beta = 1;
};

// A feed-forward network: gated, y = W_down(act(W_gate x) * W_up x), or of two layers, y = W_down act(W_up x).
struct FfnForm {
  bool gated = true;
  Activation activation;
};

// A projection: a matrix [out, in] with its bias [out], which may be empty; or a stack of them.
struct Linear {
  Weight w;
  Weight bias;

  Linear part(int64_t i) const { return {w.part(i), bias.part(i)}; }
};

// The feed-forward networks of E experts, as stacks: [E, F, D], [E, F, D] and [E, D, F]. gate is empty unless gated.
struct ExpertWeights {
  Linear gate, up, down;
};

// Which experts each token uses (i32) and with which weight, best first.
struct Routing {
  Tensor expert_TA, weight_TA;
};

// The up-projections of MLA, one matrix per head, in the form that serves both ways of computing it: queries become
// latent ones with k_up, latent outputs become values with v_up; latents become keys and values with the same
// numbers.
struct LatentWeights {
  Weight k_up_HCN, v_up_HVC;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // -- Memory and parameters
  virtual Arena& arena() = 0;
  // held_as: f32 or bf16 for matrices [rows, columns], f8_e4m3 for those that are stored so and not transposed (then
  // Error when one holds what is no number); vectors are always f32.
  // One part: a weight of rank 2; load_matrices: rank 3, parts of one shape.
  virtual Weight load_matrix(const MatrixPart& part, DType held_as) = 0;
  virtual Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) = 0;
  // Vectors of one length; a single one is a weight of rank 1, load_vectors: rank 2.
  virtual Weight load_vector(const StoredTensor& stored) = 0;
  virtual Weight load_vectors(std::span<const StoredTensor> parts) = 0;
  // Bytes that load_matrix would take.
  virtual int64_t matrix_bytes(int64_t rows, int64_t columns, DType held_as) const = 0;
  virtual std::unique_ptr<KvCache> make_cache(const KvCacheSpec& spec) = 0;
  // Bytes of one block of one layer in a cache of `dtype`.
  virtual int64_t cache_block_bytes(const KvCache::Layer& layer, DType dtype) const = 0;
  virtual std::unique_ptr<States> make_states(std::span<const StateLayer> layers, int slots) = 0;
  // Bytes of one slot of such layers.
  virtual int64_t state_slot_bytes(std::span<const StateLayer> layers) const = 0;

  // -- Whole blocks and slots
  virtual void copy_block(KvCache& cache, int group, int32_t from, int32_t to) = 0;
  // A block's numbers in canonical form, the same bytes on every machine that computed the same: for each layer of
  // the group, token after token, kv head after kv head, the key and then the value, as the cache holds them, f32 or
  // bf16; q8_0: the key's codes and scales, then the value's (ops/cpu/kv_cache.h has the groups). Little-endian,
  // without padding.
  virtual std::vector<std::byte> export_block(const KvCache& cache, int group, int32_t block) = 0;
  // Throws Error, and changes nothing, when the bytes are no block of such layers: too many or few, or what holds
  // numbers that are none (NaN, infinity, codes and scales that nothing is rounded to).
  virtual void import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) = 0;
  virtual void copy_state(States& states, int from, int to) = 0;
  virtual void clear_state(States& states, int slot) = 0;  // before a sequence's first row

  // -- Plain verbs
  virtual Tensor embed(std::span<const int32_t> ids_T, const Weight& table_WD) = 0;  // -> [T, D]
  virtual Tensor linear(const Tensor& x_TD, const Linear& l) = 0;                    // -> [T, out]
  // Every head by its own matrix: [T, H, in] -> [T, H, out].
  virtual Tensor linear_per_head(const Tensor& x_THI, const Weight& w_HOI) = 0;
  virtual Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) = 0;  // over the last dimension
  virtual Tensor add(const Tensor& a, const Tensor& b) = 0;
  virtual Tensor multiply(const Tensor& a, const Tensor& b) = 0;  // element by element
  virtual Tensor activate(const Tensor& x, const Activation& form) = 0;
  virtual Tensor sigmoid(const Tensor& x) = 0;
  virtual Tensor scale_rows(const Tensor& x, const Tensor& factor_T1) = 0;  // [T, …], row t times factor t
  virtual Tensor concat(const Tensor& a, const Tensor& b) = 0;              // [.., A], [.., B] -> [.., A + B]
  virtual Tensor zeros(int64_t rows, int64_t columns) = 0;
  virtual Tensor gather_rows(const Tensor& x_TD, std::span<const int32_t> rows) = 0;
  // y with row m of x added to its row rows[m], one after another.
  virtual Tensor scatter_add(const Tensor& y_TD, const Tensor& x_MD, std::span<const int32_t> rows) = 0;
  // cos and sin of every row's angles: [T, R], the R/2 cosines first. One call per RopeSpec and step serves all
  // layers.
  virtual Tensor rope_angles(const Batch& batch, const RopeSpec& spec) = 0;
  virtual Tensor rope(const Tensor& x_THK, const Tensor& angles_TR, RopePairing pairing) = 0;  // R = K
  // Factors of LogN attention for every row: [T, 1].
  virtual Tensor logn_factors(const Batch& batch, const LogNSpec& spec) = 0;
  // Writes the rows' keys and values at their positions; the rest of a block that is begun is zeros. MLA: k is
  // [T, 1, L], the latents (after their norm) and rotary keys (after RoPE), and v is empty.
  virtual void append(KvCache& cache, int layer, const Batch& batch, const Tensor& k_TGK, const Tensor& v_TGV) = 0;
  // Causal attention of the rows over their sequences' cached keys; head h reads kv head h / (H / G). -> [T, H, V];
  // MLA: [T, H, C], as a token's latent is its value.
  virtual Tensor attend(const Tensor& q_THK, KvCache& cache, int layer, const Batch& batch,
                        const AttendSpec& spec) = 0;
  // Writes the rows' numbers [T, tail_numbers] into the tails of their sequences' chunks; of a sequence's rows those
  // of the last two chunks stay, so a block first reads what was there before the step.
  virtual void append_rows(States& states, int layer, const Batch& batch, const Tensor& x_TN) = 0;
  // Writes the state of a chunk, [1, state_numbers].
  virtual void set_state(States& states, int layer, int slot, int chunk, const Tensor& state_1N) = 0;
  // Chooses experts from the router's logits; `correction_E` may be empty (choose_experts in moe_gate.h).
  virtual Routing route(const Tensor& logits_TE, const Weight& correction_E, const MoeGateSpec& spec) = 0;

  // -- Fused verbs
  // linear() with several matrices of the same x.
  virtual std::vector<Tensor> linears(const Tensor& x_TD, std::initializer_list<const Linear*> matrices);
  // linear() of the output head. Where the rounding of inputs to 8 bits would cost logits more than the weights' own
  // does (q8_0), an implementation may let inputs count twice: rounded, and what rounding left.
  virtual Tensor logits(const Tensor& hidden_TD, const Linear& head);
  virtual Tensor gated(const Tensor& gate_TF, const Tensor& up_TF, const Activation& form);  // act(gate) * up
  // MLA: attention of the rows with unrotated queries qn and rotated ones qr over their sequences' latents -> [T, H,
  // V]. Both forms are the same mathematics; each row takes that which its sequence states (Batch), where an
  // implementation has both:
  //   absorbed: q = [k_up qn ; qr] against the cached [c ; kr], the latent output through v_up
  //   expanded: keys [k_up^T c ; kr] and values v_up c of a block of tokens are built, then attention as ever
  virtual Tensor attend_latent(const Tensor& qn_THN, const Tensor& qr_THR, const LatentWeights& w, KvCache& cache,
                               int layer, const Batch& batch, const AttendSpec& spec);
  // Sum over a token's experts, in ascending order of their ids, of weight * FFN_e(x). -> [T, D]
  virtual Tensor experts(const Tensor& x_TD, const Routing& routing, const ExpertWeights& w, const FfnForm& form);

  // -- Scopes and observation
  // Ends a scope: frees all that was computed since `mark` but `tensor`, and returns it at its new place.
  virtual Tensor keep_only(Arena::Mark mark, const Tensor& tensor) = 0;
  // The tensor's numbers, row after row, where the host may read them: in `room`, unless they lie so already. Valid
  // as long as both are.
  virtual std::span<const float> read(const Tensor& tensor, std::vector<float>& room) = 0;
  // Work of the host's own on the threads that serve this Ops, which must call no verb: job(thread, i) for each i in
  // [0, jobs), 0 <= thread < host_threads(). Jobs throw nothing.
  virtual int host_threads() const { return 1; }
  virtual void on_host_threads(int64_t jobs, const std::function<void(int thread, int64_t i)>& job) {
    for (int64_t i = 0; i < jobs; ++i) job(0, i);
  }
  // A named point that tools may look at ("layer.3.attn.q"); free unless someone does.
  virtual void mark(std::string_view /*point*/, const Tensor& /*tensor*/) {}
};

}  // namespace cachalot
