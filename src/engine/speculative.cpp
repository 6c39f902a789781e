#include "engine/speculative.h"

#include <algorithm>

namespace cachalot {

std::string_view name(Speculation form) {
  switch (form) {
    case Speculation::off: return "off";
    case Speculation::lookup: return "lookup";
    case Speculation::mtp: return "mtp";
  }
  return "";
}

std::vector<int32_t> draft_by_lookup(std::span<const int32_t> tokens, int most) {
  constexpr size_t kLongest = 4, kShortest = 2;
  for (size_t length = kLongest; length >= kShortest; --length) {
    if (tokens.size() <= length) continue;
    const auto end = tokens.last(length);
    // The latest occurrence that something follows: it ends before the text does.
    const auto earlier = tokens.first(tokens.size() - 1);
    const auto found = std::find_end(earlier.begin(), earlier.end(), end.begin(), end.end());
    if (found == earlier.end()) continue;
    const auto after = tokens.subspan(static_cast<size_t>(found - earlier.begin()) + length);
    return {after.begin(), after.begin() + std::min<ptrdiff_t>(most, std::ssize(after))};
  }
  return {};
}

}  // namespace cachalot
