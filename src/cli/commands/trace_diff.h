// Compares two files of traced points and names the first that differs: where two implementations part ways.
#pragma once

#include <string>
#include <vector>

namespace cachalot {

// In the metadata of a file that `trace` writes: its tensors are in the order in which they were computed.
inline constexpr const char* kTraceOrderKey = "order";
inline constexpr const char* kTraceOrderForward = "as computed";

struct PointDiff {
  std::string point;
  std::string problem;      // not comparable: shapes or types differ, or one file lacks the point
  double max_abs_diff = 0;  // NaN where exactly one side is NaN
  double rms = 0;           // of the first file's values, to judge the difference by
  int64_t worst_index = 0;  // of the largest difference, in row-major order
  bool differs = false;
};

struct TraceDiff {
  std::vector<PointDiff> points;  // all that either file has, in the order of computation where one of them tells it
  const PointDiff* first_difference() const;
};

// Points differ beyond `tolerance` in absolute value. Tensors that are no f32 are left out unless the other file has
// them as f32. Throws Error when a file cannot be read or they share no point.
TraceDiff diff_traces(const std::string& a, const std::string& b, double tolerance);

// Prints the comparison; returns the exit status: 1 when they differ.
int print_trace_diff(const std::string& a, const std::string& b, double tolerance, bool json);

}  // namespace cachalot
