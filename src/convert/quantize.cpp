#include "convert/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/quote.h"
#include "base/thread_pool.h"
#include "convert/gguf_export.h"
#include "tensor/quant_blocks.h"
#include "tensor/quant_encode.h"

namespace cachalot {

double QuantizedKind::relative_error() const { return square_sum > 0 ? std::sqrt(error_square_sum / square_sum) : 0; }

namespace {

constexpr int64_t kBatchNumbers = int64_t{4} << 20;  // encoded at once: 16 MiB of f32

struct Job {
  const ExportTensor& tensor;
  DType type;
  const Importance* importance;  // null: none

  // Of the columns of row r; empty: none.
  std::span<const float> importance_of(int64_t r) const {
    if (!importance || tensor.parts.empty()) return {};
    const int64_t part_rows = tensor.rows() / std::ssize(tensor.parts), columns = tensor.columns();
    const MatrixPart& part = tensor.parts[static_cast<size_t>(r / part_rows)];
    const auto found = importance->find(part.stored.name);
    if (part.transposed || found == importance->end()) return {};
    const int64_t matrices = std::ssize(found->second) / columns, parts = std::ssize(tensor.parts);
    if (matrices == 0 || matrices * columns != std::ssize(found->second)) return {};
    // A stack of so many: one stored tensor, or (fused with another stack) one part per matrix.
    int64_t matrix = 0;
    if (parts == 1 && part_rows % matrices == 0)
      matrix = r / (part_rows / matrices);
    else if (parts == matrices)
      matrix = r / part_rows;
    else if (matrices > 1)
      return {};
    return std::span(found->second).subspan(static_cast<size_t>(matrix * columns), static_cast<size_t>(columns));
  }
};

// What encoding one row did.
struct RowResult {
  double square_sum = 0, error_square_sum = 0;
  std::optional<float> not_held;  // a number of the source's that the type cannot hold
};

class TensorEncoder {
 public:
  TensorEncoder(GgufWriter& writer, ThreadPool& pool) : writer_(writer), pool_(pool) {}

  // Writes one tensor and adds to `kind` what became of it.
  void write(const Job& job, QuantizedKind& kind) {
    // Plain numbers are looked at on their way.
    const bool plain = info(job.type).block_elements == 1 && can_dequantize(job.type);
    if (!plain && job.tensor.same_bytes(job.type)) {
      for (const MatrixPart& part : job.tensor.parts) writer_.append(part.stored.bytes);
      return;
    }
    const int64_t rows = job.tensor.rows(), step = rows_at_once(job.tensor);
    for (int64_t begin = 0; begin < rows; begin += step) write_rows(job, begin, std::min(rows, begin + step), kind);
    kind.weighted |= !job.importance_of(0).empty();
  }

 private:
  // Transposed parts are read whole.
  static int64_t grain(const ExportTensor& t) {
    const bool transposed = !t.parts.empty() && t.parts[0].transposed;
    return transposed ? t.parts[0].rows() : std::max<int64_t>(1, 16384 / t.columns());
  }
  static int64_t rows_at_once(const ExportTensor& t) {
    const int64_t unit = grain(t);
    return std::max<int64_t>(1, kBatchNumbers / (t.columns() * unit)) * unit;
  }

  void write_rows(const Job& job, int64_t begin, int64_t end, QuantizedKind& kind) {
    const int64_t columns = job.tensor.columns(), size = row_bytes(job.type, columns);
    check_fp8(job.tensor, begin, end);
    numbers_.resize(static_cast<size_t>((end - begin) * columns));
    bytes_.resize(static_cast<size_t>((end - begin) * size));
    results_.assign(static_cast<size_t>(end - begin), {});
    pool_.for_each_chunk(end - begin, grain(job.tensor), [&](int64_t first, int64_t last) {
      job.tensor.read_rows(begin + first, begin + last, numbers_.data() + first * columns);
      std::vector<float> decoded(static_cast<size_t>(columns));
      for (int64_t r = first; r < last; ++r)
        results_[static_cast<size_t>(r)] = encode_row(job.type, job.importance_of(begin + r),
                                                      {numbers_.data() + r * columns, static_cast<size_t>(columns)},
                                                      {bytes_.data() + r * size, static_cast<size_t>(size)}, decoded);
    });
    for (const RowResult& row : results_) {
      if (row.not_held)
        throw not_held(job.tensor.name, begin + (&row - results_.data()), *row.not_held, job.type, "--type");
      kind.square_sum += row.square_sum;
      kind.error_square_sum += row.error_square_sum;
    }
    writer_.append(bytes_);
  }

  static RowResult encode_row(DType type, std::span<const float> importance, std::span<const float> x,
                              std::span<std::byte> bytes, std::span<float> decoded) {
    RowResult row;
    if (const auto index = quantize(type, x, importance, bytes)) row.not_held = x[*index];
    dequantize(type, bytes, decoded);
    for (size_t i = 0; i < x.size(); ++i) {
      const double miss = static_cast<double>(x[i]) - static_cast<double>(decoded[i]);
      row.square_sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      row.error_square_sum += miss * miss;
    }
    return row;
  }

  // FP8 says NaN by codes and factors; the error that names the row is worth the look.
  static void check_fp8(const ExportTensor& t, int64_t begin, int64_t end) {
    if (t.parts.empty() || !t.parts[0].stored.scales) return;
    const int64_t rows = t.rows() / std::ssize(t.parts);
    for (int64_t part = begin / rows; part * rows < end; ++part) {
      const StoredTensor& stored = t.parts[static_cast<size_t>(part)].stored;
      if (t.parts[static_cast<size_t>(part)].transposed || t.interleaved_heads > 0)
        stored.check_rows(0, stored.rows());
      else
        stored.check_rows(std::max<int64_t>(0, begin - part * rows), std::min(rows, end - part * rows));
    }
  }

  GgufWriter& writer_;
  ThreadPool& pool_;
  std::vector<float> numbers_;
  std::vector<std::byte> bytes_;
  std::vector<RowResult> results_;
};

// "blk.3.attn_q.weight" -> "blk.*.attn_q.weight"
std::string kind_of(const std::string& name) {
  return layer_of(name) < 0 ? name : "blk.*" + name.substr(name.find('.', 4));
}

QuantizedKind& kind_for(std::vector<QuantizedKind>& kinds, const ExportTensor& tensor, DType type) {
  const std::string kind = kind_of(tensor.name);
  for (QuantizedKind& known : kinds)
    if (known.kind == kind && known.type == type) return known;
  kinds.push_back({.kind = kind, .type = type});
  return kinds.back();
}

}  // namespace

std::vector<QuantizedKind> quantize_checkpoint(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                               const QuantizeOptions& o) {
  Export e = gguf_export(checkpoint, o.families);
  e.metadata.add("general.file_type", o.recipe.file_type);
  e.metadata.add("general.quantization_version", uint32_t{2});
  std::vector<GgufWriter::Entry> entries;
  int64_t total = 0, done = 0;
  for (const ExportTensor& t : e.tensors) {
    const DType type = choose_type(
        o.recipe, {role_of_gguf_name(t.name), layer_of(t.name), t.shape, t.stored(), e.layers, e.tied_head});
    entries.push_back({t.name, type, t.shape});
    total += t.rows() * t.columns();
  }
  GgufWriter writer(out, e.metadata, entries, o.existing, o.inputs);
  ThreadPool pool(o.threads);
  TensorEncoder encoder(writer, pool);
  std::vector<QuantizedKind> kinds;
  for (size_t i = 0; i < entries.size(); ++i) {
    const ExportTensor& t = e.tensors[i];
    QuantizedKind& kind = kind_for(kinds, t, entries[i].dtype);
    try {
      if (t.rows() * t.columns() > 0) encoder.write({t, entries[i].dtype, o.importance}, kind);
    } catch (Error& error) { throw std::move(error).in(checkpoint.path().string()); }
    ++kind.tensors;
    kind.numbers += t.rows() * t.columns();
    kind.bytes += GgufWriter::bytes_of(entries[i]);
    for (const MatrixPart& part : t.parts) {
      kind.stored_bytes += part.stored.stored_bytes();
      checkpoint.release(part.stored);
    }
    done += t.rows() * t.columns();
    o.progress(done, total);
  }
  writer.finish();
  return kinds;
}

}  // namespace cachalot
