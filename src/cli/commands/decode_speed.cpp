#include "cli/commands/decode_speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/available_memory.h"
#include "cli/commands/bench_probes.h"
#include "tensor/arena_scope.h"

namespace cachalot {

double TokenReads::bytes() const {
  double bytes = head_bytes;
  for (const auto& [shape, of_shape] : matrices) bytes += of_shape.bytes;
  return bytes;
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLeastBytes = 64 << 20;
constexpr int64_t kMostBytes = int64_t{256} << 20;
constexpr int kScaleBlock = 128;  // rows and columns of FP8 that share a factor
constexpr std::chrono::milliseconds kTime{100};
// What attention, norms and choosing take besides: up to a quarter of the time of matrices in five models of 0.5 to
// 16 B parameters. Smaller ones take more, which is not counted.
constexpr double kBesides = 1.1;

// A matrix of zeros, as a file holds it.
struct Zeros {
  std::vector<std::byte> bytes, scales;
  StoredTensor stored;

  Zeros(DType type, int64_t rows, int64_t columns)
      : bytes(static_cast<size_t>(rows * row_bytes(type, columns))),
        stored{.name = "zeros", .dtype = type, .shape = {rows, columns}, .bytes = bytes, .scales = {}} {
    if (type != DType::f8_e4m3) return;
    const int64_t grid_rows = (rows + kScaleBlock - 1) / kScaleBlock, grid_columns = columns / kScaleBlock;
    scales.resize(static_cast<size_t>(grid_rows * grid_columns) * sizeof(float));
    stored.scales = BlockScales{.dtype = DType::f32,
                                .bytes = scales,
                                .block_rows = kScaleBlock,
                                .block_columns = kScaleBlock,
                                .grid_rows = grid_rows,
                                .grid_columns = grid_columns,
                                .matrix_rows = rows};
  }
};

// Matrices that are read one after another, like a model's.
class Miniature {
 public:
  Miniature(CpuOps& ops, const TokenReads& reads) : ops_(ops) {
    const double most = static_cast<double>(std::min(kMostBytes, available_memory_bytes() / 4));
    const double share = std::min(1.0, most / reads.bytes());
    for (const auto& [shape, matrices] : reads.matrices) {
      const auto count = std::max<int64_t>(1, std::llround(share * matrices.count));
      const double part = static_cast<double>(count) / matrices.count;
      groups_.push_back({.matrices = {}, .columns = shape.columns, .whole = 1 / part});
      const Zeros zeros(shape.held_as, shape.rows, shape.columns);
      for (int64_t i = 0; i < count; ++i)
        groups_.back().matrices.push_back(ops.load_matrix({zeros.stored}, shape.held_as));
    }
    if (!reads.head) return;
    const Zeros zeros(reads.head->held_as, reads.head->rows, reads.head->columns);
    head_ = ops.load_matrix({zeros.stored}, reads.head->held_as);
    head_columns_ = reads.head->columns;
  }

  // Seconds that reading all matrices of the model takes, by those that are here.
  double read() const {
    double seconds = 0;
    for (const Group& group : groups_)
      seconds += group.whole * timed(group.columns, [&](const Tensor& x) {
                   for (const Weight& w : group.matrices) {
                     const ArenaScope of_one(ops_.arena());
                     ops_.linear(x, {w, {}});
                   }
                 });
    if (head_) seconds += timed(head_columns_, [&](const Tensor& x) { ops_.logits(x, {head_, {}}); });
    return seconds;
  }

 private:
  struct Group {
    std::vector<Weight> matrices;
    int64_t columns;
    double whole;  // the model's matrices of this shape, as multiples of those here
  };

  template <class Work>
  double timed(int64_t columns, const Work& work) const {
    const ArenaScope scope(ops_.arena());
    const Tensor x = ops_.arena().tensor(1, columns);
    std::fill_n(x.data(), columns, 1.0F);
    const auto start = Clock::now();
    work(x);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  CpuOps& ops_;
  std::vector<Group> groups_;
  Weight head_;
  int64_t head_columns_ = 0;
};

}  // namespace

std::optional<double> seconds_of_token(CpuOps& ops, const TokenReads& reads) {
  if (reads.bytes() < kLeastBytes) return std::nullopt;
  const Miniature miniature(ops, reads);
  miniature.read();
  std::vector<double> seconds;
  const auto start = Clock::now();
  while (seconds.size() < 3 || Clock::now() - start < kTime) seconds.push_back(miniature.read());
  return kBesides * spread(seconds).median;
}

}  // namespace cachalot
