// The requests that one HTTP request asks for, from their start to their last news: one, or one for each prompt of a
// list, as many side by side as there is room for.
#pragma once

#include <chrono>
#include <list>
#include <string>
#include <vector>

#include "server/generator.h"
#include "server/http.h"
#include "session/reply.h"

namespace cachalot {

struct Run {
  Request request;  // has passed Generator::check()
  Reply reply;
};

struct RunNews {
  size_t run;
  ReplyNews news;
};

class Runs {
 public:
  // Borrows the generator.
  Runs(Generator& generator, std::vector<Run> runs) : generator_(generator), runs_(std::move(runs)) {}

  // Throws Busy when there is no room even for the first.
  void start();
  bool ended() const { return ended_ == runs_.size(); }
  // Waits for news, at most so long; they may be empty. None: the time is over. Throws http::ClientGone; then, and
  // when it throws Busy since the server ends, what runs is cancelled by the end of this object.
  std::optional<std::vector<RunNews>> next(http::Exchange& exchange, std::chrono::milliseconds time);

  const Reply& reply(size_t run) const { return runs_[run].reply; }
  ReplyUsage usage() const;  // of all
  // Of the first run, once it has begun: how much of its prompt was cached, and why not more.
  const std::optional<PrefixFinding>& prefix() const { return prefix_; }
  // Until the first token of all; none before that.
  std::optional<std::chrono::milliseconds> first_token() const { return first_token_; }

 private:
  struct Running {
    size_t run;
    Generation generation;
  };
  // As many as there is room for. Whether there was none for the next.
  bool start_more();
  void take(Running& running, std::vector<RunNews>& news);

  Generator& generator_;
  std::vector<Run> runs_;
  size_t started_ = 0, ended_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::optional<PrefixFinding> prefix_;
  std::optional<std::chrono::milliseconds> first_token_;
  std::list<Running> running_;
};

}  // namespace cachalot
