// A generator that says what a script says, instead of an engine: for tests of what stands above it, and for the
// program that clients are tried against (tests/clients/).
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/generator.h"

namespace cachalot::testing {

struct ScriptedAnswer {
  std::vector<int32_t> tokens;  // the request's end tokens end it, as does its max_tokens
  std::string error;            // what happens behind the tokens: this
  bool cancelled = false;       // or the engine's end
  bool endless = false;         // or the tokens once more
  int silent_steps = 0;         // before the first token
};

// Log-probabilities that a test knows: of a token, and of the likeliest, whose ids are 0, 1, …
inline float scripted_logprob(int32_t token) { return -0.25F * static_cast<float>(token % 7 + 1); }
inline std::vector<TokenLogprob> scripted_logprobs(int32_t token, int likeliest) {
  std::vector<TokenLogprob> all = {{token, scripted_logprob(token), scripted_logprob(token)}};
  for (int i = 0; i < likeliest; ++i) all.push_back({i, -0.125F * static_cast<float>(i + 1), 0});
  return all;
}

// And embeddings: the numbers of tokens, the sum of their ids, then eighths.
constexpr int kScriptedWidth = 8;
inline std::vector<float> scripted_embedding(const std::vector<int32_t>& prompt) {
  std::vector<float> vector(kScriptedWidth);
  vector[0] = static_cast<float>(prompt.size());
  for (const int32_t token : prompt) vector[1] += static_cast<float>(token);
  for (int i = 2; i < kScriptedWidth; ++i) vector[static_cast<size_t>(i)] = -0.125F * static_cast<float>(i);
  return vector;
}

class ScriptedGenerator : public Generator {
 public:
  using Script = std::function<std::vector<ScriptedAnswer>(const Request&)>;  // answer i says [i % size]
  // How many tokens each answer gets in step number `step` of its request, as with speculation.
  using StepSize = std::function<int(int step)>;

  explicit ScriptedGenerator(
      Script script, StepSize size = [](int) { return 1; })
      : script_(std::move(script)), size_(std::move(size)) {}

  int vocab = 1 << 20, context = 1 << 20;
  int cached_tokens = 0;
  int room = 1 << 20;          // requests that may run at once
  int prompt_chunk = 1 << 20;  // prompt tokens of a step
  int silent_steps = 0;        // before the first token
  std::vector<Request> asked;  // all that were started
  int cancelled = 0;           // answers that ran when they were

  void check(const Request& request) const override {
    if (request.prompt.empty()) throw Error("the prompt is empty");
    if (std::ssize(request.prompt) >= context) throw Error("the prompt is too long");
    request.sampling.check();
  }

  Generation start(Request request) override {
    const std::lock_guard lock(mutex_);
    if (static_cast<int>(running_.size()) >= room)
      throw Busy{.status = 429, .why = "too many requests wait", .retry_after = std::chrono::seconds(2)};
    auto running = std::make_shared<Running>();
    asked.push_back(request);
    const auto script = script_(request);
    for (int i = 0; i < request.answers; ++i)
      running->answers.push_back({script[static_cast<size_t>(i) % script.size()], 0, false});
    running->request = std::move(request);
    running->id = ++last_id_;
    running_.push_back(running);
    return Generation(running->queue, [this, running](std::optional<int> answer) {
      const std::lock_guard lock(mutex_);
      for (int i = 0; i < std::ssize(running->answers); ++i)
        if (!answer || *answer == i) end(*running, i);
      drop_ended();
    });
  }

  // One step of all that runs; whether something did.
  bool step() {
    const std::lock_guard lock(mutex_);
    const auto running = running_;
    for (const auto& one : running) step(*one);
    drop_ended();
    return !running.empty();
  }
  size_t running() const {
    const std::lock_guard lock(mutex_);
    return running_.size();
  }

 private:
  struct Answer {
    ScriptedAnswer script;
    size_t at = 0;
    bool ended = false;
  };
  struct Running {
    RequestId id = 0;
    Request request;
    std::vector<Answer> answers;
    std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>();
    int steps = 0, silent = 0;
    size_t prompt_at = 0;
  };

  void end(Running& running, int i) {
    Answer& answer = running.answers[static_cast<size_t>(i)];
    cancelled += !answer.ended;
    answer.ended = true;
  }

  void drop_ended() {
    std::erase_if(running_, [](const auto& one) {
      return std::all_of(one->answers.begin(), one->answers.end(), [](const Answer& a) { return a.ended; });
    });
  }

  void step(Running& running) {
    std::vector<Event> events;
    const Request& request = running.request;
    if (request.prompt_logprobs >= 0 && running.prompt_at < request.prompt.size()) {
      Event event = news(running, 0);
      const size_t end = std::min(request.prompt.size(), running.prompt_at + static_cast<size_t>(prompt_chunk));
      for (; running.prompt_at < end; ++running.prompt_at)
        event.prompt_logprobs.push_back(
            running.prompt_at == 0 ? std::vector<TokenLogprob>()
                                   : scripted_logprobs(request.prompt[running.prompt_at], request.prompt_logprobs));
      events.push_back(std::move(event));
      if (running.prompt_at < request.prompt.size()) return running.queue->push(std::move(events));
    }
    if (running.silent++ < std::max(silent_steps, running.answers[0].script.silent_steps)) return;
    const int tokens = size_(running.steps++);
    for (int i = 0; i < std::ssize(running.answers); ++i)
      for (int t = 0; t < tokens && !running.answers[static_cast<size_t>(i)].ended; ++t)
        events.push_back(next(running, i));
    if (!events.empty()) running.queue->push(std::move(events));
  }

  Event news(const Running& running, int answer) const {
    return {.request = running.id, .answer = answer, .logprobs = {}, .cached_tokens = cached_tokens};
  }

  Event next(Running& running, int i) {
    Answer& answer = running.answers[static_cast<size_t>(i)];
    const Request& request = running.request;
    Event event = news(running, i);
    const auto finish = [&](FinishReason reason) {
      event.finished = reason;
      answer.ended = true;
    };
    if (request.embedding && answer.script.error.empty() && !answer.script.cancelled) {
      event.embedding = scripted_embedding(request.prompt);
      finish(FinishReason::stop);
      return event;
    }
    if (request.max_tokens == 0) {
      finish(FinishReason::length);
      return event;
    }
    if (answer.at == answer.script.tokens.size() && answer.script.endless) answer.at = 0;
    if (answer.at == answer.script.tokens.size()) {
      finish(!answer.script.error.empty() ? FinishReason::error
             : answer.script.cancelled    ? FinishReason::cancelled
                                          : FinishReason::length);
      event.error = answer.script.error;
      return event;
    }
    const int32_t token = answer.script.tokens[answer.at++];
    if (request.logprobs >= 0) event.logprobs = scripted_logprobs(token, request.logprobs);
    if (std::find(request.end_tokens.begin(), request.end_tokens.end(), token) != request.end_tokens.end()) {
      finish(FinishReason::stop);
      event.end_token = token;
      return event;
    }
    event.token = token;
    if (request.max_tokens && answer.at >= static_cast<size_t>(*request.max_tokens) && !answer.script.endless)
      finish(FinishReason::length);
    return event;
  }

  Script script_;
  StepSize size_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Running>> running_;
  RequestId last_id_ = 0;
};

}  // namespace cachalot::testing
