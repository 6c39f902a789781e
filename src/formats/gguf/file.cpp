#include "formats/gguf/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place");

// Far above every published file (DeepSeek-R1: 60 keys, 1,086 tensors) and low enough to bound the directory's
// memory.
static constexpr int64_t kMaxKeys = 1 << 16;
static constexpr int64_t kMaxTensors = 1 << 20;
static constexpr size_t kMaxKeyBytes = 65535;
static constexpr size_t kMaxNameBytes = 63;
static constexpr uint32_t kMostDims = 4;
static constexpr int64_t kMaxAlignment = 1 << 20;
static constexpr std::string_view kAlignmentKey = "general.alignment";

namespace {
struct StoredType {
  std::string_view name;
  uint32_t id;
  DType dtype;
};
}  // namespace

static constexpr StoredType kStoredTypes[] = {
    {"F32", 0, DType::f32},        {"F16", 1, DType::f16},         {"Q4_0", 2, DType::q4_0},
    {"Q4_1", 3, DType::q4_1},      {"Q5_0", 6, DType::q5_0},       {"Q5_1", 7, DType::q5_1},
    {"Q8_0", 8, DType::q8_0},      {"Q8_1", 9, DType::opaque},     {"Q2_K", 10, DType::q2_k},
    {"Q3_K", 11, DType::q3_k},     {"Q4_K", 12, DType::q4_k},      {"Q5_K", 13, DType::q5_k},
    {"Q6_K", 14, DType::q6_k},     {"Q8_K", 15, DType::opaque},    {"IQ2_XXS", 16, DType::opaque},
    {"IQ2_XS", 17, DType::opaque}, {"IQ3_XXS", 18, DType::opaque}, {"IQ1_S", 19, DType::opaque},
    {"IQ4_NL", 20, DType::iq4_nl}, {"IQ3_S", 21, DType::opaque},   {"IQ2_S", 22, DType::opaque},
    {"IQ4_XS", 23, DType::iq4_xs}, {"I8", 24, DType::i8},          {"I16", 25, DType::i16},
    {"I32", 26, DType::i32},       {"I64", 27, DType::i64},        {"F64", 28, DType::f64},
    {"IQ1_M", 29, DType::opaque},  {"BF16", 30, DType::bf16},      {"TQ1_0", 34, DType::opaque},
    {"TQ2_0", 35, DType::opaque},  {"MXFP4", 39, DType::mxfp4},    {"NVFP4", 40, DType::opaque},
    {"Q1_0", 41, DType::opaque},
};

std::optional<uint32_t> gguf_type(DType type) {
  for (const StoredType& known : kStoredTypes)
    if (known.dtype == type && type != DType::opaque) return known.id;
  return std::nullopt;
}

template <typename T>
static T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Walks one file from front to back. Every step first asks left(), so nothing is read or allocated beyond the bytes.
class GgufParser {
  using Type = GgufFile::Type;

 public:
  explicit GgufParser(GgufFile& file) : file_(file), bytes_(file.bytes_) {}

  void run() {
    const auto [tensors, keys] = header();
    for (int64_t i = 0; i < keys; ++i) metadata_entry();
    read_alignment();
    std::vector<uint64_t> offsets;
    offsets.reserve(tensors);
    file_.tensors_.reserve(tensors);
    file_.index_.reserve(tensors);
    for (int64_t i = 0; i < tensors; ++i) offsets.push_back(tensor_entry());
    place_tensors(offsets);
  }

 private:
  Error error(std::string what) const { return Error(std::move(what)).in(file_.where_); }
  size_t left() const { return bytes_.size() - position_; }

  template <typename T>
  T take(std::string_view what) {
    if (left() < sizeof(T))
      throw error(fmt::format("the file ends inside {}", what))
          .because(fmt::format("{} bytes are left at byte {}", left(), position_))
          .hint("the file is cut off or corrupt; download it again");
    const T value = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  std::string_view take_string(std::string_view what, size_t limit = std::numeric_limits<size_t>::max()) {
    const auto length = take<uint64_t>(what);
    if (length > limit || length > left())
      throw error(fmt::format("{} is {} bytes long", what, length))
          .because(length > left() ? fmt::format("{} bytes are left at byte {}", left(), position_)
                                   : fmt::format("at most {} are accepted", limit));
    const auto* text = reinterpret_cast<const char*>(bytes_.data() + position_);
    position_ += length;
    return {text, static_cast<size_t>(length)};
  }

  // A count of things of at least `bytes_each`; at most as many as the rest of the file can hold.
  int64_t take_count(std::string_view what, int64_t limit, size_t bytes_each) {
    const auto count = take<uint64_t>(what);
    const uint64_t room = left() / bytes_each;
    if (count > static_cast<uint64_t>(limit) || count > room)
      throw error(fmt::format("{} is {}", what, count))
          .because(count > room ? fmt::format("the {} bytes that are left hold at most {}", left(), room)
                                : fmt::format("at most {} are accepted", limit));
    return static_cast<int64_t>(count);
  }

  std::pair<int64_t, int64_t> header() {
    if (left() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      throw error("this is not a GGUF file").because("it does not start with the letters GGUF");
    position_ = 4;
    const auto version = take<uint32_t>("the version");
    if (version != 0 && (version & 0xffff) == 0)
      throw error("a big-endian GGUF file is not read")
          .hint("convert the original checkpoint on a little-endian machine");
    if (version == 1)
      throw error("GGUF version 1 is not read").hint("it is obsolete; convert the original checkpoint again");
    if (version != 2 && version != 3)
      throw error(fmt::format("GGUF version {} is not known", version)).because("versions 2 and 3 are read");
    file_.version_ = static_cast<int>(version);
    const int64_t tensors = take_count("the number of tensors", kMaxTensors, 24);
    const int64_t keys = take_count("the number of metadata keys", kMaxKeys, 13);
    return {tensors, keys};
  }

  static size_t type_bytes(Type type) {
    switch (type) {
      case Type::u8:
      case Type::i8:
      case Type::boolean: return 1;
      case Type::u16:
      case Type::i16: return 2;
      case Type::u32:
      case Type::i32:
      case Type::f32: return 4;
      case Type::u64:
      case Type::i64:
      case Type::f64:
      case Type::string:
      case Type::array: return 8;  // at least
    }
    return 8;
  }

  Type take_type(std::string_view key) {
    const auto type = take<uint32_t>("the type of a metadata value");
    if (type > static_cast<uint32_t>(Type::f64))
      throw error(fmt::format("metadata key {} has the unknown type {}", quote(key), type));
    return static_cast<Type>(type);
  }

  void metadata_entry() {
    const auto key = take_string("a metadata key", kMaxKeyBytes);
    GgufFile::Value value{take_type(key), false, 1, {}};
    if (value.type == Type::array) {
      value.array = true;
      value.type = take_type(key);
      if (value.type == Type::array) throw error(fmt::format("metadata key {} holds an array of arrays", quote(key)));
      value.count = take_count(fmt::format("the length of array {}", quote(key)), std::numeric_limits<int64_t>::max(),
                               type_bytes(value.type));
    }
    const size_t begin = position_;
    if (value.type == Type::string) {
      for (int64_t i = 0; i < value.count; ++i) take_string("a metadata string");
    } else if (const size_t size = value.count * type_bytes(value.type); size <= left()) {
      position_ += size;
    } else {
      throw error(fmt::format("the file ends inside metadata key {}", quote(key)));
    }
    value.payload = bytes_.subspan(begin, position_ - begin);
    if (!file_.values_.emplace(key, value).second)
      throw error(fmt::format("metadata key {} appears twice", quote(key)));
    file_.keys_.push_back(key);
  }

  void read_alignment() {
    alignment_ = file_.integer_or(kAlignmentKey, 32, 1, kMaxAlignment);
    if (!std::has_single_bit(static_cast<uint64_t>(alignment_)))
      throw error(fmt::format("general.alignment is {}", alignment_)).because("a power of two is expected");
  }

  void take_dtype(GgufTensor& tensor) {
    const auto id = take<uint32_t>("a tensor's type");
    const auto* type = std::find_if(std::begin(kStoredTypes), std::end(kStoredTypes),
                                    [&](const StoredType& known) { return known.id == id; });
    const bool known = type != std::end(kStoredTypes);
    tensor.dtype = known ? type->dtype : DType::opaque;
    if (tensor.dtype == DType::opaque) tensor.other_type = known ? type->name : fmt::format("type {}", id);
  }

  // Bytes of `shape` in `dtype`, nothing when the number does not fit. In a type that is not read an element takes at
  // least a bit.
  static std::optional<uint64_t> tensor_bytes(const std::vector<int64_t>& shape, DType dtype) {
    uint64_t elements = 1;
    for (const int64_t size : shape)
      if (__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements)) return std::nullopt;
    if (dtype == DType::opaque) return elements / 8 + (elements % 8 != 0);
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(elements / info(dtype).block_elements, uint64_t(info(dtype).block_bytes), &bytes))
      return std::nullopt;
    return bytes;
  }

  // Returns the offset; the bytes are known only when the directory's end is.
  uint64_t tensor_entry() {
    GgufTensor tensor{take_string("a tensor name", kMaxNameBytes), DType::f32, {}, {}, {}};
    const auto dims = take<uint32_t>("a tensor's number of dimensions");
    if (dims > kMostDims)
      throw error(fmt::format("tensor {} has {} dimensions", quote(tensor.name), dims))
          .because(fmt::format("at most {} are accepted", kMostDims));
    for (uint32_t i = 0; i < dims; ++i) {
      tensor.shape.push_back(take<int64_t>("a tensor's shape"));
      if (tensor.shape.back() < 0)
        throw error(fmt::format("tensor {} has a dimension of size {}", quote(tensor.name), tensor.shape.back()));
    }
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    take_dtype(tensor);
    const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (const int block = info(tensor.dtype).block_elements; columns % block != 0)
      throw error(
          fmt::format("tensor {} has rows of {} elements of {}", quote(tensor.name), columns, name(tensor.dtype)))
          .because(fmt::format("a row must be a multiple of {}", block));
    const auto size = tensor_bytes(tensor.shape, tensor.dtype);
    if (!size || *size > bytes_.size())
      throw error(fmt::format("tensor {} of shape [{}] is larger than the file", quote(tensor.name),
                              fmt::join(tensor.shape, ", ")));
    tensor.bytes = bytes_.first(*size);  // the right length at no place yet
    if (!file_.index_.emplace(tensor.name, file_.tensors_.size()).second)
      throw error(fmt::format("tensor {} appears twice", quote(tensor.name)));
    file_.tensors_.push_back(std::move(tensor));
    return take<uint64_t>("a tensor's offset");
  }

  void place_tensors(const std::vector<uint64_t>& offsets) {
    if (offsets.empty()) return;
    const uint64_t data = (position_ + alignment_ - 1) / alignment_ * alignment_;
    for (size_t i = 0; i < offsets.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      if (offsets[i] % alignment_ != 0)
        throw error(fmt::format("tensor {} starts at offset {}", quote(tensor.name), offsets[i]))
            .because(fmt::format("offsets are multiples of general.alignment = {}", alignment_));
      if (data > bytes_.size() || offsets[i] > bytes_.size() - data ||
          tensor.bytes.size() > bytes_.size() - data - offsets[i])
        throw error(fmt::format("tensor {} lies beyond the end of the file", quote(tensor.name)))
            .because(fmt::format("it needs {} bytes at {} + {}, and the file has {}", tensor.bytes.size(), data,
                                 offsets[i], bytes_.size()))
            .hint("the file is cut off or corrupt; download it again");
      tensor.bytes = bytes_.subspan(data + offsets[i], tensor.bytes.size());
    }
    refuse_overlaps();
  }

  void refuse_overlaps() {
    std::vector<GgufTensor*> by_place;
    by_place.reserve(file_.tensors_.size());
    for (GgufTensor& tensor : file_.tensors_) by_place.push_back(&tensor);
    // Empty tensors first among those of one place.
    std::sort(by_place.begin(), by_place.end(), [](const GgufTensor* a, const GgufTensor* b) {
      return std::pair(a->bytes.data(), a->bytes.size()) < std::pair(b->bytes.data(), b->bytes.size());
    });
    for (size_t i = 0; i < by_place.size(); ++i) {
      GgufTensor& tensor = *by_place[i];
      const bool last = i + 1 == by_place.size();
      const std::byte* const next = last ? bytes_.data() + bytes_.size() : by_place[i + 1]->bytes.data();
      if (tensor.bytes.data() + tensor.bytes.size() > next)
        throw error(fmt::format("tensors {} and {} overlap", quote(tensor.name), quote(by_place[i + 1]->name)));
      if (tensor.dtype == DType::opaque) tensor.bytes = {tensor.bytes.data(), next};
    }
  }

  GgufFile& file_;
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  int64_t alignment_ = 32;
};

GgufFile::GgufFile(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string where)
    : file_(std::move(file)), bytes_(bytes), where_(std::move(where)) {
  GgufParser(*this).run();
}

GgufFile GgufFile::parse(MappedFile file) {
  const auto bytes = file.bytes();
  std::string where = file.path().string();
  return GgufFile(std::move(file), bytes, std::move(where));
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string where) {
  return GgufFile(std::nullopt, bytes, std::move(where));
}

const GgufFile::Value* GgufFile::value(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const GgufFile::Value& GgufFile::scalar(std::string_view key) const {
  const Value* found = value(key);
  if (!found) throw Error(fmt::format("metadata key {} is missing", quote(key))).in(where_);
  if (found->array) throw Error(fmt::format("metadata key {} is an array, not one value", quote(key))).in(where_);
  return *found;
}

static Error wrong_type(const std::string& where, std::string_view key, std::string_view expected) {
  return Error(fmt::format("metadata key {} is not {}", quote(key), expected)).in(where);
}

int64_t GgufFile::integer_at(std::string_view key, const Value& value, int64_t index) const {
  const std::byte* bytes = value.payload.data();
  switch (value.type) {
    case Type::u8: return load<uint8_t>(bytes + index);
    case Type::i8: return load<int8_t>(bytes + index);
    case Type::u16: return load<uint16_t>(bytes + index * 2);
    case Type::i16: return load<int16_t>(bytes + index * 2);
    case Type::u32: return load<uint32_t>(bytes + index * 4);
    case Type::i32: return load<int32_t>(bytes + index * 4);
    case Type::i64: return load<int64_t>(bytes + index * 8);
    case Type::u64:
      if (const auto wide = load<uint64_t>(bytes + index * 8); wide <= std::numeric_limits<int64_t>::max())
        return static_cast<int64_t>(wide);
      throw Error(fmt::format("metadata key {} is too large a number", quote(key))).in(where_);
    default: throw wrong_type(where_, key, "an integer");
  }
}

double GgufFile::number_at(std::string_view key, const Value& value, int64_t index) const {
  if (value.type == Type::f32) return load<float>(value.payload.data() + index * 4);
  if (value.type == Type::f64) return load<double>(value.payload.data() + index * 8);
  if (value.type == Type::string || value.type == Type::boolean) throw wrong_type(where_, key, "a number");
  return static_cast<double>(integer_at(key, value, index));
}

int64_t GgufFile::integer(std::string_view key, int64_t min, int64_t max) const {
  const int64_t number = integer_at(key, scalar(key), 0);
  if (number < min || number > max)
    throw Error(fmt::format("metadata key {} is {}", quote(key), number))
        .in(where_)
        .because(fmt::format("a number from {} to {} is expected", min, max));
  return number;
}

int64_t GgufFile::integer_or(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double GgufFile::number(std::string_view key) const {
  const double number = number_at(key, scalar(key), 0);
  if (!std::isfinite(number)) throw Error(fmt::format("metadata key {} is not finite", quote(key))).in(where_);
  return number;
}

double GgufFile::number_or(std::string_view key, double fallback) const { return has(key) ? number(key) : fallback; }

bool GgufFile::boolean(std::string_view key) const {
  const Value& found = scalar(key);
  if (found.type != Type::boolean) throw wrong_type(where_, key, "true or false");
  return found.payload[0] != std::byte{0};
}

bool GgufFile::boolean_or(std::string_view key, bool fallback) const { return has(key) ? boolean(key) : fallback; }

static std::string_view stored_text(std::span<const std::byte> payload) {
  return {reinterpret_cast<const char*>(payload.data()) + 8, static_cast<size_t>(load<uint64_t>(payload.data()))};
}

std::string_view GgufFile::text(std::string_view key) const {
  const Value& found = scalar(key);
  if (found.type != Type::string) throw wrong_type(where_, key, "a text");
  return stored_text(found.payload);
}

std::string_view GgufFile::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : fallback;
}

std::vector<std::string_view> GgufFile::texts(std::string_view key) const {
  const Value* found = value(key);
  if (!found) return {};
  if (!found->array || found->type != Type::string) throw wrong_type(where_, key, "an array of texts");
  std::vector<std::string_view> texts;
  texts.reserve(found->count);
  for (auto rest = found->payload; !rest.empty(); rest = rest.subspan(8 + texts.back().size()))
    texts.push_back(stored_text(rest));
  return texts;
}

std::vector<int64_t> GgufFile::integers(std::string_view key) const {
  const Value* found = value(key);
  if (!found) return {};
  std::vector<int64_t> numbers(found->count);
  for (int64_t i = 0; i < found->count; ++i) numbers[i] = integer_at(key, *found, i);
  return numbers;
}

std::vector<double> GgufFile::numbers(std::string_view key) const {
  const Value* found = value(key);
  if (!found) return {};
  std::vector<double> numbers(found->count);
  for (int64_t i = 0; i < found->count; ++i) numbers[i] = number_at(key, *found, i);
  return numbers;
}

std::vector<bool> GgufFile::booleans(std::string_view key) const {
  const Value* found = value(key);
  if (!found) return {};
  if (found->type != Type::boolean) throw wrong_type(where_, key, "an array of true or false");
  std::vector<bool> booleans(found->count);
  for (int64_t i = 0; i < found->count; ++i) booleans[i] = found->payload[i] != std::byte{0};
  return booleans;
}

std::optional<int64_t> GgufFile::array_length(std::string_view key) const {
  const Value* found = value(key);
  return found && found->array ? std::optional(found->count) : std::nullopt;
}

std::span<const std::byte> GgufFile::stored(std::string_view key) const {
  const Value* found = value(key);
  CHECK(found, "there is no key {}", key);
  const size_t head = found->array ? 16 : 4;  // the type; of an array also its elements' type and their count
  return {found->payload.data() - head, found->payload.size() + head};
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace cachalot
