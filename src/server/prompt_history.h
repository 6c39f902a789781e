// What was asked of late, as tokens: to tell why a prompt was not found in the cache. Used by the engine's thread.
//
// Prompts are kept apart as the cache keeps them, by salt, and by caller besides: nobody learns what another asks.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "engine/request.h"
#include "server/prefix_finding.h"

namespace cachalot {

class PromptHistory {
 public:
  struct Limits {
    size_t prompts_of_one = 16;  // of one caller and salt
    int64_t tokens = 1 << 20;    // of all
    size_t prompts = 1024;       // of all
  };
  PromptHistory() : PromptHistory(Limits()) {}
  explicit PromptHistory(const Limits& limits) : limits_(limits) {}

  // A text: the prompt and, as it comes, its first answer.
  struct Text {
    std::string caller, salt;
    std::vector<int32_t> tokens;
    bool computed = false;       // all of the prompt's rows
    bool ended = false;          // nothing will be added
    bool whole = true;           // no token of the answer is missing
    bool remembered = false;     // is among texts_
    int64_t last_evictions = 0;  // the cache's count when its rows were last used
  };
  // What a request has in common with what was asked before it.
  struct Asked {
    std::shared_ptr<Text> own;      // remembered as long as there is room
    std::shared_ptr<Text> nearest;  // the text that begins most like it, the latest of equals; may be none
    int common = 0;
    bool asks_for_rows = false;
  };
  // Remembers a request's prompt. Throws std::bad_alloc before anything has changed.
  Asked ask(const Request& request);
  // What the cache says where a request begins.
  struct Found {
    int tokens = 0;         // of the prompt
    int64_t evictions = 0;  // so far
    int together = 1;       // rows that are found together, all or none (Cache::found_together())
  };
  // It has begun.
  static PrefixFinding begun(const Asked& asked, const Found& found);
  static void computed(const Asked& asked) { asked.own->computed = true; }
  // A token of its first answer. What there is no memory for is not remembered.
  void add(const Asked& asked, int32_t token) noexcept;
  // It has ended: nothing keeps its blocks any more.
  static void ended(const Asked& asked, int64_t evictions) {
    asked.own->ended = true;
    asked.own->last_evictions = evictions;
  }

  int64_t tokens() const { return tokens_; }
  size_t prompts() const { return texts_.size(); }

 private:
  using Texts = std::list<std::shared_ptr<Text>>;
  void forget(Texts::iterator text);
  void keep_within_limits();

  Limits limits_;
  Texts texts_;  // the latest last
  int64_t tokens_ = 0;
};

}  // namespace cachalot
