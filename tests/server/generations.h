// Hearing what a generation says, as a connection does.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <map>

#include "server/generator.h"

namespace cachalot::testing {

struct Heard {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // all numbers that were told of the tokens
  size_t told = 0;              // entries of the prompt's log-probabilities
  std::optional<FinishReason> finished;
  std::string error;
  int cached_tokens = 0;

  bool same_answer(const Heard& other) const { return tokens == other.tokens && logprobs == other.logprobs; }
  // Whether it is the beginning of the other.
  bool begins(const Heard& other) const {
    const auto begins = [](const auto& a, const auto& b) {
      return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin());
    };
    return begins(tokens, other.tokens) && begins(logprobs, other.logprobs);
  }
};
using Answers = std::map<int, Heard>;

inline void hear(const std::vector<Event>& events, Answers& answers) {
  for (const Event& event : events) {
    Heard& a = answers[event.answer];
    EXPECT_FALSE(a.finished) << "an event after the end";
    if (event.token) a.tokens.push_back(*event.token);
    for (const TokenLogprob& p : event.logprobs) {
      a.logprobs.push_back(static_cast<float>(p.token));
      a.logprobs.insert(a.logprobs.end(), {p.model, p.kept});
    }
    a.told += event.prompt_logprobs.size();
    a.finished = event.finished;
    a.error = event.error;
    a.cached_tokens = event.cached_tokens;
  }
}

inline bool wait(const Wakeup& wakeup, int milliseconds) {
  pollfd fd{.fd = wakeup.fd(), .events = POLLIN, .revents = 0};
  return poll(&fd, 1, milliseconds) > 0;
}

inline size_t ended(const Answers& answers) {
  size_t ended = 0;
  for (const auto& [index, a] : answers) ended += a.finished.has_value();
  return ended;
}

// Until so many answers have ended.
inline Answers hear_all(Generation& generation, size_t count = 1) {
  Answers answers;
  while (ended(answers) < count) {
    if (!wait(generation.queue().wakeup(), 60000)) {
      ADD_FAILURE() << "nothing is heard any more";
      break;
    }
    hear(generation.queue().take(), answers);
  }
  EXPECT_EQ(answers.size(), count);
  EXPECT_TRUE(generation.queue().take().empty()) << "news after the end";
  return answers;
}

inline Heard hear_one(Generation& generation) { return hear_all(generation).at(0); }

}  // namespace cachalot::testing
