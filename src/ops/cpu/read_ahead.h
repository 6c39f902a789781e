// What to prefetch of the cache, and when: what a task will read from a block on, shared out among the phases of the
// work by the time that they take. Memory that is prefetched faster than it comes keeps the loads waiting, and it is
// idle in phases that prefetch nothing.
#pragma once

#include <cstdint>

#include "kernels/attention.h"

namespace cachalot {

class KvReader;

// Where a block is stored: what is read when its scores are computed, and what when its values are added.
struct StoredBlock {
  Prefetch with_keys, with_values;
};

// The order is that of reading: the keys of a KV tile, then its values.
class ReadAhead {
 public:
  // Of the blocks [first, last]. `block_time` is what a block takes, in the units of during().
  ReadAhead(const KvReader& reader, int first, int last, int tile_blocks, int64_t block_time);

  // What is to be prefetched during the next `time`, in whole lines; of what lies apart the rest waits.
  Prefetch during(int64_t time);
  // Prefetches it in one go, before work that does not do so itself.
  void prefetch_for(int64_t time);

 private:
  void begin_tile(int block);
  void next_piece();

  const KvReader& reader_;
  int last_, tile_blocks_, tile_first_ = 0, tile_last_ = 0, block_ = 0;
  bool of_values_ = false;
  Prefetch left_;
  int64_t block_time_, block_bytes_ = 0, due_ = 0;
};

}  // namespace cachalot
