#include "engine/scheduler.h"

#include <algorithm>

#include "ops/batch.h"

namespace cachalot {

Scheduler::Scheduler(SchedulerOptions options, BlockPool pool, std::vector<int> group_windows)
    : options_(options), pool_(std::move(pool)), group_windows_(std::move(group_windows)) {
  CHECK(options.max_rows >= 1 && options.max_sequences >= 1);
  CHECK(static_cast<int>(group_windows_.size()) == pool_.groups());
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  sequence->block_tables.resize(group_windows_.size());
  sequences_.push_back(std::move(sequence));
}

bool Scheduler::reserve(Sequence& sequence, int tokens) {
  const auto blocks = static_cast<size_t>((tokens + kBlockTokens - 1) / kBlockTokens);
  for (int g = 0; g < pool_.groups(); ++g) {
    auto& table = sequence.block_tables[static_cast<size_t>(g)];
    while (table.size() < blocks) {
      const auto block = pool_.take(g);
      if (!block) return false;
      table.push_back(*block);
    }
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
  sequence.cached = 0;
  sequence.drafts.clear();
}

std::vector<Scheduler::Work> Scheduler::next() {
  std::vector<Work> works;
  int rows_left = options_.max_rows;
  // Two passes: whoever needs one row (decoding) goes before chunks of prompts.
  for (const bool decoding : {true, false}) {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      Sequence& s = *sequences_[i];
      if ((s.uncached() == 1) != decoding) continue;
      if (rows_left == 0 || static_cast<int>(works.size()) == options_.max_sequences) break;
      int rows = std::min(s.uncached(), rows_left);
      const int drafts = std::min(static_cast<int>(s.drafts.size()), rows_left - rows);
      if (rows == s.uncached() && drafts > 0 && reserve(s, s.cached + rows + drafts)) rows += drafts;
      bool reserved = reserve(s, s.cached + rows);
      // Make room at the expense of those that came later and are not in this step yet.
      for (size_t last = sequences_.size(); !reserved && --last > i;) {
        Sequence& victim = *sequences_[last];
        const auto planned =
            std::find_if(works.begin(), works.end(), [&](const Work& w) { return w.sequence == &victim; });
        if (planned != works.end()) {
          rows_left += planned->rows;
          works.erase(planned);
        }
        give_back(victim);
        reserved = reserve(s, s.cached + rows);
      }
      if (!reserved) {
        CHECK(i > 0, "the first sequence does not fit the cache");
        give_back(s);
        continue;
      }
      works.push_back({&s, rows});
      rows_left -= rows;
    }
  }
  std::sort(works.begin(), works.end(), [](const Work& a, const Work& b) { return a.sequence->id < b.sequence->id; });
  return works;
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
  sequences_.erase(at);
  give_back(*sequence);
  return sequence;
}

}  // namespace cachalot
