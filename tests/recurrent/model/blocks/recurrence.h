// A gated linear recurrence, the smallest kind of layer that keeps a state. Per channel
//   h_p = a_p * h_(p-1) + b_p,  a = sigmoid(W_gate x),  b = W_input x,  y = W_out h,  h before the first row 0.
// The state of a chunk is h before its first row, and a row of its tail is the token's a and b: so every output is
// the same chain of operations from the start of its chunk, however the rows are cut into steps.
#pragma once

#include "model/blocks/block.h"

namespace cachalot {

struct RecurrenceWeights {
  Linear gate, input, out;
};

struct RecurrenceSpec {
  using Weights = RecurrenceWeights;

  int channels = 0;  // N
  RopeSpec rope = {.dim = 0};

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const {
    const std::vector<Tensor> projected = op.linears(x_TD, {&w.gate, &w.input});
    const Tensor rows_TM = op.concat(op.sigmoid(projected[0]), projected[1]);  // a, then b
    Tensor h_TN = op.zeros(x_TD.dim(0), channels);
    for (const BatchSequence& s : step.batch.sequences) h_TN = recur(op, s, rows_TM, h_TN, step);
    op.append_rows(*step.states, step.state_layer, step.batch, rows_TM);
    op.mark(step.prefix + "attn.recurrence", h_TN);
    return op.linear(h_TN, w.out);
  }

  void list(Weights& w, ParameterVisitor& visit) const {
    visit.linear("attn.gate", w.gate, channels, visit.width(), true);
    visit.linear("attn.input", w.input, channels, visit.width(), false);
    visit.linear("attn.out", w.out, visit.width(), channels, false);
  }
  AttentionFacts facts() const { return {.heads = 1, .kv_heads = 1, .head_dim = channels}; }
  Cached cached() const { return {.state = {.state_numbers = channels, .tail_numbers = int64_t{2} * channels}}; }
  AttentionCost cost() const { return {.row_numbers = int64_t{6} * channels, .ops_per_row = 2.0 * channels}; }
  Description describe(const LayerShare& share) const {
    const StateLayer state = cached().state;
    return {.label = "attention",
            .text = fmt::format("recurrence of {} channels{}: a state of {} numbers, {} of each token of a chunk",
                                channels, share.text(), state.state_numbers, state.tail_numbers),
            .section = "recurrence",
            .numbers = {{"channels", channels}}};
  }

 private:
  // h with the rows of one sequence written into it.
  Tensor recur(Ops& op, const BatchSequence& s, const Tensor& rows_TM, Tensor h_TN, const StepContext& step) const {
    int chunk = s.first_position / kBlockTokens;
    Tensor h_1N = step.states->state(step.state_layer, s.state_slot, chunk);
    const Tensor before_BM = step.states->tail(step.state_layer, s.state_slot, chunk);
    for (int32_t r = 0; r < s.first_position % kBlockTokens; ++r) h_1N = next(op, h_1N, before_BM, r);
    for (int32_t row = s.first_row; row < s.first_row + s.rows; ++row) {
      h_1N = next(op, h_1N, rows_TM, row);
      h_TN = op.scatter_add(h_TN, h_1N, {&row, 1});
      if ((s.first_position + row - s.first_row + 1) % kBlockTokens == 0)
        op.set_state(*step.states, step.state_layer, s.state_slot, ++chunk, h_1N);
    }
    return h_TN;
  }
  Tensor next(Ops& op, const Tensor& h_1N, const Tensor& rows, int32_t row) const {
    const auto [a_1N, b_1N] = op.gather_rows(rows, {&row, 1}).split_last(channels);
    return op.add(op.multiply(a_1N, h_1N), b_1N);
  }
};

}  // namespace cachalot
