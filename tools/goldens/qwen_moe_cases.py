"""The models of qwen2_moe and qwen3_moe, as cases.py has the others."""

from case import F16, F32, Case, shape


def experts(ffn, count, chosen, normalised, *, step=1, dense=()) -> dict:
    return {"moe_intermediate_size": ffn, "num_experts": count, "num_experts_per_tok": chosen,
            "norm_topk_prob": normalised, "decoder_sparse_step": step, "mlp_only_layers": list(dense),
            "output_router_logits": False, "router_aux_loss_coef": 0.001}


QWEN2_MOE = [
    Case(
        "qwen2_moe", "plain", "3 of 10 experts beside a gated shared one; 6 heads on 2; a window that is switched off",
        shape(72, 6, 2, 100, 2, 283, max_position_embeddings=256, rope_theta=10000.0, rms_norm_eps=1e-6,
              tie_word_embeddings=False, use_sliding_window=False, sliding_window=16, max_window_layers=1,
              shared_expert_intermediate_size=52, **experts(26, 10, 3, False)),
        lengths=[29, 1, 160], seed=601, trace=True,
    ),
]

QWEN3_MOE = [
    Case(
        "qwen3_moe", "plain", "3 of 12 experts, weights normalised; 6 heads on 2, head_dim 20 where width / heads is 12",
        shape(72, 6, 2, 100, 2, 283, head_dim=20, max_position_embeddings=256, rope_theta=1000000.0, rms_norm_eps=1e-6,
              tie_word_embeddings=False, rope_scaling=None, attention_bias=False, use_sliding_window=False,
              sliding_window=None, max_window_layers=2, **experts(22, 12, 3, True)),
        lengths=[29, 1, 160], seed=801, trace=True,
    ),
]
