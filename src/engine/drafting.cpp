// The engine's guesses: when, and by what.
#include "engine/engine.h"

namespace cachalot {

// Whether a sequence that can go on guesses for the next step.
bool Engine::may_draft(Sequence& s) const { return !options_.weigh_drafts || (drafting_ && s.draft_pause.over()); }

// Guesses what follows in every sequence that can go on in the next step.
void Engine::draft(std::span<const Work> works, std::span<const int> kept, const Batch& batch,
                   const Tensor& hidden_TD) {
  const auto decoding = std::count_if(works.begin(), works.end(),
                                      [](const Work& w) { return w.sequence && w.sequence->uncached() == 1; });
  if (options_.weigh_drafts && decoding > 0) drafting_ = draft_rule_.drafts(static_cast<int>(decoding));
  if (options_.speculation == Speculation::mtp) draft_by_module(works, kept, batch, hidden_TD);
  for (const Work& work : works) {
    if (!work.sequence) continue;
    Sequence& s = *work.sequence;
    const bool chooses = s.uncached() == 1;  // after a complete prompt
    if (options_.speculation == Speculation::lookup && chooses && may_draft(s))
      s.drafts = draft_by_lookup(s.tokens, options_.lookup_drafts);
    const int room = s.token_limit - static_cast<int>(s.tokens.size()) - 1;
    if (std::ssize(s.drafts) > room) s.drafts.resize(static_cast<size_t>(std::max(0, room)));
  }
}

// The module sees every row whose next token is known, also when nobody guesses, so that its own cache is complete;
// the last row of a sequence guesses.
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
    if (s.uncached() != 1 || !may_draft(s)) continue;
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

}  // namespace cachalot
