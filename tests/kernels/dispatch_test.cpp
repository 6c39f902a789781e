#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <numeric>

#include "base/error.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sets CACHALOT_ISA for one test and puts back what was there.
class IsaVariable : public ::testing::Test {
 protected:
  IsaVariable() {
    if (const char* before = std::getenv("CACHALOT_ISA")) before_ = before, was_set_ = true;
  }
  ~IsaVariable() override { was_set_ ? setenv("CACHALOT_ISA", before_.c_str(), 1) : unsetenv("CACHALOT_ISA"); }
  static std::string chosen(const char* isa) {
    setenv("CACHALOT_ISA", isa, 1);
    return best_kernels().isa;
  }
  static std::string refusal(const char* isa) {
    try {
      return "chose " + chosen(isa);
    } catch (const Error& error) { return error.what(); }
  }

 private:
  std::string before_;
  bool was_set_ = false;
};

TEST_F(IsaVariable, NamesTheTableThatIsTaken) {
  for (const KernelTable* table : usable_kernels()) EXPECT_EQ(chosen(table->isa), table->isa);
}

TEST_F(IsaVariable, LeavesTheBestUsableTableWhenItIsUnsetOrEmpty) {
  const std::string best = usable_kernels().front()->isa;
  EXPECT_EQ(chosen(""), best);
  unsetenv("CACHALOT_ISA");
  EXPECT_EQ(best_kernels().isa, best);
}

TEST_F(IsaVariable, IsRefusedWithTheUsableNamesWhenUnknown) {
  for (const char* isa : {"avx1024", "AVX2", "avx2 ", "scala"})
    EXPECT_THAT(refusal(isa), AllOf(HasSubstr("CACHALOT_ISA"), HasSubstr("unknown instruction set"), HasSubstr(isa),
                                    HasSubstr("scalar")));
}

TEST_F(IsaVariable, IsRefusedWhenThisProcessorCannotRunIt) {
  if (usable_kernels().size() == all_kernels().size()) GTEST_SKIP() << "this processor runs every table";
  for (const KernelTable* table : all_kernels()) {
    if (table->usable()) continue;
    EXPECT_THAT(refusal(table->isa), AllOf(HasSubstr("cannot run"), HasSubstr(table->isa)));
  }
}

TEST(Tables, AreCompleteAndEndWithTheOneThatRunsEverywhere) {
  EXPECT_STREQ(all_kernels().back()->isa, "scalar");
  EXPECT_TRUE(all_kernels().back()->usable());
  for (const KernelTable* table : all_kernels()) {
    SCOPED_TRACE(table->isa);
    EXPECT_EQ(table->matmul_f32.weights, DType::f32);
    EXPECT_EQ(table->matmul_f32.inputs, DType::f32);
    EXPECT_EQ(table->matmul_bf16.weights, DType::bf16);
    EXPECT_EQ(table->bf16_loop != nullptr, table->matmul_bf16.inputs == DType::bf16);
    EXPECT_EQ(table->bf16_loop != nullptr, table->bf16_flops > 0);
    EXPECT_EQ(table->matmul_f32.columns * 4 % 64, 0) << "panels would not stay aligned";
    EXPECT_EQ(table->matmul_bf16.columns * 4 % 64, 0) << "panels would not stay aligned";
  }
}

TEST(Probes, ReadEveryByteAndReturnFiniteNumbers) {
  for (const KernelTable* table : usable_kernels()) {
    SCOPED_TRACE(table->isa);
    for (const size_t bytes : {0, 1, 63, 64, 255, 256, 257, 1000}) {
      std::vector<unsigned char> memory(bytes + 1);
      EXPECT_EQ(table->read_bytes(memory.data(), bytes), 0u);
      memory[bytes] = 1;
      EXPECT_EQ(table->read_bytes(memory.data(), bytes), 0u) << "read past the end";
      memory[bytes] = 0;
      for (size_t i = 0; i < bytes; ++i) {
        memory[i] = 1;
        EXPECT_NE(table->read_bytes(memory.data(), bytes), 0u) << "left out byte " << i << " of " << bytes;
        memory[i] = 0;
      }
    }
    EXPECT_TRUE(std::isfinite(table->fma_loop(1000)));
    if (table->bf16_loop) { EXPECT_TRUE(std::isfinite(table->bf16_loop(1000))); }
  }
}

}  // namespace
}  // namespace cachalot
