#include "engine/row_index.h"

#include <algorithm>

#include "base/check.h"

namespace cachalot {

RowIndex::RowIndex(int blocks) : entries_(static_cast<size_t>(blocks)) { order_.reserve(entries_.size()); }

static std::strong_ordering compare(const BlockKey& before_a, std::span<const RowName> a, const BlockKey& before_b,
                                    std::span<const RowName> b) {
  if (const auto order = before_a <=> before_b; order != 0) return order;
  return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end());
}

std::vector<int32_t>::const_iterator RowIndex::place_of(const BlockKey& before, std::span<const RowName> rows) const {
  return std::partition_point(order_.begin(), order_.end(), [&](int32_t block) {
    const Entry& entry = entries_[static_cast<size_t>(block)];
    return compare(entry.before, entry.rows(), before, rows) < 0;
  });
}

RowIndex::Nearest RowIndex::nearest(const BlockKey& before, std::span<const RowName> rows) const {
  Nearest best;
  const auto look_at = [&](int32_t block) {
    const Entry& entry = entries_[static_cast<size_t>(block)];
    if (entry.before != before) return;
    const auto own = entry.rows();
    const auto common = std::mismatch(own.begin(), own.end(), rows.begin(), rows.end()).first - own.begin();
    if (common > best.rows) best = {block, static_cast<int>(common)};
  };
  const auto place = place_of(before, rows);
  if (place != order_.end()) look_at(*place);
  if (place != order_.begin()) look_at(*std::prev(place));
  return best;
}

void RowIndex::insert(int32_t block, const BlockKey& before, std::span<const RowName> rows) {
  Entry& entry = entries_[static_cast<size_t>(block)];
  CHECK(entry.count == 0 && !rows.empty() && rows.size() <= entry.names.size());
  const auto place = place_of(before, rows);
  entry.before = before;
  std::copy(rows.begin(), rows.end(), entry.names.begin());
  entry.count = static_cast<int>(rows.size());
  order_.insert(place, block);  // there is room for all
}

void RowIndex::erase(int32_t block) {
  Entry& entry = entries_[static_cast<size_t>(block)];
  const auto place = place_of(entry.before, entry.rows());
  CHECK(entry.count > 0 && place != order_.end() && *place == block);
  order_.erase(place);
  entry.count = 0;
}

void RowIndex::check_invariants() const {
  size_t inside = 0;
  for (const Entry& entry : entries_) inside += entry.count > 0;
  CHECK(inside == order_.size());
  for (size_t i = 1; i < order_.size(); ++i) {
    const Entry &a = entries_[static_cast<size_t>(order_[i - 1])], &b = entries_[static_cast<size_t>(order_[i])];
    CHECK(compare(a.before, a.rows(), b.before, b.rows()) < 0, "blocks {} and {} are out of order", order_[i - 1],
          order_[i]);
  }
}

}  // namespace cachalot
