#include "engine/scoring.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "tensor/arena_scope.h"

namespace cachalot {

static constexpr int kDefaultChunk = 512;

int scored_at_once(int vocab) {
  constexpr int64_t kNumbers = int64_t{16} << 20;  // 64 MiB
  return static_cast<int>(std::max<int64_t>(1, kNumbers / vocab));
}

static void stream_head(Ops& ops, const Transformer& model, const Tensor& hidden_TD, int first_position,
                        bool last_only, const RowSink& sink) {
  const auto rows = static_cast<int>(hidden_TD.dim(0));
  const int step = scored_at_once(model.spec().vocab);
  std::vector<float> room;
  for (int begin = last_only ? rows - 1 : 0; begin < rows; begin += step) {
    std::vector<int32_t> wanted(static_cast<size_t>(std::min(step, rows - begin)));
    std::iota(wanted.begin(), wanted.end(), begin);
    const ArenaScope scope(ops.arena());
    const Tensor logits_TW = model.head(ops, ops.gather_rows(hidden_TD, wanted));
    const auto logits = ops.read(logits_TW, room);
    const auto vocab = static_cast<size_t>(logits_TW.last());
    for (size_t i = 0; i < wanted.size(); ++i) sink(first_position + wanted[i], logits.subspan(i * vocab, vocab));
  }
}

void score(Ops& ops, const Transformer& model, std::span<const int32_t> tokens, const ScoreOptions& o,
           const RowSink& sink) {
  const int total = static_cast<int>(tokens.size());
  for (const int32_t token : tokens)
    if (token < 0 || token >= model.spec().vocab)
      throw Error(fmt::format("token {} is outside the model's vocabulary of {}", token, model.spec().vocab));

  if (const int rows = model.spec().learned_positions; rows > 0 && total > rows)
    throw Error(fmt::format("{} tokens are given, but the model knows {} positions", total, rows));
  if (!o.no_head) check_writes(model.spec());
  const bool causal = model.spec().causal();
  if (!causal && (o.chunk > 0 || o.decode_from >= 0))
    throw Error("the text must be read whole").because("the model's symmetric windows see tokens that come later");

  const CacheLayout layout = cache_layout(model.spec());
  const int chunk = !causal ? total : o.chunk > 0 ? o.chunk : kDefaultChunk;
  const int declared = o.declared_tokens > 0 ? o.declared_tokens : total;
  const std::vector<PositionSpan> expanded = o.expanded.value_or(expanded_spans(declared));
  const std::vector<int> blocks = blocks_for(layout.group_windows, total, {.max_rows = chunk, .max_sequences = 1});
  const auto cache = ops.make_cache({.layers = layout.layers, .blocks_of_group = blocks, .dtype = o.kv});
  const auto states = layout.states.empty() ? nullptr : ops.make_states(layout.states, 1);
  if (states) ops.clear_state(*states, 0);
  // What a window has moved past is used again, in turn.
  std::vector<std::vector<int32_t>> tables;
  for (const int own : blocks) {
    auto& table = tables.emplace_back(static_cast<size_t>((total + kBlockTokens - 1) / kBlockTokens));
    for (size_t b = 0; b < table.size(); ++b) table[b] = static_cast<int32_t>(b) % own;
  }

  for (int done = 0; done < total;) {
    const bool one_by_one = o.decode_from >= 0 && done >= o.decode_from;
    int rows = one_by_one ? 1 : std::min(chunk, total - done);
    if (o.decode_from > done) rows = std::min(rows, o.decode_from - done);

    Batch batch;
    batch.tokens_T.assign(tokens.begin() + done, tokens.begin() + done + rows);
    batch.sequences.push_back({.first_row = 0,
                               .rows = rows,
                               .first_position = done,
                               .rope_tokens = declared,
                               .expanded = expanded,
                               .block_tables = {tables.begin(), tables.end()},
                               .state_slot = states ? 0 : -1});
    const ArenaScope scope(ops.arena());
    const Tensor hidden_TD = model.forward(ops, batch, *cache, states.get());
    const bool last = done + rows == total;
    if (!o.no_head && (last || !o.last_only)) stream_head(ops, model, hidden_TD, done, o.last_only, sink);
    done += rows;
  }
}

}  // namespace cachalot
