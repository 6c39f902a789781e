// What this machine can do at most at this moment: bytes read from memory and operations per second, by all threads
// at once. Neighbours on the same host change both within seconds, so `bench` probes between its measurements.
#pragma once

#include "base/page_buffer.h"
#include "ops/cpu/cpu_ops.h"

namespace cachalot {

struct Limits {
  double bytes_per_s = 0, ops_per_s = 0;
};

class Probes {
 public:
  // `inputs`: what operations multiply: f32, bf16 where the processor has such products (else f32), or i8.
  // Takes 1 GiB, or a quarter of the available memory when that is less. Borrows `ops`.
  Probes(CpuOps& ops, DType inputs);

  Limits measure();  // takes about a tenth of a second
  const char* arithmetic() const { return arithmetic_; }

 private:
  double read_rate();
  double operation_rate();

  CpuOps& ops_;
  PageBuffer buffer_;
  float (*loop_)(int64_t) noexcept;
  const char* arithmetic_ = "f32";
  int64_t flops_ = 0;       // of one iteration of loop_
  int64_t iterations_ = 0;  // that take a twentieth of a second
};

// The middle one of sorted values (of an even number, the mean of the two), the smallest and the largest.
struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread spread(std::vector<double> values);

}  // namespace cachalot
