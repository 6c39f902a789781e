#include "ops/cpu/kv_cache.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "ops/imported_block.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

namespace {

const MatmulKernel& panel_kernel(const KernelTable& kernels, DType dtype) {
  return dtype == DType::f32 ? kernels.matmul_f32 : kernels.matmul_bf16;
}

// Codes and scales of a q8_0 block: one byte for every number of the bf16 panels, then [group][kBlockTokens] scales.
int64_t coded_bytes(const PanelLayout& layout) { return layout.bytes() / 2; }
// Codes lie as [panel][input][columns].
struct CodeCells {
  explicit CodeCells(const PanelLayout& layout) : columns(layout.columns()), panel(layout.panel_bytes() / 2) {}

  int64_t at(int64_t k, int64_t output) const { return output / columns * panel + k * columns + output % columns; }

  int64_t columns, panel;
};
constexpr int64_t kScaleBytes = 2;  // but of keys that turn

// Which scale the components 2u and 2u + 1 of a latent and its rotary key take; see the top of kv_cache.h.
std::vector<uint16_t> latent_groups(const KvCache::Layer& layer) {
  const int64_t units = divide_up(layer.key_dim, 2), latent_units = layer.latent_dim / 2;
  const int64_t groups = divide_up(latent_units, 16);
  std::vector<uint16_t> group_of_unit;
  group_of_unit.reserve(static_cast<size_t>(units));
  for (int64_t u = 0; u < units; ++u)
    group_of_unit.push_back(static_cast<uint16_t>(u < latent_units ? u / 16 : groups + (u - latent_units) / 8));
  return group_of_unit;
}
// Units of a key that have scales of their own.
int64_t half_units(const KvCache::Layer& layer) { return divide_up(divide_up(layer.key_dim, 2), 2); }

int64_t key_scale_bytes(const KvCache::Layer& layer) {
  if (layer.latent_dim == 0) return half_units(layer);
  const auto groups = latent_groups(layer);
  return (*std::max_element(groups.begin(), groups.end()) + 1) * kScaleBytes;
}

struct SideBytes {
  int64_t keys, values;
};
SideBytes side_bytes(const KvCache::Layer& layer, const KernelTable& kernels, DType dtype) {
  const MatmulKernel& kernel = panel_kernel(kernels, dtype);
  const PanelLayout keys{&kernel, kBlockTokens, layer.key_dim}, values{&kernel, layer.value_dim, kBlockTokens};
  if (dtype != DType::q8_0) return {keys.bytes(), values.bytes()};
  return {coded_bytes(keys) + key_scale_bytes(layer) * kBlockTokens,
          coded_bytes(values) + divide_up(layer.value_dim, kValueGroup) * kBlockTokens * kScaleBytes};
}

}  // namespace

int64_t CpuKvCache::block_bytes(const Layer& layer, const KernelTable& kernels, DType dtype) {
  const SideBytes bytes = side_bytes(layer, kernels, dtype);
  return layer.kv_heads * (bytes.keys + bytes.values);
}

CpuKvCache::CpuKvCache(const KvCacheSpec& spec, const KernelTable& kernels, const MemorySource& memory)
    : spec_(spec), kernels_(kernels), kernel_(panel_kernel(kernels, spec.dtype)) {
  CHECK(spec.dtype == DType::f32 || spec.dtype == DType::bf16 || spec.dtype == DType::q8_0);
  layers_.reserve(spec.layers.size());
  for (const Layer& layer : spec.layers) {
    const SideBytes bytes = side_bytes(layer, kernels, spec.dtype);
    const int64_t block_bytes = layer.kv_heads * (bytes.keys + bytes.values);
    const int blocks = spec.blocks_of_group[static_cast<size_t>(layer.group)];
    layers_.push_back(
        {.memory = memory(static_cast<size_t>(block_bytes * blocks)),
         .key_bytes = bytes.keys,
         .value_bytes = bytes.values,
         .block_bytes = block_bytes,
         .group_of_unit = coded() && layer.latent_dim > 0 ? latent_groups(layer) : std::vector<uint16_t>()});
  }
}

int64_t CpuKvCache::bytes_per_block(int group) const {
  int64_t bytes = 0;
  for (size_t i = 0; i < layers_.size(); ++i)
    if (spec_.layers[i].group == group) bytes += layers_[i].block_bytes;
  return bytes;
}

int64_t CpuKvCache::key_offset(int layer, int32_t block, int kv_head) const {
  const Storage& s = layers_[static_cast<size_t>(layer)];
  DCHECK(block >= 0 && block < spec_.blocks_of_group[static_cast<size_t>(this->layer(layer).group)]);
  return block * s.block_bytes + kv_head * (s.key_bytes + s.value_bytes);
}
int64_t CpuKvCache::value_offset(int layer, int32_t block, int kv_head) const {
  return key_offset(layer, block, kv_head) + layers_[static_cast<size_t>(layer)].key_bytes;
}

Prefetch CpuKvCache::stored_keys(int layer, int32_t block, int kv_head) const {
  return {memory(layer) + key_offset(layer, block, kv_head), layers_[static_cast<size_t>(layer)].key_bytes};
}
Prefetch CpuKvCache::stored_values(int layer, int32_t block, int kv_head) const {
  return {memory(layer) + value_offset(layer, block, kv_head), layers_[static_cast<size_t>(layer)].value_bytes};
}

Panels CpuKvCache::keys(int layer, int32_t block, int kv_head, const WritablePanels& room) const {
  const std::byte* stored = memory(layer) + key_offset(layer, block, kv_head);
  if (!coded()) return {key_layout(layer), stored};
  const Layer& shape = this->layer(layer);
  const auto* codes = reinterpret_cast<const int8_t*>(stored);
  const std::byte* scales = stored + coded_bytes(room.layout());
  auto* panels = reinterpret_cast<uint16_t*>(room.panel(0));
  const int64_t units = divide_up(shape.key_dim, 2);
  if (shape.latent_dim == 0)
    kernels_.coded_cache.decode_turning_keys(codes, reinterpret_cast<const uint8_t*>(scales), units, kBlockTokens,
                                             panels);
  else
    kernels_.coded_cache.decode_keys(codes, reinterpret_cast<const uint16_t*>(scales),
                                     layers_[static_cast<size_t>(layer)].group_of_unit.data(), units, kBlockTokens,
                                     panels);
  return room;
}

Panels CpuKvCache::values(int layer, int32_t block, int kv_head, const WritablePanels& room) const {
  const std::byte* stored = memory(layer) + value_offset(layer, block, kv_head);
  if (!coded()) return {value_layout(layer), stored};
  kernels_.coded_cache.decode_values(
      reinterpret_cast<const int8_t*>(stored), reinterpret_cast<const uint16_t*>(stored + coded_bytes(room.layout())),
      kBlockTokens, this->layer(layer).value_dim, reinterpret_cast<uint16_t*>(room.panel(0)));
  return room;
}

void CpuKvCache::clear_block(int layer, int32_t block) {
  std::memset(memory(layer) + key_offset(layer, block, 0), 0,
              static_cast<size_t>(layers_[static_cast<size_t>(layer)].block_bytes));
}

namespace {

// The scale of a group whose largest magnitude is given. What is not finite makes it NaN, and with it every number of
// the group.
constexpr float kSmallest = 0x1p-100f;  // below, a group is zeros
struct Bf16Scale {
  using Bits = uint16_t;
  static Bits of(float largest, bool finite) {
    if (!finite) return 0x7fc0;
    return largest < kSmallest ? 0 : f32_to_bf16(largest / 127);
  }
  static float number(Bits bits) { return bf16_to_f32(bits); }
};
// Rounded up, so that codes stay within 127.
struct SmallScale {
  using Bits = uint8_t;
  static Bits of(float largest, bool finite) {
    constexpr uint32_t kStep = 1 << 21;
    if (!finite) return kSmallScaleNaN;
    const auto bits = std::bit_cast<uint32_t>(largest / 127);
    if (bits <= kSmallScaleBase) return 0;
    return static_cast<Bits>(std::min<uint32_t>((bits - kSmallScaleBase + kStep - 1) / kStep, kSmallScaleNaN - 1));
  }
  static float number(Bits bits) { return small_scale(bits); }
};
int8_t code_of(float x, float scale) {
  if (!(scale > 0)) return 0;
  return static_cast<int8_t>(std::clamp(std::nearbyint(x / scale), -127.0f, 127.0f));
}

// Quantizes x_D, component d in group_of(d), and hands each code to put(d, code). Scale g goes to scales[g * stride].
template <typename Scale, typename GroupOf, typename Put>
void quantize(const float* x_D, int64_t D, int64_t groups, const GroupOf& group_of, typename Scale::Bits* scales,
              int64_t stride, const Put& put) {
  thread_local std::vector<float> largest;
  thread_local std::vector<char> finite;
  largest.assign(static_cast<size_t>(groups), 0.0f);
  finite.assign(static_cast<size_t>(groups), 1);
  for (int64_t d = 0; d < D; ++d) {
    const auto g = static_cast<size_t>(group_of(d));
    largest[g] = std::max(largest[g], std::abs(x_D[d]));
    finite[g] = static_cast<char>(finite[g] && std::isfinite(x_D[d]));
  }
  for (int64_t g = 0; g < groups; ++g) {
    const auto i = static_cast<size_t>(g);
    scales[g * stride] = Scale::of(largest[i], finite[i] != 0);
    largest[i] = Scale::number(scales[g * stride]);
  }
  for (int64_t d = 0; d < D; ++d) put(d, code_of(x_D[d], largest[static_cast<size_t>(group_of(d))]));
}

}  // namespace

void CpuKvCache::write(int layer, int32_t block, int kv_head, int slot, const float* key, const float* value) {
  const Layer& shape = this->layer(layer);
  const WritablePanels keys(key_layout(layer), memory(layer) + key_offset(layer, block, kv_head)),
      values(value_layout(layer), memory(layer) + value_offset(layer, block, kv_head));
  if (spec_.dtype == DType::f32) {
    for (int d = 0; d < shape.key_dim; ++d) keys.number<float>(d, slot) = key[d];
    for (int d = 0; d < shape.value_dim; ++d) values.number<float>(slot, d) = value[d];
  } else if (spec_.dtype == DType::bf16) {
    for (int d = 0; d < shape.key_dim; ++d) keys.number<uint16_t>(d, slot) = f32_to_bf16(key[d]);
    for (int d = 0; d < shape.value_dim; ++d) values.number<uint16_t>(slot, d) = f32_to_bf16(value[d]);
  } else {
    write_codes(layer, keys.panel(0), values.panel(0), slot, key, value);
  }
}

void CpuKvCache::write_codes(int layer, std::byte* keys, std::byte* values, int slot, const float* key,
                             const float* value) {
  const Layer& shape = this->layer(layer);
  const PanelLayout key_layout = this->key_layout(layer), value_layout = this->value_layout(layer);
  std::byte* key_scales = keys + coded_bytes(key_layout);
  std::byte* value_scales = values + coded_bytes(value_layout);
  const CodeCells key_cells(key_layout), value_cells(value_layout);
  const auto put_key = [&](int64_t d, int8_t code) { keys[key_cells.at(d, slot)] = static_cast<std::byte>(code); };
  if (shape.latent_dim == 0) {
    const int64_t half = half_units(shape);
    quantize<SmallScale>(
        key, shape.key_dim, half, [&](int64_t d) { return d / 2 % half; },
        reinterpret_cast<uint8_t*>(key_scales) + slot, kBlockTokens, put_key);
  } else {
    const auto& groups = layers_[static_cast<size_t>(layer)].group_of_unit;
    quantize<Bf16Scale>(
        key, shape.key_dim, key_scale_bytes(shape) / kScaleBytes,
        [&](int64_t d) { return groups[static_cast<size_t>(d / 2)]; }, reinterpret_cast<uint16_t*>(key_scales) + slot,
        kBlockTokens, put_key);
  }
  quantize<Bf16Scale>(
      value, shape.value_dim, divide_up(shape.value_dim, kValueGroup), [](int64_t d) { return d / kValueGroup; },
      reinterpret_cast<uint16_t*>(value_scales) + slot, kBlockTokens,
      [&](int64_t d, int8_t code) { values[value_cells.at(slot, d)] = static_cast<std::byte>(code); });
}

// -- Whole blocks

std::vector<int> CpuKvCache::layers_of(int group) const {
  std::vector<int> layers;
  for (int i = 0; i < static_cast<int>(layers_.size()); ++i)
    if (layer(i).group == group) layers.push_back(i);
  return layers;
}

void CpuKvCache::copy_block(int group, int32_t from, int32_t to) {
  if (from == to) return;
  for (const int i : layers_of(group))
    std::memcpy(memory(i) + key_offset(i, to, 0), memory(i) + key_offset(i, from, 0),
                static_cast<size_t>(layers_[static_cast<size_t>(i)].block_bytes));
}

template <typename Byte, typename Visit>
void CpuKvCache::visit_block(int layer, Byte* block, const Visit& visit) const {
  const Layer& shape = this->layer(layer);
  const Storage& storage = layers_[static_cast<size_t>(layer)];
  const PanelLayout key_layout = this->key_layout(layer), value_layout = this->value_layout(layer);
  const CodeCells key_cells(key_layout), value_cells(value_layout);
  const bool latent = shape.latent_dim > 0;
  const auto number = [&](const PanelView<Byte>& panels, int64_t k, int64_t output) {
    if (spec_.dtype == DType::f32)
      visit(Cell::f32, reinterpret_cast<Byte*>(&panels.template number<float>(k, output)));
    else
      visit(Cell::bf16, reinterpret_cast<Byte*>(&panels.template number<uint16_t>(k, output)));
  };
  const auto scales = [&](Cell cell, int64_t bytes, Byte* first, int64_t groups, int slot) {
    for (int64_t g = 0; g < groups; ++g) visit(cell, first + (g * kBlockTokens + slot) * bytes);
  };
  for (int slot = 0; slot < kBlockTokens; ++slot)
    for (int head = 0; head < shape.kv_heads; ++head) {
      Byte *keys = block + head * (storage.key_bytes + storage.value_bytes), *values = keys + storage.key_bytes;
      if (!coded()) {
        for (int64_t d = 0; d < shape.key_dim; ++d) number({key_layout, keys}, d, slot);
        for (int64_t d = 0; d < shape.value_dim; ++d) number({value_layout, values}, slot, d);
        continue;
      }
      for (int64_t d = 0; d < shape.key_dim; ++d) visit(Cell::code, keys + key_cells.at(d, slot));
      const int64_t bytes = latent ? kScaleBytes : 1;
      scales(latent ? Cell::scale : Cell::small_scale, bytes, keys + coded_bytes(key_layout),
             key_scale_bytes(shape) / bytes, slot);
      for (int64_t d = 0; d < shape.value_dim; ++d) visit(Cell::code, values + value_cells.at(slot, d));
      scales(Cell::scale, kScaleBytes, values + coded_bytes(value_layout), divide_up(shape.value_dim, kValueGroup),
             slot);
    }
}

namespace {

size_t cell_bytes(auto cell) {
  using Cell = decltype(cell);
  switch (cell) {
    case Cell::f32: return 4;
    case Cell::bf16:
    case Cell::scale: return 2;
    case Cell::code:
    case Cell::small_scale: return 1;
  }
  return 0;
}

template <typename T>
T number_at(const std::byte* bytes) {
  T number;
  std::memcpy(&number, bytes, sizeof(T));
  return number;
}

// Whether a cell of a cache can hold this.
bool possible(auto cell, const std::byte* bytes) {
  using Cell = decltype(cell);
  switch (cell) {
    case Cell::f32: return std::isfinite(number_at<float>(bytes));
    case Cell::bf16: return std::isfinite(bf16_to_f32(number_at<uint16_t>(bytes)));
    case Cell::code: return number_at<int8_t>(bytes) != -128;
    case Cell::scale: {
      const float scale = bf16_to_f32(number_at<uint16_t>(bytes));
      return std::isfinite(scale) && !std::signbit(scale);
    }
    case Cell::small_scale: return number_at<uint8_t>(bytes) != kSmallScaleNaN;
  }
  return false;
}

}  // namespace

std::vector<std::byte> CpuKvCache::export_block(int group, int32_t block) const {
  std::vector<std::byte> bytes;
  for (const int i : layers_of(group))
    visit_block(i, memory(i) + key_offset(i, block, 0), [&](Cell cell, const std::byte* place) {
      bytes.insert(bytes.end(), place, place + cell_bytes(cell));
    });
  return bytes;
}

void CpuKvCache::import_block(int group, int32_t block, std::span<const std::byte> bytes) {
  const std::vector<int> layers = layers_of(group);
  size_t expected = 0;
  bool right = true;
  for (const int i : layers)
    visit_block(i, memory(i) + key_offset(i, block, 0), [&](Cell cell, const std::byte*) {
      right = right && expected + cell_bytes(cell) <= bytes.size() && possible(cell, bytes.data() + expected);
      expected += cell_bytes(cell);
    });
  check_imported_bytes(bytes.size(), expected, right);
  const std::byte* from = bytes.data();
  for (const int i : layers) {
    clear_block(i, block);
    visit_block(i, memory(i) + key_offset(i, block, 0), [&](Cell cell, std::byte* place) {
      std::memcpy(place, from, cell_bytes(cell));
      from += cell_bytes(cell);
    });
  }
}

}  // namespace cachalot
