#include "engine/cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace cachalot {

// The block at whose end a slot that has `tokens` rows is a snapshot: the last row's chunk follows it.
static int snapshot_blocks(int tokens) { return std::max(0, tokens - 1) / kBlockTokens; }

Cache::Cache(const CacheShape& shape)
    : windows_(shape.group_windows), latent_(shape.latent), drafts_(shape.drafts), states_(shape.state_slots) {
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

Cache::RowNames Cache::names_of(const CacheText& text, int block, int end) const {
  const int first = block * kBlockTokens;
  RowNames rows;
  rows.count = static_cast<size_t>(std::clamp(end - first, 0, kBlockTokens));
  for (size_t i = 0; i < rows.count; ++i)
    rows.names[i] = 2 * static_cast<RowName>(text.tokens[static_cast<size_t>(first) + i]);
  if (!latent_) return rows;
  const BatchSequence forms{.rows = static_cast<int>(rows.count), .first_position = first, .expanded = text.expanded};
  for_each_form(forms, [&](int position, int count, bool expanded) {
    for (int p = position; p < position + count; ++p) rows.names[static_cast<size_t>(p - first)] += expanded;
  });
  return rows;
}

int Cache::first_visible_block(int group, int position) const {
  return window(group) == 0 ? 0 : std::max(0, position - window(group) + 1) / kBlockTokens;
}

// So many leading blocks can stand for a computed prefix: of every group there are those that the next row sees, and
// with recurrent layers there is a snapshot.
int Cache::findable(std::span<const BlockKey> keys, int most) const {
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

// So many rows of the block after those are there in every group. The next row sees no block besides that it did not
// see before.
int Cache::findable_rows(const CacheText& text, int block, int most) const {
  if (found_together() > 1) return 0;
  const RowNames rows = names_of(text, block, most);
  auto common = static_cast<int>(rows.count);
  for (int g = 0; g < groups(); ++g)
    common = std::min(common, pool(g).nearest(text.keys[static_cast<size_t>(block)], rows).rows);
  return common;
}

// Of so many rows that are there. It has to see no block that is not.
bool Cache::last_is_computed_anew(int tokens) const {
  if (!drafts_ || tokens == 0 || found_together() > 1) return false;
  for (int g = 0; g < groups(); ++g)
    if (first_visible_block(g, tokens - 1) < first_visible_block(g, tokens)) return false;
  return true;
}

int Cache::find(CacheHold& hold, const CacheText& text, int most) {
  int n = findable(text.keys, most / kBlockTokens), more = findable_rows(text, n, most);
  const int tokens = n * kBlockTokens + more - last_is_computed_anew(n * kBlockTokens + more);
  n = tokens / kBlockTokens;
  more = tokens % kBlockTokens;
  std::vector<std::vector<int32_t>> tables(pools_.size());
  for (auto& table : tables) table.resize(static_cast<size_t>(blocks_of(tokens)), -1);
  const RowNames rows = names_of(text, n, tokens);
  for (int g = 0; g < groups(); ++g) {
    auto& table = tables[static_cast<size_t>(g)];
    for (int b = first_visible_block(g, tokens); b < n; ++b)
      table[static_cast<size_t>(b)] = *pool(g).find(text.keys[static_cast<size_t>(b) + 1]);
    if (more > 0) table.back() = pool(g).nearest(text.keys[static_cast<size_t>(n)], rows).block;
    for (const int32_t block : table)
      if (block >= 0) pools_[static_cast<size_t>(g)].hold(block);
  }
  hold.tables = std::move(tables);
  hold.tokens = tokens;
  hold.tail = more > 0 ? CacheHold::Tail::borrowed : CacheHold::Tail::own;
  hold.state_tokens = 0;
  if (n > 0 && states_.blocks() > 0) {
    hold.state_slot = *states_.find(text.keys[static_cast<size_t>(n)]);
    states_.hold(hold.state_slot);
  }
  return tokens;
}

// -- Room to write

// Whether others need the block that the next row belongs to.
bool Cache::shares_tail(const CacheHold& hold, int group) const {
  if (hold.tail != CacheHold::Tail::borrowed) return false;
  return pool(group).count(hold.tables[static_cast<size_t>(group)].back()) > 1;
}

int Cache::needed(const CacheHold& hold, int group, int tokens) const {
  const auto there = static_cast<int>(hold.tables[static_cast<size_t>(group)].size());
  return std::max(0, blocks_of(tokens) - there) + shares_tail(hold, group);
}

// Makes a borrowed block one to write into. Returns whether it is a copy.
bool Cache::own_tail(CacheHold& hold, int group, bool has_room, std::vector<CacheCopy>& copies) {
  BlockPool& pool = pools_[static_cast<size_t>(group)];
  int32_t& block = hold.tables[static_cast<size_t>(group)].back();
  if (!shares_tail(hold, group)) {
    if (pool.rows(block) <= hold.tokens % kBlockTokens) return false;
    if (!has_room) {
      pool.forget_name(block);
      return false;
    }
  }
  const int32_t own = *pool.take();
  copies.push_back({CacheCopy::Of::block, group, block, own});
  pool.release(std::exchange(block, own));
  ++statistics_.block_copies;
  return true;
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

bool Cache::prepare(CacheHold& hold, int rows, std::vector<CacheCopy>& copies) {
  const int blocks = blocks_of(hold.tokens + rows);
  for (int g = 0; g < groups(); ++g) {
    if (needed(hold, g, hold.tokens + rows) > pool(g).available()) return false;
    hold.tables[static_cast<size_t>(g)].reserve(static_cast<size_t>(blocks));
  }
  const size_t most_copies = copies.size() + pools_.size() + 1;
  if (copies.capacity() < most_copies) copies.reserve(2 * most_copies);
  if (hold.tail == CacheHold::Tail::borrowed) {
    bool copied = false;
    for (int g = 0; g < groups(); ++g)
      copied |= own_tail(hold, g, needed(hold, g, hold.tokens + rows) < pool(g).available(), copies);
    hold.tail = copied ? CacheHold::Tail::copied : CacheHold::Tail::own;
  }
  for (int g = 0; g < groups(); ++g) {
    auto& table = hold.tables[static_cast<size_t>(g)];
    while (static_cast<int>(table.size()) < blocks) table.push_back(*pools_[static_cast<size_t>(g)].take());
  }
  if (states_.blocks() > 0) own_state(hold, copies);
  return true;
}

void Cache::name_rows(const CacheHold& hold, const CacheText& text) {
  const int block = hold.tokens / kBlockTokens;
  if (found_together() > 1 || hold.tail != CacheHold::Tail::own || hold.tokens % kBlockTokens == 0) return;
  const auto at = static_cast<size_t>(block);
  const RowNames rows = names_of(text, block, hold.tokens);
  for (int g = 0; g < groups(); ++g)
    pools_[static_cast<size_t>(g)].name_rows(hold.tables[static_cast<size_t>(g)][at], text.keys[at], rows);
}

void Cache::commit(CacheHold& hold, const CacheText& text, int tokens, bool name_all_rows) {
  if (hold.state_slot >= 0) hold.state_tokens = tokens;
  for (int b = hold.tokens / kBlockTokens; b < tokens / kBlockTokens; ++b) {
    const auto at = static_cast<size_t>(b);
    const RowNames rows = names_of(text, b, tokens);
    for (int g = 0; g < groups(); ++g) {
      BlockPool& pool = pools_[static_cast<size_t>(g)];
      pool.name(hold.tables[static_cast<size_t>(g)][at], text.keys[at + 1]);
      pool.name_rows(hold.tables[static_cast<size_t>(g)][at], text.keys[at], rows);
    }
  }
  hold.tokens = tokens;
  hold.tail = CacheHold::Tail::own;
  if (name_all_rows) name_rows(hold, text);
  for (int g = 0; g < groups(); ++g) {
    auto& table = hold.tables[static_cast<size_t>(g)];
    // The next query stands at position `tokens`.
    for (int b = first_visible_block(g, tokens) - 1; b >= 0 && table[static_cast<size_t>(b)] >= 0; --b)
      pools_[static_cast<size_t>(g)].release(std::exchange(table[static_cast<size_t>(b)], -1));
  }
}

// -- Snapshots, forks, ends

void Cache::snapshot(const CacheHold& hold, std::span<const BlockKey> keys,
                     const std::function<void(int from, int to)>& copy) {
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
  CHECK(hold.tail == CacheHold::Tail::own);
  CacheHold other = hold;
  if (hold.tokens % kBlockTokens > 0) other.tail = CacheHold::Tail::borrowed;
  for (int g = 0; g < groups(); ++g) {
    auto& table = other.tables[static_cast<size_t>(g)];
    table.resize(static_cast<size_t>(blocks_of(hold.tokens)));
    for (const int32_t block : table)
      if (block >= 0) pools_[static_cast<size_t>(g)].hold(block);
  }
  if (other.state_slot >= 0) states_.hold(other.state_slot);
  return other;
}

void Cache::release(CacheHold& hold, const CacheText& text) {
  name_rows(hold, text);
  hold.tokens = 0;
  hold.tail = CacheHold::Tail::own;
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
      states_.name(slot, text.keys[n]);
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
    std::vector<int> counts(static_cast<size_t>(pool(g).blocks())), writers(counts.size());
    for (const CacheHold* hold : holds) {
      if (hold->tables.empty()) continue;
      const auto& table = hold->tables[static_cast<size_t>(g)];
      for (const int32_t block : table)
        if (block >= 0) ++counts.at(static_cast<size_t>(block));
      if (hold->tail == CacheHold::Tail::borrowed) continue;
      for (auto b = static_cast<size_t>(hold->tokens / kBlockTokens); b < table.size(); ++b) {
        CHECK(++writers.at(static_cast<size_t>(table[b])) == 1, "two write into block {}", table[b]);
        CHECK(pool(g).rows(table[b]) <= std::max(0, hold->tokens - static_cast<int>(b) * kBlockTokens),
              "named rows of block {} will be written", table[b]);
      }
    }
    pool(g).check_invariants(counts);
  }
}

}  // namespace cachalot
