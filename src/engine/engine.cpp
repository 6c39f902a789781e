#include "engine/engine.h"

#include <algorithm>

#include "base/error.h"

namespace cachalot {

std::vector<int> blocks_for(const CacheLayout& layout, int tokens, int step_rows) {
  std::vector<int> blocks;
  for (const int window : layout.group_windows) {
    // Behind a window at most the window, one step and the ragged ends of two blocks are alive.
    const int64_t alive =
        window == 0 ? tokens : std::min<int64_t>(tokens, int64_t{window} + step_rows + 2 * kBlockTokens);
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

Event Engine::answer(Sequence& s, std::span<const float> logits_W) {
  Event event{.request = s.id};
  const auto token = s.sampler.sample(logits_W, s.tokens, s.prompt_tokens());
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
  event.token = *token;
  if (static_cast<int>(s.tokens.size()) >= s.token_limit) event.finished = FinishReason::length;
  return event;
}

std::vector<Event> Engine::step() {
  std::vector<Event> events = std::exchange(pending_, {});
  const auto works = scheduler_.next();
  if (works.empty()) return events;

  Batch batch;
  for (const auto& [s, rows] : works) {
    BatchSequence entry{.first_row = static_cast<int>(batch.rows()),
                        .rows = rows,
                        .first_position = s->cached,
                        .rope_tokens = s->rope_tokens,
                        .expanded_tokens = expanded_tokens(s->rope_tokens)};
    for (const auto& table : s->block_tables) entry.block_tables.emplace_back(table);
    batch.tokens_T.insert(batch.tokens_T.end(), s->tokens.begin() + s->cached, s->tokens.begin() + s->cached + rows);
    if (rows == s->uncached()) batch.logit_rows.push_back(static_cast<int32_t>(batch.rows()) - 1);
    batch.sequences.push_back(std::move(entry));
  }

  const Arena::Mark mark = ops_.arena().mark();
  const Tensor hidden_TD = model_.forward(ops_, batch, *cache_);
  Tensor logits;
  if (!batch.logit_rows.empty()) logits = model_.head(ops_, ops_.gather_rows(hidden_TD, batch.logit_rows));
  int64_t row = 0;
  for (const auto& work : works) {
    Sequence& s = *work.sequence;
    const bool complete = work.rows == s.uncached();
    scheduler_.commit(work);
    if (!complete) continue;
    events.push_back(answer(s, {logits.row(row++), static_cast<size_t>(logits.last())}));
    if (events.back().finished) scheduler_.remove(s.id);
  }
  ops_.arena().rewind(mark);
  return events;
}

}  // namespace cachalot
