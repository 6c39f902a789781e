#include "model/gguf_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/quote.h"

namespace cachalot {

// Values of general.type for files beside a model. They open like an architecture of that name, and nothing runs it.
static constexpr std::string_view kOtherTypes[] = {"adapter", "imatrix", "mmproj"};

double as_decimal(double stored) {
  const auto narrow = static_cast<float>(stored);
  if (narrow != stored) return stored;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, narrow).ptr;
  double decimal = stored;
  std::from_chars(text, end, decimal);
  return decimal;
}

GgufReader::GgufReader(std::span<const GgufFile> shards) : shards_(shards) {
  // What is no model at all may go without an architecture, or name that of the model it is made for.
  const auto type = file().text_or("general.type", "model");
  const bool other = std::find(std::begin(kOtherTypes), std::end(kOtherTypes), type) != std::end(kOtherTypes);
  architecture_ = other ? type : file().text("general.architecture");
}

std::string GgufReader::quoted_architecture() const {
  const std::string quoted = quote(architecture_);
  return quoted.substr(1, quoted.rfind('\'') - 1);
}

std::string GgufReader::key(std::string_view name) const { return fmt::format("{}.{}", architecture_, name); }

int64_t GgufReader::integer_or(std::string_view name, int64_t fallback, int64_t min) const {
  return has(name) ? integer(name, min) : fallback;
}

double GgufReader::number(std::string_view name) const { return as_decimal(file().number(key(name))); }

double GgufReader::number_or(std::string_view name, double fallback) const {
  return has(name) ? number(name) : fallback;
}

std::string_view GgufReader::text_or(std::string_view name, std::string_view fallback) const {
  return file().text_or(key(name), fallback);
}

std::optional<int64_t> GgufReader::same_in_all_layers(std::string_view name) const {
  const auto numbers = file().integers(key(name));
  if (numbers.empty() || std::any_of(numbers.begin(), numbers.end(), [&](int64_t n) { return n != numbers[0]; }))
    return std::nullopt;
  if (numbers[0] < 0 || numbers[0] > 1 << 30)
    throw error(fmt::format("metadata key {} is {}", quote(key(name)), numbers[0]));
  return numbers[0];
}

int64_t GgufReader::layer_integer(std::string_view name) const {
  if (!has(name)) throw error(fmt::format("metadata key {} is missing", quote(key(name))));
  const auto listed = file().array_length(key(name));
  const int64_t blocks = integer_or("block_count", 0, 0);
  if (listed && static_cast<int64_t>(*listed) != blocks)
    throw error(fmt::format("metadata key {} has {} entries for {} blocks", quote(key(name)), *listed, blocks));
  const auto number = same_in_all_layers(name);
  if (!number) throw error(fmt::format("metadata key {} differs between the layers", quote(key(name))));
  return *number;
}

const GgufTensor* GgufReader::tensor(std::string_view name) const {
  for (const GgufFile& shard : shards_)
    if (const auto* found = shard.find(name)) return found;
  return nullptr;
}

bool GgufReader::has_tensors(std::string_view beginning) const {
  return std::any_of(shards_.begin(), shards_.end(), [&](const GgufFile& shard) {
    return std::any_of(shard.tensors().begin(), shard.tensors().end(),
                       [&](const GgufTensor& tensor) { return tensor.name.starts_with(beginning); });
  });
}

int64_t GgufReader::rows_of(std::string_view ending) const {
  for (const GgufFile& shard : shards_)
    for (const GgufTensor& candidate : shard.tensors())
      if (candidate.name.ends_with(ending) && candidate.shape.size() >= 2)
        return candidate.shape[candidate.shape.size() - 2];
  throw error(fmt::format("neither metadata nor a tensor *{} says how wide the experts are", ending));
}

}  // namespace cachalot
