#include "cli/commands/bench_phases.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "engine/scoring.h"
#include "tensor/arena_scope.h"

namespace cachalot {

static constexpr int kChunkRows = 512;      // of prefill steps
static constexpr double kSliceSeconds = 1;  // between probes

// -- Work

WorkCounter::WorkCounter(const LoadedModel& model, const CpuOps& cpu, const WeightsPolicy& policy)
    : spec_(model.transformer->spec()) {
  const auto tensors = bind_tensors(*model.family, spec_, model.checkpoint, policy);
  std::map<DType, double> ops_with;  // by what the weights meet
  for (const BoundTensor& t : tensors) {
    const bool is_head = t.slot == "head" || (t.slot == "embed" && spec_.tied_head);
    if (t.vectors || (t.slot == "embed" && !is_head)) continue;  // a row per token is nothing
    const auto bytes = static_cast<double>(t.held_bytes(*model.ops)), ops = 2.0 * static_cast<double>(t.elements());
    ops_with[cpu.inputs_of(t.held_as)] += ops;
    weight_bytes_[t.share()] += bytes;
    (is_head ? head_ops_ : ops_per_row_) += ops * t.share();
  }
  for (const auto& [type, ops] : ops_with)
    if (ops > ops_with[inputs_]) inputs_ = type;
  const CacheLayout layout = cache_layout(spec_);
  for (const int cached : layout.of_layer)
    cache_bytes_per_token_.push_back(cached < 0 ? 0
                                                : static_cast<double>(model.ops->cache_block_bytes(
                                                      layout.layers[static_cast<size_t>(cached)], model.kv)) /
                                                      kBlockTokens);
}

StepWork WorkCounter::weights(int rows) const {
  // Random tokens choose experts independently: each is left unread with probability (1 - A / E)^rows.
  StepWork work;
  for (const auto& [share, bytes] : weight_bytes_) work.bytes += (1 - std::pow(1 - share, rows)) * bytes;
  return work;
}

StepWork WorkCounter::rows(int first, int rows, int logit_rows) const {
  StepWork work{.bytes = 0, .ops = rows * ops_per_row_ + logit_rows * head_ops_};
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const LayerSpec& layer = spec_.layers[i];
    const int window = layer.window();
    const auto visible = [&](int position) { return window > 0 ? std::min(position + 1, window) : position + 1; };
    double keys = 0;  // over all rows
    for (int r = 0; r < rows; ++r) keys += visible(first + r);
    const AttentionCost cost = layer.attention_cost();
    work.ops += (rows > 1 ? cost.ops_per_key_of_many : cost.ops_per_key_of_one) * keys;
    work.ops += cost.ops_per_row * rows;
    work.bytes += cache_bytes_per_token_[i] * std::min(first + rows, visible(first) + rows - 1);
    const StateLayer state = layer.cached().state;  // it is read, and the open chunk's rows are
    work.bytes += 4.0 * static_cast<double>(state.state_numbers + state.tail_numbers * (first % kBlockTokens + rows));
  }
  return work;
}

// -- Steps

SchedulerOptions BenchPlan::scheduler() const {
  return {.max_rows = std::max(kChunkRows, batch), .max_sequences = batch, .state_snapshots = 0};
}

int64_t BenchPlan::cache_tokens() const {
  return int64_t{batch} * ((tokens_per_sequence() + kBlockTokens - 1) / kBlockTokens) * kBlockTokens;
}

BenchRunner::BenchRunner(LoadedModel& model, const BenchPlan& plan, const WorkCounter& counter)
    : model_(model), plan_(plan), counter_(counter), layout_(cache_layout(model.transformer->spec())) {
  const std::vector<int> blocks = blocks_for(layout_.group_windows, plan.cache_tokens(), plan.scheduler());
  for (const int own : blocks) pools_.emplace_back(own);
  cache_ = model.ops->make_cache({.layers = layout_.layers, .blocks_of_group = blocks, .dtype = model.kv});
  if (!layout_.states.empty()) states_ = model.ops->make_states(layout_.states, plan.batch);
  Random random(1);
  const auto vocab = static_cast<uint64_t>(model.transformer->spec().vocab);
  for (int s = 0; s < plan.batch; ++s) {
    tables_.emplace_back(layout_.group_windows.size());
    auto& tokens = tokens_.emplace_back(static_cast<size_t>(plan.tokens_per_sequence()));
    for (int32_t& token : tokens) token = static_cast<int32_t>(random.next() % vocab);
    samplers_.emplace_back(model.defaults.sampling, tokens);
    if (states_) model.ops->clear_state(*states_, s);
    fill(s, 0, plan.depth, false);
  }
}

// Gives a sequence the blocks that rows [first, first + rows) see and write, and takes back those that a window has
// moved past. A repetition begins anew at `depth`: what its window saw there may be gone, and other numbers be in its
// place, which take the same time.
void BenchRunner::hold(int sequence, int first, int rows) {
  for (size_t g = 0; g < pools_.size(); ++g) {
    auto& table = tables_[static_cast<size_t>(sequence)][g];
    const int window = layout_.group_windows[g];
    const int begin = window > 0 ? std::max(0, first - window + 1) / kBlockTokens : 0;
    const int end = (first + rows + kBlockTokens - 1) / kBlockTokens;
    table.resize(static_cast<size_t>(std::max<int>(end, static_cast<int>(table.size()))), -1);
    for (int b = 0; b < static_cast<int>(table.size()); ++b) {
      int32_t& block = table[static_cast<size_t>(b)];
      const bool held = block >= 0, wanted = b >= begin && (b < end || window == 0);
      if (held && !wanted) pools_[g].release(std::exchange(block, -1));
    }
    for (int b = begin; b < end; ++b)
      if (int32_t& block = table[static_cast<size_t>(b)]; block < 0) {
        const auto taken = pools_[g].take();
        CHECK(taken, "the blocks of all sequences do not fit the cache");
        block = *taken;
      }
  }
}

void BenchRunner::choose(const std::vector<Part>& parts, const Tensor& logits_TW) {
  const auto logits = model_.ops->read(logits_TW, host_logits_);
  const auto vocab = static_cast<size_t>(logits_TW.last());
  for (size_t i = 0; i < parts.size(); ++i) {
    Sampler& sampler = samplers_[static_cast<size_t>(parts[i].sequence)];
    const auto token = sampler.sample(logits.subspan(i * vocab, vocab), sampler_room_);
    if (!token) throw Error("the model's results are wrong, so its speed means nothing").because("logits are NaN");
    sampler.add(*token);
  }
}

void BenchRunner::step(const std::vector<Part>& parts, bool with_head) {
  static constexpr PositionSpan kAll[] = {{0, std::numeric_limits<int>::max()}};
  Batch batch;
  for (const Part& p : parts) {
    hold(p.sequence, p.first, p.rows);
    const auto& tokens = tokens_[static_cast<size_t>(p.sequence)];
    const auto& tables = tables_[static_cast<size_t>(p.sequence)];
    batch.sequences.push_back({.first_row = static_cast<int>(batch.rows()),
                               .rows = p.rows,
                               .first_position = p.first,
                               .rope_tokens = plan_.tokens_per_sequence(),
                               .expanded = p.rows > 1 ? std::span(kAll) : std::span<const PositionSpan>(),
                               .block_tables = {tables.begin(), tables.end()},
                               .state_slot = states_ ? p.sequence : -1});
    batch.tokens_T.insert(batch.tokens_T.end(), tokens.begin() + p.first, tokens.begin() + p.first + p.rows);
    batch.logit_rows.push_back(static_cast<int32_t>(batch.rows()) - 1);
  }
  Ops& ops = *model_.ops;
  const ArenaScope scope(ops.arena());
  const Tensor hidden_TD = model_.transformer->forward(ops, batch, *cache_, states_.get());
  if (with_head) choose(parts, model_.transformer->head(ops, ops.gather_rows(hidden_TD, batch.logit_rows)));
  for (const Part& p : parts) hold(p.sequence, p.first + p.rows, 0);
}

void BenchRunner::fill(int sequence, int first, int tokens, bool with_head) {
  for (int done = 0; done < tokens; done += kChunkRows) {
    const int rows = std::min(kChunkRows, tokens - done);
    step({{sequence, first + done, rows}}, with_head && done + rows == tokens);
  }
}

StepWork BenchRunner::work_of(const std::vector<Part>& parts, bool with_head) const {
  int rows = 0;
  for (const Part& p : parts) rows += p.rows;
  StepWork work = counter_.weights(rows);
  for (const Part& p : parts) work += counter_.rows(p.first, p.rows, with_head ? 1 : 0);
  return work;
}

std::vector<Slice> BenchRunner::measure(const std::vector<std::vector<Part>>& steps,
                                        const std::function<Limits()>& probe,
                                        const std::function<bool(size_t)>& with_head) {
  using Clock = std::chrono::steady_clock;
  std::vector<Slice> slices;
  Limits before = probe();
  for (size_t next = 0; next < steps.size();) {
    Slice slice;
    const auto start = Clock::now();
    do {
      step(steps[next], with_head(next));
      slice.work += work_of(steps[next], with_head(next));
      for (const Part& p : steps[next]) slice.tokens += p.rows;
      slice.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    } while (++next < steps.size() && slice.seconds < kSliceSeconds);
    const Limits after = probe();
    slice.limits = {.bytes_per_s = (before.bytes_per_s + after.bytes_per_s) / 2,
                    .ops_per_s = (before.ops_per_s + after.ops_per_s) / 2};
    before = after;
    slices.push_back(slice);
  }
  return slices;
}

std::vector<Slice> BenchRunner::prefill(const std::function<Limits()>& probe) {
  std::vector<std::vector<Part>> steps;
  for (int s = 0; s < plan_.batch; ++s)
    for (int done = 0; done < plan_.prefill; done += kChunkRows)
      steps.push_back({{s, plan_.depth + done, std::min(kChunkRows, plan_.prefill - done)}});
  return measure(steps, probe, [&](size_t i) {
    const Part& p = steps[i].back();
    return p.first + p.rows == plan_.depth + plan_.prefill;
  });
}

std::vector<Slice> BenchRunner::decode(const std::function<Limits()>& probe) {
  std::vector<std::vector<Part>> steps(static_cast<size_t>(plan_.decode));
  for (int i = 0; i < plan_.decode; ++i)
    for (int s = 0; s < plan_.batch; ++s) steps[static_cast<size_t>(i)].push_back({s, plan_.depth + i, 1});
  return measure(steps, probe, [](size_t) { return true; });
}

// -- Results

PhaseResult summarise(std::string phase, const std::vector<std::vector<Slice>>& repetitions) {
  std::vector<double> rates, bandwidth_shares, arithmetic_shares;
  StepWork work;
  double seconds = 0;
  for (const auto& slices : repetitions) {
    double tokens = 0, taken = 0;
    for (const Slice& s : slices) {
      tokens += s.tokens;
      taken += s.seconds;
      work += s.work;
      bandwidth_shares.push_back(s.work.bytes / s.limits.bytes_per_s / s.seconds);
      arithmetic_shares.push_back(s.work.ops / s.limits.ops_per_s / s.seconds);
    }
    rates.push_back(tokens / taken);
    seconds += taken;
  }
  // Medians over the slices: a probe that another program disturbed must not decide.
  const double bandwidth = spread(bandwidth_shares).median, arithmetic = spread(arithmetic_shares).median;
  return {.phase = std::move(phase),
          .tokens_per_s = spread(rates),
          .bytes_per_s = work.bytes / seconds,
          .ops_per_s = work.ops / seconds,
          .share_of_limit = std::max(bandwidth, arithmetic),
          .limit = bandwidth > arithmetic ? "bandwidth" : "arithmetic"};
}

void check_results(LoadedModel& model) {
  const ModelSpec& spec = model.transformer->spec();
  Random random(2);
  std::vector<int32_t> tokens(static_cast<size_t>(std::min(12, spec.context)));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.next() % static_cast<uint64_t>(spec.vocab));

  std::vector<float> whole, single;
  score(*model.ops, *model.transformer, tokens, {.kv = model.kv},
        [&](int, std::span<const float> logits_W) { whole.insert(whole.end(), logits_W.begin(), logits_W.end()); });
  score(*model.ops, *model.transformer, tokens, {.kv = model.kv, .decode_from = 0},
        [&](int, std::span<const float> logits_W) { single.insert(single.end(), logits_W.begin(), logits_W.end()); });
  const bool finite = std::all_of(whole.begin(), whole.end(), [](float x) { return std::isfinite(x); });
  const bool same =
      whole.size() == single.size() && std::memcmp(whole.data(), single.data(), whole.size() * sizeof(float)) == 0;
  if (!finite || !same)
    throw Error("the model's results are wrong, so its speed means nothing")
        .because(finite ? "logits of tokens fed one by one differ from those of the same tokens fed at once"
                        : "logits are not finite");
}

int64_t peak_memory_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::strtoll(line.c_str() + 6, nullptr, 10) * 1024;
  return 0;
}

}  // namespace cachalot
