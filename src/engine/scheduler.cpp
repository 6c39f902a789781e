#include "engine/scheduler.h"

#include <numeric>

#include "base/check.h"
#include "ops/batch.h"

namespace cachalot {

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

Scheduler::Scheduler(const SchedulerOptions& options, const CacheShape& shape)
    : options_(options), cache_(shape), budget_(options.max_sequences > 1 ? options.step_seconds : 0) {
  CHECK(options.max_rows >= 1 && options.max_sequences >= 1);
  CHECK(shape.state_slots == 0 || shape.state_slots >= options.max_sequences);
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  const size_t more = 1 + sequence->siblings.size();
  if (begun_.capacity() < sequences_ + more)
    begun_.reserve(2 * (sequences_ + more));  // so that beginning cannot fail
  queue_.add(std::move(sequence));
  sequences_ += more;
}

// -- Who runs

// No more than can all have a row in one step.
size_t Scheduler::most_running() const {
  return static_cast<size_t>(std::min(options_.max_sequences, options_.max_rows));
}

// Whether everyone who runs and the next one, which holds already what it has found, can go on for a while.
bool Scheduler::has_room_for(const Sequence& next) const {
  for (int g = 0; g < cache_.groups(); ++g) {
    const int window = cache_.window(g);
    int64_t whole = cache_.pool(g).in_use(), windowed = blocks_of(options_.max_rows);
    const auto count = [&](const Sequence& s) {
      const int tokens = std::min(static_cast<int>(s.tokens.size()) + kBlockTokens, s.token_limit);
      whole += cache_.needed(s.hold, g, tokens);
      windowed += std::min<int64_t>(blocks_of(tokens), blocks_of_window(window));
    };
    for (size_t i = 0; i < running_; ++i) count(*begun_[i]);
    count(next);
    if ((window == 0 ? whole : std::min(whole, windowed)) > cache_.pool(g).blocks()) return false;
  }
  return true;
}

static CacheText text_of(const Sequence& s) { return {s.keys, s.tokens, s.expanded}; }

// Keys of the blocks that the first `tokens` tokens fill. Allocates nothing where there is room.
void Scheduler::make_keys(Sequence& s, int tokens) {
  for (auto b = static_cast<int>(s.keys.size()) - 1; (b + 1) * kBlockTokens <= tokens; ++b)
    s.keys.push_back(key_maker_.next(s.keys.back(), cache_.names_of(text_of(s), b, tokens)));
}

// At least one row is left to compute: the last one, whose logits choose; and all whose logits or hidden states are
// asked for.
void Scheduler::begin(Sequence& s) {
  const auto tokens = static_cast<int>(s.tokens.size());
  make_keys(s, tokens);
  int most = std::min(tokens - 1, s.request.computed_from.value_or(tokens));
  if (s.tells_prompt()) most = std::min(most, std::max(0, s.told - 1));
  if (s.pool && s.pool->wanted().begin < s.pool->wanted().end) most = std::min(most, s.pool->wanted().begin);
  s.cached = cache_.find(s.hold, text_of(s), options_.reuse ? most : 0);
}

void Scheduler::admit() {
  while (running_ < most_running()) {
    const bool had_begun = running_ < begun_.size();
    Sequence* next = had_begun ? begun_[running_].get() : queue_.next();
    if (!next) return;
    begin(*next);
    if (running_ > 0 && !has_room_for(*next)) return release(*next);
    if (!had_begun) {
      begun_.push_back(queue_.take(*next));
      next->cached_tokens = next->cached;
      ++statistics_.begun;
    }
    ++running_;
    statistics_.found += next->cached > 0;
    statistics_.found_tokens += next->cached;
    statistics_.found_inside += next->cached % kBlockTokens > 0;
    statistics_.found_inside_tokens += next->cached % kBlockTokens;
  }
}

void Scheduler::release(Sequence& s) {
  cache_.release(s.hold, text_of(s));
  s.cached = 0;
  s.drafts.clear();
}

// -- The next step

// Room for so many rows of one that runs; the first one has it at the expense of those that began last.
bool Scheduler::plan_rows(size_t index, int rows, Plan& plan) {
  Sequence& s = *begun_[index];
  s.keys.reserve(static_cast<size_t>(blocks_of(s.cached + rows)) + 1);
  while (!cache_.prepare(s.hold, rows, plan.copies)) {
    if (index > 0) return false;
    CHECK(running_ > 1, "the first sequence does not fit the cache");
    release(*begun_[--running_]);
    ++statistics_.preempted;
    plan.rows_left += plan.rows.back();
    plan.rows.pop_back();
  }
  plan.rows_left -= rows - plan.rows[index];
  plan.rows[index] = rows;
  return true;
}

void Scheduler::plan_decoding(Plan& plan) {
  auto without_row = static_cast<int>(running_);
  for (size_t i = 0; i < running_; ++i) {
    Sequence& s = *begun_[i];
    if (s.uncached() != 1) continue;
    if (!plan_rows(i, 1, plan)) {
      ++statistics_.paused;
      continue;
    }
    --without_row;  // each of the others is to have one
    const int drafts = std::min(static_cast<int>(s.drafts.size()), plan.rows_left - without_row);
    if (drafts <= 0 || !cache_.prepare(s.hold, 1 + drafts, plan.copies)) continue;
    plan.rows[i] += drafts;
    plan.rows_left -= drafts;
  }
}

// `rows` in equal shares, but nobody gets more than it wants, and what it leaves goes to the others; what cannot be
// divided, to the first ones.
static std::vector<int> share_out(int rows, std::span<const int> wants) {
  std::vector<int> shares(wants.size());
  rows = std::min(rows, std::accumulate(wants.begin(), wants.end(), 0));
  while (rows > 0) {
    int open = 0;
    for (size_t i = 0; i < wants.size(); ++i) open += shares[i] < wants[i];
    const int each = std::max(1, rows / open);
    for (size_t i = 0; i < wants.size(); ++i) {
      const int more = std::min({each, wants[i] - shares[i], rows});
      shares[i] += more;
      rows -= more;
    }
  }
  return shares;
}

void Scheduler::plan_prompts(Plan& plan) {
  struct Caller {
    const CallerAccount* account;
    int wants = 0;
    std::vector<size_t> prompts;
    std::vector<int> wants_of_prompt;
  };
  std::vector<Caller> callers;
  for (size_t i = 0; i < running_; ++i) {
    if (begun_[i]->uncached() == 1) continue;
    const auto* account = begun_[i]->account;
    auto at = std::find_if(callers.begin(), callers.end(), [&](const Caller& c) { return c.account == account; });
    if (at == callers.end()) at = callers.insert(at, {.account = account, .prompts = {}, .wants_of_prompt = {}});
    const int wants = std::min(begun_[i]->uncached(), plan.rows_left);
    at->wants += wants;
    at->prompts.push_back(i);
    at->wants_of_prompt.push_back(wants);
  }
  std::vector<int> wants, rows(running_);
  for (const Caller& c : callers) wants.push_back(c.wants);
  const std::vector<int> of_caller = share_out(plan.rows_left, wants);
  for (size_t c = 0; c < callers.size(); ++c) {
    const std::vector<int> shares = share_out(of_caller[c], callers[c].wants_of_prompt);
    for (size_t i = 0; i < shares.size(); ++i) rows[callers[c].prompts[i]] = shares[i];
  }
  for (size_t i = 0; i < running_; ++i)  // fewer may run in the end than in the beginning
    if (rows[i] > 0 && !plan_rows(i, rows[i], plan)) ++statistics_.paused;
}

Scheduler::Step Scheduler::next() {
  admit();
  const int least = static_cast<int>(running_);
  Plan plan{.rows = std::vector<int>(running_),
            .rows_left = std::max(least, budget_.rows(options_.max_rows)),
            .copies = {}};
  Step step;
  step.works.reserve(running_);
  try {
    plan_decoding(plan);
    plan_prompts(plan);
  } catch (...) {
    abandon();
    throw;
  }
  for (size_t i = 0; i < running_; ++i)
    if (plan.rows[i] > 0) step.works.push_back({begun_[i].get(), plan.rows[i]});
  step.rows = std::accumulate(plan.rows.begin(), plan.rows.end(), 0);
  step.copies = std::move(plan.copies);
  CHECK(!step.works.empty() || idle());
  return step;
}

void Scheduler::abandon() {
  while (running_ > 0) release(*begun_[--running_]);
}

void Scheduler::commit(const Work& work, int kept) {
  Sequence& s = *work.sequence;
  CHECK(kept >= 0 && kept <= work.rows && s.cached + kept <= std::ssize(s.tokens));
  const int before = s.cached;
  s.cached += kept;
  s.drafts.clear();
  make_keys(s, s.cached);
  cache_.commit(s.hold, text_of(s), s.cached, s.cached <= s.prompt_tokens);
  queue_.count(s, work.rows);
  statistics_.rows += kept;
  statistics_.rows_again += std::max(0, std::min(s.computed, s.cached) - before);
  s.computed = std::max(s.computed, s.cached);
}

// -- Forks and ends

// It runs at once where it may, and else when its turn comes.
Sequence& Scheduler::fork(Sequence& from) {
  Sequence& s = *from.siblings.front();
  s.keys = from.keys;
  s.hold = cache_.share(from.hold);
  s.cached = s.computed = from.cached;
  s.cached_tokens = from.cached_tokens;
  s.begun = from.begun;
  begun_.push_back(std::move(from.siblings.front()));
  from.siblings.pop_front();
  ++statistics_.begun;
  ++statistics_.forked;
  if (running_ + 1 == begun_.size() && running_ < most_running() && has_room_for(s))
    ++running_;
  else
    release(s);
  return s;
}

std::unique_ptr<Sequence> Scheduler::take_out(RequestId id, std::optional<int> answer) {
  const auto is_it = [&](const auto& s) { return s->id == id && (!answer || s->answer == *answer); };
  const auto take_from = [&](auto& list) {
    std::unique_ptr<Sequence> taken;
    const auto at = std::find_if(list.begin(), list.end(), is_it);
    if (at == list.end()) return taken;
    taken = std::move(*at);
    list.erase(at);
    return taken;
  };
  const auto running = std::find_if(begun_.begin(), begun_.end(), is_it) - begun_.begin();
  if (auto taken = take_from(begun_)) {
    running_ -= running < static_cast<ptrdiff_t>(running_);
    return taken;
  }
  if (auto taken = take_from(queue_.waiting())) return taken;
  for (auto& s : begun_)
    if (auto taken = take_from(s->siblings)) return taken;
  for (auto& s : queue_.waiting())
    if (auto taken = take_from(s->siblings)) return taken;
  return nullptr;
}

std::unique_ptr<Sequence> Scheduler::remove(RequestId id, std::optional<int> answer) {
  auto s = take_out(id, answer);
  if (!s) return nullptr;
  release(*s);
  queue_.forget(*s);
  --sequences_;
  if (!s->siblings.empty()) {
    SequenceList next;
    next.splice(next.begin(), s->siblings, s->siblings.begin());
    next.front()->siblings.splice(next.front()->siblings.begin(), s->siblings);
    queue_.add(std::move(next));
  }
  return s;
}

SchedulerLoad Scheduler::load() const {
  SchedulerLoad load{.running = static_cast<int>(running_),
                     .waiting = static_cast<int>(begun_.size() - running_ + queue_.waiting().size())};
  for (const auto& s : queue_.waiting()) load.waiting_tokens += std::ssize(s->tokens) * (1 + std::ssize(s->siblings));
  return load;
}

void Scheduler::check_invariants() const {
  std::vector<const CacheHold*> holds;
  for (size_t i = 0; i < begun_.size(); ++i) {
    const Sequence& s = *begun_[i];
    CHECK(i < running_ || s.cached == 0, "what waits holds nothing");
    CHECK(s.cached == s.hold.tokens);
    holds.push_back(&s.hold);
  }
  cache_.check_invariants(holds);
}

}  // namespace cachalot
