#include "hub/header_extent.h"

#include <cstring>
#include <limits>

namespace cachalot {
namespace {

// Walks forward over bytes of which only the first are there.
class Walk {
 public:
  explicit Walk(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T number() {
    T value = 0;
    if (!skip(sizeof value)) return 0;
    std::memcpy(&value, bytes_.data() + at_ - sizeof value, sizeof value);
    return value;
  }
  // Whether they are there.
  bool skip(uint64_t bytes) {
    if (short_ || bytes > bytes_.size() - at_)
      short_ = true;
    else
      at_ += bytes;
    return !short_;
  }
  bool skip(uint64_t count, uint64_t each) {
    if (each > 0 && count > std::numeric_limits<uint64_t>::max() / each) short_ = true;
    return skip(count * each);
  }
  bool text() { return skip(number<uint64_t>()); }
  bool is_short() const { return short_; }
  int64_t at() const { return static_cast<int64_t>(at_); }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
  bool short_ = false;
};

constexpr uint32_t kText = 8, kArray = 9;
constexpr uint64_t kBytesOf[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // by GGUF's number of a type
constexpr uint32_t kTypes = std::size(kBytesOf);

// False when it is no value of GGUF.
bool skip_value(Walk& walk, uint32_t type) {
  if (type >= kTypes) return false;
  if (type == kText) return walk.text(), true;
  if (type != kArray) return walk.skip(kBytesOf[type]), true;
  const auto element = walk.number<uint32_t>();
  const auto count = walk.number<uint64_t>();
  if (walk.is_short()) return true;
  if (element >= kTypes || element == kArray) return false;
  if (element != kText) return walk.skip(count, kBytesOf[element]), true;
  for (uint64_t i = 0; i < count && walk.text(); ++i) {}
  return true;
}

}  // namespace

std::optional<int64_t> safetensors_header_bytes(std::string_view begin) {
  Walk walk(begin);
  const auto length = walk.number<uint64_t>();
  if (walk.is_short()) return std::nullopt;
  constexpr uint64_t kMostBytes = 100'000'000;  // as the format has it
  return length > kMostBytes ? walk.at() : walk.at() + static_cast<int64_t>(length);
}

std::optional<int64_t> gguf_header_bytes(std::string_view begin) {
  Walk walk(begin);
  if (begin.size() < 8) return std::nullopt;
  if (begin.substr(0, 4) != "GGUF") return 8;
  walk.skip(4);
  const auto version = walk.number<uint32_t>();
  if (version < 2 || version > 3) return 8;
  const auto tensors = walk.number<uint64_t>(), keys = walk.number<uint64_t>();
  for (uint64_t i = 0; i < keys && !walk.is_short(); ++i) {
    walk.text();
    const auto type = walk.number<uint32_t>();
    if (!walk.is_short() && !skip_value(walk, type)) return walk.at();
  }
  for (uint64_t i = 0; i < tensors && !walk.is_short(); ++i) {
    walk.text();
    walk.skip(walk.number<uint32_t>(), 8);
    walk.skip(4 + 8);  // type and offset
  }
  return walk.is_short() ? std::nullopt : std::optional(walk.at());
}

}  // namespace cachalot
