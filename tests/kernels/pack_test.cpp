#include <gtest/gtest.h>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

// Packs `rows` rows that begin `offset` bytes off alignment and are `gap` bytes apart, into a panel `out_offset`
// units off a cache line, and compares every unit of it.
void check(const KernelTable& table, int rows, int64_t units, int columns, int offset = 2, int gap = 6,
           int out_offset = 0) {
  SCOPED_TRACE(std::string(table.isa) + " rows=" + std::to_string(rows) + " units=" + std::to_string(units) +
               " columns=" + std::to_string(columns));
  Random random(rows * 1000 + units);
  std::vector<uint32_t> w(rows * units);
  for (uint32_t& unit : w) unit = static_cast<uint32_t>(random.next());
  const int64_t stride = units * 4 + gap;
  std::vector<std::byte> stored(offset + rows * stride);
  for (int r = 0; r < rows; ++r) std::memcpy(&stored[offset + r * stride], &w[r * units], units * 4);

  struct alignas(64) Line {
    uint32_t unit[16];
  };
  constexpr uint32_t guard = 0x12345678;
  std::vector<Line> lines((units * columns + out_offset) / 16 + 2);
  uint32_t* out = lines[0].unit + out_offset;
  out[units * columns] = guard;
  table.pack_panel(stored.data() + offset, stride, rows, units, columns, out);

  const auto want = reference::pack_panel(w, rows, units, columns);
  ASSERT_EQ(std::memcmp(out, want.data(), want.size() * 4), 0);
  ASSERT_EQ(out[units * columns], guard) << "wrote past the end";
}

TEST(PackPanel, TransposesEveryShapeFromUnalignedRows) {
  for (const KernelTable* table : usable_kernels()) {
    const int columns = table->matmul_bf16.columns;
    for (const int rows : {1, 3, 7, 8, 9, 15, 16, 17, columns - 1, columns})
      for (const int64_t units : {1, 2, 7, 8, 9, 15, 16, 17, 33, 100})
        if (rows <= columns) check(*table, rows, units, columns);
  }
}

TEST(PackPanel, PacksPanelsLargeEnoughToGoPastTheCaches) {
  for (const KernelTable* table : usable_kernels()) {
    const int columns = table->matmul_bf16.columns;
    check(*table, columns, 4100, columns);
    check(*table, columns - 1, 4107, columns);
    check(*table, columns, 4100, columns, 0, 0);
    check(*table, columns, 4100, columns, 2, 6, /*out_offset=*/1);
  }
}

TEST(PackPanel, TakesAnyCountOfColumns) {
  for (const KernelTable* table : usable_kernels())
    for (const int columns : {1, 5, 12, 31, 100})
      for (const int64_t units : {1, 40, 700}) check(*table, columns, units, columns);
}

}  // namespace
}  // namespace cachalot
