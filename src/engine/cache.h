// The owner of the cache: which blocks and which slots of recurrent states hold what, for whom. Bookkeeping only;
// what is to be copied is listed, and Ops copies it.
//
// Blocks belong to groups of layers that see the same window. A sequence holds a table of blocks per group. Its full
// blocks have names, by which others find them (engine/block_key.h), also when nobody holds them any more, until the
// room is needed. So what sequences have in common is computed once, whether they run at the same time or one after
// the other, and what was preempted is found again.
//
// Only the last block of a table is written. While it fills it is its sequence's own: that one alone writes into it,
// behind the rows that are certain (no drafts). Those have a name, too, as far as they are the prompt's, and all of
// them when the sequence ends or gives way. Another sequence that finds some of them, or of a full block's, *borrows*
// the block and copies it before it writes: what is certain never changes, so the owner needs nothing from it.
// Whoever is alone with a borrowed block goes on in it where none of its named rows would be lost, or where there is
// no room for a copy.
//
// A slot of recurrent states stands for one position, that of its sequence's last row, and for the beginning of the
// chunk of 64 that this row is in (ops/ops.h). As a *snapshot* it has the name of the block before that beginning. A
// sequence leaves its slot as a snapshot when it ends or gives way, and a copy of it where its prompt ends. Reuse
// needs blocks and snapshot, so with recurrent layers it is of whole blocks alone; whoever would write into a
// snapshot gets a copy first.
//
// With a module that drafts, its layer's rows depend on the token that follows. That of the last row that is found
// may be another text's, so that row is computed once more: or drafts would be worse, though answers the same.
#pragma once

#include <array>
#include <functional>

#include "engine/block_pool.h"
#include "ops/batch.h"

namespace cachalot {

struct CacheShape {
  std::vector<int> group_windows;    // per group, keys that its layers see; 0 = all
  std::vector<int> blocks_of_group;  // how many there are
  int state_slots = 0;               // 0: no layer is recurrent. As many at least as sequences run
  bool latent = false;               // rows have two forms (MLA), which their blocks' keys state
  bool drafts = false;               // a layer's rows depend on the token that follows, too
};

// The text of a sequence, as the cache names it. Borrowed.
struct CacheText {
  std::span<const BlockKey> keys;  // keys[b] is the name before block b, keys[0] the root; as far as blocks are full
  std::span<const int32_t> tokens;
  std::span<const PositionSpan> expanded;  // see BatchSequence
};

// What one sequence has of the cache.
struct CacheHold {
  std::vector<std::vector<int32_t>> tables;  // per group, block by block; -1 where a window has moved past
  int tokens = 0;                            // whose rows are certain
  enum class Tail {
    own,       // rows behind `tokens` may be written
    borrowed,  // the block that the next row belongs to is others', too
    copied     // it is own, but the step that copies what is certain has not been made yet
  };
  Tail tail = Tail::own;
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

  // The names of rows of block `block`, those below position `end`.
  struct RowNames {
    std::array<RowName, kBlockTokens> names;
    size_t count = 0;
    operator std::span<const RowName>() const { return std::span(names).first(count); }
  };
  RowNames names_of(const CacheText& text, int block, int end) const;
  // Rows that are found together: all, or none of them.
  int found_together() const { return states_.blocks() > 0 ? kBlockTokens : 1; }

  // Makes an empty hold one of as many leading rows as there are, `most` at most. Returns how many.
  int find(CacheHold& hold, const CacheText& text, int most);
  // Blocks that must be taken before a hold can be one for writing rows below `tokens`.
  int needed(const CacheHold& hold, int group, int tokens) const;
  // Makes `hold` one for writing so many rows, or does nothing and returns false where there is no room. Appends what
  // must be copied before. Does nothing when it throws.
  bool prepare(CacheHold& hold, int rows, std::vector<CacheCopy>& copies);
  // The rows of so many tokens are certain now. Names the blocks that they fill, and the rows behind those if wanted,
  // and gives back what windows have moved past.
  void commit(CacheHold& hold, const CacheText& text, int tokens, bool name_all_rows);
  // Keeps a copy of the state for others, where there is a slot for it.
  void snapshot(const CacheHold& hold, std::span<const BlockKey> keys,
                const std::function<void(int from, int to)>& copy);
  // A hold of the same certain rows once more.
  CacheHold share(const CacheHold& hold);
  // Names all rows that are certain, and gives all back.
  void release(CacheHold& hold, const CacheText& text);

  // CHECKs that counts are those of `holds`, which are all there are, and that nobody writes what others need.
  void check_invariants(std::span<const CacheHold* const> holds) const;

 private:
  int first_visible_block(int group, int position) const;
  int findable(std::span<const BlockKey> keys, int most) const;
  int findable_rows(const CacheText& text, int block, int most) const;
  bool last_is_computed_anew(int tokens) const;
  bool shares_tail(const CacheHold& hold, int group) const;
  bool own_tail(CacheHold& hold, int group, bool has_room, std::vector<CacheCopy>& copies);
  void own_state(CacheHold& hold, std::vector<CacheCopy>& copies);
  void name_rows(const CacheHold& hold, const CacheText& text);

  std::vector<int> windows_;
  bool latent_, drafts_;
  std::vector<BlockPool> pools_;
  BlockPool states_;
  CacheStatistics statistics_;
};

}  // namespace cachalot
