#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

std::vector<int> blocks_for(const CacheLayout& layout, int tokens, int step_rows) {
  std::vector<int> blocks;
  for (const int window : layout.group_windows) {
    // Behind a window at most the window, one step and the ragged ends of two blocks are alive.
    const int64_t alive =
        window == 0 ? tokens : std::min<int64_t>(tokens, int64_t{window} + step_rows + int64_t{2} * kBlockTokens);
    blocks.push_back(static_cast<int>((alive + kBlockTokens - 1) / kBlockTokens));
  }
  return blocks;
}

int64_t cache_bytes(const Ops& ops, const CacheLayout& layout, int tokens, int step_rows, DType kv) {
  const auto blocks = blocks_for(layout, tokens, step_rows);
  int64_t bytes = 0;
  for (const auto& layer : layout.layers)
    bytes += blocks[static_cast<size_t>(layer.group)] * ops.cache_block_bytes(layer, kv);
  return bytes;
}

static BlockPool make_pool(const Transformer& model, const EngineOptions& o) {
  return BlockPool(blocks_for(cache_layout(model.spec()), std::max(o.cache_tokens, o.context), o.scheduler.max_rows));
}

Engine::Engine(Ops& ops, const Transformer& model, EngineOptions options)
    : ops_(ops),
      model_(model),
      options_(options),
      scheduler_(options.scheduler, make_pool(model, options), cache_layout(model.spec()).group_windows) {
  CHECK(options.speculation != Speculation::mtp || !model.spec().mtp.empty(), "the model has no module that drafts");
  const CacheLayout layout = cache_layout(model.spec());
  cache_ = ops.make_cache({.layers = layout.layers,
                           .blocks_of_group = blocks_for(layout, std::max(options.cache_tokens, options.context),
                                                         options.scheduler.max_rows),
                           .dtype = options.kv});
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
  s->sampler = Sampler(request.sampling);
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
  if (scheduler_.remove(id)) pending_.push_back({.request = id, .finished = FinishReason::cancelled});
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
    const int known = std::min(work.rows, s.uncached());
    batch.tokens_T.insert(batch.tokens_T.end(), s.tokens.begin() + s.cached, s.tokens.begin() + s.cached + known);
    batch.tokens_T.insert(batch.tokens_T.end(), s.drafts.begin(), s.drafts.begin() + (work.rows - known));
    for (int i = work.choosing_rows(); i > 0; --i) batch.logit_rows.push_back(static_cast<int32_t>(batch.rows()) - i);
    batch.sequences.push_back(std::move(entry));
  }
  return batch;
}

// Chooses tokens from the rows of one sequence, one after another as long as the next row computed the token that was
// chosen. Returns how many of the work's rows hold tokens of the text.
int Engine::take_answers(const Work& work, const Tensor& logits_TW, int64_t first_row, std::vector<Event>& events) {
  Sequence& s = *work.sequence;
  const int choosing = work.choosing_rows(), drafted = choosing - 1;
  int accepted = 0;
  while (true) {
    const float* row = logits_TW.row(first_row + accepted);
    const auto token = s.sampler.sample({row, static_cast<size_t>(logits_TW.last())}, s.tokens, s.prompt_tokens());
    events.push_back(answer(s, token));
    const bool right = accepted < drafted && token == s.drafts[static_cast<size_t>(accepted)];
    accepted += right;
    if (events.back().finished || !right) break;
  }
  events.back().drafted = drafted;
  events.back().accepted = accepted;
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
  const Tensor drafted_TD = model_.forward_mtp(ops_, next, ops_.gather_rows(hidden_TD, rows), *cache_);
  if (guessing.empty()) return;
  const Tensor logits_TW = model_.head(ops_, ops_.gather_rows(drafted_TD, next.logit_rows));
  for (size_t i = 0; i < guessing.size(); ++i) {
    const float* row = logits_TW.row(static_cast<int64_t>(i));
    guessing[i]->drafts = {static_cast<int32_t>(std::max_element(row, row + logits_TW.last()) - row)};
  }
}

std::vector<Event> Engine::step() {
  std::vector<Event> events = std::exchange(pending_, {});
  auto works = scheduler_.next();
  if (works.empty()) return events;
  const Batch batch = batch_of(works);

  const Arena::Mark mark = ops_.arena().mark();
  const Tensor hidden_TD = model_.forward(ops_, batch, *cache_);
  Tensor logits_TW;
  if (!batch.logit_rows.empty()) logits_TW = model_.head(ops_, ops_.gather_rows(hidden_TD, batch.logit_rows));
  int64_t row = 0;
  std::vector<int> kept;
  for (Work& work : works) {
    const int choosing = work.choosing_rows();
    kept.push_back(choosing > 0 ? take_answers(work, logits_TW, row, events) : work.rows);
    row += choosing;
    scheduler_.commit(work, kept.back());
    if (choosing == 0 || !events.back().finished) continue;
    scheduler_.remove(work.sequence->id);
    work.sequence = nullptr;
  }
  if (options_.speculation != Speculation::off) draft(works, kept, batch, hidden_TD);
  ops_.arena().rewind(mark);
  return events;
}

}  // namespace cachalot
