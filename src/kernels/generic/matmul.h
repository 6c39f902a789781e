// y[m][n] = sum over k of x[m][k] * w[n][k] for one packed panel of columns n; see MatmulKernel in table.h.
//
// One output is one lane of one accumulator, which takes k in ascending order: that makes a row's result the same
// whatever rows it shares a block with and wherever k was cut.
//
// Error bound against f64, per output, e = 2^-24: f32 weights (K + 1) e sum |x w|, twice that where fma() rounds
// twice; bf16 weights the same, counted from the inputs as prepared.

// How a weight format multiplies. A unit is 32 bits of every column; `x` points at the inputs of that unit.
struct F32Panels {
  static constexpr int kPerUnit = 1, kInputBytes = 4;
  template <int vectors>
  static void step(F32x (&sums)[vectors], const char* x, const F32x (&units)[vectors]) {
    const F32x x0 = set(*reinterpret_cast<const float*>(x));
    for (int v = 0; v < vectors; ++v) sums[v] = fma(x0, units[v], sums[v]);
  }
};

// bf16 pairs widened to f32: first k, then k + 1.
struct WidenedBf16Panels {
  static constexpr int kPerUnit = 2, kInputBytes = 4;
  template <int vectors>
  static void step(F32x (&sums)[vectors], const char* x, const F32x (&units)[vectors]) {
    const F32x x0 = set(reinterpret_cast<const float*>(x)[0]), x1 = set(reinterpret_cast<const float*>(x)[1]);
    for (int v = 0; v < vectors; ++v) sums[v] = fma(x0, widen_low(units[v]), sums[v]);
    for (int v = 0; v < vectors; ++v) sums[v] = fma(x1, widen_high(units[v]), sums[v]);
  }
};

struct TileArgs {
  const char* x;
  int64_t x_stride_bytes;
  const float* panel;
  int64_t units;
  int used;
  float* y;
  int64_t y_stride;
  bool accumulate;
};

constexpr int kColumns = kTileVectors * kLanes;

// `rows` rows of the tile, held in registers from the first k to the last.
template <class Panels, int rows>
static void block(const TileArgs& a) {
  constexpr int vectors = kTileVectors;
  F32x sums[rows][vectors];
  const int full = a.used / kLanes, tail = a.used % kLanes;
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) {
      const float* y = a.y + r * a.y_stride + v * kLanes;
      sums[r][v] = !a.accumulate ? set(0) : v < full ? load(y) : v == full && tail ? load(y, tail) : set(0);
    }

  const char* x = a.x;
  const float* panel = a.panel;
  for (int64_t u = 0; u < a.units; ++u) {
    F32x units[vectors];
    for (int v = 0; v < vectors; ++v) units[v] = load(panel + v * kLanes);
    for (int r = 0; r < rows; ++r) Panels::step(sums[r], x + r * a.x_stride_bytes, units);
    x += Panels::kPerUnit * Panels::kInputBytes;
    panel += kColumns;
  }

  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) {
      float* y = a.y + r * a.y_stride + v * kLanes;
      if (v < full) store(y, sums[r][v]);
      if (v == full && tail) store(y, sums[r][v], tail);
    }
}

template <class Panels, int most>
static void block_of(int rows, const TileArgs& a) {
  if constexpr (most > 1) {
    if (rows < most) return block_of<Panels, most - 1>(rows, a);
  }
  block<Panels, most>(a);
}

// Rows are taken in equal blocks of at most kTileRows: a last block of one row would cost as much as a full one.
template <class Panels>
static void tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                 float* y, int64_t y_stride, bool accumulate) noexcept {
  TileArgs a = {.x = static_cast<const char*>(x),
                .x_stride_bytes = x_stride_bytes,
                .panel = static_cast<const float*>(panel),
                .units = (K + Panels::kPerUnit - 1) / Panels::kPerUnit,
                .used = used,
                .y = y,
                .y_stride = y_stride,
                .accumulate = accumulate};
  while (rows > 0) {
    const int64_t blocks = (rows + kTileRows - 1) / kTileRows;
    const int now = static_cast<int>((rows + blocks - 1) / blocks);
    block_of<Panels, kTileRows>(now, a);
    a.x += now * x_stride_bytes, a.y += now * y_stride, rows -= now;
  }
}

static void prepare_f32(const float* x_K, int64_t K, void* out) noexcept {
  __builtin_memcpy(out, x_K, static_cast<size_t>(K) * 4);
  if (K % 2) static_cast<float*>(out)[K] = 0;
}
