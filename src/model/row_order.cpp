#include "model/row_order.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

int interleaved_heads(const Family& family, const ModelSpec& spec, const Parameter& p) {
  const auto& slots = family.gguf.interleaved;
  if (std::find(slots.begin(), slots.end(), p.slot) == slots.end()) return 0;
  const auto layer = static_cast<size_t>(p.layer), layers = spec.layers.size();
  const AttentionFacts a = (layer < layers ? spec.layers[layer] : spec.mtp[layer - layers]).facts();
  return static_cast<int>((p.kind == Parameter::Kind::vector ? p.columns : p.rows) / a.head_dim);
}

int64_t stored_row(int64_t r, int64_t rows, int heads) {
  const int64_t head = rows / heads, half = head / 2, i = r % head;
  return r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

int64_t model_row(int64_t r, int64_t rows, int heads) {
  const int64_t head = rows / heads, i = r % head;
  return r - i + i / 2 + (i % 2) * (head / 2);
}

StoredTensor in_model_order(const StoredTensor& stored, int heads) {
  const bool vector = stored.shape.size() == 1;
  CHECK(!stored.scales, "rows with factors in another order");
  StoredTensor ordered = stored;
  std::vector<float> numbers;
  std::span<const std::byte> from = stored.bytes;
  if (vector) {
    numbers.resize(static_cast<size_t>(stored.columns()));
    dequantize(stored.dtype, stored.bytes, numbers);
    ordered.dtype = DType::f32;
    from = std::as_bytes(std::span(numbers));
  }
  const int64_t rows = vector ? stored.columns() : stored.rows();
  CHECK(heads > 0 && rows % (2 * heads) == 0, "{} rows are no {} heads of an even number each", rows, heads);
  const size_t size = from.size() / static_cast<size_t>(rows);
  std::vector<std::byte> bytes(from.size());
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(bytes.data() + static_cast<size_t>(r) * size,
                from.data() + static_cast<size_t>(stored_row(r, rows, heads)) * size, size);
  stored.release_rows(0, stored.rows());
  ordered.copy = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  ordered.bytes = *ordered.copy;
  return ordered;
}

}  // namespace cachalot
