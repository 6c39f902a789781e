#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <numeric>

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

int told_at_once(int vocab) {
  constexpr int64_t kNumbers = int64_t{8} << 20;  // 32 MiB
  return static_cast<int>(std::max<int64_t>(1, kNumbers / vocab));
}

static std::vector<int> cache_blocks(const CacheLayout& layout, const EngineOptions& o) {
  return blocks_for(layout.group_windows, std::max(o.cache_tokens, o.context), o.scheduler);
}

static CacheShape cache_shape(const CacheLayout& layout, const EngineOptions& o) {
  return {.group_windows = layout.group_windows,
          .blocks_of_group = cache_blocks(layout, o),
          .state_slots = layout.states.empty() ? 0 : o.scheduler.state_slots(),
          .latent = std::any_of(layout.layers.begin(), layout.layers.end(),
                                [](const KvCache::Layer& layer) { return layer.latent_dim > 0; }),
          .drafts = o.speculation == Speculation::mtp};
}

static double system_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Engine::Engine(Ops& ops, const Transformer& model, EngineOptions options)
    : ops_(ops),
      model_(model),
      options_(std::move(options)),
      scheduler_(options_.scheduler, cache_shape(cache_layout(model.spec()), options_)) {
  CHECK(options_.speculation != Speculation::mtp || !model.spec().mtp.empty(), "the model has no module that drafts");
  if (!options_.seconds) options_.seconds = system_seconds;
  sampler_rooms_.resize(static_cast<size_t>(ops.host_threads()));
  const CacheLayout layout = cache_layout(model.spec());
  cache_ = ops.make_cache(
      {.layers = layout.layers, .blocks_of_group = cache_blocks(layout, options_), .dtype = options_.kv});
  if (layout.states.empty()) return;
  CHECK(options_.lookup_drafts < kBlockTokens, "a state is kept until the rows of one chunk after it are certain");
  states_ = ops.make_states(layout.states, options_.scheduler.state_slots());
}

// -- Requests

void Engine::check(const Request& request) const {
  if (!model_.spec().causal())
    throw Error("this model generates no text")
        .because(
            "its symmetric windows let tokens see later ones, so a token cannot be computed before the next is known")
        .hint("`cachalot logits` reads whole texts with it");
  if (!request.embedding) check_writes(model_.spec());
  request.sampling.check();
  for (const auto& [token, bias] : request.sampling.logit_bias)
    if (token < 0 || token >= model_.spec().vocab)
      throw Error(fmt::format("token {}, which has a bias, is outside the model's vocabulary of {}", token,
                              model_.spec().vocab));
  if (request.logprobs < -1 || request.logprobs > model_.spec().vocab)
    throw Error(fmt::format("logprobs of {} tokens are asked for, of a vocabulary of {}", request.logprobs,
                            model_.spec().vocab));
  if (request.prompt_logprobs < -1 || request.prompt_logprobs > kMostPromptLogprobs)
    throw Error(
        fmt::format("logprobs of {} tokens are asked for at each place of the prompt", request.prompt_logprobs))
        .hint(fmt::format("at most {} can be told", kMostPromptLogprobs));
  if (request.prompt_logprobs >= 0 && !options_.prompt_logprobs)
    throw Error("log-probabilities of a prompt are asked for, but no memory was planned for them");
  if (request.embedding && (request.answers != 1 || request.logprobs >= 0 || request.prompt_logprobs >= 0))
    throw Error("an embedding and answers or log-probabilities are asked for at once");
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens == 0)
    throw Error("the prompt is empty").hint("a model continues text; give it at least one token");
  const bool answered = !request.embedding && request.max_tokens != 0;
  if (prompt_tokens + answered > options_.context)
    throw Error(fmt::format("the prompt has {} tokens, but the context holds {}{}", prompt_tokens, options_.context,
                            answered ? " with room for an answer" : ""))
        .hint("shorten the prompt or raise --context");
  for (const int32_t token : request.prompt)
    if (token < 0 || token >= model_.spec().vocab)
      throw Error(fmt::format("token {} is outside the model's vocabulary of {}", token, model_.spec().vocab));
  if (request.max_tokens && *request.max_tokens < 0) throw Error("max_tokens is negative");
  if (request.answers < 1 || request.answers > kMostAnswers)
    throw Error(fmt::format("{} answers are asked for", request.answers))
        .hint(fmt::format("a request has 1 to {}", kMostAnswers));
  if (request.computed_from.value_or(0) < 0) throw Error("computed_from is negative");
  int end = 0;
  for (const PositionSpan& span : request.absorbed) {
    if (span.begin < end || span.end <= span.begin || span.end > prompt_tokens)
      throw Error(fmt::format("the span {} to {} is none of the prompt's {} tokens, or not behind the one before",
                              span.begin, span.end, prompt_tokens));
    end = span.end;
  }
}

// What the bits of a row depend on besides the tokens up to it and the forms of their attention. The declared length
// counts as far as it reaches the arithmetic: prompts that are short enough for dynamic RoPE to change nothing have
// the same frequencies.
BlockKey Engine::root_key(const Request& request) {
  std::string facts = fmt::format("{}\n{}\n", name(options_.kv), request.salt.size()) + request.salt;
  for (const RopeSpec& rope : model_.ropes()) {
    if (!rope.depends_on_length()) continue;
    const auto frequencies = inverse_frequencies(rope, static_cast<int>(request.prompt.size()));
    facts.append(reinterpret_cast<const char*>(frequencies.data()), frequencies.size() * sizeof(float));
  }
  return key_maker_.root(facts);
}

static std::unique_ptr<Sequence> sequence_of(const Request& request, int answer, int context) {
  auto s = std::make_unique<Sequence>();
  s->answer = answer;
  s->tokens = request.prompt;
  s->prompt_tokens = s->rope_tokens = static_cast<int>(request.prompt.size());
  s->expanded = expanded_spans(s->prompt_tokens, request.absorbed);
  const int wanted = request.embedding ? 0 : request.max_tokens.value_or(context);
  s->token_limit = static_cast<int>(std::min<int64_t>(context, int64_t{s->prompt_tokens} + wanted));
  if (request.embedding) s->pool.emplace(*request.embedding, s->prompt_tokens);
  SamplingParams sampling = request.sampling;
  sampling.seed += static_cast<uint64_t>(answer);
  s->sampler = Sampler(sampling, request.prompt);
  s->request = request;
  s->request.prompt = {};
  return s;
}

RequestId Engine::submit(const Request& request) {
  check(request);
  std::unique_ptr<Sequence> first;
  const BlockKey root = root_key(request);
  for (int answer = 0; answer < request.answers; ++answer) {
    auto s = sequence_of(request, answer, options_.context);
    s->id = last_id_ + 1;
    s->keys = {root};
    if (answer == 0)
      first = std::move(s);
    else
      first->siblings.push_back(std::move(s));
  }
  for (auto& sibling : first->siblings) sibling->request.prompt_logprobs = -1;
  if (first->token_limit > first->prompt_tokens || first->tells_prompt() || first->pool)
    scheduler_.add(std::move(first));
  else
    for (int answer = 0; answer < request.answers; ++answer)
      pending_.push_back({.request = last_id_ + 1, .answer = answer, .finished = FinishReason::length});
  return ++last_id_;
}

Event Engine::news_of(const Sequence& s) {
  return {.request = s.id, .answer = s.answer, .cached_tokens = s.cached_tokens, .begun = s.begun};
}

void Engine::cancel(RequestId id, std::optional<int> answer) {
  while (true) {
    pending_.push_back({.request = id, .finished = FinishReason::cancelled});
    const auto ended = scheduler_.remove(id, answer);
    if (!ended) return pending_.pop_back();
    pending_.back() = news_of(*ended);
    pending_.back().finished = FinishReason::cancelled;
  }
}

// -- Steps

void Engine::copy(const CacheCopy& copy) {
  switch (copy.of) {
    case CacheCopy::Of::block: return ops_.copy_block(*cache_, copy.group, copy.from, copy.to);
    case CacheCopy::Of::state: return ops_.copy_state(*states_, copy.from, copy.to);
    case CacheCopy::Of::no_state: return ops_.clear_state(*states_, copy.to);
  }
}

std::optional<Choice> Engine::choose(Sequence& s, std::span<const float> logits_W, SamplerRoom& room) const {
  ChoiceOptions options{.allowed = {}, .likeliest = s.request.logprobs};
  if (s.request.allowed)
    options.allowed = s.request.allowed(s.answer, std::span(s.tokens).subspan(static_cast<size_t>(s.prompt_tokens)));
  return s.sampler.choose(logits_W, room, options);
}

// What follows in an answer, by the logits of its last row: a token, or its end, or both.
Event Engine::next(Sequence& s, std::span<const float> logits_W, SamplerRoom& room) const {
  Event event = news_of(s);
  if (std::ssize(s.tokens) >= s.token_limit) {  // nothing but the prompt was asked for
    event.finished = FinishReason::length;
    return event;
  }
  auto choice = choose(s, logits_W, room);
  if (!choice) {
    event.finished = FinishReason::error;
    event.error = s.request.allowed ? "no token may follow the answer, or the model's output is not a number (NaN)"
                                    : kNotANumber;
    return event;
  }
  event.logprobs = std::move(choice->logprobs);
  const auto& ends = s.request.end_tokens;
  if (std::find(ends.begin(), ends.end(), choice->token) != ends.end()) {
    event.finished = FinishReason::stop;
    event.end_token = choice->token;
    return event;
  }
  s.tokens.push_back(choice->token);
  s.sampler.add(choice->token);
  event.token = choice->token;
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
                        .expanded = s.expanded,
                        .state_slot = s.hold.state_slot};
    for (const auto& table : s.hold.tables) entry.block_tables.emplace_back(table);
    const int known = std::min(work.rows, s.uncached());
    batch.tokens_T.insert(batch.tokens_T.end(), s.tokens.begin() + s.cached, s.tokens.begin() + s.cached + known);
    batch.tokens_T.insert(batch.tokens_T.end(), s.drafts.begin(), s.drafts.begin() + (work.rows - known));
    for (int i = work.choosing_rows(); i > 0; --i) batch.logit_rows.push_back(static_cast<int32_t>(batch.rows()) - i);
    batch.sequences.push_back(std::move(entry));
  }
  return batch;
}

// -- What a step has computed

// Chooses tokens from the rows of one sequence, one after another as long as the next row computed the token that was
// chosen.
void Engine::take_answers(const Work& work, Taken& taken, SamplerRoom& room) const {
  Sequence& s = *work.sequence;
  const int drafted = work.choosing_rows() - 1;
  const auto vocab = static_cast<size_t>(model_.spec().vocab);
  int accepted = 0;
  while (true) {
    const auto row = taken.logits_TW.subspan(static_cast<size_t>(accepted) * vocab, vocab);
    taken.events.push_back(next(s, row, room));
    const Event& event = taken.events.back();
    const bool right = accepted < drafted && event.token && *event.token == s.drafts[static_cast<size_t>(accepted)];
    accepted += right;
    if (event.finished || !right) break;
  }
  taken.events.back().drafted = drafted;
  taken.events.back().accepted = accepted;
  if (drafted > 0) s.draft_pause.verified(accepted);
  taken.kept = work.rows - drafted + accepted;
}

// Sequences choose side by side where there is enough of it: handing a job to a thread that sleeps takes as long as
// choosing from some ten thousand logits.
void Engine::take_all_answers(std::span<const Work> works, std::span<const float> logits_TW, std::span<Taken> taken) {
  constexpr size_t kLogitsWorthAThread = 1 << 16;
  std::vector<size_t> choosing;
  size_t begin = 0;
  for (size_t i = 0; i < works.size(); ++i) {
    const auto rows = static_cast<size_t>(works[i].choosing_rows());
    if (rows > 0) choosing.push_back(i);
    taken[i].kept = works[i].rows;
    taken[i].logits_TW = logits_TW.subspan(begin, rows * static_cast<size_t>(model_.spec().vocab));
    begin += taken[i].logits_TW.size();
  }
  const auto take = [&](int thread, int64_t job) {
    const size_t i = choosing[static_cast<size_t>(job)];
    try {
      take_answers(works[i], taken[i], sampler_rooms_[static_cast<size_t>(thread)]);
    } catch (...) { taken[i].failure = std::current_exception(); }
  };
  const auto jobs = static_cast<int64_t>(choosing.size());
  if (jobs > 1 && logits_TW.size() >= 2 * kLogitsWorthAThread)
    ops_.on_host_threads(jobs, take);
  else
    for (int64_t job = 0; job < jobs; ++job) take(0, job);
}

// What a caught exception says. Where there is no memory, the text must not ask for any: it fits a std::string
// itself.
static std::string reason_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return dynamic_cast<const std::bad_alloc*>(&e) ? kOutOfMemory : e.what();
  } catch (...) { return "unknown failure"; }
}

void Engine::end(Work& work) {
  scheduler_.remove(work.sequence->id, work.sequence->answer);
  work.sequence = nullptr;
}

void Engine::end_with_error(Work& work, const std::string& reason) {
  pending_.push_back(news_of(*work.sequence));
  pending_.back().finished = FinishReason::error;
  pending_.back().error = reason;
  end(work);
}

// The answers that were to begin with this one's prompt, too.
void Engine::end_all_with_error(Work& work, const std::string& reason) {
  while (!work.sequence->siblings.empty()) {
    const Sequence& sibling = *work.sequence->siblings.front();
    pending_.push_back(
        {.request = sibling.id, .answer = sibling.answer, .finished = FinishReason::error, .error = reason});
    scheduler_.remove(sibling.id, sibling.answer);
  }
  end_with_error(work, reason);
}

// The other answers to a prompt begin with the logits of its last row, and share its rows in the cache.
void Engine::begin_siblings(Sequence& first, std::span<const float> logits_W) {
  while (!first.siblings.empty()) {
    const int index = first.siblings.front()->answer;
    try {
      Sequence& s = scheduler_.fork(first);
      pending_.push_back(next(s, logits_W, sampler_rooms_[0]));
    } catch (...) {
      pending_.push_back({.request = first.id,
                          .answer = index,
                          .finished = FinishReason::error,
                          .error = reason_of(std::current_exception())});
    }
    if (pending_.back().finished) scheduler_.remove(first.id, index);
  }
}

// Passes on the answers of a work that has been computed. Returns how many of its rows are kept.
int Engine::finish(Work& work, Taken& taken) {
  try {
    if (taken.failure) std::rethrow_exception(taken.failure);
    Sequence& s = *work.sequence;
    if (!taken.prompt_logprobs.empty()) {
      s.told += static_cast<int>(taken.prompt_logprobs.size());
      pending_.push_back(news_of(s));
      pending_.back().prompt_logprobs = std::move(taken.prompt_logprobs);
    }
    // Whoever waits for a long prompt is told that it has begun, and what of it was cached.
    if (taken.events.empty() && !s.heard_of) pending_.push_back(news_of(s));
    s.heard_of = true;
    for (Event& event : taken.events) pending_.push_back(std::move(event));
    const bool finished = !taken.events.empty() && pending_.back().finished;
    scheduler_.commit(work, taken.kept);
    if (!s.siblings.empty() && !taken.events.empty() && s.cached == s.prompt_tokens)
      begin_siblings(s, taken.logits_TW.first(static_cast<size_t>(model_.spec().vocab)));
    if (finished) end(work);
    return taken.kept;
  } catch (...) {
    end_with_error(work, reason_of(std::current_exception()));
    return 0;
  }
}

Engine::Decoded Engine::compute(Scheduler::Step& step) {
  for (const CacheCopy& c : step.copies) copy(c);
  std::vector<Work>& works = step.works;
  const Batch batch = batch_of(works);
  const Tensor hidden_TD = model_.forward(ops_, batch, *cache_, states_.get());
  std::vector<Taken> taken(works.size());
  std::vector<int> kept(works.size());
  tell_prompts(works, batch, hidden_TD, taken);
  pool_prompts(works, batch, hidden_TD, taken);
  std::span<const float> logits_TW;
  if (!batch.logit_rows.empty())
    logits_TW = ops_.read(model_.head(ops_, ops_.gather_rows(hidden_TD, batch.logit_rows)), host_logits_);
  take_all_answers(works, logits_TW, taken);
  for (size_t i = 0; i < works.size(); ++i) {
    kept[i] = finish(works[i], taken[i]);
    if (const Sequence* s = works[i].sequence; s && s->cached == s->prompt_tokens)
      scheduler_.keep_snapshot(*s, [&](int from, int to) { ops_.copy_state(*states_, from, to); });
  }
  Decoded decoded{.drafting = drafting_};
  if (std::ssize(batch.logit_rows) == step.rows)
    decoded = {static_cast<int>(works.size()), std::accumulate(kept.begin(), kept.end(), 0), drafting_};
  if (options_.speculation != Speculation::off) draft(works, kept, batch, hidden_TD);
  return decoded;
}

// What follows must not lose news for want of memory.
void Engine::reserve_events(const Scheduler::Step& step) {
  size_t most = pending_.size();
  for (const Work& work : step.works)
    most += static_cast<size_t>(work.choosing_rows()) + 2 + 2 * work.sequence->siblings.size();
  pending_.reserve(most);
}

std::vector<Event> Engine::step() {
  Scheduler::Step step = scheduler_.next();
  try {
    reserve_events(step);
  } catch (...) {
    scheduler_.abandon();
    throw;
  }
  const ArenaScope scope(ops_.arena());
  const double start = options_.seconds();
  for (const Work& work : step.works)
    if (work.sequence->begun == 0) work.sequence->begun = start;
  try {
    Decoded decoded;
    if (!step.works.empty()) decoded = compute(step);
    const double seconds = options_.seconds() - start;
    scheduler_.took(step.rows, seconds);
    if (decoded.sequences > 0 && decoded.drafting == drafting_)
      draft_rule_.took(decoded.sequences, decoded.drafting, decoded.tokens, seconds);
  } catch (...) {
    const std::string reason = reason_of(std::current_exception());
    for (Work& work : step.works)
      if (work.sequence) end_all_with_error(work, reason);
  }
  return std::exchange(pending_, {});
}

}  // namespace cachalot
