// Source: arXiv:2305.13245; per-head norms of q and k: Qwen3 technical report, arXiv:2505.09388, section 2; LogN:
// Qwen technical report, arXiv:2309.16609, section 2.3.
#include "model/blocks/gqa.h"

#include <cmath>

namespace cachalot {

Tensor GqaSpec::forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const {
  const std::vector<Tensor> qkv = op.linears(x_TD, {&w.q, &w.k, &w.v});
  Tensor q_THK = qkv[0].split_heads(heads);
  Tensor k_TGK = qkv[1].split_heads(kv_heads);
  Tensor v_TGK = qkv[2].split_heads(kv_heads);
  if (qk_norm) {
    q_THK = op.rms_norm(q_THK, w.q_norm_K, step.norm_eps);
    k_TGK = op.rms_norm(k_TGK, w.k_norm_K, step.norm_eps);
  }
  if (rope.dim > 0) {
    q_THK = op.rope(q_THK, step.angles_TR, rope.pairing);
    k_TGK = op.rope(k_TGK, step.angles_TR, rope.pairing);
  }
  if (compressed_dim > 0) {
    q_THK = op.linear(q_THK.merge_heads(), w.k_compress).split_heads(heads);
    k_TGK = op.linear(k_TGK.merge_heads(), w.k_compress).split_heads(kv_heads);
    v_TGK = op.linear(v_TGK.merge_heads(), w.v_compress).split_heads(kv_heads);
  }
  if (logn.form != LogNSpec::Form::none) q_THK = op.scale_rows(q_THK, op.logn_factors(step.batch, logn));
  op.mark(step.prefix + "attn.q", q_THK);
  op.mark(step.prefix + "attn.k", k_TGK);
  op.mark(step.prefix + "attn.v", v_TGK);

  op.append(step.cache, step.layer, step.batch, k_TGK, v_TGK);
  const AttendSpec attend{.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(cached_head_dim()))),
                          .window = window,
                          .ahead = ahead};
  const Tensor o_THK = op.attend(q_THK, step.cache, step.layer, step.batch, attend);
  op.mark(step.prefix + "attn.heads", o_THK);
  return op.linear(o_THK.merge_heads(), w.out);
}

void GqaSpec::list(Weights& w, ParameterVisitor& visit) const {
  const int64_t D = visit.width(), U = int64_t{heads} * head_dim, kv = int64_t{kv_heads} * head_dim;
  // Also stored as one matrix: the rows of q, then of k, then of v.
  const auto part = [&](const char* slot, Linear& l, int64_t first, int64_t rows) {
    visit({.slot = slot,
           .rows = rows,
           .columns = D,
           .within = {{.slot = "attn.qkv", .shape = {U + 2 * kv, D}, .first = first}}},
          l.w);
    if (qkv_bias)
      visit({.slot = slot,
             .suffix = ".bias",
             .kind = Parameter::Kind::vector,
             .columns = rows,
             .within = {{.slot = "attn.qkv", .shape = {U + 2 * kv}, .first = first}}},
            l.bias);
  };
  part("attn.q", w.q, 0, U);
  part("attn.k", w.k, U, kv);
  part("attn.v", w.v, U + kv, kv);
  if (qk_norm) {
    visit.vector("attn.q_norm", w.q_norm_K, head_dim);
    visit.vector("attn.k_norm", w.k_norm_K, head_dim);
  }
  if (compressed_dim > 0) {
    visit.matrix("attn.k_compress", w.k_compress.w, compressed_dim, kv);
    visit.matrix("attn.v_compress", w.v_compress.w, compressed_dim, kv);
  }
  visit.linear("attn.out", w.out, D, int64_t{heads} * cached_head_dim(), out_bias);
}

AttentionFacts GqaSpec::facts() const {
  return {.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .window = window, .ahead = ahead};
}

Cached GqaSpec::cached() const {
  return {.per_token = {{.kv_heads = kv_heads, .key_dim = cached_head_dim(), .value_dim = cached_head_dim()}}};
}

AttentionCost GqaSpec::cost() const {
  const double ops_per_key = 4.0 * heads * cached_head_dim();
  return {.row_numbers = int64_t{heads + 2 * kv_heads} * head_dim + 3 * int64_t{compressed_dim},
          .ops_per_key_of_one = ops_per_key,
          .ops_per_key_of_many = ops_per_key};
}

Description GqaSpec::describe(const LayerShare&) const {
  return {.label = "attention",
          .text = fmt::format("{} heads of {} on {} kv heads", heads, head_dim, kv_heads),
          .section = {},
          .numbers = {}};
}

}  // namespace cachalot
