// out[unit][n] = the 32-bit unit of row n, for n < rows, and zero for rows ≤ n < columns; see pack_panel in table.h.
//
// Squares of kLanes × kLanes are transposed in registers, so both sides are touched in whole vectors. kLanes rows are
// followed from end to end, few enough streams for the processor's own prefetcher, and large panels go past the
// caches: together three times as fast as taking all rows abreast with plain stores (docs/log.md).
#pragma once

#include "kernels/generic/matmul.h"
#include "kernels/simd/primitives.h"
#include "kernels/table.h"

namespace cachalot {
namespace {

constexpr int64_t kStreamFromBytes = 64 << 10;  // smaller panels may be ahead again soon
constexpr int kPrefetchBytes = 256;

// `wide` ≤ kLanes units of `high` ≤ kLanes rows, transposed; what is missing is zero.
static void load_square(const char* w, int64_t w_stride_bytes, int high, int wide, F32x square[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    square[i] = set(0);
    if (i >= high) continue;
    const char* row = w + i * w_stride_bytes;
    __builtin_prefetch(row + kPrefetchBytes);
    square[i] = wide == kLanes ? load(row) : load(row, wide);
  }
  transpose(square);
}

static void pack_panel(const void* w, int64_t w_stride_bytes, int rows, int64_t units, int columns,
                       void* out) noexcept {
  const bool aligned = (reinterpret_cast<uintptr_t>(out) | static_cast<uintptr_t>(columns) * 4) % sizeof(F32x) == 0;
  const bool streamed = aligned && units * columns * 4 >= kStreamFromBytes;
  for (int n = 0; n < columns; n += kLanes) {
    const int high = rows - n < kLanes ? rows - n : kLanes, places = columns - n < kLanes ? columns - n : kLanes;
    const char* from = static_cast<const char*>(w) + (high > 0 ? n * w_stride_bytes : 0);
    float* to = static_cast<float*>(out) + n;
    for (int64_t u = 0; u < units; u += kLanes, from += kLanes * 4) {
      const int wide = units - u < kLanes ? static_cast<int>(units - u) : kLanes;
      F32x square[kLanes];
      load_square(from, w_stride_bytes, high, wide, square);
      for (int i = 0; i < wide; ++i, to += columns) {
        if (streamed)
          stream(to, square[i]);
        else if (places == kLanes)
          store(to, square[i]);
        else
          store(to, square[i], places);
      }
    }
  }
  if (streamed) finish_streams();
}

// The units of K inputs of `input_bytes` each; a last unit that K does not fill is zero in the rest.
static void pack_units(const char* w, int64_t w_stride_bytes, int rows, int64_t K, int input_bytes, int columns,
                       char* out) {
  const int64_t row_bytes = K * input_bytes, whole = row_bytes / 4, rest = row_bytes % 4;
  pack_panel(w, w_stride_bytes, rows, whole, columns, out);
  if (rest == 0) return;
  out += whole * columns * 4;
  __builtin_memset(out, 0, static_cast<size_t>(columns) * 4);
  for (int n = 0; n < rows; ++n)
    __builtin_memcpy(out + n * 4, w + n * w_stride_bytes + whole * 4, static_cast<size_t>(rest));
}

template <int input_bytes>
static void pack_plain(const PanelRows& r, void* panel) noexcept {
  pack_units(static_cast<const char*>(r.w), r.w_stride_bytes, r.rows, r.K, input_bytes, kColumns,
             static_cast<char*>(panel));
}

}  // namespace
}  // namespace cachalot
