// Blocks that are moved whole: copied within a cache, and taken from one Ops to another in canonical form.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/plain_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using Numbers = std::vector<float>;
using Bytes = std::vector<std::byte>;

// Two kinds of layers, two of them in one group; sizes that leave panels, pairs and groups of codes ragged.
const std::vector<KvCache::Layer> kLayers = {
    {.kv_heads = 2, .key_dim = 10, .value_dim = 37, .group = 0},
    {.kv_heads = 1, .key_dim = 46, .value_dim = 0, .latent_dim = 36, .group = 1},
    {.kv_heads = 1, .key_dim = 33, .value_dim = 16, .group = 0},
};
constexpr int kBlocks = 5, kHeads = 2;

// A cache and the Ops that it belongs to. One sequence, whose positions p are in block table[p / 64].
struct Machine {
  std::unique_ptr<Ops> ops;
  std::unique_ptr<KvCache> cache;
  std::vector<int32_t> table;

  Machine(std::unique_ptr<Ops> own, DType dtype, std::vector<int32_t> blocks)
      : ops(std::move(own)),
        cache(ops->make_cache({.layers = kLayers, .blocks_of_group = {kBlocks, kBlocks}, .dtype = dtype})),
        table(std::move(blocks)) {}

  Batch batch(int first, int rows) const {
    Batch batch;
    batch.tokens_T.resize(static_cast<size_t>(rows));
    batch.sequences.push_back({.rows = rows, .first_position = first, .block_tables = {table, table}});
    return batch;
  }
  Tensor filled(uint64_t seed, int first, int rows, int heads, int dim) {
    const Tensor t = ops->arena().tensor(rows, heads, dim);
    for (int r = 0; r < rows; ++r) {
      const Numbers row = random_normal(int64_t{heads} * dim, seed + 1000 * static_cast<uint64_t>(first + r), 2);
      std::copy(row.begin(), row.end(), t.data() + int64_t{r} * heads * dim);
    }
    return t;
  }
  void append(int first, int rows) {
    const Batch b = batch(first, rows);
    for (int i = 0; i < static_cast<int>(kLayers.size()); ++i) {
      const KvCache::Layer& l = kLayers[static_cast<size_t>(i)];
      const auto seed = static_cast<uint64_t>(10 * i);
      ops->append(*cache, i, b, filled(seed, first, rows, l.kv_heads, l.key_dim),
                  l.latent_dim > 0 ? Tensor{} : filled(seed + 1, first, rows, l.kv_heads, l.value_dim));
    }
  }
  // What the last `rows` rows of `tokens` see, of all layers.
  Numbers attended(int tokens, int rows) {
    Numbers all;
    const Batch b = batch(tokens - rows, rows);
    for (int i = 0; i < static_cast<int>(kLayers.size()); ++i) {
      const KvCache::Layer& l = kLayers[static_cast<size_t>(i)];
      const Tensor q = filled(static_cast<uint64_t>(10 * i + 2), tokens - rows, rows, kHeads, l.key_dim);
      const Tensor o = ops->attend(q, *cache, i, b, {.scale = 0.2f});
      std::vector<float> room;
      const auto numbers = ops->read(o, room);
      all.insert(all.end(), numbers.begin(), numbers.end());
    }
    return all;
  }
};

Machine cpu(const KernelTable& kernels, DType dtype, std::vector<int32_t> table) {
  return {std::make_unique<CpuOps>(kernels, 1), dtype, std::move(table)};
}

TEST(WholeBlocks, ComputedOnOneInstructionSetAndTakenOverByAnotherGiveItsOwnBits) {
  constexpr int kTokens = 3 * kBlockTokens - 20;  // the last block is open
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0})
    for (const KernelTable* from : usable_kernels())
      for (const KernelTable* to : usable_kernels()) {
        SCOPED_TRACE(fmt::format("{} {} to {}", name(dtype), from->isa, to->isa));
        Machine giver = cpu(*from, dtype, {0, 1, 2}), own = cpu(*to, dtype, {4, 2, 0}),
                taker = cpu(*to, dtype, {3, 1, 4});
        giver.append(0, kTokens);
        own.append(0, kTokens);
        // What was in the blocks before must not show.
        for (int32_t& block : taker.table) block = (block + 1) % kBlocks;
        taker.append(0, 3 * kBlockTokens);
        for (int32_t& block : taker.table) block = (block + kBlocks - 1) % kBlocks;
        taker.append(0, 3 * kBlockTokens);
        for (int group = 0; group < 2; ++group)
          for (size_t b = 0; b < 3; ++b) {
            const Bytes bytes = giver.ops->export_block(*giver.cache, group, giver.table[b]);
            EXPECT_EQ(bytes, own.ops->export_block(*own.cache, group, own.table[b]));
            taker.ops->import_block(*taker.cache, group, taker.table[b], bytes);
            EXPECT_EQ(bytes, taker.ops->export_block(*taker.cache, group, taker.table[b]));
          }
        EXPECT_EQ(own.attended(kTokens, 70), taker.attended(kTokens, 70));
        // And the sequence goes on in the open block.
        own.append(kTokens, 15);
        taker.append(kTokens, 15);
        EXPECT_EQ(own.attended(kTokens + 15, 15), taker.attended(kTokens + 15, 15));
      }
}

// PlainOps keeps rows as the canonical form has them, so it is a second definition of that form.
TEST(WholeBlocks, AreTheSameBytesInPlainOps) {
  for (const KernelTable* kernels : usable_kernels()) {
    Machine plain(std::make_unique<PlainOps>(), DType::f32, {1, 3}), fast = cpu(*kernels, DType::f32, {2, 0});
    plain.append(0, 100);
    fast.append(0, 100);
    for (int group = 0; group < 2; ++group)
      for (size_t b = 0; b < 2; ++b) {
        const Bytes bytes = plain.ops->export_block(*plain.cache, group, plain.table[b]);
        EXPECT_EQ(bytes, fast.ops->export_block(*fast.cache, group, fast.table[b]));
        plain.ops->import_block(*plain.cache, group, 4, bytes);
        EXPECT_EQ(bytes, plain.ops->export_block(*plain.cache, group, 4));
      }
  }
}

// The numbers are where the form says: per layer, token and kv head the key, then the value.
TEST(WholeBlocks, HoldNumbersTokenAfterToken) {
  for (const KernelTable* kernels : usable_kernels()) {
    Machine machine = cpu(*kernels, DType::bf16, {2});
    machine.append(0, kBlockTokens);
    const Bytes bytes = machine.ops->export_block(*machine.cache, 0, 2);
    const size_t first_layer = 2 * (10 + 37), second_layer = 33 + 16;
    ASSERT_EQ(bytes.size(), kBlockTokens * (first_layer + second_layer) * 2);
    const auto number = [&](size_t i) {
      uint16_t bits;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      return bits;
    };
    const int token = 41;
    const Tensor keys = machine.filled(0, token, 1, 2, 10), values = machine.filled(1, token, 1, 2, 37);
    const size_t at = token * first_layer;
    EXPECT_EQ(number(at + 3), f32_to_bf16(keys.data()[3]));
    EXPECT_EQ(number(at + 10 + 5), f32_to_bf16(values.data()[5]));
    EXPECT_EQ(number(at + 47 + 9), f32_to_bf16(keys.data()[10 + 9]));
    const Tensor last = machine.filled(21, token, 1, 1, 16);
    EXPECT_EQ(number(kBlockTokens * first_layer + token * second_layer + 33 + 15), f32_to_bf16(last.data()[15]));
  }
}

// Of a q8_0 cache: codes and then the scales of their groups, which give the numbers back but for rounding.
TEST(WholeBlocks, HoldCodesAndTheScalesOfTheirGroups) {
  for (const KernelTable* kernels : usable_kernels()) {
    Machine machine = cpu(*kernels, DType::q8_0, {2});
    machine.append(0, kBlockTokens);
    // Keys of ten have three scales of a byte (pairs 0 and 3, 1 and 4, 2), values of 37 two in bf16.
    const size_t head_bytes = 10 + 3 + 37 + 2 * 2, latent_bytes = 46 + 2 * (2 + 1);
    const Bytes bytes = machine.ops->export_block(*machine.cache, 0, 2),
                latents = machine.ops->export_block(*machine.cache, 1, 2);
    ASSERT_EQ(bytes.size(), kBlockTokens * (2 * head_bytes + 33 + 9 + 16 + 2));
    ASSERT_EQ(latents.size(), kBlockTokens * latent_bytes);
    const auto check = [](std::byte code, float scale, float number) {
      EXPECT_GT(scale, 0);
      EXPECT_NEAR(static_cast<float>(static_cast<int8_t>(code)) * scale, number, 0.501f * scale);
    };
    const auto bf16_at = [](const std::byte* at) {
      uint16_t bits;
      std::memcpy(&bits, at, 2);
      return bf16_to_f32(bits);
    };
    for (const int token : {0, 41, 63}) {
      const Tensor keys = machine.filled(0, token, 1, 2, 10), values = machine.filled(1, token, 1, 2, 37);
      for (size_t head = 0; head < 2; ++head) {
        const std::byte* at = bytes.data() + (static_cast<size_t>(token) * 2 + head) * head_bytes;
        for (size_t d = 0; d < 10; ++d)
          check(at[d], small_scale(static_cast<uint8_t>(at[10 + d / 2 % 3])), keys.data()[head * 10 + d]);
        for (size_t d = 0; d < 37; ++d)
          check(at[13 + d], bf16_at(at + 50 + 2 * (d / 32)), values.data()[head * 37 + d]);
      }
      const Tensor latent = machine.filled(10, token, 1, 1, 46);
      const std::byte* at = latents.data() + static_cast<size_t>(token) * latent_bytes;
      for (size_t d = 0; d < 46; ++d)  // 32 and 4 of the latent, then the rotary key
        check(at[d], bf16_at(at + 46 + 2 * (d < 32 ? 0 : d < 36 ? 1 : 2)), latent.data()[d]);
    }
  }
}

TEST(WholeBlocks, CopiedGiveTheSameBitsAndTouchNothingElse) {
  constexpr int kTokens = 2 * kBlockTokens - 9;
  std::vector<std::unique_ptr<Machine>> machines;
  machines.push_back(std::make_unique<Machine>(std::make_unique<PlainOps>(), DType::f32, std::vector<int32_t>{0, 1}));
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0})
    for (const KernelTable* kernels : usable_kernels())
      machines.push_back(std::make_unique<Machine>(cpu(*kernels, dtype, {0, 1})));
  for (auto& m : machines) {
    m->append(0, kTokens);
    const Numbers before = m->attended(kTokens, 30);
    const Bytes other = m->ops->export_block(*m->cache, 1, 3), neighbour = m->ops->export_block(*m->cache, 0, 4);
    m->ops->copy_block(*m->cache, 0, 1, 3);
    EXPECT_EQ(m->ops->export_block(*m->cache, 1, 3), other) << "the other group's";
    EXPECT_EQ(m->ops->export_block(*m->cache, 0, 4), neighbour);
    m->ops->copy_block(*m->cache, 1, 1, 3);
    m->ops->copy_block(*m->cache, 0, 0, 0);
    m->table = {0, 3};
    EXPECT_EQ(m->attended(kTokens, 30), before);
    m->append(kTokens, 4);  // in the copy alone
    m->table = {0, 1};
    EXPECT_EQ(m->attended(kTokens, 30), before);
  }
}

// Bytes may come from a file.
TEST(WholeBlocks, ThatAreNoneAreRefusedAndChangeNothing) {
  std::vector<std::unique_ptr<Machine>> machines;
  machines.push_back(std::make_unique<Machine>(std::make_unique<PlainOps>(), DType::f32, std::vector<int32_t>{1}));
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0})
    machines.push_back(std::make_unique<Machine>(cpu(best_kernels(), dtype, {1})));
  const DType types[] = {DType::f32, DType::f32, DType::bf16, DType::q8_0};
  for (size_t i = 0; i < machines.size(); ++i)
    for (int group = 0; group < 2; ++group) {
      Machine& m = *machines[i];
      SCOPED_TRACE(fmt::format("machine {} group {}", i, group));
      m.append(0, kBlockTokens);
      const Bytes right = m.ops->export_block(*m.cache, group, 1);
      const auto refused = [&](const Bytes& bytes, const char* why) {
        try {
          m.ops->import_block(*m.cache, group, 1, bytes);
          ADD_FAILURE() << "taken: " << why;
        } catch (const Error& error) {
          EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
        }
        EXPECT_EQ(m.ops->export_block(*m.cache, group, 1), right);
      };
      Bytes longer = right;
      longer.push_back({});
      refused({}, "bytes");
      refused(longer, "bytes");
      refused({right.begin(), right.end() - 1}, "bytes");
      // The last number of the block, and in codes also the last scale, which is the last two bytes.
      Bytes none = right;
      const auto put = [&](size_t from_end, auto number) {
        none = right;
        std::memcpy(none.data() + none.size() - from_end, &number, sizeof number);
        refused(none, "no number");
      };
      if (types[i] == DType::f32) {
        put(4, std::numeric_limits<float>::quiet_NaN());
        put(4, -std::numeric_limits<float>::infinity());
      } else {  // a number of a bf16 cache, or a scale in bf16
        put(2, uint16_t{0x7fc0});
        put(2, uint16_t{0xff80});
      }
      if (types[i] == DType::q8_0) {
        put(2, f32_to_bf16(-0.5f));                              // no scale
        put(right.size(), int8_t{-128});                         // no code
        if (group == 0) put(right.size() - 10, kSmallScaleNaN);  // after the ten codes of the first key
      }
      m.ops->import_block(*m.cache, group, 1, right);
      EXPECT_EQ(m.ops->export_block(*m.cache, group, 1), right);
    }
}

// What is taken over is given out again byte for byte, also where a byte is another; else nothing is taken.
TEST(WholeBlocks, WithAnyByteChangedAreTakenWholeOrRefused) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::q8_0})
    for (int group = 0; group < 2; ++group) {
      Machine m = cpu(best_kernels(), dtype, {1});
      m.append(0, kBlockTokens);
      Bytes held = m.ops->export_block(*m.cache, group, 1);
      Random random(7);
      int taken = 0, refused = 0;
      for (int i = 0; i < 600; ++i) {
        Bytes given = held;
        const auto byte = static_cast<std::byte>(random.next() % 3 == 0 ? 0xff : random.next());
        given[random.next() % given.size()] = byte;
        if (dtype == DType::f32) given[random.next() % (given.size() / 4) * 4 + 3] = byte;
        try {
          m.ops->import_block(*m.cache, group, 1, given);
          held = given;
          ++taken;
        } catch (const Error&) { ++refused; }
        ASSERT_EQ(m.ops->export_block(*m.cache, group, 1), held);
      }
      EXPECT_GT(taken, 50);
      EXPECT_GT(refused, 5) << name(dtype);
    }
}

}  // namespace
}  // namespace cachalot
