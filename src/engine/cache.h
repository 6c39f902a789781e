// The owner of the cache: which blocks and which slots of recurrent states hold what, for whom. Bookkeeping only;
// what is to be copied is listed, and Ops copies it.
//
// Blocks belong to groups of layers that see the same window. A sequence holds a table of blocks per group; a block
// whose rows are certain (no drafts) has a name, by which others find it (engine/block_key.h), also when nobody holds
// it any more, until the room is needed. So what sequences have in common is computed once, whether they run at the
// same time or one after the other, and what was preempted is found again. Whoever would write into a block that
// others hold, too, gets a copy first; blocks with names are full and never written again.
//
// A slot of recurrent states stands for one position, that of its sequence's last row, and for the beginning of the
// chunk of 64 that this row is in (ops/ops.h). As a *snapshot* it has the name of the block before that beginning. A
// sequence leaves its slot as a snapshot when it ends or gives way, and a copy of it where its prompt ends. Reuse
// needs blocks and snapshot; whoever would write into a snapshot gets a copy first.
//
// With a module that drafts, its layer's rows depend on the token that follows, so the last row of a block that was
// found may be of another text's. That changes drafts, never answers.
#pragma once

#include <functional>

#include "engine/block_pool.h"

namespace cachalot {

struct CacheShape {
  std::vector<int> group_windows;    // per group, keys that its layers see; 0 = all
  std::vector<int> blocks_of_group;  // how many there are
  int state_slots = 0;               // 0: no layer is recurrent. As many at least as sequences run
  bool latent = false;               // rows have two forms (MLA), which their blocks' keys state
};

// What one sequence has of the cache.
struct CacheHold {
  std::vector<std::vector<int32_t>> tables;  // per group, block by block; -1 where a window has moved past
  int state_slot = -1;
  int state_tokens = 0;  // rows that have gone into the slot; 0 while a step writes it
};

// Work for Ops, to be done in order before the step's forward pass.
struct CacheCopy {
  enum class Of { block, state, no_state /* the slot is cleared */ };
  Of of;
  int group;  // of a block
  int32_t from, to;
};

struct CacheStatistics {
  int64_t evictions = 0;                       // of blocks and snapshots that might have been found
  int64_t block_copies = 0, state_copies = 0;  // before writing
  int64_t snapshots = 0;
};

class Cache {
 public:
  explicit Cache(const CacheShape& shape);

  int groups() const { return static_cast<int>(pools_.size()); }
  int window(int group) const { return windows_[static_cast<size_t>(group)]; }
  const BlockPool& pool(int group) const { return pools_[static_cast<size_t>(group)]; }
  const BlockPool& states() const { return states_; }
  CacheStatistics statistics() const;

  // keys[b] is the key before block b of a sequence, keys[0] its root.
  using Keys = std::span<const BlockKey>;

  // Makes an empty hold one of as many leading blocks as there are, `most` at most. Returns the tokens in them.
  int find(CacheHold& hold, Keys keys, int most);
  // Makes `hold` one for writing rows [first, first + rows), or does nothing and returns false where there is no
  // room. Appends what must be copied before. Does nothing when it throws.
  bool prepare(CacheHold& hold, int first, int rows, std::vector<CacheCopy>& copies);
  // Rows [before, tokens) are certain now, `keys` those of the blocks that they fill. Names those blocks and gives
  // back what windows have moved past.
  void commit(CacheHold& hold, Keys keys, int before, int tokens);
  // Keeps a copy of the state for others, where there is a slot for it.
  void snapshot(const CacheHold& hold, Keys keys, const std::function<void(int from, int to)>& copy);
  // The same hold once more.
  CacheHold share(const CacheHold& hold);
  // Gives all back.
  void release(CacheHold& hold, Keys keys);

  // CHECKs that counts are those of `holds`, which are all there are.
  void check_invariants(std::span<const CacheHold* const> holds) const;

 private:
  int first_visible_block(int group, int position) const;
  int findable(Keys keys, int most) const;
  int needed(const CacheHold& hold, int group, int first, int rows) const;
  void own_blocks(CacheHold& hold, int group, int first, int rows, std::vector<CacheCopy>& copies);
  void own_state(CacheHold& hold, std::vector<CacheCopy>& copies);

  std::vector<int> windows_;
  std::vector<BlockPool> pools_;
  BlockPool states_;
  CacheStatistics statistics_;
};

}  // namespace cachalot
