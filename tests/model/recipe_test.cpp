#include "model/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/gguf/file.h"
#include "tensor/quant_encode.h"

namespace cachalot {
namespace {

using Shape = std::vector<int64_t>;

DType type_of(const char* recipe, const char* tensor, const Shape& shape, DType stored = DType::bf16, int layers = 32,
              bool tied = false) {
  return choose_type(recipe_named(recipe),
                     {role_of_gguf_name(tensor), layer_of(tensor), shape, stored, layers, tied});
}

TEST(Recipe, EveryTypeThatARecipeNamesCanBeEncodedAndIsGgufs) {
  for (const Recipe& r : recipes()) {
    for (const DType type : {r.base, r.head, r.latent, r.value, r.down}) {
      for (const int64_t columns : {256, 96, 20}) {
        const DType taken = fallback_type(type, columns, DType::f32);
        EXPECT_TRUE(can_quantize(taken)) << r.name;
        EXPECT_TRUE(gguf_type(taken)) << r.name;
        EXPECT_EQ(columns % info(taken).block_elements, 0) << r.name;
      }
    }
  }
}

TEST(Recipe, NamesAreFoundInAnyCaseAndOthersAreRefusedWithAList) {
  EXPECT_EQ(recipe_named("Q4_K_M").name, "q4_k_m");
  try {
    recipe_named("q9");
    FAIL();
  } catch (const Error& error) { EXPECT_THAT(error.what(), testing::HasSubstr("q4_k_m")); }
}

TEST(Recipe, VectorsAndRoutersStayInF32) {
  EXPECT_EQ(type_of("q4_0", "blk.0.attn_norm.weight", {512}), DType::f32);
  EXPECT_EQ(type_of("q4_0", "blk.0.attn_q.bias", {512}), DType::f32);
  EXPECT_EQ(type_of("q4_0", "blk.0.ffn_gate_inp.weight", {64, 512}), DType::f32);
  EXPECT_EQ(type_of("f16", "blk.0.exp_probs_b.bias", {64}), DType::f32);
}

TEST(Recipe, TheHeadHasSixBitsAlsoWhereItIsTheEmbedding) {
  EXPECT_EQ(type_of("q4_k", "output.weight", {1000, 512}), DType::q6_k);
  EXPECT_EQ(type_of("q4_k", "token_embd.weight", {1000, 512}), DType::q4_k);
  EXPECT_EQ(type_of("q4_k", "token_embd.weight", {1000, 512}, DType::bf16, 32, /*tied=*/true), DType::q6_k);
}

TEST(Recipe, TheMediumMixSpendsMoreNearBothEndsAndInEveryThirdLayer) {
  for (const char* part : {"attn_v", "ffn_down", "ffn_down_exps"}) {
    for (int layer = 0; layer < 32; ++layer) {
      const bool more = layer < 4 || layer >= 28 || layer % 3 == 2;
      const std::string name = "blk." + std::to_string(layer) + "." + part + ".weight";
      EXPECT_EQ(type_of("q4_k_m", name.c_str(), {512, 512}), more ? DType::q6_k : DType::q4_k) << name;
    }
  }
  EXPECT_EQ(type_of("q4_k_m", "blk.0.attn_q.weight", {512, 512}), DType::q4_k);
  EXPECT_EQ(type_of("q4_k_m", "blk.9.attn_kv_a_mqa.weight", {576, 512}), DType::q8_0);
}

TEST(Recipe, RowsThatBlocksDoNotDivideGetATypeOfSmallerBlocks) {
  EXPECT_EQ(type_of("q4_k", "blk.0.attn_q.weight", {512, 896}), DType::q5_0);
  EXPECT_EQ(type_of("q5_k", "blk.0.attn_q.weight", {512, 96}), DType::q5_1);
  EXPECT_EQ(type_of("q6_k", "blk.0.attn_q.weight", {512, 96}), DType::q8_0);
  EXPECT_EQ(type_of("q8_0", "blk.0.attn_q.weight", {512, 40}), DType::bf16);
  EXPECT_EQ(type_of("q8_0", "blk.0.attn_q.weight", {512, 40}, DType::f32), DType::f16);
}

TEST(Recipe, WhatIsStoredInNoMoreBitsIsKept) {
  EXPECT_EQ(type_of("q8_0", "blk.0.attn_q.weight", {512, 512}, DType::q4_k), DType::q4_k);
  EXPECT_EQ(type_of("q4_k", "blk.0.attn_q.weight", {512, 512}, DType::q8_0), DType::q4_k);
  EXPECT_EQ(type_of("bf16", "blk.0.attn_q.weight", {512, 512}, DType::q4_k), DType::bf16) << "widening was asked for";
}

TEST(Recipe, LayersAreReadFromNamesAndNothingElseIs) {
  EXPECT_EQ(layer_of("blk.17.attn_q.weight"), 17);
  for (const char* name :
       {"token_embd.weight", "blk.", "blk.x.a", "blk.1", "blk.-1.a", "blk.99999999999.a", "blk.9999999.a"})
    EXPECT_EQ(layer_of(name), -1) << name;
}

}  // namespace
}  // namespace cachalot
