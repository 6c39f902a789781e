// When drafting pays. It changes how many forward passes an answer takes, never the answer, so it may be decided by
// the clock.
//
// Drafts cost: the rows that verify them, and making them. They pay while a step waits for the weights, with few
// sequences, and while they are right. How much of both is not foreseen but measured: steps in which sequences
// decode, and nothing else, are of a *width* (so many sequences, to a power of two) and have drafts or not. Of either
// way of a width the rule knows the latest seconds per token, goes the faster one, and now and then tries the other
// for a few steps, the more seldom the slower it was, so that trying costs some hundredth.
#pragma once

#include <array>

namespace cachalot {

class DraftRule {
 public:
  static constexpr int kFirst = 16;          // steps of either way in the beginning
  static constexpr int kTrial = 4;           // steps for which the slower way is tried
  static constexpr int kBetweenTrials = 64;  // steps from one trial to the next, at least
  static constexpr int kMostBetweenTrials = 512;
  static constexpr double kCostOfTrials = 0.02;  // of all time, as long as that allows the most of these steps

  // Whether the next step, in which so many sequences decode, is to have drafts.
  bool drafts(int sequences);
  // A step of so many sequences that decode, and of nothing else, gave so many tokens. `drafting`: what drafts() had
  // said; and it said the same for the next step, whose drafts this one has made.
  void took(int sequences, bool drafting, int tokens, double seconds);

 private:
  struct Way {
    double tokens = 0, seconds = 0;  // of the latest steps
    int steps = 0;                   // all
    double seconds_per_token() const { return seconds / tokens; }
  };
  struct Width {
    Way with, without;
    int steps_to_trial = kBetweenTrials, trial_left = 0;
  };
  Width& width(int sequences);

  std::array<Width, 12> widths_;  // by the bits of the number of sequences
};

// Of one sequence, whose text may be such that guesses are wrong while those of others are right: the n-th step in a
// row whose drafts were all refused makes it wait for 2^(n-1) - 1 steps, 63 at most.
class DraftPause {
 public:
  void verified(int accepted) {
    refused_ = accepted > 0 ? 0 : refused_ < kMostRefused ? refused_ + 1 : refused_;
    wait_ = refused_ > 0 ? (1 << (refused_ - 1)) - 1 : 0;
  }
  // Whether it may draft now; called once a step.
  bool over() {
    if (wait_ == 0) return true;
    --wait_;
    return false;
  }

 private:
  static constexpr int kMostRefused = 7;
  int refused_ = 0, wait_ = 0;
};

}  // namespace cachalot
