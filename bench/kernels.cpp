// Speed of the kernels on one thread, as a share of what this machine can do at most in the same moment: every timing
// is taken in turn with the table's own probe (arithmetic or reading), and the median of the ratios is printed. A
// kernel is checked against its definition before it is timed.
//
//   bench_kernels [isa …]        every usable table unless named
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "base/page_buffer.h"
#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

// The thread's own time: what other processes take of a shared core is left out.
double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Best time of one call in a window of about 20 ms.
double time_of(const std::function<void()>& work) {
  double best = 1e9;
  for (const double start = seconds(); seconds() < start + 0.02;) {
    const double from = seconds();
    work();
    best = std::min(best, seconds() - from);
  }
  return best;
}

struct Result {
  double rate, share;
};

// `amount` of work (flops or bytes) per call, against a probe that does `probe_amount`; medians of 9 rounds in turn.
Result in_turn(double amount, const std::function<void()>& work, double probe_amount,
               const std::function<void()>& probe) {
  std::vector<double> rates, shares;
  for (int round = 0; round < 9; ++round) {
    const double rate = amount / time_of(work), limit = probe_amount / time_of(probe);
    rates.push_back(rate), shares.push_back(rate / limit);
  }
  std::nth_element(rates.begin(), rates.begin() + 4, rates.end());
  std::nth_element(shares.begin(), shares.begin() + 4, shares.end());
  return {rates[4], shares[4]};
}

volatile float sink;

void print(const KernelTable& table, const std::string& what, const Result& r, const char* unit) {
  fmt::print("{:12} {:44} {:8.1f} {:8} {:4.0f} %\n", table.isa, what, r.rate / 1e9, unit, r.share * 100);
  std::fflush(stdout);
}

// Weights of the kernel's type with the numbers that it holds.
std::pair<PackedMatrix, std::vector<float>> weights(const KernelTable& table, const MatmulKernel& kernel, int64_t N,
                                                    int64_t K) {
  if (kernel.weights == DType::f8_e4m3) {
    const CodedMatrix coded(N, K, 2);
    return {coded.pack(kernel), coded.numbers()};
  }
  const auto w = random_normal(N * K, 2);
  return {pack(table, kernel, w, N, K), rounded_to(kernel.weights, w)};
}

void matmul(const KernelTable& table, const MatmulKernel& kernel, int64_t M, int64_t N, int64_t K) {
  const auto x = random_normal(M * K, 1);
  const auto [packed, w_used] = weights(table, kernel, N, K);
  const PageBuffer prepared(static_cast<size_t>(kernel.inputs_bytes(M, K)));
  for (int64_t m = 0; m < M; ++m) kernel.prepare(&x[m * K], K, m, M, prepared.data());
  std::vector<float> y(M * N);
  const auto work = [&] { kernel.multiply(prepared.data(), M, packed.span(), y.data(), N); };
  work();
  const auto x0 = rounded_to(kernel.inputs, {x.end() - K, x.end()});
  const auto want = reference::matmul(x0, w_used, 1, N, K);
  const auto magnitude = reference::matmul_magnitude(x0, w_used, 1, N, K);
  for (int64_t n = 0; n < N; ++n)
    if (!(std::abs(y[(M - 1) * N + n] - want[n]) < 1e-7 * static_cast<double>(K) * magnitude[n])) {
      fmt::print("{} matmul {} is wrong: {} and not {}\n", table.isa, name(kernel.weights), y[(M - 1) * N + n],
                 want[n]);
      std::exit(1);
    }
  const bool pairs = kernel.inputs == DType::bf16;
  const auto probe = [&] { sink = pairs ? table.bf16_loop(100'000) : table.fma_loop(100'000); };
  const double flops = 1e5 * static_cast<double>(pairs ? table.bf16_flops : table.fma_flops);
  const double amount = 2.0 * static_cast<double>(M * N * K);
  print(table, fmt::format("matmul {} M={} N={} K={}", name(kernel.weights), M, N, K),
        in_turn(amount, work, flops, probe), "GFLOP/s");
}

// One row through weights that no cache holds, against a plain read of the same bytes.
void matvec(const KernelTable& table, const MatmulKernel& kernel, int64_t K) {
  const int64_t panels = (int64_t{256} << 20) / kernel.panel_bytes(K), N = panels * kernel.columns;
  std::vector<std::byte> weights(static_cast<size_t>(panels * kernel.panel_bytes(K)), std::byte{0x3c});
  const auto x = prepare(kernel, random_normal(K, 1), 1, K);
  std::vector<float> y(N);
  const PanelSpan span{weights.data(), kernel.panel_bytes(K), K, N};
  const auto work = [&] { kernel.multiply(x.data(), 1, span, y.data(), N); };
  const auto probe = [&] { sink = static_cast<float>(table.read_bytes(weights.data(), weights.size())); };
  const auto bytes = static_cast<double>(weights.size());
  print(table, fmt::format("matmul {} M=1 K={}, 256 MiB of weights", name(kernel.weights), K),
        in_turn(bytes, work, bytes, probe), "GB/s");
}

void packing(const KernelTable& table, int64_t N, int64_t K) {
  const MatmulKernel& kernel = table.matmul_bf16;
  const int64_t stride = K * 2, panels = N / kernel.columns;
  std::vector<std::byte> stored(static_cast<size_t>(N * stride) + 2, std::byte{0x3c});
  const PageBuffer packed(static_cast<size_t>(panels * kernel.panel_bytes(K)));
  const auto work = [&] {
    for (int64_t i = 0; i < panels; ++i)
      table.pack_panel(stored.data() + 2 + i * kernel.columns * stride, stride, kernel.columns, K / 2, kernel.columns,
                       packed.data() + i * kernel.panel_bytes(K));
  };
  const auto probe = [&] { sink = static_cast<float>(table.read_bytes(stored.data(), stored.size())); };
  const auto bytes = static_cast<double>(packed.bytes());
  print(table, fmt::format("pack_panel bf16 N={} K={}, unaligned", N, K), in_turn(bytes, work, bytes, probe), "GB/s");
}

void packing_fp8(const KernelTable& table, int64_t N, int64_t K) {
  const MatmulKernel& kernel = table.matmul_fp8;
  const int64_t panels = N / kernel.columns, blocks = K / kernel.block_inputs;
  std::vector<std::byte> stored(static_cast<size_t>(N * K) + 1, std::byte{0x3c});
  const std::vector<float> factors(static_cast<size_t>(kernel.columns * blocks), 1.0f);
  const PageBuffer packed(static_cast<size_t>(panels * kernel.panel_bytes(K)));
  const auto work = [&] {
    for (int64_t i = 0; i < panels; ++i)
      kernel.pack({.w = stored.data() + 1 + i * kernel.columns * K,
                   .w_stride_bytes = K,
                   .rows = kernel.columns,
                   .K = K,
                   .factors = factors.data(),
                   .factor_stride = blocks},
                  packed.data() + i * kernel.panel_bytes(K));
  };
  const auto probe = [&] { sink = static_cast<float>(table.read_bytes(stored.data(), stored.size())); };
  const auto bytes = static_cast<double>(stored.size());
  print(table, fmt::format("pack f8_e4m3 N={} K={}, unaligned", N, K), in_turn(bytes, work, bytes, probe), "GB/s");
}

void rows(const KernelTable& table) {
  const int64_t n = 1536;
  const auto a = random_normal(n, 1), b = random_normal(n, 2);
  std::vector<float> y(n);
  std::vector<uint16_t> half(n);
  const auto probe = [&] { sink = table.fma_loop(100'000); };
  const double flops = 1e5 * static_cast<double>(table.fma_flops);
  const auto elements = [&](const char* what, const std::function<void()>& work) {
    const auto often = [&] {
      for (int i = 0; i < 100; ++i) work();
    };
    print(table, fmt::format("{} n={}", what, n), in_turn(100.0 * n, often, flops, probe), "G/s");
  };
  elements("rms_norm", [&] { table.rms_norm(a.data(), b.data(), 1e-6f, n, y.data()); });
  elements("swiglu", [&] { table.swiglu(a.data(), b.data(), n, y.data()); });
  elements("add", [&] { table.add(a.data(), b.data(), n, y.data()); });
  elements("rope_halves", [&] { table.rope_halves(a.data(), b.data(), b.data(), n, y.data()); });
  elements("rope_pairs", [&] { table.rope_pairs(a.data(), b.data(), b.data(), n, y.data()); });
  elements("f32_to_bf16", [&] { table.f32_to_bf16(a.data(), n, half.data()); });
  elements("softmax_block", [&] {
    std::memcpy(y.data(), a.data(), n * sizeof(float));
    float max = -INFINITY, sum = 0;
    table.softmax_block(y.data(), n, 0, n, 0.1f, &max, &sum);
  });
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
  using namespace cachalot;
  for (const KernelTable* table : usable_kernels()) {
    if (argc > 1 && std::find(argv + 1, argv + argc, std::string(table->isa)) == argv + argc) continue;
    for (const MatmulKernel* kernel : {&table->matmul_fp8, &table->matmul_bf16, &table->matmul_f32}) {
      for (const int64_t M : {512, 64, 6}) matmul(*table, *kernel, M, 256, 1536);
      matmul(*table, *kernel, 512, 64, 8960);
      matvec(*table, *kernel, 1536);
    }
    packing(*table, 1536, 1536);
    packing(*table, 8960, 1536);
    packing_fp8(*table, 8960, 1536);
    rows(*table);
  }
}
