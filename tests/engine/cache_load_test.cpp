// The cache under random loads of texts that begin alike: whatever is shared, copied, evicted, found again, cancelled
// or fails, everybody sees the rows of its own text, and gets the answer that it gets alone. No tensors
// (fake_model.h).
#include <gtest/gtest.h>

#include "engine/fake_model.h"

namespace cachalot::testing {
namespace {

struct Mix {
  const char* name;
  std::vector<int> windows;
  bool states, latent;
  int block_share;  // per cent of what all who may run would need
};

// An engine without tensors: what engine.cpp does with the scheduler.
class FakeEngine {
 public:
  FakeEngine(const FakeOptions& options, uint64_t seed)
      : scheduler(options.scheduler, options.shape), model_(options), random_(seed) {
    max_sequences_ = options.scheduler.max_sequences;
  }

  void submit(std::unique_ptr<Sequence> s) {
    s->id = ++last_id_;
    const int answers = s->request.answers;
    for (int i = 0; i < answers; ++i) {
      wanted_[{s->id, i}] =
          model_.answer(*s, s->request.sampling.seed + static_cast<uint64_t>(i), s->token_limit - s->prompt_tokens);
      if (i == 0) continue;
      auto sibling = std::make_unique<Sequence>();
      sibling->id = s->id;
      sibling->answer = i;
      sibling->request = s->request;
      sibling->tokens = s->tokens;
      sibling->keys = s->keys;
      sibling->prompt_tokens = s->prompt_tokens;
      sibling->expanded = s->expanded;
      sibling->token_limit = s->token_limit;
      s->siblings.push_back(std::move(sibling));
    }
    scheduler.add(std::move(s));
  }
  void cancel(RequestId id, std::optional<int> answer) {
    while (const auto s = scheduler.remove(id, answer)) ++cancelled;
    scheduler.check_invariants();
  }

  void step(bool fails, bool abandoned) {
    const auto [works, copies, all_rows] = scheduler.next();
    scheduler.check_invariants();
    if (abandoned) return scheduler.abandon();
    EXPECT_LE(std::ssize(works), max_sequences_);
    for (const CacheCopy& c : copies) model_.copy(c);
    std::vector<std::vector<uint64_t>> rows;
    for (const auto& work : works) rows.push_back(model_.forward(work, fails ? work.rows / 2 : work.rows));
    for (size_t i = 0; i < works.size(); ++i)
      if (fails)
        failed += end_all(*works[i].sequence);
      else
        finish(works[i], rows[i]);
    scheduler.check_invariants();
  }

  Scheduler scheduler;
  int finished = 0, cancelled = 0, failed = 0, accepted = 0;

 private:
  int end_all(const Sequence& s) {
    const RequestId id = s.id;
    const int answer = s.answer;
    int ended = 0;
    std::vector<int> siblings;
    for (const auto& sibling : s.siblings) siblings.push_back(sibling->answer);
    for (const int sibling : siblings) ended += scheduler.remove(id, sibling) != nullptr;
    return ended + (scheduler.remove(id, answer) != nullptr);
  }
  bool take(Sequence& s, int32_t token) {
    s.tokens.push_back(token);
    return static_cast<int>(s.tokens.size()) < s.token_limit;
  }
  void end(Sequence& s) {
    ++finished;
    EXPECT_EQ(std::vector<int32_t>(s.tokens.begin() + s.prompt_tokens, s.tokens.end()),
              (wanted_.at({s.id, s.answer})));
    scheduler.remove(s.id, s.answer);
  }
  void finish(const Scheduler::Work& work, const std::vector<uint64_t>& rows) {
    Sequence& s = *work.sequence;
    if (work.choosing_rows() == 0) return scheduler.commit(work, work.rows);
    const int drafted = work.choosing_rows() - 1;
    const auto seed = [](const Sequence& of) { return of.request.sampling.seed + static_cast<uint64_t>(of.answer); };
    int right = 0;
    bool goes_on = true;
    while (true) {
      const int32_t token = model_.choice(rows.at(static_cast<size_t>(right)), seed(s));
      goes_on = take(s, token);
      if (!goes_on || right == drafted || s.drafts[static_cast<size_t>(right)] != token) break;
      ++right;
    }
    accepted += right;
    scheduler.commit(work, work.rows - drafted + right);
    if (s.cached == s.prompt_tokens) {
      scheduler.keep_snapshot(s, [&](int from, int to) { model_.copy_state(from, to); });
      while (!s.siblings.empty()) {
        Sequence& sibling = scheduler.fork(s);
        if (!take(sibling, model_.choice(rows[0], seed(sibling)))) end(sibling);
      }
    }
    if (!goes_on) return end(s);
    const int room =
        std::min(s.token_limit - static_cast<int>(s.tokens.size()) - 1, static_cast<int>(random_.next() % 5));
    const auto& text = wanted_.at({s.id, s.answer});
    for (int i = 0; i < room; ++i)  // three of four guesses are right
      s.drafts.push_back(random_.next() % 4 == 0
                             ? 0
                             : text[s.tokens.size() - static_cast<size_t>(s.prompt_tokens) + static_cast<size_t>(i)]);
  }

  FakeModel model_;
  Random random_;
  RequestId last_id_ = 0;
  int max_sequences_;
  std::map<std::pair<RequestId, int>, std::vector<int32_t>> wanted_;
};

class CacheLoad : public ::testing::TestWithParam<Mix> {};

constexpr int kLongest = 1200;  // tokens of a sequence

// A request whose text begins as others do, or is one of theirs.
std::unique_ptr<Sequence> some_request(Random& random, const std::vector<std::vector<int32_t>>& texts) {
  const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
  auto s = std::make_unique<Sequence>();
  const auto& text = texts[static_cast<size_t>(below(static_cast<int>(texts.size())))];
  int shared = 1 + below(700), own = below(3) == 0 ? below(400) : below(4);
  if (below(3) == 0) shared = kBlockTokens * (1 + below(8)) + below(3) - 1, own = 0;  // around the ends of blocks
  s->tokens.assign(text.begin(), text.begin() + shared);
  for (int i = 0; i < own; ++i) s->tokens.push_back(below(7));
  s->prompt_tokens = static_cast<int>(s->tokens.size());
  s->token_limit = std::min(kLongest, s->prompt_tokens + 1 + below(300));
  s->request.caller = std::string(1, static_cast<char>('a' + below(3)));
  if (below(5) == 0) s->request.salt = "x";
  if (below(3) == 0) s->request.answers = 1 + below(5);
  if (below(4) == 0 && shared > 200) s->request.absorbed = {{30, 40 + below(20)}, {190, 200}};
  s->expanded = expanded_spans(s->prompt_tokens, s->request.absorbed);
  if (below(20) == 0) s->request.computed_from = below(s->prompt_tokens);
  s->request.sampling.seed = random.next();
  BlockKey root;
  root.words[0] = FakeModel::root_of(s->request.salt);
  s->keys = {root};
  return s;
}

TEST_P(CacheLoad, EverybodySeesItsOwnTextAndGetsTheAnswerThatItGetsAlone) {
  const Mix& mix = GetParam();
  int64_t preempted = 0, found = 0, inside = 0, forked = 0, block_copies = 0, state_copies = 0, evictions = 0,
          again = 0;
  int finished = 0, cancelled = 0, failed = 0, accepted = 0;
  for (uint64_t seed = 1; seed <= 40 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
    FakeOptions options;
    options.scheduler = {.max_rows = below(2) ? 512 : 20 + below(100),
                         .max_sequences = 1 + below(20),
                         .step_seconds = 0,
                         .state_snapshots = below(6)};
    options.shape = {
        .group_windows = mix.windows,
        .blocks_of_group = blocks_for(
            mix.windows,
            std::max<int64_t>(kLongest, int64_t{options.scheduler.max_sequences} * 600 * mix.block_share / 100),
            options.scheduler),
        .state_slots = mix.states ? options.scheduler.state_slots() : 0,
        .latent = mix.latent};
    FakeEngine engine(options, seed);
    std::vector<std::vector<int32_t>> texts(3);
    for (auto& text : texts)
      for (int i = 0; i < kLongest; ++i) text.push_back(below(7));
    int submitted = 0, steps = 0;
    for (; (submitted < 60 || !engine.scheduler.idle()) && !HasFailure(); ++steps) {
      ASSERT_LT(steps, 100000);
      if (submitted < 60 && below(4) == 0)
        for (int more = 1 + below(6); more > 0; --more, ++submitted) engine.submit(some_request(random, texts));
      if (below(40) == 0) engine.cancel(1 + below(60), below(2) ? std::optional<int>(below(4)) : std::nullopt);
      engine.step(below(200) == 0, below(200) == 0);
    }
    for (int g = 0; g < engine.scheduler.cache().groups(); ++g)
      EXPECT_EQ(engine.scheduler.cache().pool(g).in_use(), 0);
    EXPECT_EQ(engine.scheduler.cache().states().in_use(), 0);
    const SchedulerStatistics s = engine.scheduler.statistics();
    const CacheStatistics c = engine.scheduler.cache().statistics();
    preempted += s.preempted, found += s.found, inside += s.found_inside, forked += s.forked, again += s.rows_again;
    block_copies += c.block_copies, state_copies += c.state_copies, evictions += c.evictions;
    finished += engine.finished, cancelled += engine.cancelled, failed += engine.failed, accepted += engine.accepted;
  }
  EXPECT_GT(finished, 1500);
  EXPECT_GT(cancelled, 20);
  EXPECT_GT(failed, 20);
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(found, 300);
  if (mix.states)
    EXPECT_EQ(inside, 0) << "states are found where chunks begin";
  else
    EXPECT_GT(inside, 300);
  EXPECT_GT(forked, 300);
  EXPECT_GT(evictions, 300);
  std::printf(
      "%s: finished %d cancelled %d failed %d found %ld (%ld inside blocks) forked %ld evictions %ld preempted %ld "
      "again %ld copies %ld "
      "%ld\n",
      mix.name, finished, cancelled, failed, found, inside, forked, evictions, preempted, again, block_copies,
      state_copies);
  EXPECT_GT(block_copies, mix.windows.empty() ? -1 : 100);
  EXPECT_GT(state_copies, mix.states ? 100 : -1);
  EXPECT_GT(preempted, mix.block_share < 100 ? 20 : -1);
  EXPECT_GT(again, 1000);
}

INSTANTIATE_TEST_SUITE_P(Models, CacheLoad,
                         ::testing::Values(Mix{"full", {0}, false, false, 25}, Mix{"latent", {0}, false, true, 25},
                                           Mix{"windows", {0, 70, 200}, false, false, 25},
                                           Mix{"windowed_alone", {100}, false, false, 100},
                                           Mix{"recurrent_alone", {}, true, false, 100},
                                           Mix{"mixed", {0, 130}, true, true, 25}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cachalot::testing
