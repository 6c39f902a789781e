// What the rows of prompts tell besides the answers that follow: log-probabilities of their tokens, embeddings.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/engine.h"
#include "tensor/arena_scope.h"

namespace cachalot {

// -- Log-probabilities

// A row whose logits tell of the prompt's next token.
struct Engine::PromptRow {
  size_t work;
  int32_t row;   // of the step
  size_t entry;  // of what is told in this step
  int32_t token;
};

// Their logits together would take 300 MB of 512 rows of a large vocabulary: chunks of rows have theirs in turn.
void Engine::tell_prompts(std::span<const Work> works, const Batch& batch, const Tensor& hidden_TD,
                          std::span<Taken> taken) {
  std::vector<PromptRow> rows;
  for (size_t i = 0; i < works.size(); ++i) {
    const Sequence& s = *works[i].sequence;
    if (!s.tells_prompt()) continue;
    const int end = std::max(s.told, std::min(s.prompt_tokens, s.cached + works[i].rows + 1));
    taken[i].prompt_logprobs.resize(static_cast<size_t>(end - s.told));
    for (int t = std::max(1, s.told); t < end; ++t)
      rows.push_back({.work = i,
                      .row = batch.sequences[i].first_row + t - 1 - s.cached,
                      .entry = static_cast<size_t>(t - s.told),
                      .token = s.tokens[static_cast<size_t>(t)]});
  }
  const auto at_once = static_cast<size_t>(told_at_once(model_.spec().vocab));
  for (size_t begin = 0; begin < rows.size(); begin += at_once)
    tell_prompt_rows(std::span(rows).subspan(begin, std::min(at_once, rows.size() - begin)), works, hidden_TD, taken);
}

void Engine::tell_prompt_rows(std::span<const PromptRow> rows, std::span<const Work> works, const Tensor& hidden_TD,
                              std::span<Taken> taken) {
  std::vector<int32_t> wanted;
  for (const PromptRow& row : rows) wanted.push_back(row.row);
  std::vector<std::exception_ptr> failures(rows.size());
  const ArenaScope scope(ops_.arena());
  const auto logits_TW = ops_.read(model_.head(ops_, ops_.gather_rows(hidden_TD, wanted)), host_logits_);
  const auto vocab = static_cast<size_t>(model_.spec().vocab);
  ops_.on_host_threads(std::ssize(rows), [&](int thread, int64_t job) {
    const auto i = static_cast<size_t>(job);
    const PromptRow& row = rows[i];
    try {
      auto logprobs = model_logprobs(logits_TW.subspan(i * vocab, vocab), row.token,
                                     works[row.work].sequence->request.prompt_logprobs,
                                     sampler_rooms_[static_cast<size_t>(thread)]);
      if (!logprobs) throw Error(kNotANumber);
      taken[row.work].prompt_logprobs[row.entry] = std::move(*logprobs);
    } catch (...) { failures[i] = std::current_exception(); }
  });
  for (size_t i = 0; i < rows.size(); ++i)
    if (failures[i]) taken[rows[i].work].failure = failures[i];
}

// -- Embeddings

// Those rows of a step's work that its pool takes.
static PositionSpan pooled(const Scheduler::Work& work) {
  const Sequence& s = *work.sequence;
  if (!s.pool) return {0, 0};
  const auto [begin, end] = s.pool->wanted();
  const int first = std::max(begin, s.cached);
  return {first, std::max(first, std::min(end, s.cached + work.rows))};
}

void Engine::pool_prompts(std::span<const Work> works, const Batch& batch, const Tensor& hidden_TD,
                          std::span<Taken> taken) {
  std::vector<int32_t> rows;  // of all works at once: they were computed at once, and are no wider than any layer's
  for (size_t i = 0; i < works.size(); ++i)
    for (auto [p, end] = pooled(works[i]); p < end; ++p)
      rows.push_back(batch.sequences[i].first_row + p - works[i].sequence->cached);
  const ArenaScope scope(ops_.arena());
  std::vector<float> room;
  std::span<const float> numbers;
  if (!rows.empty()) numbers = ops_.read(ops_.gather_rows(hidden_TD, rows), room);
  const auto width = static_cast<size_t>(hidden_TD.last());
  size_t next = 0;
  for (size_t i = 0; i < works.size(); ++i) {
    const auto [begin, end] = pooled(works[i]);
    const auto count = static_cast<size_t>(end - begin);
    const auto own = numbers.subspan(next * width, count * width);
    next += count;
    try {
      pool_prompt(works[i], own, taken[i]);
    } catch (...) { taken[i].failure = std::current_exception(); }
  }
}

// Takes these rows of a work's, and tells of them when they are all.
void Engine::pool_prompt(const Work& work, std::span<const float> rows_TD, Taken& taken) const {
  Sequence& s = *work.sequence;
  if (!s.pool) return;
  const auto width = static_cast<size_t>(model_.spec().width);
  for (size_t at = 0; at < rows_TD.size(); at += width) s.pool->take(rows_TD.subspan(at, width));
  if (work.rows < s.uncached()) return;
  CHECK(s.pool->wanted().begin == s.pool->wanted().end);
  Event event = news_of(s);
  event.embedding = s.pool->vector();
  event.finished = FinishReason::stop;
  const auto& numbers = event.embedding;
  if (!std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); }))
    throw Error(kNotANumber);
  taken.events.push_back(std::move(event));
}

}  // namespace cachalot
