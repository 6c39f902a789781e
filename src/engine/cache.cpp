#include "engine/cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ops/batch.h"

namespace cachalot {

// The block at whose end a slot that has `tokens` rows is a snapshot: the last row's chunk follows it.
static int snapshot_blocks(int tokens) { return std::max(0, tokens - 1) / kBlockTokens; }

Cache::Cache(const CacheShape& shape) : windows_(shape.group_windows), states_(shape.state_slots) {
  CHECK(shape.group_windows.size() == shape.blocks_of_group.size());
  pools_.reserve(shape.blocks_of_group.size());
  for (const int blocks : shape.blocks_of_group) pools_.emplace_back(blocks);
}

CacheStatistics Cache::statistics() const {
  CacheStatistics s = statistics_;
  for (const BlockPool& pool : pools_) s.evictions += pool.evictions();
  s.evictions += states_.evictions();
  return s;
}

// -- Reuse

int Cache::first_visible_block(int group, int position) const {
  return window(group) == 0 ? 0 : std::max(0, position - window(group) + 1) / kBlockTokens;
}

// So many leading blocks can stand for a computed prefix: of every group there are those that the next row sees, and
// with recurrent layers there is a snapshot.
int Cache::findable(Keys keys, int most) const {
  most = std::min(most, static_cast<int>(keys.size()) - 1);
  std::vector<int> run(pools_.size());  // of blocks that are there, up to this one
  int best = 0;
  for (int n = 1; n <= most; ++n) {
    const BlockKey& key = keys[static_cast<size_t>(n)];
    bool all = states_.blocks() == 0 || states_.find(key);
    for (int g = 0; g < groups(); ++g) {
      int& there = run[static_cast<size_t>(g)];
      there = pool(g).find(key) ? there + 1 : 0;
      if (there == 0 && window(g) == 0) return best;
      all = all && there >= std::max(1, n - first_visible_block(g, n * kBlockTokens));
    }
    if (all) best = n;
  }
  return best;
}

int Cache::find(CacheHold& hold, Keys keys, int most) {
  const int n = findable(keys, most);
  std::vector<std::vector<int32_t>> tables(pools_.size());
  for (auto& table : tables) table.resize(static_cast<size_t>(n), -1);
  for (int g = 0; g < groups(); ++g)
    for (int b = first_visible_block(g, n * kBlockTokens); b < n; ++b) {
      int32_t& block = tables[static_cast<size_t>(g)][static_cast<size_t>(b)];
      block = *pool(g).find(keys[static_cast<size_t>(b) + 1]);
      pools_[static_cast<size_t>(g)].hold(block);
    }
  hold.tables = std::move(tables);
  hold.state_tokens = 0;
  if (n > 0 && states_.blocks() > 0) {
    hold.state_slot = *states_.find(keys[static_cast<size_t>(n)]);
    states_.hold(hold.state_slot);
  }
  return n * kBlockTokens;
}

// -- Room to write

// Blocks that must be taken: new ones, and one for each that others hold, too.
int Cache::needed(const CacheHold& hold, int group, int first, int rows) const {
  const auto& table = hold.tables[static_cast<size_t>(group)];
  int needed = std::max(0, blocks_of(first + rows) - static_cast<int>(table.size()));
  for (auto b = static_cast<size_t>(first / kBlockTokens); b < table.size(); ++b)
    needed += pool(group).count(table[b]) > 1;
  return needed;
}

void Cache::own_blocks(CacheHold& hold, int group, int first, int rows, std::vector<CacheCopy>& copies) {
  BlockPool& pool = pools_[static_cast<size_t>(group)];
  auto& table = hold.tables[static_cast<size_t>(group)];
  for (auto b = static_cast<size_t>(first / kBlockTokens); b < table.size(); ++b) {
    if (pool.count(table[b]) == 1) continue;
    const int32_t own = *pool.take();
    copies.push_back({CacheCopy::Of::block, group, table[b], own});
    pool.release(std::exchange(table[b], own));
    ++statistics_.block_copies;
  }
  while (static_cast<int>(table.size()) < blocks_of(first + rows)) table.push_back(*pool.take());
}

// A slot for this sequence alone. There is one: each that runs holds at most one.
void Cache::own_state(CacheHold& hold, std::vector<CacheCopy>& copies) {
  hold.state_tokens = 0;
  const int32_t slot = hold.state_slot;
  if (slot >= 0 && states_.count(slot) == 1) {
    if (!states_.named(slot)) return;
    if (states_.available() == 0) return states_.forget_name(slot);
  }
  const auto own = states_.take();
  CHECK(own, "more sequences run than there are slots");
  hold.state_slot = *own;
  if (slot < 0) return copies.push_back({CacheCopy::Of::no_state, 0, -1, *own});
  copies.push_back({CacheCopy::Of::state, 0, slot, *own});
  states_.release(slot);
  ++statistics_.state_copies;
}

bool Cache::prepare(CacheHold& hold, int first, int rows, std::vector<CacheCopy>& copies) {
  size_t most_copies = copies.size() + 1;
  for (int g = 0; g < groups(); ++g) {
    const int blocks = needed(hold, g, first, rows);
    if (blocks > pool(g).available()) return false;
    most_copies += static_cast<size_t>(blocks);
    hold.tables[static_cast<size_t>(g)].reserve(static_cast<size_t>(blocks_of(first + rows)));
  }
  if (copies.capacity() < most_copies) copies.reserve(2 * most_copies);
  for (int g = 0; g < groups(); ++g) own_blocks(hold, g, first, rows, copies);
  if (states_.blocks() > 0) own_state(hold, copies);
  return true;
}

void Cache::commit(CacheHold& hold, Keys keys, int before, int tokens) {
  if (hold.state_slot >= 0) hold.state_tokens = tokens;
  for (int g = 0; g < groups(); ++g) {
    BlockPool& pool = pools_[static_cast<size_t>(g)];
    auto& table = hold.tables[static_cast<size_t>(g)];
    for (auto b = static_cast<size_t>(before / kBlockTokens); b < static_cast<size_t>(tokens / kBlockTokens); ++b)
      pool.name(table[b], keys[b + 1]);
    // The next query stands at position `tokens`.
    for (int b = first_visible_block(g, tokens) - 1; b >= 0 && table[static_cast<size_t>(b)] >= 0; --b)
      pool.release(std::exchange(table[static_cast<size_t>(b)], -1));
  }
}

// -- Snapshots, forks, ends

void Cache::snapshot(const CacheHold& hold, Keys keys, const std::function<void(int from, int to)>& copy) {
  if (hold.state_slot < 0 || hold.state_tokens == 0) return;
  const auto n = static_cast<size_t>(snapshot_blocks(hold.state_tokens));
  if (n == 0 || states_.find(keys[n])) return;
  const auto slot = states_.take();
  if (!slot) return;
  try {
    copy(hold.state_slot, *slot);
  } catch (...) {
    states_.release(*slot);
    throw;
  }
  states_.name(*slot, keys[n]);
  states_.release(*slot);
  ++statistics_.snapshots;
}

CacheHold Cache::share(const CacheHold& hold) {
  CacheHold other = hold;
  for (int g = 0; g < groups(); ++g)
    for (const int32_t block : other.tables[static_cast<size_t>(g)])
      if (block >= 0) pools_[static_cast<size_t>(g)].hold(block);
  if (other.state_slot >= 0) states_.hold(other.state_slot);
  return other;
}

void Cache::release(CacheHold& hold, Keys keys) {
  for (size_t g = 0; g < hold.tables.size(); ++g) {
    // The last ones first, so that what more texts begin with is kept longer.
    auto& table = hold.tables[g];
    for (auto block = table.rbegin(); block != table.rend(); ++block)
      if (*block >= 0) pools_[g].release(*block);
    table.clear();
  }
  if (const int slot = std::exchange(hold.state_slot, -1); slot >= 0) {
    const auto n = static_cast<size_t>(snapshot_blocks(std::exchange(hold.state_tokens, 0)));
    if (n > 0 && states_.count(slot) == 1 && !states_.named(slot)) {
      states_.name(slot, keys[n]);
      statistics_.snapshots += states_.named(slot);
    }
    states_.release(slot);
  }
}

void Cache::check_invariants(std::span<const CacheHold* const> holds) const {
  std::vector<int> slots(static_cast<size_t>(states_.blocks()));
  for (const CacheHold* hold : holds)
    if (hold->state_slot >= 0) ++slots.at(static_cast<size_t>(hold->state_slot));
  states_.check_invariants(slots);
  for (int g = 0; g < groups(); ++g) {
    std::vector<int> counts(static_cast<size_t>(pool(g).blocks()));
    for (const CacheHold* hold : holds) {
      if (hold->tables.empty()) continue;
      for (const int32_t block : hold->tables[static_cast<size_t>(g)])
        if (block >= 0) ++counts.at(static_cast<size_t>(block));
    }
    pool(g).check_invariants(counts);
  }
}

}  // namespace cachalot
