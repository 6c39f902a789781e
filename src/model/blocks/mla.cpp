// Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
#include "model/blocks/mla.h"

namespace cachalot {

Tensor MlaSpec::forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const {
  const bool compressed = q_rank > 0;
  const std::vector<Tensor> down = op.linears(x_TD, {compressed ? &w.q_down : &w.q, &w.kv_down});
  const Tensor q_TU = compressed ? op.linear(op.rms_norm(down[0], w.q_norm_Q, norm_eps), w.q_up) : down[0];
  const auto [qn_THN, qr_THR] = q_TU.split_heads(heads).split_last(nope_dim);
  const Tensor rotated_THR = op.rope(qr_THR, step.angles_TR, rope.pairing);
  const auto [latent_TC, key_TR] = down[1].split_last(kv_rank);
  const Tensor c_TC = op.rms_norm(latent_TC, w.kv_norm_C, norm_eps);
  const Tensor kr_TR = op.rope(key_TR.split_heads(1), step.angles_TR, rope.pairing).merge_heads();
  op.mark(step.prefix + "attn.latent", c_TC);
  op.mark(step.prefix + "attn.rotary_key", kr_TR);

  op.append(step.cache, step.layer, step.batch, op.concat(c_TC, kr_TR).split_heads(1), {});
  const Tensor o_THV = op.attend_latent(qn_THN, rotated_THR, w.up, step.cache, step.layer, step.batch,
                                        {.scale = static_cast<float>(softmax_scale)});
  op.mark(step.prefix + "attn.heads", o_THV);
  return op.linear(o_THV.merge_heads(), w.out);
}

void MlaSpec::list(Weights& w, ParameterVisitor& visit) const {
  const int64_t D = visit.width(), H = heads, N = nope_dim, R = rope.dim, V = value_dim, C = kv_rank;
  if (q_rank > 0) {
    visit.linear("attn.q_down", w.q_down, q_rank, D, bias);
    visit.vector("attn.q_down_norm", w.q_norm_Q, q_rank);
    visit.linear("attn.q_up", w.q_up, H * (N + R), q_rank, false);
  } else {
    visit.linear("attn.q", w.q, H * (N + R), D, false);
  }
  visit.linear("attn.kv_down", w.kv_down, C + R, D, bias);
  visit.vector("attn.kv_norm", w.kv_norm_C, C);
  // Stored as two stacks, the keys' already transposed; or as one matrix that has per head the rows that make its
  // keys, then those that make its values.
  const std::vector<int64_t> both = {H * (N + V), C};
  visit({.slot = "attn.k_up",
         .kind = Parameter::Kind::latent,
         .stack = H,
         .rows = C,
         .columns = N,
         .within = {{.slot = "attn.kv_up", .shape = both, .first = 0, .transposed = true}}},
        w.up.k_up_HCN);
  visit({.slot = "attn.v_up",
         .kind = Parameter::Kind::latent,
         .stack = H,
         .rows = V,
         .columns = C,
         .within = {{.slot = "attn.kv_up", .shape = both, .first = N}}},
        w.up.v_up_HVC);
  visit.linear("attn.out", w.out, D, H * V, bias);
}

AttentionFacts MlaSpec::facts() const { return {.heads = heads, .kv_heads = heads, .head_dim = nope_dim + rope.dim}; }

Cached MlaSpec::cached() const {
  return {.per_token = {{.kv_heads = 1, .key_dim = kv_rank + rope.dim, .value_dim = 0, .latent_dim = kv_rank}}};
}

// One row is computed absorbed, many expanded: see ops/cpu/latent.h.
AttentionCost MlaSpec::cost() const {
  return {.row_numbers = q_rank + int64_t{heads} * (nope_dim + rope.dim + value_dim),
          .absorbed_row_numbers = int64_t{heads} * (2 * int64_t{kv_rank} + rope.dim + value_dim),
          .ops_per_key_of_one = 2.0 * heads * (2 * kv_rank + rope.dim),
          .ops_per_key_of_many = 2.0 * heads * (nope_dim + rope.dim + value_dim)};
}

Description MlaSpec::describe(const LayerShare&) const {
  return {.label = "attention",
          .text = fmt::format("{} heads of {}, latent (MLA): {} + {} numbers cached per token and layer", heads,
                              nope_dim + rope.dim, kv_rank, rope.dim),
          .section = "mla",
          .numbers = {{"q_rank", q_rank},
                      {"kv_rank", kv_rank},
                      {"nope_dim", nope_dim},
                      {"rope_dim", rope.dim},
                      {"value_dim", value_dim},
                      {"cached_per_token_and_layer", kv_rank + rope.dim}}};
}

}  // namespace cachalot
