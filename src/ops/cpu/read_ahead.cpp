#include "ops/cpu/read_ahead.h"

#include <algorithm>

#include "ops/cpu/attention.h"

namespace cachalot {

ReadAhead::ReadAhead(const KvReader& reader, int first, int last, int tile_blocks, int64_t block_time)
    : reader_(reader), last_(last), tile_blocks_(tile_blocks), block_time_(block_time) {
  if (first > last) return;
  begin_tile(first);
  const StoredBlock stored = reader.stored(first);
  block_bytes_ = stored.with_keys.bytes + stored.with_values.bytes;
  // Keys come first and take less of the time than of the memory: so much is prefetched before it is due.
  due_ = tile_blocks * block_bytes_ * 3 / 4;
}

Prefetch ReadAhead::during(int64_t time) {
  if (block_bytes_ == 0) return {};
  due_ += block_bytes_ * time / block_time_;
  while (left_.bytes == 0 && block_ <= last_) next_piece();
  const Prefetch share{left_.at, std::clamp<int64_t>(divide_up(due_, 64) * 64, 0, left_.bytes)};
  left_ = {left_.at + share.bytes, left_.bytes - share.bytes}, due_ -= share.bytes;
  return share;
}

void ReadAhead::prefetch_for(int64_t time) {
  const Prefetch next = during(time);
  for (int64_t byte = 0; byte < next.bytes; byte += 64) __builtin_prefetch(next.at + byte, 0, 2);
}

void ReadAhead::begin_tile(int block) {
  tile_first_ = block_ = block;
  tile_last_ = std::min(last_, block - block % tile_blocks_ + tile_blocks_ - 1);
  left_ = reader_.stored(block_).with_keys;
}

void ReadAhead::next_piece() {
  if (++block_ <= tile_last_) {
    const StoredBlock stored = reader_.stored(block_);
    left_ = of_values_ ? stored.with_values : stored.with_keys;
  } else if (!of_values_) {
    of_values_ = true, block_ = tile_first_;
    left_ = reader_.stored(block_).with_values;
  } else {
    of_values_ = false;
    if (block_ <= last_) begin_tile(block_);
  }
}

}  // namespace cachalot
