#include "cli/commands/decode_speed.h"

#include <algorithm>
#include <chrono>

#include "base/available_memory.h"
#include "cli/commands/bench_probes.h"
#include "tensor/arena_scope.h"

namespace cachalot {

double TokenReads::bytes() const {
  double bytes = head_bytes;
  for (const auto& [type, of_type] : bytes_of) bytes += of_type;
  return bytes;
}

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLeastBytes = 64 << 20;
constexpr int64_t kMostBytes = int64_t{256} << 20;
constexpr int kGroup = 256;       // inputs that every type has whole blocks of
constexpr int kScaleBlock = 128;  // rows and columns of FP8 that share a factor
constexpr double kSeconds = 0.1;
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
  Miniature(CpuOps& ops, const TokenReads& reads)
      : ops_(ops), columns_((reads.width + kGroup - 1) / kGroup * kGroup) {
    const double most = static_cast<double>(std::min(kMostBytes, available_memory_bytes() / 4));
    const double share = std::min(1.0, most / reads.bytes());
    for (const auto& [type, bytes] : reads.bytes_of) {
      auto rows = static_cast<int64_t>(share * bytes / static_cast<double>(row_bytes(type, columns_)));
      const Zeros zeros(type, std::min<int64_t>(rows, 4 * columns_), columns_);
      for (; rows > 0; rows -= zeros.stored.rows()) add(zeros, std::min(rows, zeros.stored.rows()));
    }
    const auto rows =
        static_cast<int64_t>(share * reads.head_bytes / static_cast<double>(row_bytes(reads.head_held_as, columns_)));
    if (rows == 0) return;  // it is not worth measuring, as types of less than a row above
    const Zeros zeros(reads.head_held_as, rows, columns_);
    head_ = ops.load_matrix({zeros.stored}, reads.head_held_as);
    bytes_ += static_cast<double>(head_.held_bytes);
  }

  double bytes() const { return bytes_; }
  void read() const {
    const ArenaScope scope(ops_.arena());
    const Tensor x = ops_.arena().tensor(1, columns_);
    std::fill_n(x.data(), columns_, 1.0F);
    for (const Weight& w : matrices_) {
      const ArenaScope of_one(ops_.arena());
      ops_.linear(x, {w, {}});
    }
    if (head_) ops_.logits(x, {head_, {}});
  }

 private:
  void add(const Zeros& zeros, int64_t rows) {
    matrices_.push_back(ops_.load_matrix({zeros.stored.rows_part(0, rows)}, zeros.stored.dtype));
    bytes_ += static_cast<double>(matrices_.back().held_bytes);
  }

  CpuOps& ops_;
  int64_t columns_;
  std::vector<Weight> matrices_;
  Weight head_;
  double bytes_ = 0;
};

}  // namespace

std::optional<double> seconds_of_token(CpuOps& ops, const TokenReads& reads) {
  if (reads.bytes() < kLeastBytes) return std::nullopt;
  const Miniature miniature(ops, reads);
  miniature.read();
  std::vector<double> seconds;
  double sum = 0;
  while (sum < kSeconds || seconds.size() < 3) {
    const auto start = Clock::now();
    miniature.read();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    sum += seconds.back();
  }
  return kBesides * spread(seconds).median * reads.bytes() / miniature.bytes();
}

}  // namespace cachalot
