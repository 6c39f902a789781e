// The matrix product with coded weights: y[m][n] = sum over blocks b of factor[n][b] * (sum over k of b of
// x[m][k] * code[n][k]); panels in MatmulKernel of table.h. A format is a class like E4m3Panels below.
//
// One row decodes in registers and reads memory in order. Several rows decode a block once into a plain panel on the
// stack, small enough for the first two caches, and pass over that. Both take k in the same order with the same
// operations, so a row's result does not depend on its company.
//
// Error bound against f64, per output, e = 2^-24, with the codes exact in the type that multiplies: the chain of a
// block and the sum over the B blocks, (min(K, 128) + B + 1) e sum |x factor code|, twice that where fma() rounds
// twice.

constexpr int kBlockInputs = 128;
constexpr int kCodedColumns = 64;  // with fewer the chain of one row would wait for its own sums (docs/log.md)
static_assert(kCodedColumns % kColumns == 0 && kCodedColumns % (kOneRowVectors * kLanes) == 0);

// Four e4m3 codes per unit, widened to f32.
struct E4m3Panels {
  using Plain = F32Panels;  // how a decoded block multiplies
  static constexpr int kParts = 4, kInputsPerUnit = 4;
  template <int part>
  static F32x weights(F32x unit) {
    return e4m3<part>(unit);
  }
  static F32x step(F32x sum, F32x x, F32x w) { return fma(x, w, sum); }
  static void arrange(char* /*codes*/, int64_t /*units*/) {}  // the order in which pack_units leaves them
};

// One block of one panel, and where its share of the results goes.
struct CodedBlock {
  const char* x;
  int64_t x_stride_bytes;
  const float *factors, *codes;
  int inputs;
  int used;
  float* y;
  int64_t y_stride;
  bool accumulate;

  // The same for the columns from `column` on.
  CodedBlock from(int column) const {
    CodedBlock b = *this;
    b.factors += column, b.codes += column, b.y += column, b.used -= column;
    return b;
  }
};

template <int vectors>
static void add_scaled(const F32x (&sums)[vectors], const CodedBlock& b, float* y) {
  for (int v = 0; v < vectors; ++v, y += kLanes) {
    const int left = b.used - v * kLanes;
    if (left <= 0) return;
    const F32x from = !b.accumulate ? set(0) : left < kLanes ? load(y, left) : load(y);
    const F32x sum = fma(load(b.factors + v * kLanes), sums[v], from);
    if (left < kLanes)
      store(y, sum, left);
    else
      store(y, sum);
  }
}

// A whole block for one row and kOneRowVectors * kLanes columns.
template <class Format>
static void one_row(const CodedBlock& b) {
  F32x sums[1][kOneRowVectors];
  for (F32x& sum : sums[0]) sum = set(0);
  const char* x = b.x;
  const float* codes = b.codes;
  for (int k = 0; k < kBlockInputs; k += Format::kInputsPerUnit, codes += kCodedColumns) {
    step<Format, 0>(sums, x, 0, codes);
    step<Format, 1>(sums, x, 0, codes);
    if constexpr (Format::kParts == 4) {
      step<Format, 2>(sums, x, 0, codes);
      step<Format, 3>(sums, x, 0, codes);
    }
    x += Format::kParts * 4;
  }
  add_scaled(sums[0], b, b.y);
}

// Decodes kColumns columns of a block into a panel of its Plain form: [input or pair][kColumns].
template <class Format>
static void decode(const CodedBlock& b, float* plain) {
  const float* codes = b.codes;
  for (int k = 0; k < b.inputs; k += Format::kInputsPerUnit, codes += kCodedColumns)
    for (int v = 0; v < kTileVectors; ++v) {
      const F32x unit = load(codes + v * kLanes);
      float* to = plain + k / Format::kInputsPerUnit * Format::kParts * kColumns + v * kLanes;
      store(to, Format::template weights<0>(unit));
      store(to + kColumns, Format::template weights<1>(unit));
      if constexpr (Format::kParts == 4) {
        store(to + 2 * kColumns, Format::template weights<2>(unit));
        store(to + 3 * kColumns, Format::template weights<3>(unit));
      }
    }
}

template <class Plain, int rows>
static void scaled_block(const CodedBlock& b, const float* plain) {
  F32x sums[rows][kTileVectors];
  for (auto& row : sums)
    for (F32x& sum : row) sum = set(0);
  const char* x = b.x;
  for (int k = 0; k < b.inputs; k += Plain::kInputsPerUnit, x += 4, plain += kColumns)
    step<Plain, 0>(sums, x, b.x_stride_bytes, plain);
  for (int r = 0; r < rows; ++r) add_scaled(sums[r], b, b.y + r * b.y_stride);
}

template <class Plain, int most>
static void scaled_block_of(int rows, const CodedBlock& b, const float* plain) {
  if constexpr (most > 1) {
    if (rows < most) return scaled_block_of<Plain, most - 1>(rows, b, plain);
  }
  scaled_block<Plain, most>(b, plain);
}

// kColumns columns of a block for all rows, which are taken in equal groups as in tile().
template <class Format>
static void many_rows(CodedBlock b, int64_t rows) {
  alignas(64) float plain[kBlockInputs / Format::kInputsPerUnit * Format::kParts * kColumns];
  decode<Format>(b, plain);
  for (int64_t left = rows; left > 0;) {
    const int64_t groups = (left + kTileRows - 1) / kTileRows;
    const int now = static_cast<int>((left + groups - 1) / groups);
    scaled_block_of<typename Format::Plain, kTileRows>(now, b, plain);
    b.x += now * b.x_stride_bytes, b.y += now * b.y_stride, left -= now;
  }
}

template <class Format>
static void coded_tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                       float* y, int64_t y_stride, bool accumulate) noexcept {
  const auto* at = static_cast<const float*>(panel);
  for (int64_t k = 0; k < K; k += kBlockInputs) {
    const int inputs = static_cast<int>(K - k < kBlockInputs ? K - k : kBlockInputs);
    const CodedBlock b = {.x = static_cast<const char*>(x) + k / Format::kInputsPerUnit * Format::kParts * 4,
                          .x_stride_bytes = x_stride_bytes,
                          .factors = at,
                          .codes = at + kCodedColumns,
                          .inputs = inputs,
                          .used = used,
                          .y = y,
                          .y_stride = y_stride,
                          .accumulate = accumulate || k > 0};
    const bool alone = rows == 1 && inputs == kBlockInputs;
    for (int column = 0; column < used; column += alone ? kOneRowVectors * kLanes : kColumns) {
      if (alone)
        one_row<Format>(b.from(column));
      else
        many_rows<Format>(b.from(column), rows);
    }
    at += kCodedColumns * (1 + (inputs + Format::kInputsPerUnit - 1) / Format::kInputsPerUnit);
  }
}

template <class Format>
static void pack_coded(const PanelRows& r, void* panel) noexcept {
  auto* out = static_cast<float*>(panel);
  for (int64_t k = 0; k < r.K; k += kBlockInputs) {
    for (int n = 0; n < kCodedColumns; ++n)
      *out++ = n < r.rows ? r.factors[n * r.factor_stride + k / kBlockInputs] : 0;
    const int64_t inputs = r.K - k < kBlockInputs ? r.K - k : kBlockInputs;
    const int64_t units = (inputs + Format::kInputsPerUnit - 1) / Format::kInputsPerUnit;
    auto* codes = reinterpret_cast<char*>(out);
    pack_units(static_cast<const char*>(r.w) + k, r.w_stride_bytes, r.rows, inputs, 1, kCodedColumns, codes);
    Format::arrange(codes, units);
    out += units * kCodedColumns;
  }
}
