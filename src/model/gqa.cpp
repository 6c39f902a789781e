// Grouped-query attention: G key-value heads serve H query heads, head h reads kv head h / (H / G).
// Source: arXiv:2305.13245; per-head norms of q and k: Qwen3 technical report, arXiv:2505.09388, section 2.
#include <cmath>

#include "model/blocks.h"

namespace cachalot {

Tensor gqa(Ops& op, const GqaSpec& s, const GqaWeights& w, const Tensor& x_TD, double norm_eps,
           const StepContext& step) {
  Tensor q_THK = op.linear(x_TD, w.q.w, w.q.bias).split_heads(s.heads);
  Tensor k_TGK = op.linear(x_TD, w.k.w, w.k.bias).split_heads(s.kv_heads);
  const Tensor v_TGK = op.linear(x_TD, w.v.w, w.v.bias).split_heads(s.kv_heads);
  if (s.qk_norm) {
    q_THK = op.rms_norm(q_THK, w.q_norm_K, norm_eps);
    k_TGK = op.rms_norm(k_TGK, w.k_norm_K, norm_eps);
  }
  q_THK = op.rope(q_THK, step.angles_TR, s.rope.pairing);
  k_TGK = op.rope(k_TGK, step.angles_TR, s.rope.pairing);
  op.mark(step.prefix + "attn.q", q_THK);
  op.mark(step.prefix + "attn.k", k_TGK);
  op.mark(step.prefix + "attn.v", v_TGK);

  op.append(step.cache, step.layer, step.batch, k_TGK, v_TGK);
  const AttendSpec attend{.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(s.head_dim))),
                          .window = s.window};
  const Tensor o_THK = op.attend(q_THK, step.cache, step.layer, step.batch, attend);
  op.mark(step.prefix + "attn.heads", o_THK);
  return op.linear(o_THK.merge_heads(), w.out.w, w.out.bias);
}

}  // namespace cachalot
