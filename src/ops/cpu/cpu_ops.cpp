#include "ops/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/cpu/experts.h"
#include "ops/cpu/gqa.h"
#include "ops/cpu/latent.h"
#include "tensor/dims.h"

namespace cachalot {

// Fewer numbers than this are not worth waking another thread for.
static constexpr int64_t kNumbersPerTask = 16384;

CpuOps::CpuOps(const KernelTable& kernels, int threads, MemorySource memory)
    : kernels_(kernels), pool_(threads), memory_(std::move(memory)), arena_(memory_) {}

void CpuOps::for_rows(int64_t rows, int64_t numbers_per_row, const std::function<void(int64_t, int64_t)>& job) {
  pool_.for_each_chunk(rows, std::max<int64_t>(1, kNumbersPerTask / std::max<int64_t>(1, numbers_per_row)), job);
}

Tensor CpuOps::like(const Tensor& x) {
  Tensor t = x;
  t.memory = arena_.allocate(static_cast<size_t>(x.elements()) * sizeof(float));
  int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.stride[static_cast<size_t>(i)] = stride;
    stride *= t.shape[static_cast<size_t>(i)];
  }
  return t;
}

// -- Parameters

int64_t CpuOps::matrix_bytes(int64_t rows, int64_t columns, DType held_as) const {
  return PanelLayout{&matmul(held_as), rows, columns}.bytes();
}

Weight CpuOps::load_matrix(const MatrixPart& part, DType held_as) {
  Weight w = load_matrices({&part, 1}, held_as);
  w.rank = 2;
  w.shape = {w.shape[1], w.shape[2]};
  return w;
}

Weight CpuOps::load_matrices(std::span<const MatrixPart> parts, DType held_as) {
  const int64_t rows = parts[0].rows(), columns = parts[0].columns();
  for (const MatrixPart& part : parts) CHECK(part.rows() == rows && part.columns() == columns);
  auto storage = pack_matrices(parts, held_as, kernels_, pool_, memory_);
  return {.rank = 3,
          .shape = {std::ssize(parts), rows, columns},
          .held_as = held_as,
          .held_bytes = std::ssize(parts) * storage->layout.bytes(),
          .storage = std::move(storage)};
}

Weight CpuOps::load_vector(const StoredTensor& stored) {
  Weight w = load_vectors({&stored, 1});
  w.rank = 1;
  w.shape = {w.shape[1]};
  return w;
}

Weight CpuOps::load_vectors(std::span<const StoredTensor> parts) {
  const int64_t count = parts[0].elements();
  auto storage = std::make_shared<VectorStorage>();
  storage->memory = memory_(static_cast<size_t>(4 * std::ssize(parts) * count));
  float* out = storage->values();
  for (const StoredTensor& part : parts) {
    CHECK(part.elements() == count);
    part.read_rows(0, part.rows(), out);
    out += count;
  }
  return {.rank = 2,
          .shape = {std::ssize(parts), count},
          .held_as = DType::f32,
          .held_bytes = 4 * std::ssize(parts) * count,
          .storage = std::move(storage)};
}

std::unique_ptr<KvCache> CpuOps::make_cache(const KvCacheSpec& spec) {
  return std::make_unique<CpuKvCache>(spec, kernels_, memory_);
}

int64_t CpuOps::cache_block_bytes(const KvCache::Layer& layer, DType dtype) const {
  return CpuKvCache::block_bytes(layer, kernels_, dtype);
}

// -- Verbs, row by row

Tensor CpuOps::embed(std::span<const int32_t> ids_T, const Weight& table_WD) {
  const int64_t width = table_WD.shape[1];
  const Tensor x_TD = arena_.tensor(static_cast<int64_t>(ids_T.size()), width);
  for_rows(x_TD.dim(0), width * 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t id = ids_T[static_cast<size_t>(t)];
      CHECK(id >= 0 && id < table_WD.shape[0], "token {} outside a vocabulary of {}", id, table_WD.shape[0]);
      read_packed_row(panels_of(table_WD), id, x_TD.row(t));
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

Tensor CpuOps::multiply(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.shape == b.shape, "{} * {}", shape_text(a), shape_text(b));
  const Tensor y = like(a);
  for_rows(a.rows(), a.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernels_.multiply(a.row(r), b.row(r), a.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::activate(const Tensor& x, const Activation& form) {
  const Tensor y = like(x);
  for_rows(y.rows(), 4 * y.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) activate_row(kernels_, form, x.row(r), y.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::gated(const Tensor& gate_TF, const Tensor& up_TF, const Activation& form) {
  SHAPES(gate_TF, up_TF);
  const Tensor y = like(gate_TF);
  for_rows(y.rows(), 4 * y.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) gated_row(kernels_, form, gate_TF.row(r), up_TF.row(r), y.last(), y.row(r));
  });
  return y;
}

Tensor CpuOps::sigmoid(const Tensor& x) {
  const Tensor y = like(x);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < x.last(); ++i) y.row(r)[i] = 1.0f / (1.0f + std::exp(-x.row(r)[i]));
  return y;
}

Tensor CpuOps::scale_rows(const Tensor& x, const Tensor& factor_T1) {
  CHECK(factor_T1.last() == 1 && factor_T1.dim(0) == x.dim(0), "{} * {}", shape_text(x), shape_text(factor_T1));
  const Tensor y = like(x);
  const int64_t rows_per_token = x.rows() / std::max<int64_t>(1, x.dim(0));
  for_rows(x.rows(), x.last(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::copy(x.row(r), x.row(r) + x.last(), y.row(r));
      kernels_.scale(y.row(r), y.last(), *factor_T1.row(r / rows_per_token));
    }
  });
  return y;
}

Tensor CpuOps::concat(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.rows() == b.rows(), "{} beside {}", shape_text(a), shape_text(b));
  Tensor wide = a;
  wide.shape[static_cast<size_t>(a.rank - 1)] = a.last() + b.last();
  const Tensor y = like(wide);
  for (int64_t r = 0; r < y.rows(); ++r) {
    float* rest = std::copy(a.row(r), a.row(r) + a.last(), y.row(r));
    std::copy(b.row(r), b.row(r) + b.last(), rest);
  }
  return y;
}

Tensor CpuOps::zeros(int64_t rows, int64_t columns) {
  const Tensor y = arena_.tensor(rows, columns);
  std::fill(y.data(), y.data() + y.elements(), 0.0f);
  return y;
}

Tensor CpuOps::scatter_add(const Tensor& y_TD, const Tensor& x_MD, std::span<const int32_t> rows) {
  SHAPES(y_TD, x_MD);
  CHECK(std::ssize(rows) == x_MD.dim(0));
  const Tensor sum_TD = like(y_TD);
  for (int64_t t = 0; t < y_TD.dim(0); ++t) std::copy(y_TD.row(t), y_TD.row(t) + y_TD.last(), sum_TD.row(t));
  for (int64_t m = 0; m < x_MD.dim(0); ++m) {
    float* sum = sum_TD.row(rows[static_cast<size_t>(m)]);
    kernels_.add(sum, x_MD.row(m), x_MD.last(), sum);
  }
  return sum_TD;
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

Tensor CpuOps::logn_factors(const Batch& batch, const LogNSpec& spec) {
  const Tensor factor_T1 = arena_.tensor(batch.rows(), 1);
  for (const BatchSequence& s : batch.sequences)
    for (int r = 0; r < s.rows; ++r) *factor_T1.row(s.first_row + r) = logn_factor(spec, s.first_position + r);
  return factor_T1;
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

// -- Matrix products

// A matrix that x meets.
struct CpuOps::Product {
  const Weight& w_UD;
  const Weight& bias_U;
  Panels matrix = {};
  const std::byte* inputs = nullptr;  // x as the matrix's kernel prepares it
  Tensor y_TU = {};
};

// Many rows like to meet a few panels at once, as long as every thread has some.
static int64_t panels_per_task(const MatmulKernel& kernel, int64_t panels, int64_t rows, int threads) {
  return std::clamp<int64_t>(panels / (int64_t{2} * threads), 1, kernel.good_panels(rows));
}

const std::byte* CpuOps::prepared(const Tensor& x_TD, const MatmulKernel& kernel) {
  const int64_t rows = x_TD.dim(0), inputs = x_TD.last();
  std::byte* x = allocate_bytes(arena_, kernel.inputs_bytes(rows, inputs));
  for_rows(rows, inputs, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernel.prepare(x_TD.row(r), inputs, r, rows, x);
  });
  return x;
}

void CpuOps::multiply(const Tensor& x_TD, std::span<Product> products) {
  const int64_t rows = x_TD.dim(0), inputs = x_TD.last();
  int64_t panels = 0;
  for (Product& p : products) {
    SHAPES(x_TD, p.w_UD);
    CHECK(!p.bias_U || p.bias_U.shape[0] == p.w_UD.shape[0]);
    p.matrix = panels_of(p.w_UD);
    p.y_TU = arena_.tensor(rows, p.w_UD.shape[0]);
    panels += p.matrix.panels();
    const MatmulKernel* kernel = p.matrix.layout().kernel;
    for (const Product& other : products)
      if (other.inputs && other.matrix.layout().kernel == kernel) p.inputs = other.inputs;
    if (!p.inputs) p.inputs = prepared(x_TD, *kernel);
  }
  int64_t grain = 1;
  for (const Product& p : products) {
    const MatmulKernel& kernel = *p.matrix.layout().kernel;
    grain = std::max({grain, divide_up(kNumbersPerTask * 4, rows * inputs * kernel.columns),
                      panels_per_task(kernel, panels, rows, pool_.threads())});
  }

  const auto multiply_panels = [&](const Product& p, int64_t begin, int64_t end) {
    const Panels part = p.matrix.part(begin, end);
    const int64_t outputs = p.y_TU.last(), first = p.matrix.layout().first_output(begin);
    float* y = p.y_TU.data() + first;
    part.multiply(p.inputs, rows, y, outputs);
    if (p.bias_U)
      for (int64_t r = 0; r < rows; ++r)
        kernels_.add(y + r * outputs, vector_of(p.bias_U) + first, part.layout().outputs, y + r * outputs);
  };
  pool_.for_each_chunk(panels, grain, [&](int64_t begin, int64_t end) {
    for (const Product& p : products) {
      const int64_t count = p.matrix.panels(), first = std::max<int64_t>(begin, 0), last = std::min(end, count);
      if (first < last) multiply_panels(p, first, last);
      begin -= count, end -= count;
    }
  });
}

Tensor CpuOps::linear(const Tensor& x_TD, const Linear& l) {
  Product product{l.w, l.bias};
  multiply(x_TD, {&product, 1});
  return product.y_TU;
}

std::vector<Tensor> CpuOps::linears(const Tensor& x_TD, std::initializer_list<const Linear*> matrices) {
  std::vector<Product> products;
  products.reserve(matrices.size());
  for (const Linear* l : matrices) products.push_back({l->w, l->bias});
  multiply(x_TD, products);
  std::vector<Tensor> results;
  results.reserve(products.size());
  for (const Product& p : products) results.push_back(p.y_TU);
  return results;
}

Tensor CpuOps::logits(const Tensor& hidden_TD, const Linear& head) {
  const Weight &w_WD = head.w, &bias_W = head.bias;
  if (w_WD.held_as != DType::q8_0) return linear(hidden_TD, head);
  const int64_t rows = hidden_TD.dim(0), inputs = hidden_TD.last();
  const Tensor parts_TTD = arena_.tensor(2 * rows, inputs);
  for (int64_t t = 0; t < rows; ++t) {
    std::copy(hidden_TD.row(t), hidden_TD.row(t) + inputs, parts_TTD.row(t));
    matmul(w_WD.held_as).rounding_rest(hidden_TD.row(t), inputs, parts_TTD.row(rows + t));
  }
  const Tensor of_parts_TTW = linear(parts_TTD, {w_WD, {}});
  Tensor logits_TW = of_parts_TTW;
  logits_TW.shape[0] = rows;
  for_rows(rows, logits_TW.last(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* y = logits_TW.row(t);
      kernels_.add(y, of_parts_TTW.row(rows + t), logits_TW.last(), y);
      if (bias_W) kernels_.add(y, vector_of(bias_W), logits_TW.last(), y);
    }
  });
  return logits_TW;
}

// -- Cache and attention

void CpuOps::for_cache_rows(CpuKvCache& cache, int layer, const Batch& batch,
                            const std::function<void(int, int32_t, int64_t)>& write) {
  const auto& shape = cache.layer(layer);
  for (const BatchSequence& s : batch.sequences) {
    const auto table = s.block_tables[static_cast<size_t>(shape.group)];
    for (int position = (s.first_position + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
         position < s.first_position + s.rows; position += kBlockTokens)
      cache.clear_block(layer, table[static_cast<size_t>(position / kBlockTokens)]);
    for_rows(s.rows, int64_t{shape.kv_heads} * (shape.key_dim + shape.value_dim) * 2,
             [&](int64_t begin, int64_t end) {
               for (int64_t r = begin; r < end; ++r) {
                 const auto position = s.first_position + static_cast<int>(r);
                 write(position, table[static_cast<size_t>(position / kBlockTokens)], s.first_row + r);
               }
             });
  }
}

void CpuOps::append(KvCache& cache, int layer, const Batch& batch, const Tensor& k_TGK, const Tensor& v_TGV) {
  auto& kv = static_cast<CpuKvCache&>(cache);
  const auto& shape = kv.layer(layer);
  CHECK(k_TGK.dim(1) == shape.kv_heads && k_TGK.last() == shape.key_dim);
  CHECK(shape.latent_dim > 0 ? v_TGV.rank == 0 : v_TGV.last() == shape.value_dim);
  for_cache_rows(kv, layer, batch, [&](int position, int32_t block, int64_t row) {
    for (int64_t i = row * shape.kv_heads, g = 0; g < shape.kv_heads; ++i, ++g)
      kv.write(layer, block, static_cast<int>(g), position % kBlockTokens, k_TGK.row(i),
               shape.latent_dim > 0 ? nullptr : v_TGV.row(i));
  });
}

// With the threads worth waking for attention that multiplies so many pairs of numbers per query row and key.
AttendMachine CpuOps::machine_for(const Batch& batch, int64_t products_per_key) {
  int64_t products = 0;
  for (const BatchSequence& s : batch.sequences)
    products += int64_t{s.rows} * (s.first_position + s.rows) * products_per_key;
  return {kernels_, pool_, arena_, products < 4 * kNumbersPerTask ? 1 : pool_.threads()};
}

// All rows of the batch.
static std::vector<AttendSpan> whole_spans(const Batch& batch) {
  std::vector<AttendSpan> spans;
  spans.reserve(batch.sequences.size());
  for (const BatchSequence& s : batch.sequences) spans.push_back({&s, s.first_row, s.rows, s.first_position});
  return spans;
}

Tensor CpuOps::attend(const Tensor& q_THK, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) {
  const auto& kv = static_cast<const CpuKvCache&>(cache);
  const auto& shape = kv.layer(layer);
  const auto heads = static_cast<int>(q_THK.dim(1));
  CHECK(heads % shape.kv_heads == 0 && q_THK.last() == shape.key_dim);
  const bool latent = shape.latent_dim > 0;
  const Tensor o_THV = arena_.tensor(q_THK.dim(0), heads, latent ? shape.latent_dim : shape.value_dim);
  const AttendMachine machine = machine_for(batch, int64_t{heads} * shape.key_dim);
  const AttendCall call{kv, layer, spec, q_THK, o_THV};
  latent ? attend_latents(machine, call, whole_spans(batch)) : attend_grouped(machine, call, whole_spans(batch));
  return o_THV;
}

Tensor CpuOps::linear_per_head(const Tensor& x_THI, const Weight& w_HOI) {
  SHAPES(x_THI, w_HOI);
  const Tensor y_THO = arena_.tensor(x_THI.dim(0), x_THI.dim(1), w_HOI.shape[1]);
  project_heads({kernels_, pool_, arena_, pool_.threads()}, w_HOI, x_THI, y_THO);
  return y_THO;
}

Tensor CpuOps::attend_latent(const Tensor& qn_THN, const Tensor& qr_THR, const LatentWeights& w, KvCache& cache,
                             int layer, const Batch& batch, const AttendSpec& spec) {
  const auto& kv = static_cast<const CpuKvCache&>(cache);
  const Weight &k_up_HCN = w.k_up_HCN, &v_up_HVC = w.v_up_HVC;
  SHAPES(qn_THN, qr_THR, k_up_HCN, v_up_HVC);
  CHECK(kv.layer(layer).latent_dim == k_up_HCN.shape[1] &&
        qr_THR.last() == kv.layer(layer).key_dim - k_up_HCN.shape[1]);
  const Tensor o_THV = arena_.tensor(qn_THN.dim(0), qn_THN.dim(1), v_up_HVC.shape[1]);

  std::vector<AttendSpan> absorbed, expanded;
  for (const BatchSequence& s : batch.sequences)
    for_each_form(s, [&](int position, int rows, bool is_expanded) {
      const int row = s.first_row + position - s.first_position;
      (is_expanded ? expanded : absorbed).push_back({&s, row, rows, position});
    });
  const LatentCall call{kv, layer, spec, qn_THN, qr_THR, w, o_THV};
  const AttendMachine machine = machine_for(batch, qn_THN.dim(1) * kv.layer(layer).key_dim);
  attend_absorbed(machine, call, absorbed);
  attend_expanded(machine, call, expanded);
  return o_THV;
}

// -- Mixture of experts

Routing CpuOps::route(const Tensor& logits_TE, const Weight& correction_E, const MoeGateSpec& spec) {
  CHECK(logits_TE.last() == spec.experts && (!correction_E || correction_E.shape[0] == spec.experts));
  const int64_t tokens = logits_TE.dim(0);
  const auto experts = static_cast<size_t>(spec.experts), active = static_cast<size_t>(spec.active);
  const Routing routing{arena_.ids(tokens, spec.active), arena_.tensor(tokens, spec.active)};
  const std::span<const float> correction(correction_E ? vector_of(correction_E) : nullptr,
                                          correction_E ? experts : 0);
  for_rows(tokens, int64_t{spec.experts} * 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      choose_experts(spec, {logits_TE.row(t), experts}, correction, {routing.expert_TA.ids(t), active},
                     {routing.weight_TA.row(t), active});
  });
  return routing;
}

Tensor CpuOps::experts(const Tensor& x_TD, const Routing& routing, const ExpertWeights& w, const FfnForm& form) {
  const Tensor y_TD = zeros(x_TD.dim(0), x_TD.last());
  ExpertRun(kernels_, pool_, arena_, w, form).run(x_TD, ExpertGroups(routing, w.up.w.shape[0]), y_TD);
  return y_TD;
}

// -- Scopes and observation

Tensor CpuOps::keep_only(Arena::Mark mark, const Tensor& tensor) {
  CHECK(tensor.contiguous());
  arena_.rewind(mark);
  const Tensor kept = like(tensor);
  std::memmove(kept.memory, tensor.memory, static_cast<size_t>(tensor.elements()) * sizeof(float));
  return kept;
}

std::span<const float> CpuOps::read(const Tensor& tensor, std::vector<float>& room) {
  const auto count = static_cast<size_t>(tensor.elements());
  if (tensor.dtype == DType::f32 && tensor.contiguous()) return {tensor.data(), count};
  room.resize(count);
  float* out = room.data();
  for (int64_t r = 0; r < tensor.rows(); ++r, out += tensor.last()) {
    if (tensor.dtype == DType::f32)
      std::copy(tensor.row(r), tensor.row(r) + tensor.last(), out);
    else
      std::copy(tensor.ids(r), tensor.ids(r) + tensor.last(), out);
  }
  return room;
}

}  // namespace cachalot
