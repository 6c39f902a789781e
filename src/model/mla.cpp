// Multi-head latent attention: the cache keeps C + R numbers per token and layer, one latent from which the keys and
// values of all heads come and one rotary key that they share, instead of H * (K + V).
// Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
#include "model/blocks.h"

namespace cachalot {

Tensor mla(Ops& op, const MlaSpec& s, const MlaWeights& w, const Tensor& x_TD, const StepContext& step) {
  const bool compressed = s.q_rank > 0;
  const std::vector<Tensor> down = op.linears(x_TD, {compressed ? &w.q_down : &w.q, &w.kv_down});
  const Tensor q_TU = compressed ? op.linear(op.rms_norm(down[0], w.q_norm_Q, s.norm_eps), w.q_up) : down[0];
  const auto [qn_THN, qr_THR] = q_TU.split_heads(s.heads).split_last(s.nope_dim);
  const Tensor rotated_THR = op.rope(qr_THR, step.angles_TR, s.rope.pairing);
  const auto [latent_TC, key_TR] = down[1].split_last(s.kv_rank);
  const Tensor c_TC = op.rms_norm(latent_TC, w.kv_norm_C, s.norm_eps);
  const Tensor kr_TR = op.rope(key_TR.split_heads(1), step.angles_TR, s.rope.pairing).merge_heads();
  op.mark(step.prefix + "attn.latent", c_TC);
  op.mark(step.prefix + "attn.rotary_key", kr_TR);

  op.append(step.cache, step.layer, step.batch, op.concat(c_TC, kr_TR).split_heads(1), {});
  const Tensor o_THV = op.attend_latent(qn_THN, rotated_THR, w.up, step.cache, step.layer, step.batch,
                                        {.scale = static_cast<float>(s.softmax_scale)});
  op.mark(step.prefix + "attn.heads", o_THV);
  return op.linear(o_THV.merge_heads(), w.out);
}

}  // namespace cachalot
