// Grouped-query attention: G key-value heads serve H query heads, head h reads kv head h / (H / G).
// Source: arXiv:2305.13245; per-head norms of q and k: Qwen3 technical report, arXiv:2505.09388, section 2; LogN:
// Qwen technical report, arXiv:2309.16609, section 2.3.
#include <cmath>

#include "model/blocks.h"

namespace cachalot {

Tensor gqa(Ops& op, const GqaSpec& s, const GqaWeights& w, const Tensor& x_TD, double norm_eps,
           const StepContext& step) {
  const std::vector<Tensor> qkv = op.linears(x_TD, {&w.q, &w.k, &w.v});
  Tensor q_THK = qkv[0].split_heads(s.heads);
  Tensor k_TGK = qkv[1].split_heads(s.kv_heads);
  Tensor v_TGK = qkv[2].split_heads(s.kv_heads);
  if (s.qk_norm) {
    q_THK = op.rms_norm(q_THK, w.q_norm_K, norm_eps);
    k_TGK = op.rms_norm(k_TGK, w.k_norm_K, norm_eps);
  }
  if (s.rope.dim > 0) {
    q_THK = op.rope(q_THK, step.angles_TR, s.rope.pairing);
    k_TGK = op.rope(k_TGK, step.angles_TR, s.rope.pairing);
  }
  if (s.compressed_dim > 0) {
    q_THK = op.linear(q_THK.merge_heads(), w.k_compress).split_heads(s.heads);
    k_TGK = op.linear(k_TGK.merge_heads(), w.k_compress).split_heads(s.kv_heads);
    v_TGK = op.linear(v_TGK.merge_heads(), w.v_compress).split_heads(s.kv_heads);
  }
  if (s.logn.form != LogNSpec::Form::none) q_THK = op.scale_rows(q_THK, op.logn_factors(step.batch, s.logn));
  op.mark(step.prefix + "attn.q", q_THK);
  op.mark(step.prefix + "attn.k", k_TGK);
  op.mark(step.prefix + "attn.v", v_TGK);

  op.append(step.cache, step.layer, step.batch, k_TGK, v_TGK);
  const AttendSpec attend{.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(s.cached_head_dim()))),
                          .window = s.window,
                          .ahead = s.ahead};
  const Tensor o_THK = op.attend(q_THK, step.cache, step.layer, step.batch, attend);
  op.mark(step.prefix + "attn.heads", o_THK);
  return op.linear(o_THK.merge_heads(), w.out);
}

}  // namespace cachalot
