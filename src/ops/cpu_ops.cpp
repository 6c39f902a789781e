#include "ops/cpu_ops.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "ops/cpu_attention.h"
#include "tensor/dims.h"

namespace cachalot {

namespace {

struct VectorStorage final : Weight::Storage {
  std::vector<float> values;
};

// Panels of the kernel's `columns` outputs, one after another.
struct MatrixStorage final : Weight::Storage {
  PageBuffer panels;
};

const std::byte* panels_of(const Weight& w) { return static_cast<const MatrixStorage&>(*w.storage).panels.data(); }
const float* vector_of(const Weight& w) { return static_cast<const VectorStorage&>(*w.storage).values.data(); }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Fewer numbers than this are not worth waking another thread for.
constexpr int64_t kNumbersPerTask = 16384;

}  // namespace

CpuOps::CpuOps(const KernelTable& kernels, int threads) : kernels_(kernels), pool_(threads) {}

const MatmulKernel& CpuOps::matmul(DType held_as) const {
  CHECK(held_as == DType::f32 || held_as == DType::bf16);
  return held_as == DType::f32 ? kernels_.matmul_f32 : kernels_.matmul_bf16;
}

void CpuOps::for_rows(int64_t rows, int64_t numbers_per_row, const std::function<void(int64_t, int64_t)>& job) {
  pool_.for_each_chunk(rows, std::max<int64_t>(1, kNumbersPerTask / std::max<int64_t>(1, numbers_per_row)), job);
}

Tensor CpuOps::like(const Tensor& x) {
  Tensor t = x;
  t.data = static_cast<float*>(arena_.allocate(static_cast<size_t>(x.elements()) * sizeof(float)));
  int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.stride[static_cast<size_t>(i)] = stride;
    stride *= t.shape[static_cast<size_t>(i)];
  }
  return t;
}

// -- Parameters

int64_t CpuOps::matrix_bytes(int64_t rows, int64_t columns, DType held_as) const {
  const MatmulKernel& kernel = matmul(held_as);
  return divide_up(rows, kernel.columns) * kernel.panel_bytes(columns);
}

// Reusable memory of pack_rows.
struct PackScratch {
  std::vector<float> row;
  std::vector<uint16_t> halves;
};

// The rows of one panel as 32-bit units: straight from the file when it holds them as the panel does, else by way of
// f32.
static void pack_rows(const KernelTable& kernels, const MatmulKernel& kernel, const StoredTensor& stored,
                      int64_t begin, int rows, std::byte* panel, PackScratch& scratch) {
  const int64_t columns = stored.columns(), units = kernel.units(columns);
  const bool pairs = kernel.weights == DType::bf16;
  if (stored.dtype == kernel.weights && stored.interleaved_heads == 0 && (!pairs || columns % 2 == 0)) {
    const int64_t stride = row_bytes(stored.dtype, columns);
    kernels.pack_panel(stored.row(begin).data(), stride, rows, units, kernel.columns, panel);
    return;
  }
  if (!pairs) {
    scratch.row.resize(static_cast<size_t>(rows * columns));
    stored.read_rows(begin, begin + rows, scratch.row.data());
    kernels.pack_panel(scratch.row.data(), units * 4, rows, units, kernel.columns, panel);
    return;
  }
  scratch.row.assign(static_cast<size_t>(2 * units), 0.0f);
  scratch.halves.resize(static_cast<size_t>(rows * 2 * units));
  for (int r = 0; r < rows; ++r) {
    stored.read_rows(begin + r, begin + r + 1, scratch.row.data());
    kernels.f32_to_bf16(scratch.row.data(), 2 * units, scratch.halves.data() + r * 2 * units);
  }
  kernels.pack_panel(scratch.halves.data(), units * 4, rows, units, kernel.columns, panel);
}

static std::span<const std::byte> rows_bytes(const StoredTensor& stored, int64_t begin, int64_t end) {
  const auto stride = static_cast<size_t>(row_bytes(stored.dtype, stored.columns()));
  return stored.bytes.subspan(static_cast<size_t>(begin) * stride,
                              static_cast<size_t>(std::min(end, stored.rows()) - begin) * stride);
}

Weight CpuOps::load_matrix(const StoredTensor& stored, DType held_as) {
  CHECK(stored.shape.size() == 2);
  const MatmulKernel& kernel = matmul(held_as);
  const int64_t rows = stored.rows(), panel_bytes = kernel.panel_bytes(stored.columns());
  const int64_t panels = divide_up(rows, kernel.columns);

  auto storage = std::make_unique<MatrixStorage>();
  storage->panels = PageBuffer(static_cast<size_t>(panels * panel_bytes));
  std::byte* memory = storage->panels.data();
  pool_.for_each_chunk(panels, std::max<int64_t>(1, (1 << 20) / panel_bytes), [&](int64_t begin, int64_t end) {
    PackScratch scratch;
    for (int64_t p = begin; p < end; ++p) {
      const auto count = static_cast<int>(std::min<int64_t>(kernel.columns, rows - p * kernel.columns));
      pack_rows(kernels_, kernel, stored, p * kernel.columns, count, memory + p * panel_bytes, scratch);
    }
    // The file's pages are needed no more; held until the end, a large matrix would be in memory twice.
    if (stored.file) stored.file->release(rows_bytes(stored, begin * kernel.columns, end * kernel.columns));
  });
  return {.rank = 2,
          .shape = {rows, stored.columns()},
          .held_as = held_as,
          .held_bytes = panels * panel_bytes,
          .storage = std::move(storage)};
}

Weight CpuOps::load_vector(const StoredTensor& stored) {
  auto storage = std::make_unique<VectorStorage>();
  storage->values.resize(static_cast<size_t>(stored.elements()));
  stored.read_rows(0, stored.rows(), storage->values.data());
  return {.rank = 1,
          .shape = {stored.elements()},
          .held_as = DType::f32,
          .held_bytes = 4 * stored.elements(),
          .storage = std::move(storage)};
}

std::unique_ptr<KvCache> CpuOps::make_cache(const KvCacheSpec& spec) {
  return std::make_unique<CpuKvCache>(spec, kernels_);
}

int64_t CpuOps::cache_block_bytes(const KvCache::Layer& layer, DType dtype) const {
  const MatmulKernel& kernel = matmul(dtype);
  return layer.kv_heads * (CpuKvCache::key_bytes(layer, kernel) + CpuKvCache::value_bytes(layer, kernel));
}

// -- Verbs, row by row

Tensor CpuOps::embed(std::span<const int32_t> ids_T, const Weight& table_WD) {
  const MatmulKernel& kernel = matmul(table_WD.held_as);
  const int64_t width = table_WD.shape[1], panel_bytes = kernel.panel_bytes(width);
  const Tensor x_TD = arena_.tensor(static_cast<int64_t>(ids_T.size()), width);
  const std::byte* panels = panels_of(table_WD);
  for_rows(x_TD.dim(0), width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t id = ids_T[static_cast<size_t>(t)];
      CHECK(id >= 0 && id < table_WD.shape[0], "token {} outside a vocabulary of {}", id, table_WD.shape[0]);
      const auto* units =
          reinterpret_cast<const uint32_t*>(panels + id / kernel.columns * panel_bytes) + id % kernel.columns;
      float* x_D = x_TD.row(t);
      if (kernel.weights == DType::f32) {
        for (int64_t d = 0; d < width; ++d) x_D[d] = std::bit_cast<float>(units[d * kernel.columns]);
      } else {
        for (int64_t d = 0; d < width; ++d) {
          const uint32_t unit = units[d / 2 * kernel.columns];
          x_D[d] = std::bit_cast<float>(d % 2 ? unit & 0xffff0000 : unit << 16);
        }
      }
    }
  });
  return x_TD;
}

Tensor CpuOps::rms_norm(const Tensor& x, const Weight& gain, double eps) {
  CHECK(gain.rank == 1 && gain.shape[0] == x.last());
  const Tensor y = like(x);
  for_rows(x.rows(), x.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernels_.rms_norm(x.row(r), vector_of(gain), static_cast<float>(eps), x.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::add(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.shape == b.shape, "{} + {}", shape_text(a), shape_text(b));
  const Tensor y = like(a);
  for_rows(a.rows(), a.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernels_.add(a.row(r), b.row(r), a.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::swiglu(const Tensor& gate_TF, const Tensor& up_TF) {
  SHAPES(gate_TF, up_TF);
  const Tensor y = like(gate_TF);
  for_rows(y.rows(), 4 * y.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernels_.swiglu(gate_TF.row(r), up_TF.row(r), y.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::gather_rows(const Tensor& x_TD, std::span<const int32_t> rows) {
  const Tensor y = arena_.tensor(static_cast<int64_t>(rows.size()), x_TD.last());
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(y.row(static_cast<int64_t>(i)), x_TD.row(rows[i]), static_cast<size_t>(x_TD.last()) * sizeof(float));
  return y;
}

Tensor CpuOps::rope_angles(const Batch& batch, const RopeSpec& spec) {
  const int64_t half = spec.dim / 2;
  const Tensor angles_TR = arena_.tensor(batch.rows(), 2 * half);
  const auto attention_factor = static_cast<float>(spec.attention_factor);
  std::vector<float> inverse;
  for (const BatchSequence& s : batch.sequences) {
    if (inverse.empty() || spec.depends_on_length()) inverse = inverse_frequencies(spec, s.rope_tokens);
    for_rows(s.rows, 32 * half, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        float* cos = angles_TR.row(s.first_row + r);
        const auto position = static_cast<float>(s.first_position + r);
        for (int64_t i = 0; i < half; ++i) {
          const float angle = position * inverse[static_cast<size_t>(i)];
          cos[i] = std::cos(angle) * attention_factor;
          cos[half + i] = std::sin(angle) * attention_factor;
        }
      }
    });
  }
  return angles_TR;
}

Tensor CpuOps::rope(const Tensor& x_THR, const Tensor& angles_TR, RopePairing pairing) {
  SHAPES(x_THR, angles_TR);
  const Tensor y = like(x_THR);
  const int64_t heads = x_THR.dim(1), dim = x_THR.last();
  const auto rotate = pairing == RopePairing::halves ? kernels_.rope_halves : kernels_.rope_pairs;
  for_rows(x_THR.rows(), dim, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* cos = angles_TR.row(r / heads);
      rotate(x_THR.row(r), cos, cos + dim / 2, dim, y.row(r));
    }
  });
  return y;
}

// -- Matrix product

Tensor CpuOps::linear(const Tensor& x_TD, const Weight& w_UD, const Weight& bias) {
  SHAPES(x_TD, w_UD);
  CHECK(!bias || bias.shape[0] == w_UD.shape[0]);
  const MatmulKernel& kernel = matmul(w_UD.held_as);
  const int64_t rows = x_TD.dim(0), inputs = x_TD.last(), outputs = w_UD.shape[0];
  const int64_t input_bytes = kernel.input_bytes(inputs), panel_bytes = kernel.panel_bytes(inputs);

  const Tensor y_TU = arena_.tensor(rows, outputs);
  auto* prepared = static_cast<std::byte*>(arena_.allocate(static_cast<size_t>(rows * input_bytes)));
  for_rows(rows, inputs, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernel.prepare(x_TD.row(r), inputs, prepared + r * input_bytes);
  });

  const int64_t panels = divide_up(outputs, kernel.columns);
  const int64_t grain = divide_up(kNumbersPerTask * 4, rows * inputs * kernel.columns);
  pool_.for_each_chunk(panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const std::byte* panel = panels_of(w_UD) + p * panel_bytes;
      const auto used = static_cast<int>(std::min<int64_t>(kernel.columns, outputs - p * kernel.columns));
      float* y = y_TU.data + p * kernel.columns;
      kernel.tile(prepared, input_bytes, rows, panel, inputs, used, y, outputs, false);
      if (bias)
        for (int64_t r = 0; r < rows; ++r)
          kernels_.add(y + r * outputs, vector_of(bias) + p * kernel.columns, used, y + r * outputs);
    }
  });
  return y_TU;
}

// -- Cache and attention

void CpuOps::append(KvCache& cache, int layer, const Batch& batch, const Tensor& k_TGK, const Tensor& v_TGV) {
  const auto& kv = static_cast<const CpuKvCache&>(cache);
  const auto& shape = kv.layer(layer);
  CHECK(k_TGK.dim(1) == shape.kv_heads && k_TGK.last() == shape.key_dim && v_TGV.last() == shape.value_dim);
  const auto group = static_cast<size_t>(shape.group);
  for (const BatchSequence& s : batch.sequences) {
    const auto table = s.block_tables[group];
    for (int position = (s.first_position + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
         position < s.first_position + s.rows; position += kBlockTokens)
      kv.clear_block(layer, table[static_cast<size_t>(position / kBlockTokens)]);
    for_rows(s.rows, shape.kv_heads * (shape.key_dim + shape.value_dim) * 2, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const auto position = s.first_position + static_cast<int>(r);
        const int32_t block = table[static_cast<size_t>(position / kBlockTokens)];
        for (int g = 0; g < shape.kv_heads; ++g) {
          const int64_t row = (s.first_row + r) * shape.kv_heads + g;
          kv.write(layer, block, g, position % kBlockTokens, k_TGK.row(row), v_TGV.row(row));
        }
      }
    });
  }
}

Tensor CpuOps::attend(const Tensor& q_THK, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) {
  const auto& kv = static_cast<const CpuKvCache&>(cache);
  const auto& shape = kv.layer(layer);
  CHECK(q_THK.dim(1) % shape.kv_heads == 0 && q_THK.last() == shape.key_dim);
  const Tensor o_THV = arena_.tensor(q_THK.dim(0), q_THK.dim(1), shape.value_dim);
  const AttendCall call{kv, layer, spec, q_THK, o_THV};
  const auto tasks = attend_tasks(call, batch);
  int64_t products = 0;
  for (const BatchSequence& s : batch.sequences)
    products += int64_t{s.rows} * (s.first_position + s.rows) * q_THK.dim(1) * q_THK.last();
  const int workers = products < 4 * kNumbersPerTask ? 1 : pool_.threads();

  std::vector<AttendScratch> scratch;
  for (int worker = 0; worker < workers; ++worker) scratch.emplace_back(arena_, call);
  std::atomic<size_t> next{0};
  const auto work = [&](int worker) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks.size();)
      attend_task(call, tasks[i], scratch[static_cast<size_t>(worker)]);
  };
  if (workers == 1)
    work(0);
  else
    pool_.run(work);
  return o_THV;
}

}  // namespace cachalot
