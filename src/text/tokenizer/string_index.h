// From strings to ids, where the strings are kept elsewhere: a flat hash table of ids, which meets one cache miss
// where std::unordered_map meets three. Building the index of a real vocabulary takes most of a tokenizer's loading
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace cachalot {

// `text_of` is called with ids that were inserted and gives their strings; it must give the same ones every time.
class StringIndex {
 public:
  explicit StringIndex(size_t strings) {  // for up to so many
    size_t size = 16;
    while (size < strings * 2) size *= 2;
    slots_.resize(size);
  }

  // Nothing when the string is new; otherwise the id that has it already, and the index stays as it was.
  template <typename TextOf>
  std::optional<int> insert(std::string_view text, int id, const TextOf& text_of) {
    const uint64_t hash = std::hash<std::string_view>()(text);
    Slot& slot = slots_[place(text, hash, text_of)];
    if (slot.id >= 0) return slot.id;
    slot = {static_cast<uint32_t>(hash >> 32), id};
    return std::nullopt;
  }
  template <typename TextOf>
  std::optional<int> find(std::string_view text, const TextOf& text_of) const {
    const Slot& slot = slots_[place(text, std::hash<std::string_view>()(text), text_of)];
    return slot.id >= 0 ? std::optional(slot.id) : std::nullopt;
  }

 private:
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int id = -1;
  };
  template <typename TextOf>
  size_t place(std::string_view text, uint64_t hash, const TextOf& text_of) const {
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].id >= 0 && (slots_[at].tag != hash >> 32 || text_of(slots_[at].id) != text)) {
      at = (at + 1) & (slots_.size() - 1);
    }
    return at;
  }
  std::vector<Slot> slots_;
};

}  // namespace cachalot
