// What the cache of CpuOps takes.
#include <gtest/gtest.h>

#include "ops/cpu/cpu_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

TEST(LatentCache, KeepsCPlusRNumbersPerTokenAndLayerAndNothingElseOnEveryIsa) {
  struct Shape {
    int C, R;
  };
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 1);
    for (const auto& [C, R] : {Shape{512, 64}, {32, 12}, {20, 10}, {2, 2}}) {
      const KvCache::Layer layer{.kv_heads = 1, .key_dim = C + R, .value_dim = 0, .latent_dim = C};
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const int64_t number_bytes = dtype == DType::f32 ? 4 : 2;
        SCOPED_TRACE(fmt::format("{} C={} R={} {}", kernels->isa, C, R, name(dtype)));
        EXPECT_EQ(ops.cache_block_bytes(layer, dtype), kBlockTokens * (C + R) * number_bytes);
        const auto cache = ops.make_cache({.layers = {layer, layer, layer}, .blocks_of_group = {5}, .dtype = dtype});
        EXPECT_EQ(cache->bytes_per_block(0), 3 * kBlockTokens * (C + R) * number_bytes);
      }
    }
  }
}

TEST(CodedCache, TakesAByteForANumberAndOneOrTwoForAGroup) {
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 1);
    const KvCache::Layer grouped{.kv_heads = 2, .key_dim = 128, .value_dim = 128};
    EXPECT_EQ(ops.cache_block_bytes(grouped, DType::q8_0), kBlockTokens * 2 * (128 + 32 + 128 + 2 * 4));
    const KvCache::Layer latent{.kv_heads = 1, .key_dim = 576, .value_dim = 0, .latent_dim = 512};
    EXPECT_EQ(ops.cache_block_bytes(latent, DType::q8_0), kBlockTokens * (576 + 2 * (16 + 4)));
    const auto cache = ops.make_cache({.layers = {latent}, .blocks_of_group = {3}, .dtype = DType::q8_0});
    EXPECT_EQ(cache->bytes_per_block(0), ops.cache_block_bytes(latent, DType::q8_0));
  }
}

}  // namespace
}  // namespace cachalot
