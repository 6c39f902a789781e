#include "cli/commands/bench_probes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/available_memory.h"
#include "load/loaded_model.h"

namespace cachalot {

static constexpr int64_t kBufferBytes = int64_t{1} << 30;
static constexpr double kLoopSeconds = 0.05;

using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The part of the buffer that a worker reads, a multiple of 4 KiB.
static size_t part_bytes(const PageBuffer& buffer, int threads) {
  return buffer.bytes() / static_cast<size_t>(threads) / 4096 * 4096;
}

Probes::Probes(CpuOps& ops, DType inputs)
    : ops_(ops), buffer_(static_cast<size_t>(std::min(kBufferBytes, available_memory_bytes() / 4))) {
  const KernelTable& k = ops.kernels();
  loop_ = k.fma_loop, flops_ = k.fma_flops;
  if (inputs == DType::i8)
    loop_ = k.byte_loop, flops_ = k.byte_ops, arithmetic_ = "int8";
  else if (inputs == DType::bf16 && k.bf16_loop)
    loop_ = k.bf16_loop, flops_ = k.bf16_flops, arithmetic_ = "bf16";

  const size_t part = part_bytes(buffer_, ops.pool().threads());
  ops.pool().run([&](int worker) { std::memset(buffer_.data() + static_cast<size_t>(worker) * part, 1, part); });
  iterations_ = 100'000;
  const double rate = operation_rate();
  iterations_ = std::max<int64_t>(
      1, static_cast<int64_t>(kLoopSeconds * rate / static_cast<double>(flops_) / ops.pool().threads()));
}

double Probes::read_rate() {
  const size_t part = part_bytes(buffer_, ops_.pool().threads());
  std::atomic<uint64_t> mix{0};
  const auto start = Clock::now();
  ops_.pool().run([&](int worker) {
    mix += ops_.kernels().read_bytes(buffer_.data() + static_cast<size_t>(worker) * part, part);
  });
  return static_cast<double>(part) * ops_.pool().threads() / seconds_since(start);
}

double Probes::operation_rate() {
  std::atomic<float> results{0};
  const auto start = Clock::now();
  ops_.pool().run([&](int) { results.store(loop_(iterations_)); });
  return static_cast<double>(flops_ * iterations_) * ops_.pool().threads() / seconds_since(start);
}

Limits Probes::measure() { return {.bytes_per_s = read_rate(), .ops_per_s = operation_rate()}; }

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return {.median = values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2,
          .min = values.front(),
          .max = values.back()};
}

}  // namespace cachalot
