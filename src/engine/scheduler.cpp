#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "ops/batch.h"

namespace cachalot {

static int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

static int64_t blocks_of(int64_t tokens) { return divide_up(tokens, kBlockTokens); }

// What lies behind a window is given back, so between steps a sequence holds the window and the ragged ends of two
// blocks; during a step the step's rows are added, of whichever sequences.
static int64_t blocks_of_window(int window) { return blocks_of(window) + 2; }

std::vector<int> blocks_for(std::span<const int> group_windows, int64_t tokens, const SchedulerOptions& o) {
  std::vector<int> blocks;
  for (const int window : group_windows) {
    const int64_t windowed = o.max_sequences * blocks_of_window(window) + blocks_of(o.max_rows);
    blocks.push_back(static_cast<int>(window == 0 ? blocks_of(tokens) : std::min(blocks_of(tokens), windowed)));
  }
  return blocks;
}

Scheduler::Scheduler(SchedulerOptions options, BlockPool pool, std::vector<int> group_windows)
    : options_(options), pool_(std::move(pool)), group_windows_(std::move(group_windows)) {
  CHECK(options.max_rows >= 1 && options.max_sequences >= 1);
  CHECK(static_cast<int>(group_windows_.size()) == pool_.groups());
  for (int slot = options.max_sequences; slot > 0; --slot) free_slots_.push_back(slot - 1);
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  sequence->block_tables.resize(group_windows_.size());
  sequences_.push_back(std::move(sequence));
}

bool Scheduler::has_room_for(const Sequence& next) const {
  for (int g = 0; g < pool_.groups(); ++g) {
    const int window = group_windows_[static_cast<size_t>(g)];
    int64_t whole = 0, windowed = blocks_of(options_.max_rows);
    const auto count = [&](const Sequence& s) {
      const int64_t blocks = blocks_of(std::min(static_cast<int>(s.tokens.size()) + kBlockTokens, s.token_limit));
      whole += blocks;
      windowed += std::min(blocks, blocks_of_window(window));
    };
    for (size_t i = 0; i < running_; ++i) count(*sequences_[i]);
    count(next);
    if ((window == 0 ? whole : std::min(whole, windowed)) > pool_.blocks(g)) return false;
  }
  return true;
}

bool Scheduler::reserve(Sequence& sequence, int tokens) {
  const auto blocks = static_cast<size_t>(blocks_of(tokens));
  for (int g = 0; g < pool_.groups(); ++g) {
    auto& table = sequence.block_tables[static_cast<size_t>(g)];
    if (blocks > table.size() + static_cast<size_t>(pool_.free_blocks(g))) return false;
    table.reserve(blocks);
  }
  for (int g = 0; g < pool_.groups(); ++g) {
    auto& table = sequence.block_tables[static_cast<size_t>(g)];
    while (table.size() < blocks) table.push_back(*pool_.take(g));
  }
  return true;
}

bool Scheduler::reserve_from_later(size_t index, int tokens, Step& step) {
  while (!reserve(*sequences_[index], tokens)) {
    if (running_ == index + 1) return false;
    Sequence& last = *sequences_[--running_];
    const auto planned =
        std::find_if(step.works.begin(), step.works.end(), [&](const Work& work) { return work.sequence == &last; });
    if (planned != step.works.end()) {
      step.rows_left += planned->rows;
      step.works.erase(planned);
    }
    give_back(last);
  }
  return true;
}

void Scheduler::give_back(Sequence& sequence) {
  for (int g = 0; g < pool_.groups(); ++g) {
    auto& table = sequence.block_tables[static_cast<size_t>(g)];
    for (const int32_t block : table)
      if (block >= 0) pool_.give_back(g, block);
    table.clear();
  }
  if (sequence.state_slot >= 0) free_slots_.push_back(std::exchange(sequence.state_slot, -1));
  sequence.cached = 0;
  sequence.drafts.clear();
}

std::vector<Scheduler::Work> Scheduler::next() {
  // No more than can all have a row in one step.
  const auto most =
      std::min(sequences_.size(), static_cast<size_t>(std::min(options_.max_sequences, options_.max_rows)));
  while (running_ < most && (running_ == 0 || has_room_for(*sequences_[running_]))) {
    sequences_[running_++]->state_slot = free_slots_.back();
    free_slots_.pop_back();
  }

  Step step{.works = {}, .rows_left = options_.max_rows};
  // Two passes: whoever needs one row (decoding) goes before chunks of prompts.
  for (const bool decoding : {true, false}) {
    for (size_t i = 0; i < running_ && step.rows_left > 0; ++i) {
      Sequence& s = *sequences_[i];
      if ((s.uncached() == 1) != decoding) continue;
      int rows = std::min(s.uncached(), step.rows_left);
      if (!reserve_from_later(i, s.cached + rows, step)) {
        CHECK(i > 0, "the first sequence does not fit the cache");
        continue;
      }
      const auto others = static_cast<int>(running_ - step.works.size()) - 1;  // each is to have a row
      const int drafts = std::min(static_cast<int>(s.drafts.size()), step.rows_left - rows - others);
      if (rows == s.uncached() && drafts > 0 && reserve(s, s.cached + rows + drafts)) rows += drafts;
      step.works.push_back({&s, rows});
      step.rows_left -= rows;
    }
  }
  CHECK(!step.works.empty() || idle());
  std::sort(step.works.begin(), step.works.end(),
            [](const Work& a, const Work& b) { return a.sequence->id < b.sequence->id; });
  return std::move(step.works);
}

void Scheduler::commit(const Work& work, int kept) {
  CHECK(kept >= 0 && kept <= work.rows);
  Sequence& s = *work.sequence;
  s.cached += kept;
  s.drafts.clear();
  for (int g = 0; g < pool_.groups(); ++g) {
    const int window = group_windows_[static_cast<size_t>(g)];
    if (window == 0) continue;
    // The next query stands at position `cached` and sees from cached - window + 1 on.
    auto& table = s.block_tables[static_cast<size_t>(g)];
    for (int b = std::max(0, s.cached - window + 1) / kBlockTokens - 1; b >= 0 && table[static_cast<size_t>(b)] >= 0;
         --b) {
      pool_.give_back(g, table[static_cast<size_t>(b)]);
      table[static_cast<size_t>(b)] = -1;
    }
  }
}

std::unique_ptr<Sequence> Scheduler::remove(RequestId id) {
  const auto at = std::find_if(sequences_.begin(), sequences_.end(), [&](const auto& s) { return s->id == id; });
  if (at == sequences_.end()) return nullptr;
  auto sequence = std::move(*at);
  if (at - sequences_.begin() < static_cast<ptrdiff_t>(running_)) --running_;
  sequences_.erase(at);
  give_back(*sequence);
  return sequence;
}

}  // namespace cachalot
