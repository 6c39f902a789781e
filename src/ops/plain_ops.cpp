#include "ops/plain_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/imported_block.h"
#include "ops/row_states.h"
#include "tensor/dims.h"

namespace cachalot {

namespace {

// Matrices row after row, or vectors one after another.
struct Numbers final : Weight::Storage {
  std::vector<float> values;
};

const float* row_of(const Weight& w, int64_t r) {
  const int64_t rows_before = w.rank == 1 ? w.first : w.first * w.shape[0];
  return static_cast<const Numbers&>(*w.storage).values.data() +
         (rows_before + r) * w.shape[static_cast<size_t>(w.rank - 1)];
}

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// y = W x
void project(const Weight& w_OI, const float* x_I, float* y_O) {
  for (int64_t o = 0; o < w_OI.shape[0]; ++o) y_O[o] = static_cast<float>(dot(row_of(w_OI, o), x_I, w_OI.shape[1]));
}

// Per layer and position of a block the keys of all kv heads, then their values.
struct PlainCache final : KvCache {
  explicit PlainCache(const KvCacheSpec& spec) : layers(spec.layers) {
    CHECK(spec.dtype == DType::f32);
    for (const Layer& l : layers)
      numbers.emplace_back(static_cast<size_t>(spec.blocks_of_group[static_cast<size_t>(l.group)] * kBlockTokens *
                                               l.kv_heads * (l.key_dim + l.value_dim)));
  }

  int64_t bytes_per_block(int group) const override {
    int64_t bytes = 0;
    for (const Layer& l : layers)
      if (l.group == group) bytes += int64_t{4} * kBlockTokens * l.kv_heads * (l.key_dim + l.value_dim);
    return bytes;
  }

  float* key(int layer, const BatchSequence& s, int position, int kv_head) {
    const Layer& l = layers[static_cast<size_t>(layer)];
    const int64_t block = s.block_tables[static_cast<size_t>(l.group)][static_cast<size_t>(position / kBlockTokens)];
    const int64_t slot = block * kBlockTokens + position % kBlockTokens;
    return numbers[static_cast<size_t>(layer)].data() + (slot * l.kv_heads + kv_head) * (l.key_dim + l.value_dim);
  }
  // MLA: the latent, with which the key begins.
  float* value(int layer, const BatchSequence& s, int position, int kv_head) {
    const Layer& l = layers[static_cast<size_t>(layer)];
    return key(layer, s, position, kv_head) + (l.latent_dim > 0 ? 0 : l.key_dim);
  }

  // A block of every layer of the group; the numbers lie in canonical order.
  template <typename Cache>
  static auto blocks(Cache& cache, int group, int32_t block) {
    std::vector<decltype(std::span(cache.numbers[0]))> all;
    for (size_t i = 0; i < cache.layers.size(); ++i) {
      const Layer& l = cache.layers[i];
      const auto count = static_cast<size_t>(int64_t{kBlockTokens} * l.kv_heads * (l.key_dim + l.value_dim));
      if (l.group == group)
        all.push_back(std::span(cache.numbers[i]).subspan(static_cast<size_t>(block) * count, count));
    }
    return all;
  }

  std::vector<Layer> layers;
  std::vector<std::vector<float>> numbers;
};

}  // namespace

Tensor PlainOps::like(const Tensor& x) {
  Tensor t = tensor_view(nullptr, x.shape[0], x.shape[1], x.shape[2], x.shape[3]);
  t.rank = x.rank;
  int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.stride[static_cast<size_t>(i)] = stride;
    stride *= t.shape[static_cast<size_t>(i)];
  }
  t.memory = arena_.allocate(static_cast<size_t>(x.elements()) * sizeof(float));
  return t;
}

// -- Parameters

Weight PlainOps::load_matrix(const MatrixPart& part, DType held_as) {
  return load_matrices({&part, 1}, held_as).part(0);
}

Weight PlainOps::load_matrices(std::span<const MatrixPart> parts, DType /*held_as*/) {
  const int64_t rows = parts[0].rows(), columns = parts[0].columns(), size = rows * columns;
  auto storage = std::make_shared<Numbers>();
  for (const MatrixPart& part : parts) {
    CHECK(part.rows() == rows && part.columns() == columns);
    std::vector<float> stored(static_cast<size_t>(size));
    part.stored.read_rows(0, part.stored.rows(), stored.data());
    for (int64_t i = 0; i < size; ++i)
      storage->values.push_back(stored[static_cast<size_t>(part.transposed ? i % columns * rows + i / columns : i)]);
  }
  return {.rank = 3,
          .shape = {std::ssize(parts), rows, columns},
          .held_bytes = 4 * std::ssize(parts) * size,
          .storage = std::move(storage)};
}

Weight PlainOps::load_vector(const StoredTensor& stored) { return load_vectors({&stored, 1}).part(0); }

Weight PlainOps::load_vectors(std::span<const StoredTensor> parts) {
  const int64_t count = parts[0].elements();
  auto storage = std::make_shared<Numbers>();
  storage->values.resize(static_cast<size_t>(std::ssize(parts) * count));
  float* out = storage->values.data();
  for (const StoredTensor& part : parts) {
    CHECK(part.elements() == count);
    part.read_rows(0, part.rows(), out);
    out += count;
  }
  return {.rank = 2,
          .shape = {std::ssize(parts), count},
          .held_bytes = 4 * std::ssize(parts) * count,
          .storage = std::move(storage)};
}

int64_t PlainOps::matrix_bytes(int64_t rows, int64_t columns, DType /*held_as*/) const { return 4 * rows * columns; }

std::unique_ptr<KvCache> PlainOps::make_cache(const KvCacheSpec& spec) { return std::make_unique<PlainCache>(spec); }

int64_t PlainOps::cache_block_bytes(const KvCache::Layer& l, DType /*dtype*/) const {
  return int64_t{4} * kBlockTokens * l.kv_heads * (l.key_dim + l.value_dim);
}

// -- Whole blocks and slots

void PlainOps::copy_block(KvCache& cache, int group, int32_t from, int32_t to) {
  if (from == to) return;
  auto& kv = static_cast<PlainCache&>(cache);
  const auto sources = PlainCache::blocks(kv, group, from), targets = PlainCache::blocks(kv, group, to);
  for (size_t i = 0; i < sources.size(); ++i) std::ranges::copy(sources[i], targets[i].begin());
}

std::vector<std::byte> PlainOps::export_block(const KvCache& cache, int group, int32_t block) {
  std::vector<std::byte> bytes;
  for (const auto numbers : PlainCache::blocks(static_cast<const PlainCache&>(cache), group, block)) {
    const auto raw = std::as_bytes(numbers);
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  }
  return bytes;
}

void PlainOps::import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) {
  const auto targets = PlainCache::blocks(static_cast<PlainCache&>(cache), group, block);
  size_t wanted = 0;
  for (const std::span<float> numbers : targets) wanted += numbers.size_bytes();
  std::vector<float> given(bytes.size() / sizeof(float));
  const auto room = std::as_writable_bytes(std::span(given));
  std::ranges::copy(bytes.first(room.size()), room.begin());
  check_imported_bytes(bytes.size(), wanted, std::ranges::all_of(given, [](float x) { return std::isfinite(x); }));
  auto from = given.begin();
  for (const std::span<float> numbers : targets) {
    std::copy_n(from, numbers.size(), numbers.begin());
    from += std::ssize(numbers);
  }
}

std::unique_ptr<States> PlainOps::make_states(std::span<const StateLayer> layers, int slots) {
  return std::make_unique<RowStates>(layers, slots, host_memory);
}

int64_t PlainOps::state_slot_bytes(std::span<const StateLayer> layers) const { return RowStates::slot_bytes(layers); }

void PlainOps::copy_state(States& states, int from, int to) { static_cast<RowStates&>(states).copy(from, to); }

void PlainOps::clear_state(States& states, int slot) { static_cast<RowStates&>(states).clear(slot); }

void PlainOps::append_rows(States& states, int layer, const Batch& batch, const Tensor& x_TN) {
  static_cast<RowStates&>(states).append_rows(layer, batch, x_TN);
}

void PlainOps::set_state(States& states, int layer, int slot, int chunk, const Tensor& state_1N) {
  static_cast<RowStates&>(states).set_state(layer, slot, chunk, state_1N);
}

// -- Matrix products

Tensor PlainOps::embed(std::span<const int32_t> ids_T, const Weight& table_WD) {
  const int64_t width = table_WD.shape[1];
  const Tensor x_TD = arena_.tensor(std::ssize(ids_T), width);
  for (int64_t t = 0; t < x_TD.dim(0); ++t) {
    const int64_t id = ids_T[static_cast<size_t>(t)];
    CHECK(id >= 0 && id < table_WD.shape[0], "token {} outside a vocabulary of {}", id, table_WD.shape[0]);
    std::copy(row_of(table_WD, id), row_of(table_WD, id) + width, x_TD.row(t));
  }
  return x_TD;
}

Tensor PlainOps::linear(const Tensor& x_TD, const Linear& l) {
  const Weight& w_OD = l.w;
  SHAPES(x_TD, w_OD);
  const Tensor y_TO = arena_.tensor(x_TD.dim(0), w_OD.shape[0]);
  for (int64_t t = 0; t < x_TD.dim(0); ++t) {
    project(w_OD, x_TD.row(t), y_TO.row(t));
    if (l.bias)
      for (int64_t o = 0; o < y_TO.last(); ++o) y_TO.row(t)[o] += row_of(l.bias, 0)[o];
  }
  return y_TO;
}

Tensor PlainOps::linear_per_head(const Tensor& x_THI, const Weight& w_HOI) {
  SHAPES(x_THI, w_HOI);
  const int64_t heads = x_THI.dim(1);
  const Tensor y_THO = arena_.tensor(x_THI.dim(0), heads, w_HOI.shape[1]);
  for (int64_t r = 0; r < x_THI.rows(); ++r) project(w_HOI.part(r % heads), x_THI.row(r), y_THO.row(r));
  return y_THO;
}

// -- Row by row

Tensor PlainOps::rms_norm(const Tensor& x, const Weight& gain, double eps) {
  CHECK(gain.rank == 1 && gain.shape[0] == x.last());
  const Tensor y = like(x);
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double scale = 1 / std::sqrt(dot(x.row(r), x.row(r), x.last()) / static_cast<double>(x.last()) + eps);
    for (int64_t i = 0; i < x.last(); ++i) y.row(r)[i] = static_cast<float>(x.row(r)[i] * scale) * row_of(gain, 0)[i];
  }
  return y;
}

Tensor PlainOps::add(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.shape == b.shape, "{} + {}", shape_text(a), shape_text(b));
  const Tensor y = like(a);
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t i = 0; i < a.last(); ++i) y.row(r)[i] = a.row(r)[i] + b.row(r)[i];
  return y;
}

Tensor PlainOps::multiply(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.shape == b.shape, "{} * {}", shape_text(a), shape_text(b));
  const Tensor y = like(a);
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t i = 0; i < a.last(); ++i) y.row(r)[i] = a.row(r)[i] * b.row(r)[i];
  return y;
}

static double logistic(double z) { return 1 / (1 + std::exp(-z)); }

Tensor PlainOps::activate(const Tensor& x, const Activation& form) {
  const auto act = [&](double z) {
    return form.form == Activation::Form::gelu ? z * 0.5 * std::erfc(-z / std::sqrt(2.0))
                                               : z * logistic(form.beta * z);
  };
  const Tensor y = like(x);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < x.last(); ++i) y.row(r)[i] = static_cast<float>(act(x.row(r)[i]));
  return y;
}

Tensor PlainOps::sigmoid(const Tensor& x) {
  const Tensor y = like(x);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < x.last(); ++i) y.row(r)[i] = static_cast<float>(logistic(x.row(r)[i]));
  return y;
}

Tensor PlainOps::scale_rows(const Tensor& x, const Tensor& factor_T1) {
  CHECK(factor_T1.last() == 1 && factor_T1.dim(0) == x.dim(0), "{} * {}", shape_text(x), shape_text(factor_T1));
  const Tensor y = like(x);
  const int64_t rows_per_token = x.rows() / std::max<int64_t>(1, x.dim(0));
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < x.last(); ++i) y.row(r)[i] = x.row(r)[i] * *factor_T1.row(r / rows_per_token);
  return y;
}

Tensor PlainOps::concat(const Tensor& a, const Tensor& b) {
  CHECK(a.rank == b.rank && a.rows() == b.rows(), "{} beside {}", shape_text(a), shape_text(b));
  Tensor wide = a;
  wide.shape[static_cast<size_t>(a.rank - 1)] = a.last() + b.last();
  const Tensor y = like(wide);
  for (int64_t r = 0; r < y.rows(); ++r)
    std::copy(b.row(r), b.row(r) + b.last(), std::copy(a.row(r), a.row(r) + a.last(), y.row(r)));
  return y;
}

Tensor PlainOps::zeros(int64_t rows, int64_t columns) {
  const Tensor y = arena_.tensor(rows, columns);
  std::fill(y.data(), y.data() + y.elements(), 0.0f);
  return y;
}

Tensor PlainOps::gather_rows(const Tensor& x_TD, std::span<const int32_t> rows) {
  const Tensor y = arena_.tensor(std::ssize(rows), x_TD.last());
  for (int64_t i = 0; i < y.dim(0); ++i) {
    const float* row = x_TD.row(rows[static_cast<size_t>(i)]);
    std::copy(row, row + x_TD.last(), y.row(i));
  }
  return y;
}

Tensor PlainOps::scatter_add(const Tensor& y_TD, const Tensor& x_MD, std::span<const int32_t> rows) {
  SHAPES(y_TD, x_MD);
  CHECK(std::ssize(rows) == x_MD.dim(0));
  const Tensor sum_TD = like(y_TD);
  for (int64_t t = 0; t < y_TD.dim(0); ++t) std::copy(y_TD.row(t), y_TD.row(t) + y_TD.last(), sum_TD.row(t));
  for (int64_t m = 0; m < x_MD.dim(0); ++m)
    for (int64_t i = 0; i < x_MD.last(); ++i) sum_TD.row(rows[static_cast<size_t>(m)])[i] += x_MD.row(m)[i];
  return sum_TD;
}

// -- Positions

// Angles as f32 has them, as the references do (docs/architecture.md, "Exactness").
Tensor PlainOps::rope_angles(const Batch& batch, const RopeSpec& spec) {
  const int64_t half = spec.dim / 2;
  const Tensor angles_TR = arena_.tensor(batch.rows(), 2 * half);
  for (const BatchSequence& s : batch.sequences) {
    const std::vector<float> inverse = inverse_frequencies(spec, s.rope_tokens);
    for (int r = 0; r < s.rows; ++r)
      for (int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(s.first_position + r) * inverse[static_cast<size_t>(i)];
        float* cos = angles_TR.row(s.first_row + r);
        cos[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * spec.attention_factor);
        cos[half + i] = static_cast<float>(std::sin(static_cast<double>(angle)) * spec.attention_factor);
      }
  }
  return angles_TR;
}

Tensor PlainOps::rope(const Tensor& x_THR, const Tensor& angles_TR, RopePairing pairing) {
  SHAPES(x_THR, angles_TR);
  const Tensor y = like(x_THR);
  const int64_t heads = x_THR.dim(1), half = x_THR.last() / 2;
  for (int64_t r = 0; r < x_THR.rows(); ++r)
    for (int64_t i = 0; i < half; ++i) {
      const float *x = x_THR.row(r), *cos = angles_TR.row(r / heads), *sin = cos + half;
      const int64_t a = pairing == RopePairing::halves ? i : 2 * i;
      const int64_t b = pairing == RopePairing::halves ? half + i : 2 * i + 1;
      y.row(r)[a] = x[a] * cos[i] - x[b] * sin[i];
      y.row(r)[b] = x[b] * cos[i] + x[a] * sin[i];
    }
  return y;
}

Tensor PlainOps::logn_factors(const Batch& batch, const LogNSpec& spec) {
  const Tensor factor_T1 = arena_.tensor(batch.rows(), 1);
  for (const BatchSequence& s : batch.sequences)
    for (int r = 0; r < s.rows; ++r) *factor_T1.row(s.first_row + r) = logn_factor(spec, s.first_position + r);
  return factor_T1;
}

// -- Attention

void PlainOps::append(KvCache& cache, int layer, const Batch& batch, const Tensor& k_TGK, const Tensor& v_TGV) {
  auto& kv = static_cast<PlainCache&>(cache);
  const KvCache::Layer& l = kv.layers[static_cast<size_t>(layer)];
  CHECK(k_TGK.dim(1) == l.kv_heads && k_TGK.last() == l.key_dim);
  CHECK(l.latent_dim > 0 ? v_TGV.rank == 0 : v_TGV.last() == l.value_dim);
  for (const BatchSequence& s : batch.sequences)
    for (int r = 0; r < s.rows; ++r)
      for (int g = 0; g < l.kv_heads; ++g) {
        const int64_t row = int64_t{s.first_row + r} * l.kv_heads + g;
        std::copy(k_TGK.row(row), k_TGK.row(row) + l.key_dim, kv.key(layer, s, s.first_position + r, g));
        if (l.latent_dim == 0)
          std::copy(v_TGV.row(row), v_TGV.row(row) + l.value_dim, kv.value(layer, s, s.first_position + r, g));
      }
}

// softmax(scale q K^T) V over the keys that a row sees (arXiv:1706.03762, section 3.2.1).
Tensor PlainOps::attend(const Tensor& q_THK, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) {
  auto& kv = static_cast<PlainCache&>(cache);
  const KvCache::Layer& l = kv.layers[static_cast<size_t>(layer)];
  const auto heads = static_cast<int>(q_THK.dim(1));
  CHECK(heads % l.kv_heads == 0 && q_THK.last() == l.key_dim);
  const int value_dim = l.latent_dim > 0 ? l.latent_dim : l.value_dim;
  const Tensor o_THV = arena_.tensor(q_THK.dim(0), heads, value_dim);
  for (const BatchSequence& s : batch.sequences)
    for (int i = 0; i < s.rows * heads; ++i) {
      const int position = s.first_position + i / heads, g = i % heads / (heads / l.kv_heads);
      const int64_t row = int64_t{s.first_row} * heads + i;
      const int first = spec.window > 0 ? std::max(0, position - spec.window + 1) : 0;
      const int last = std::min(position + spec.ahead, s.first_position + s.rows - 1);
      std::vector<double> weight;
      for (int p = first; p <= last; ++p)
        weight.push_back(dot(q_THK.row(row), kv.key(layer, s, p, g), l.key_dim) * static_cast<double>(spec.scale));
      const double top = *std::max_element(weight.begin(), weight.end());
      double sum = 0;
      for (double& w : weight) sum += w = std::exp(w - top);
      for (int v = 0; v < value_dim; ++v) {
        double value = 0;
        for (int p = first; p <= last; ++p)
          value += weight[static_cast<size_t>(p - first)] * static_cast<double>(kv.value(layer, s, p, g)[v]);
        o_THV.row(row)[v] = static_cast<float>(value / sum);
      }
    }
  return o_THV;
}

Routing PlainOps::route(const Tensor& logits_TE, const Weight& correction_E, const MoeGateSpec& spec) {
  CHECK(logits_TE.last() == spec.experts && (!correction_E || correction_E.shape[0] == spec.experts));
  const auto experts = static_cast<size_t>(spec.experts), active = static_cast<size_t>(spec.active);
  const Routing routing{arena_.ids(logits_TE.dim(0), spec.active), arena_.tensor(logits_TE.dim(0), spec.active)};
  std::span<const float> correction;
  if (correction_E) correction = {row_of(correction_E, 0), experts};
  for (int64_t t = 0; t < logits_TE.dim(0); ++t)
    choose_experts(spec, {logits_TE.row(t), experts}, correction, {routing.expert_TA.ids(t), active},
                   {routing.weight_TA.row(t), active});
  return routing;
}

// -- Scopes and observation

Tensor PlainOps::keep_only(Arena::Mark mark, const Tensor& tensor) {
  CHECK(tensor.contiguous());
  arena_.rewind(mark);
  const Tensor kept = like(tensor);
  std::copy_n(tensor.data(), tensor.elements(), kept.data());  // to lower addresses
  return kept;
}

std::span<const float> PlainOps::read(const Tensor& tensor, std::vector<float>& room) {
  room.clear();
  for (int64_t r = 0; r < tensor.rows(); ++r)
    for (int64_t i = 0; i < tensor.last(); ++i)
      room.push_back(tensor.dtype == DType::i32 ? static_cast<float>(tensor.ids(r)[i]) : tensor.row(r)[i]);
  return room;
}

}  // namespace cachalot
