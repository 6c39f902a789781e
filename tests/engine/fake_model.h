// A model without tensors, to see what the bookkeeping of the cache is worth: a row is one number, which depends on
// all tokens before it, and every step finds out whether the blocks and slots that it is given hold just the rows of
// its own text. What an answer will be is known beforehand.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "engine/scheduler.h"
#include "ops/batch.h"

namespace cachalot::testing {

struct FakeOptions {
  SchedulerOptions scheduler;
  CacheShape shape;
  int vocab = 7;
};

// What the text computes at each position, and what the model would say next.
inline uint64_t mixed(uint64_t a, uint64_t b) { return Random(a * 0x9e3779b97f4a7c15 + b).next() | 1; }

class FakeModel {
 public:
  explicit FakeModel(const FakeOptions& o) : options_(o), slots_(static_cast<size_t>(o.shape.state_slots)) {
    for (const int blocks : o.shape.blocks_of_group)
      memory_.emplace_back(static_cast<size_t>(blocks), std::vector<uint64_t>(kBlockTokens));
  }

  // Whether MLA computes the row of a position in the expanded form.
  static bool expanded(const Sequence& s, int position) {
    for (const PositionSpan& span : s.expanded)
      if (position >= span.begin && position < span.end) return true;
    return false;
  }
  static uint64_t root_of(const std::string& salt) { return salt.empty() ? 3 : static_cast<uint64_t>(salt[0]); }
  uint64_t row_after(uint64_t before, int32_t token, bool expanded) const {
    return mixed(before, 4 * static_cast<uint64_t>(token) + (options_.shape.latent ? 2 * expanded : 0));
  }
  int32_t choice(uint64_t row, uint64_t seed) const {
    return static_cast<int32_t>(mixed(row, seed) % static_cast<uint64_t>(options_.vocab));
  }
  // So many tokens of the answer to a prompt, computed alone.
  std::vector<int32_t> answer(const Sequence& prompt, uint64_t seed, int tokens) const {
    uint64_t row = root_of(prompt.request.salt);
    for (int p = 0; p < prompt.prompt_tokens; ++p)
      row = row_after(row, prompt.tokens[static_cast<size_t>(p)], expanded(prompt, p));
    std::vector<int32_t> answer;
    for (; std::ssize(answer) < tokens; row = row_after(row, answer.back(), false))
      answer.push_back(choice(row, seed));
    return answer;
  }

  void copy(const CacheCopy& c) {
    if (c.of == CacheCopy::Of::block)
      block(c.group, c.to) = block(c.group, c.from);
    else if (c.of == CacheCopy::Of::state)
      copy_state(c.from, c.to);
    else
      slots_.at(static_cast<size_t>(c.to)) = {};
  }
  void copy_state(int from, int to) { slots_.at(static_cast<size_t>(to)) = slots_.at(static_cast<size_t>(from)); }

  // Computes the work's first `rows` rows. Returns the last of them and those of the drafts, whose values choose.
  std::vector<uint64_t> forward(const Scheduler::Work& work, int rows) {
    const Sequence& s = *work.sequence;
    std::vector<uint64_t> text;  // the row values of its tokens and drafts, by position
    uint64_t row = root_of(s.request.salt);
    for (int p = 0; p < s.cached + rows; ++p) {
      const int known = static_cast<int>(s.tokens.size());
      const int32_t token =
          p < known ? s.tokens[static_cast<size_t>(p)] : s.drafts.at(static_cast<size_t>(p - known));
      text.push_back(row = row_after(row, token, expanded(s, p)));
    }
    for (int g = 0; g < static_cast<int>(memory_.size()); ++g) read_and_write(g, s, text);
    if (!slots_.empty()) read_and_write_state(s, text);
    const auto first = static_cast<size_t>(std::max(s.cached, static_cast<int>(s.tokens.size()) - 1));
    return {text.begin() + static_cast<ptrdiff_t>(std::min(first, text.size())), text.end()};
  }

 private:
  struct Slot {
    std::array<uint64_t, 2> states{};
    std::array<uint64_t, 2 * kBlockTokens> tail{};
  };

  std::vector<uint64_t>& block(int group, int32_t id) {
    return memory_.at(static_cast<size_t>(group)).at(static_cast<size_t>(id));
  }
  void read_and_write(int g, const Sequence& s, const std::vector<uint64_t>& text) {
    const int window = options_.shape.group_windows[static_cast<size_t>(g)];
    for (int p = window > 0 ? std::max(0, s.cached - window + 1) : 0; p < static_cast<int>(text.size()); ++p) {
      const int32_t id = s.hold.tables[static_cast<size_t>(g)].at(static_cast<size_t>(p / kBlockTokens));
      uint64_t& cell = block(g, id)[static_cast<size_t>(p % kBlockTokens)];
      if (p >= s.cached) cell = text[static_cast<size_t>(p)];
      ASSERT_EQ(cell, text[static_cast<size_t>(p)])
          << "request " << s.id << " sees another text at position " << p << " of " << s.cached;
    }
  }
  void read_and_write_state(const Sequence& s, const std::vector<uint64_t>& text) {
    Slot& slot = slots_.at(static_cast<size_t>(s.hold.state_slot));
    const int begin = s.cached / kBlockTokens * kBlockTokens;
    ASSERT_EQ(slot.states[static_cast<size_t>(s.cached / kBlockTokens % 2)],
              begin == 0 ? 0 : text[static_cast<size_t>(begin) - 1])
        << "request " << s.id << " has another state at " << s.cached;
    for (int p = begin; p < static_cast<int>(text.size()); ++p) {
      uint64_t& cell = slot.tail[static_cast<size_t>(p) % slot.tail.size()];
      if (p >= s.cached) cell = text[static_cast<size_t>(p)];
      ASSERT_EQ(cell, text[static_cast<size_t>(p)]) << "request " << s.id << ", tail at " << p;
      if (p % kBlockTokens == kBlockTokens - 1)
        slot.states[static_cast<size_t>((p / kBlockTokens + 1) % 2)] = text[static_cast<size_t>(p)];
    }
  }

  FakeOptions options_;
  std::vector<std::vector<std::vector<uint64_t>>> memory_;  // by group and block
  std::vector<Slot> slots_;
};

}  // namespace cachalot::testing
