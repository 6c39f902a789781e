// out[unit][n] = the 32-bit unit of row n, for n < rows, and zero for rows ≤ n < columns; see pack_panel in table.h.
// Squares of kLanes × kLanes are transposed in registers: both sides are read and written in whole vectors.

static void pack_panel(const void* w, int64_t w_stride_bytes, int rows, int64_t units, int columns,
                       void* out) noexcept {
  const char* source = static_cast<const char*>(w);
  float* panel = static_cast<float*>(out);
  for (int64_t u = 0; u < units; u += kLanes) {
    const int wide = units - u < kLanes ? static_cast<int>(units - u) : kLanes;
    for (int n = 0; n < columns; n += kLanes) {
      F32x square[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        square[i] = set(0);
        if (n + i >= rows) continue;
        const float* row = reinterpret_cast<const float*>(source + (n + i) * w_stride_bytes) + u;
        square[i] = wide == kLanes ? load(row) : load(row, wide);
      }
      transpose(square);
      float* to = panel + u * columns + n;
      const int high = columns - n;
      for (int i = 0; i < wide; ++i, to += columns) high < kLanes ? store(to, square[i], high) : store(to, square[i]);
    }
  }
}
