#include "engine/engine.h"

#include <algorithm>
#include <exception>
#include <new>

#include "base/error.h"
#include "tensor/arena_scope.h"

namespace cachalot {

int64_t cache_bytes(const Ops& ops, const CacheLayout& layout, int64_t tokens, const SchedulerOptions& options,
                    DType kv) {
  const auto blocks = blocks_for(layout.group_windows, tokens, options);
  int64_t bytes = ops.state_slot_bytes(layout.states) * options.state_slots();
  for (const auto& layer : layout.layers)
    bytes += blocks[static_cast<size_t>(layer.group)] * ops.cache_block_bytes(layer, kv);
  return bytes;
}

static std::vector<int> cache_blocks(const CacheLayout& layout, const EngineOptions& o) {
  return blocks_for(layout.group_windows, std::max(o.cache_tokens, o.context), o.scheduler);
}

Engine::Engine(Ops& ops, const Transformer& model, EngineOptions options)
    : ops_(ops),
      model_(model),
      options_(options),
      scheduler_(options.scheduler, BlockPool(cache_blocks(cache_layout(model.spec()), options)),
                 cache_layout(model.spec()).group_windows) {
  CHECK(options.speculation != Speculation::mtp || !model.spec().mtp.empty(), "the model has no module that drafts");
  const CacheLayout layout = cache_layout(model.spec());
  cache_ = ops.make_cache(
      {.layers = layout.layers, .blocks_of_group = cache_blocks(layout, options), .dtype = options.kv});
  if (layout.states.empty()) return;
  CHECK(options.lookup_drafts < kBlockTokens, "a state is kept until the rows of one chunk after it are certain");
  states_ = ops.make_states(layout.states, options.scheduler.state_slots());
}

RequestId Engine::submit(Request request) {
  if (!model_.spec().causal())
    throw Error("this model generates no text")
        .because(
            "its symmetric windows let tokens see later ones, so a token cannot be computed before the next is known")
        .hint("`cachalot logits` reads whole texts with it");
  request.sampling.check();
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens == 0)
    throw Error("the prompt is empty").hint("a model continues text; give it at least one token");
  if (prompt_tokens >= options_.context)
    throw Error(fmt::format("the prompt has {} tokens, but the context holds {} with room for an answer",
                            prompt_tokens, options_.context))
        .hint("shorten the prompt or raise --context");
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= model_.spec().vocab)
      throw Error(fmt::format("token {} is outside the model's vocabulary of {}", token, model_.spec().vocab));
  if (request.max_tokens && *request.max_tokens < 0) throw Error("max_tokens is negative");

  auto s = std::make_unique<Sequence>();
  s->id = ++last_id_;
  s->sampler = Sampler(request.sampling, request.prompt);
  s->tokens = request.prompt;
  s->rope_tokens = static_cast<int>(prompt_tokens);
  s->token_limit = static_cast<int>(
      std::min<int64_t>(options_.context, prompt_tokens + request.max_tokens.value_or(options_.context)));
  s->request = std::move(request);
  if (s->token_limit == prompt_tokens)
    pending_.push_back({.request = s->id, .finished = FinishReason::length});
  else
    scheduler_.add(std::move(s));
  return last_id_;
}

void Engine::cancel(RequestId id) {
  pending_.push_back({.request = id, .finished = FinishReason::cancelled});
  if (!scheduler_.remove(id)) pending_.pop_back();
}

// What a chosen token means for its request; none: the logits were not numbers.
Event Engine::answer(Sequence& s, std::optional<int32_t> token) {
  Event event{.request = s.id};
  if (!token) {
    event.finished = FinishReason::error;
    event.error = "the model's output is not a number (NaN): the weights or the arithmetic are broken";
    return event;
  }
  const auto& ends = s.request.end_tokens;
  if (std::find(ends.begin(), ends.end(), *token) != ends.end()) {
    event.finished = FinishReason::stop;
    return event;
  }
  s.tokens.push_back(*token);
  s.sampler.add(*token);
  event.token = token;
  if (static_cast<int>(s.tokens.size()) >= s.token_limit) event.finished = FinishReason::length;
  return event;
}

Batch Engine::batch_of(std::span<const Work> works) const {
  Batch batch;
  for (const Work& work : works) {
    const Sequence& s = *work.sequence;
    BatchSequence entry{.first_row = static_cast<int>(batch.rows()),
                        .rows = work.rows,
                        .first_position = s.cached,
                        .rope_tokens = s.rope_tokens,
                        .expanded_tokens = expanded_tokens(s.rope_tokens)};
    for (const auto& table : s.block_tables) entry.block_tables.emplace_back(table);
    if (states_) entry.state_slot = s.state_slot;
    const int known = std::min(work.rows, s.uncached());
    batch.tokens_T.insert(batch.tokens_T.end(), s.tokens.begin() + s.cached, s.tokens.begin() + s.cached + known);
    batch.tokens_T.insert(batch.tokens_T.end(), s.drafts.begin(), s.drafts.begin() + (work.rows - known));
    for (int i = work.choosing_rows(); i > 0; --i) batch.logit_rows.push_back(static_cast<int32_t>(batch.rows()) - i);
    batch.sequences.push_back(std::move(entry));
  }
  return batch;
}

// Of sequences that begin, or begin anew.
void Engine::clear_states(std::span<const Work> works) {
  if (!states_) return;
  for (const Work& work : works)
    if (work.sequence->cached == 0) ops_.clear_state(*states_, work.sequence->state_slot);
}

// Chooses tokens from the rows of one sequence, one after another as long as the next row computed the token that was
// chosen. Returns how many of the work's rows hold tokens of the text.
int Engine::take_answers(const Work& work, std::span<const float> logits_TW, int64_t first_row) {
  Sequence& s = *work.sequence;
  const int choosing = work.choosing_rows(), drafted = choosing - 1;
  int accepted = 0;
  while (true) {
    const auto vocab = static_cast<size_t>(model_.spec().vocab);
    const auto row = logits_TW.subspan(static_cast<size_t>(first_row + accepted) * vocab, vocab);
    const auto token = s.sampler.sample(row, sampler_room_);
    pending_.push_back(answer(s, token));
    const bool right = accepted < drafted && token == s.drafts[static_cast<size_t>(accepted)];
    accepted += right;
    if (pending_.back().finished || !right) break;
  }
  pending_.back().drafted = drafted;
  pending_.back().accepted = accepted;
  return work.rows - drafted + accepted;
}

// Guesses what follows in every sequence that can go on in the next step.
void Engine::draft(std::span<const Work> works, std::span<const int> kept, const Batch& batch,
                   const Tensor& hidden_TD) {
  if (options_.speculation == Speculation::mtp) draft_by_module(works, kept, batch, hidden_TD);
  for (const Work& work : works) {
    if (!work.sequence) continue;
    Sequence& s = *work.sequence;
    const bool chooses = s.uncached() == 1;  // after a complete prompt
    if (options_.speculation == Speculation::lookup && chooses)
      s.drafts = draft_by_lookup(s.tokens, options_.lookup_drafts);
    const int room = s.token_limit - static_cast<int>(s.tokens.size()) - 1;
    if (std::ssize(s.drafts) > room) s.drafts.resize(static_cast<size_t>(std::max(0, room)));
  }
}

// The module sees every row whose next token is known, so that its own cache is complete; the last row of a sequence
// guesses.
void Engine::draft_by_module(std::span<const Work> works, std::span<const int> kept, const Batch& batch,
                             const Tensor& hidden_TD) {
  Batch next;
  std::vector<int32_t> rows;
  std::vector<Sequence*> guessing;
  for (size_t i = 0; i < works.size(); ++i) {
    if (!works[i].sequence) continue;
    Sequence& s = *works[i].sequence;
    BatchSequence entry = batch.sequences[i];
    for (int r = 0; r < kept[i]; ++r) {
      rows.push_back(entry.first_row + r);
      next.tokens_T.push_back(s.tokens[static_cast<size_t>(entry.first_position + r) + 1]);
    }
    entry.first_row = static_cast<int>(next.rows()) - kept[i];
    entry.rows = kept[i];
    next.sequences.push_back(std::move(entry));
    if (s.uncached() != 1) continue;
    next.logit_rows.push_back(static_cast<int32_t>(next.rows()) - 1);
    guessing.push_back(&s);
  }
  if (rows.empty()) return;
  const Tensor drafted_TD = model_.forward_mtp(ops_, next, ops_.gather_rows(hidden_TD, rows), *cache_, states_.get());
  if (guessing.empty()) return;
  const auto logits_TW = ops_.read(model_.head(ops_, ops_.gather_rows(drafted_TD, next.logit_rows)), host_logits_);
  const auto vocab = static_cast<ptrdiff_t>(model_.spec().vocab);
  for (size_t i = 0; i < guessing.size(); ++i) {
    const auto row = logits_TW.begin() + static_cast<ptrdiff_t>(i) * vocab;
    guessing[i]->drafts = {static_cast<int32_t>(std::max_element(row, row + vocab) - row)};
  }
}

// What a caught exception says. Where there is no memory, the text must not ask for any: it fits a std::string
// itself.
static std::string reason_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return dynamic_cast<const std::bad_alloc*>(&e) ? "out of memory" : e.what();
  } catch (...) { return "unknown failure"; }
}

void Engine::end(Work& work) {
  scheduler_.remove(work.sequence->id);
  work.sequence = nullptr;
}

void Engine::end_with_error(Work& work, const std::string& reason) {
  pending_.push_back({.request = work.sequence->id, .finished = FinishReason::error, .error = reason});
  end(work);
}

// Takes the answers of a work that has been computed. Returns how many of its rows are kept.
int Engine::finish(Work& work, std::span<const float> logits_TW, int64_t first_row) {
  if (work.choosing_rows() == 0) {
    scheduler_.commit(work, work.rows);
    return work.rows;
  }
  try {
    const int kept = take_answers(work, logits_TW, first_row);
    scheduler_.commit(work, kept);
    if (pending_.back().finished) end(work);
    return kept;
  } catch (...) {
    end_with_error(work, reason_of(std::current_exception()));
    return 0;
  }
}

void Engine::compute(std::span<Work> works) {
  const Batch batch = batch_of(works);
  clear_states(works);
  const Tensor hidden_TD = model_.forward(ops_, batch, *cache_, states_.get());
  std::span<const float> logits_TW;
  if (!batch.logit_rows.empty())
    logits_TW = ops_.read(model_.head(ops_, ops_.gather_rows(hidden_TD, batch.logit_rows)), host_logits_);
  std::vector<int> kept(works.size());
  int64_t row = 0;
  for (size_t i = 0; i < works.size(); ++i) {
    const int choosing = works[i].choosing_rows();
    kept[i] = finish(works[i], logits_TW, row);
    row += choosing;
  }
  if (options_.speculation != Speculation::off) draft(works, kept, batch, hidden_TD);
}

std::vector<Event> Engine::step() {
  std::vector<Work> works = scheduler_.next();
  size_t most_events = pending_.size();
  for (const Work& work : works) most_events += static_cast<size_t>(work.choosing_rows()) + 1;
  pending_.reserve(most_events);  // what follows must not lose news for want of memory
  const ArenaScope scope(ops_.arena());
  try {
    if (!works.empty()) compute(works);
  } catch (...) {
    const std::string reason = reason_of(std::current_exception());
    for (Work& work : works)
      if (work.sequence) end_with_error(work, reason);
  }
  return std::exchange(pending_, {});
}

}  // namespace cachalot
