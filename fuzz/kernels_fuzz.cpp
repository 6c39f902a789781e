// All instruction sets that this processor runs, against the scalar one: matrix products of every format with codes
// and inputs of the fuzzer's, rows alone and together, and the functions of vectors.
//
// Inputs are numbers of which no sum overflows. What is not a number in the scalar result (scales of a block may be
// anything) may be anything elsewhere.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/table.h"
#include "tensor/quant_blocks.h"

using namespace cachalot;

namespace {

// The fuzzer's bytes; when they are used up, random ones that follow from them.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), left_(size), random_(size > 0 ? data[size - 1] : 0) {}
  uint8_t byte() {
    if (left_ == 0) return static_cast<uint8_t>(random_.next());
    --left_;
    return *data_++;
  }
  int below(int n) { return (byte() | byte() << 8) % n; }
  // Of either sign, from 2^-20 to 2^20, or 0.
  float number() {
    const int exponent = byte() % 42, mantissa = byte();
    if (exponent == 41) return 0;
    return std::ldexp(static_cast<float>(mantissa | 1) * (mantissa & 1 ? -1.0f : 1.0f) / 128, exponent - 20);
  }
  std::vector<float> numbers(int64_t n) {
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = number();
    return v;
  }

 private:
  const uint8_t* data_;
  size_t left_;
  Random random_;
};

const KernelTable& scalar() {
  for (const KernelTable* table : all_kernels())
    if (std::strcmp(table->isa, "scalar") == 0) return *table;
  std::abort();
}

template <typename Check>
void for_each_other(const Check& check) {
  for (const KernelTable* table : all_kernels())
    if (table != &scalar() && table->usable()) check(*table);
}

// -- Matrix products

const MatmulKernel& kernel_of(const KernelTable& table, size_t format) {
  if (format == 0) return table.matmul_f32;
  if (format == 1) return table.matmul_bf16;
  if (format == 2) return table.matmul_fp8;
  return table.matmul_quantized[format - 3];
}
constexpr size_t kFormats = 3 + std::tuple_size_v<QuantizedKernels>;

struct Stored {
  DType type;
  int64_t rows, K, row_bytes;
  std::vector<std::byte> bytes;
  std::vector<float> factors;  // of e4m3 codes

  PanelRows part(int64_t first, int64_t count) const {
    const int64_t blocks = (K + 127) / 128;
    return {.w = bytes.data() + first * row_bytes,
            .w_stride_bytes = row_bytes,
            .rows = static_cast<int>(count),
            .K = K,
            .factors = factors.empty() ? nullptr : factors.data() + first * blocks,
            .factor_stride = blocks};
  }
};

Stored stored_weights(const MatmulKernel& kernel, int64_t rows, int64_t K, Bytes& in) {
  Stored w{kernel.weights, rows, K, row_bytes(kernel.weights, K), {}, {}};
  w.bytes.resize(static_cast<size_t>(rows * w.row_bytes));
  if (kernel.weights == DType::f32 || kernel.weights == DType::bf16) {
    const auto numbers = in.numbers(rows * K);
    for (size_t i = 0; i < numbers.size(); ++i) {
      const uint16_t half = f32_to_bf16(numbers[i]);
      if (kernel.weights == DType::f32) std::memcpy(&w.bytes[4 * i], &numbers[i], 4);
      if (kernel.weights == DType::bf16) std::memcpy(&w.bytes[2 * i], &half, 2);
    }
    return w;
  }
  for (std::byte& b : w.bytes) {
    b = static_cast<std::byte>(in.byte());
    if (kernel.weights == DType::f8_e4m3 && (b & std::byte{0x7f}) == std::byte{0x7f}) b = std::byte{1};  // no NaN
  }
  if (kernel.weights == DType::f8_e4m3)
    for (float& factor : w.factors = std::vector<float>(static_cast<size_t>(rows * ((K + 127) / 128))))
      factor = std::abs(bf16_to_f32(f32_to_bf16(in.number())));
  return w;
}

std::vector<float> product(const MatmulKernel& kernel, const Stored& w, const std::vector<float>& x_MK, int64_t M) {
  const int64_t panels = (w.rows + kernel.columns - 1) / kernel.columns, bytes = kernel.panel_bytes(w.K);
  const auto room = [](int64_t n) {
    return static_cast<std::byte*>(std::aligned_alloc(64, (static_cast<size_t>(n) + 127) / 64 * 64));
  };
  const std::unique_ptr<std::byte, void (*)(void*)> packed(room(panels * bytes), std::free),
      inputs(room(kernel.inputs_bytes(M, w.K)), std::free);
  for (int64_t p = 0; p < panels; ++p)
    kernel.pack(w.part(p * kernel.columns, std::min<int64_t>(kernel.columns, w.rows - p * kernel.columns)),
                packed.get() + p * bytes);
  for (int64_t m = 0; m < M; ++m) kernel.prepare(&x_MK[static_cast<size_t>(m * w.K)], w.K, m, M, inputs.get());
  std::vector<float> y(static_cast<size_t>(M * w.rows));
  kernel.multiply(inputs.get(), M, {packed.get(), bytes, w.K, w.rows}, y.data(), w.rows);
  return y;
}

// For every output what its terms add up to, signs aside, if each input were the largest.
std::vector<double> magnitudes(const Stored& w, const std::vector<float>& x_MK, int64_t M) {
  std::vector<float> row(static_cast<size_t>(w.K));
  std::vector<double> sums(static_cast<size_t>(M * w.rows));
  for (int64_t n = 0; n < w.rows; ++n) {
    dequantize(w.type,
               std::span(w.bytes).subspan(static_cast<size_t>(n * w.row_bytes), static_cast<size_t>(w.row_bytes)),
               row);
    for (int64_t m = 0; m < M; ++m) {
      double largest = 0, sum = 0;
      for (int64_t k = 0; k < w.K; ++k) {
        const double factor =
            w.factors.empty() ? 1 : w.factors[static_cast<size_t>(n * ((w.K + 127) / 128) + k / 128)];
        largest = std::max(largest, std::abs(static_cast<double>(x_MK[static_cast<size_t>(m * w.K + k)])));
        sum += std::abs(factor * row[static_cast<size_t>(k)]);
      }
      sums[static_cast<size_t>(m * w.rows + n)] = largest * sum;
    }
  }
  return sums;
}

void fuzz_product(Bytes& in) {
  const size_t format = static_cast<size_t>(in.below(static_cast<int>(kFormats)));
  const MatmulKernel& plain = kernel_of(scalar(), format);
  const int64_t unit = std::max<int64_t>(1, plain.quantized() ? std::max<int64_t>(plain.group_inputs, 256) : 1);
  const int64_t K = unit * (1 + in.below(unit > 1 ? 3 : 300)), rows = 1 + in.below(70), M = 1 + in.below(40);
  const Stored w = stored_weights(plain, rows, K, in);
  auto x_MK = in.numbers(M * K);
  for (float& x : x_MK) x = bf16_to_f32(f32_to_bf16(x));  // exact for kernels that round inputs to bf16
  const auto want = product(plain, w, x_MK, M);
  const auto scale = magnitudes(w, x_MK, M);
  for_each_other([&](const KernelTable& table) {
    const auto got = product(kernel_of(table, format), w, x_MK, M);
    for (size_t i = 0; i < got.size(); ++i) {
      if (!std::isfinite(want[i]) || !std::isfinite(scale[i])) continue;
      CHECK(std::abs(static_cast<double>(got[i]) - want[i]) <= 2e-5 * scale[i] + 1e-30,
            "format {}, {} inputs, {} rows of {}: output {} is {} with {} and {} in scalar arithmetic", format, K, M,
            rows, i, got[i], table.isa, want[i]);
    }
  });
}

// -- Functions of vectors

void same(const KernelTable& table, const char* what, const std::vector<float>& got, const std::vector<float>& want,
          double relative) {
  double largest = 0;
  for (const float x : want) largest = std::max(largest, std::abs(static_cast<double>(x)));
  for (size_t i = 0; i < got.size(); ++i)
    CHECK(std::abs(static_cast<double>(got[i]) - want[i]) <= relative * (std::abs(want[i]) + 1e-3 * largest) + 1e-30,
          "{}: number {} of {} is {} with {} and {} in scalar arithmetic", what, i, got.size(), got[i], table.isa,
          want[i]);
}

void fuzz_vectors(Bytes& in) {
  const int64_t n = 2 * (1 + in.below(160));
  const auto x = in.numbers(n), y = in.numbers(n);
  std::vector<float> angles(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) angles[static_cast<size_t>(i)] = std::cos(x[static_cast<size_t>(i)]);
  const auto apply = [&](const KernelTable& t, int verb) {
    std::vector<float> out(static_cast<size_t>(n));
    float max = -std::numeric_limits<float>::infinity(), sum = 0;
    switch (verb) {
      case 0: t.rms_norm(x.data(), y.data(), 1e-6f, n, out.data()); break;
      case 1: t.rope_halves(x.data(), angles.data(), angles.data() + n / 2, n, out.data()); break;
      case 2: t.rope_pairs(x.data(), angles.data(), angles.data() + n / 2, n, out.data()); break;
      case 3: t.swiglu(x.data(), y.data(), n, out.data()); break;
      case 4: t.silu(x.data(), 1.5f, n, out.data()); break;
      case 5: t.gelu(x.data(), n, out.data()); break;
      case 6: t.add(x.data(), y.data(), n, out.data()); break;
      case 7: t.multiply(x.data(), y.data(), n, out.data()); break;
      default:
        // The exponents of larger scores are rounded by more than the bound.
        for (int64_t i = 0; i < n; ++i)
          out[static_cast<size_t>(i)] = std::clamp(x[static_cast<size_t>(i)], -2e3f, 2e3f);
        t.softmax_block(out.data(), n, n / 5, n - n / 7, 0.01f, &max, &sum);
        out.push_back(sum);
    }
    return out;
  };
  constexpr const char* kNames[] = {"rms_norm", "rope_halves", "rope_pairs", "swiglu", "silu",
                                    "gelu",     "add",         "multiply",   "softmax"};
  for (int verb = 0; verb < 9; ++verb) {
    const auto want = apply(scalar(), verb);
    for_each_other([&](const KernelTable& t) { same(t, kNames[verb], apply(t, verb), want, 2e-5); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes in(data, size);
  in.byte() % 4 == 0 ? fuzz_vectors(in) : fuzz_product(in);
  return 0;
}
