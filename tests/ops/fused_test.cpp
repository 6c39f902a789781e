// Fused verbs against the plain ones that they stand for: to the bit where the arithmetic is the same, else to a
// bound.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <set>

#include "ops/cpu/cpu_ops.h"
#include "ops/forwarding.h"
#include "ops/plain_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using Numbers = std::vector<float>;

constexpr DType kHeld[] = {DType::f32, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1};

Numbers numbers(Ops& ops, const Tensor& t) {
  std::vector<float> room;
  const auto read = ops.read(t, room);
  return {read.begin(), read.end()};
}

Tensor tensor(Ops& ops, const Numbers& x, int64_t rows) {
  const Tensor t = ops.arena().tensor(rows, std::ssize(x) / rows);
  std::copy(x.begin(), x.end(), t.data());
  return t;
}

// Stacks of matrices with numbers of their own, kept alive for the test.
class Matrices {
 public:
  Linear stack(Ops& ops, int64_t count, int64_t outputs, int64_t inputs, DType held_as, bool biased) {
    std::vector<MatrixPart> parts;
    std::vector<StoredTensor> biases;
    for (int64_t i = 0; i < count; ++i) {
      parts.push_back(
          {.stored = stored(outputs * inputs, {outputs, inputs}, 1 / std::sqrt(static_cast<double>(inputs)))});
      biases.push_back(stored(outputs, {outputs}, 1));
    }
    return {ops.load_matrices(parts, held_as), biased ? ops.load_vectors(biases) : Weight{}};
  }

 private:
  StoredTensor stored(int64_t count, std::vector<int64_t> shape, double scale) {
    const Numbers& x = kept_.emplace_back(random_normal(count, ++seed_, scale));
    return {.name = "w", .dtype = DType::f32, .shape = std::move(shape), .bytes = std::as_bytes(std::span(x))};
  }
  std::deque<Numbers> kept_;
  uint64_t seed_ = 0;
};

TEST(FusedVerbs, LinearsGiveTheBitsOfLinearOneByOne) {
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 2);
    ForwardingOps plain(ops);
    Matrices matrices;
    for (const DType held : kHeld) {
      const Linear a = matrices.stack(ops, 1, 40, 256, held, true).part(0),
                   b = matrices.stack(ops, 1, 24, 256, DType::bf16, false).part(0);
      for (const int rows : {1, 3, 33}) {
        const Tensor x = tensor(ops, random_normal(rows * 256, 9), rows);
        const auto fused = ops.linears(x, {&a, &b}), unfused = plain.linears(x, {&a, &b});
        for (size_t i = 0; i < 2; ++i) EXPECT_EQ(numbers(ops, fused[i]), numbers(ops, unfused[i])) << kernels->isa;
      }
    }
  }
}

TEST(FusedVerbs, GatedIsTheActivationTimesTheOtherHalf) {
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 1);
    ForwardingOps plain(ops);
    const Tensor gate = tensor(ops, random_normal(3 * 77, 1, 4), 3), up = tensor(ops, random_normal(3 * 77, 2), 3);
    for (const Activation& form :
         {Activation{}, Activation{.beta = 1.5}, Activation{.form = Activation::Form::gelu}}) {
      const Numbers fused = numbers(ops, ops.gated(gate, up, form)),
                    unfused = numbers(ops, plain.gated(gate, up, form));
      for (size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], unfused[i], 2e-6 * std::abs(unfused[i])) << i;
    }
  }
}

TEST(FusedVerbs, ExpertsGiveTheBitsOfTheirMatricesOneByOne) {
  constexpr int kTokens = 21, kWidth = 64, kHidden = 96, kExperts = 7;
  for (const KernelTable* kernels : usable_kernels())
    for (const DType held : kHeld)
      for (const bool gated : {true, false}) {
        SCOPED_TRACE(fmt::format("{} {}", kernels->isa, name(held)));
        CpuOps ops(*kernels, 2);
        ForwardingOps plain(ops);
        Matrices matrices;
        const ExpertWeights w{gated ? matrices.stack(ops, kExperts, kHidden, kWidth, held, true) : Linear{},
                              matrices.stack(ops, kExperts, kHidden, kWidth, held, true),
                              matrices.stack(ops, kExperts, kWidth, kHidden, held, true)};
        const Tensor x = tensor(ops, random_normal(kTokens * kWidth, 3), kTokens);
        const Routing routing = ops.route(tensor(ops, random_normal(kTokens * kExperts, 4), kTokens), {},
                                          {.experts = kExperts, .active = 3});
        const FfnForm form{.gated = gated, .activation = {.beta = 1.5}};
        EXPECT_EQ(numbers(ops, ops.experts(x, routing, w, form)), numbers(ops, plain.experts(x, routing, w, form)));
      }
}

// The head of q8_0 takes its inputs twice, which is what makes it better than linear().
TEST(FusedVerbs, LogitsAreLinearButForQ8InputsThatCountTwice) {
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 2);
    ForwardingOps plain(ops);
    Matrices matrices;
    const Tensor x = tensor(ops, random_normal(5 * 256, 9), 5);
    for (const DType held : kHeld) {
      const Linear head = matrices.stack(ops, 1, 50, 256, held, true).part(0);
      const Numbers fused = numbers(ops, ops.logits(x, head)), unfused = numbers(ops, plain.logits(x, head));
      for (size_t i = 0; i < fused.size(); ++i) EXPECT_NEAR(fused[i], unfused[i], held == DType::q8_0 ? 0.05 : 0);
    }
  }
}

// A text of latents, then some of its rows attend.
TEST(FusedVerbs, LatentAttentionInBothFormsIsItsPlainVerbs) {
  constexpr int kHeads = 4, N = 24, R = 8, V = 20, C = 32, kTokens = 150, kRows = 9;
  for (const KernelTable* kernels : usable_kernels())
    for (const DType kv : {DType::f32, DType::bf16, DType::q8_0}) {
      SCOPED_TRACE(fmt::format("{} {}", kernels->isa, name(kv)));
      CpuOps ops(*kernels, 2);
      ForwardingOps plain(ops);
      Matrices matrices;
      const LatentWeights w{matrices.stack(ops, kHeads, C, N, DType::f32, false).w,
                            matrices.stack(ops, kHeads, V, C, DType::f32, false).w};
      const auto cache =
          ops.make_cache({.layers = {{.kv_heads = 1, .key_dim = C + R, .value_dim = 0, .latent_dim = C}},
                          .blocks_of_group = {3},
                          .dtype = kv});
      const std::vector<int32_t> table = {2, 0, 1};
      const auto batch_of = [&](int first, int rows, std::span<const PositionSpan> expanded) {
        Batch batch;
        batch.tokens_T.resize(static_cast<size_t>(rows));
        batch.sequences.push_back(
            {.rows = rows, .first_position = first, .expanded = expanded, .block_tables = {table}});
        return batch;
      };
      const Tensor keys = tensor(ops, random_normal(kTokens * (C + R), 5), kTokens).split_heads(1);
      ops.append(*cache, 0, batch_of(0, kTokens, {}), keys, {});
      const Tensor qn = tensor(ops, random_normal(kRows * kHeads * N, 6), kRows).split_heads(kHeads),
                   qr = tensor(ops, random_normal(kRows * kHeads * R, 7), kRows).split_heads(kHeads);
      const AttendSpec spec{.scale = 0.2f};
      const int first = kTokens - kRows;
      const PositionSpan all[] = {{0, kTokens}};
      const auto absorbed = batch_of(first, kRows, {}), expanded = batch_of(first, kRows, all);
      const Numbers want = numbers(ops, plain.attend_latent(qn, qr, w, *cache, 0, absorbed, spec));
      EXPECT_EQ(numbers(ops, ops.attend_latent(qn, qr, w, *cache, 0, absorbed, spec)), want);
      const Numbers got = numbers(ops, ops.attend_latent(qn, qr, w, *cache, 0, expanded, spec));
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], kv == DType::f32 ? 1e-5 : 0.03) << i;

      // Of a sequence that states spans, each row is that of its form, bit for bit; the last row is past the prompt.
      const PositionSpan spans[] = {
          {first - 3, first - 1}, {first + 1, first + 3}, {first + 4, first + 6}, {first + 7, kTokens - 1}};
      const auto both = batch_of(first, kRows, spans);
      const Numbers mixed = numbers(ops, ops.attend_latent(qn, qr, w, *cache, 0, both, spec));
      for (size_t r = 0; r < kRows; ++r) {
        const bool is_absorbed = std::set<size_t>{0, 3, 6, 8}.contains(r);
        for (size_t i = r * kHeads * V; i < (r + 1) * kHeads * V; ++i)
          EXPECT_EQ(mixed[i], (is_absorbed ? want : got)[i]) << "row " << r;
      }
    }
}

// keep_only moves a tensor down to the mark, over what was there.
TEST(Scopes, KeepOnlyMovesTheTensorToTheMark) {
  CpuOps cpu(best_kernels(), 1);
  PlainOps plain;
  for (Ops* ops : {static_cast<Ops*>(&cpu), static_cast<Ops*>(&plain)}) {
    const auto mark = ops->arena().mark();
    ops->zeros(1, 1000);
    const Tensor x = tensor(*ops, {0, 1, 2, 3, 4, 5}, 2);
    const Tensor kept = ops->keep_only(mark, x);
    EXPECT_LT(kept.data(), x.data());
    EXPECT_EQ(numbers(*ops, kept), (Numbers{0, 1, 2, 3, 4, 5}));
    EXPECT_GE(ops->zeros(1, 1).data(), kept.data() + 6);
  }
}

}  // namespace
}  // namespace cachalot
