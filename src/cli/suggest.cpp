#include "cli/suggest.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace cachalot {

// Insertions, deletions, replacements and swaps of neighbours (the restricted Damerau–Levenshtein distance).
static size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> before, last, row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    before = std::move(last);
    last = std::move(row);
    row.assign(b.size() + 1, i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

// What was cut short: --temp, quant. Of several the shortest, of which the word has most.
static std::optional<std::string> shortest_beginning_with(std::string_view word,
                                                          const std::vector<std::string>& known) {
  constexpr size_t kShortest = 3;  // letters
  if (word.size() < word.find_first_not_of('-') + kShortest) return {};
  std::optional<std::string> found;
  for (const std::string& candidate : known) {
    if (candidate.starts_with(word) && (!found || candidate.size() < found->size())) found = candidate;
  }
  return found;
}

std::string likeliest(std::string_view word, const std::vector<std::string>& known) {
  word = word.substr(0, word.find('='));
  if (word.size() > 40) return {};
  if (const auto whole = shortest_beginning_with(word, known)) return *whole;
  std::string best;
  size_t fewest = 1 + word.size() / 3;  // more than that is another word
  for (const std::string& candidate : known) {
    const size_t distance = edits(word, candidate);
    if (distance >= fewest + (best.empty() ? 1 : 0)) continue;
    fewest = distance;
    best = candidate;
  }
  return best;
}

}  // namespace cachalot
